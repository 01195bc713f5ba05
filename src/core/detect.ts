/**
 * Detectors: secrets, personal data and phrases of prompt injection in the texts of a request. They tell
 * kinds and counts, never content.
 *
 * Each looks for a mark that is rare (`AKIA`, `@`, `-----BEGIN`) and reads a bounded piece of text around
 * it, so that searching takes time linear in the text; what has a checksum or a fixed form is checked.
 */
import { INJECTION_DETECTORS } from "./detect-injection.ts";
import { PERSONAL_DETECTORS } from "./detect-personal.ts";
import { SECRET_DETECTORS } from "./detect-secrets.ts";
import type { Detector } from "./detector.ts";
import { DETECT_CHARS_MAX, DETECT_COUNT_MAX } from "./limits-policy.ts";

export const FINDING_GROUPS = ["secrets", "pii", "injection"] as const;
type FindingGroup = (typeof FINDING_GROUPS)[number];

export type Findings = {
  readonly secrets: number;
  readonly pii: number;
  readonly injection: number;
  readonly found: readonly {
    readonly kind: string;
    readonly group: FindingGroup;
    readonly count: number;
  }[];
  /** Whether all texts were searched. */
  readonly complete: boolean;
};

/** Kinds that there are, so that an expression over them is known to be short. */
export const DETECTOR_KINDS_MAX = 32;

/** What a kind that was found adds to the risk score, however often it was. */
export const DETECTOR_RISKS: Readonly<Record<FindingGroup, number>> = {
  secrets: 40,
  injection: 25,
  pii: 15,
};

/** Nothing is known of the texts: they could not be read, or nobody had them. */
export const NOT_SEARCHED: Findings = {
  secrets: 0,
  pii: 0,
  injection: 0,
  found: [],
  complete: false,
};

/** There are no texts. */
export const NOTHING_FOUND: Findings = { ...NOT_SEARCHED, complete: true };

const GROUPS = [
  { group: "secrets", detectors: SECRET_DETECTORS },
  { group: "pii", detectors: PERSONAL_DETECTORS },
  { group: "injection", detectors: INJECTION_DETECTORS },
] as const;

/** Searches each text by itself; beyond DETECT_CHARS_MAX in all the rest is left, and told to be. */
export function detect(texts: Iterable<string>): Findings {
  const counts = new Map<string, number>();
  let left = DETECT_CHARS_MAX;
  let complete = true;
  for (const whole of texts) {
    if (whole.length > left) complete = false;
    const text = whole.length > left ? whole.slice(0, left) : whole;
    left -= text.length;
    if (text === "") continue;
    const folded = foldAscii(text);
    for (const { detectors } of GROUPS) {
      for (const detector of detectors) count(detector, text, folded, counts);
    }
  }
  const found = GROUPS.flatMap(({ group, detectors }) =>
    detectors.flatMap(({ kind }) => {
      const times = counts.get(kind) ?? 0;
      return times === 0 ? [] : [{ kind, group, count: times }];
    }),
  );
  return findingsOf(found, complete);
}

export function findingsOf(found: Findings["found"], complete: boolean): Findings {
  const sumOf = (name: FindingGroup) =>
    found.reduce((sum, { group, count: times }) => sum + (group === name ? times : 0), 0);
  return {
    secrets: sumOf("secrets"),
    pii: sumOf("pii"),
    injection: sumOf("injection"),
    found,
    complete,
  };
}

function count(
  { kind, marks, ignoresCase, endOf }: Detector,
  text: string,
  folded: string,
  counts: Map<string, number>,
): void {
  const searched = ignoresCase ? folded : text;
  let times = counts.get(kind) ?? 0;
  for (const mark of marks) {
    let from = 0;
    while (times < DETECT_COUNT_MAX) {
      const at = nextMark(mark, searched, from);
      if (at === null) break;
      const end = endOf(searched, at.start);
      if (end !== null) times += 1;
      // Behind the mark, at least: a match that ends before it would be found for ever.
      from = Math.max(at.end, end ?? 0);
    }
  }
  if (times > 0) counts.set(kind, times);
}

function nextMark(
  mark: string | RegExp,
  text: string,
  from: number,
): { readonly start: number; readonly end: number } | null {
  if (typeof mark === "string") {
    const start = text.indexOf(mark, from);
    return start < 0 ? null : { start, end: start + mark.length };
  }
  mark.lastIndex = from;
  const match = mark.exec(text);
  return match === null ? null : { start: match.index, end: match.index + match[0].length };
}

/** Letter by letter, so that places stay the same: folding all of Unicode would move them. */
function foldAscii(text: string): string {
  return /[A-Z]/.test(text) ? text.replaceAll(/[A-Z]+/g, (upper) => upper.toLowerCase()) : text;
}
