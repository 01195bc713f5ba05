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
import type { Detector, Span } from "./detector.ts";
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
  /** The kinds found in texts that are not content: names, ids, addresses, schemas. */
  readonly outside: readonly string[];
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
  outside: [],
};

/** There are no texts. */
export const NOTHING_FOUND: Findings = { ...NOT_SEARCHED, complete: true };

const GROUPS = [
  { group: "secrets", detectors: SECRET_DETECTORS },
  { group: "pii", detectors: PERSONAL_DETECTORS },
  { group: "injection", detectors: INJECTION_DETECTORS },
] as const;

/** What policies may name of findings: all of them, a group, or one kind. */
export const FINDING_NAMES: readonly string[] = [
  "all",
  ...FINDING_GROUPS,
  ...GROUPS.flatMap(({ detectors }) => detectors.map(({ kind }) => kind)),
];

export type Text = { readonly text: string; readonly isContent: boolean };

/** Searches each text by itself; beyond DETECT_CHARS_MAX in all the rest is left, and told to be. */
export function detect(texts: Iterable<Text>): Findings {
  const counts = new Map<string, number>();
  const outside = new Set<string>();
  let left = DETECT_CHARS_MAX;
  let complete = true;
  for (const { text: whole, isContent } of texts) {
    if (whole.length > left) complete = false;
    const text = whole.length > left ? whole.slice(0, left) : whole;
    left -= text.length;
    if (text === "") continue;
    const searched = { text, folded: foldAscii(text) };
    for (const { detectors } of GROUPS) {
      for (const detector of detectors) {
        const { length } = spansIn(detector, searched, DETECT_COUNT_MAX);
        if (length === 0) continue;
        const { kind } = detector;
        counts.set(kind, Math.min(DETECT_COUNT_MAX, (counts.get(kind) ?? 0) + length));
        if (!isContent) outside.add(kind);
      }
    }
  }
  const found = GROUPS.flatMap(({ group, detectors }) =>
    detectors.flatMap(({ kind }) => {
      const times = counts.get(kind) ?? 0;
      return times === 0 ? [] : [{ kind, group, count: times }];
    }),
  );
  return findingsOf(found, complete, [...outside]);
}

export function findingsOf(
  found: Findings["found"],
  complete: boolean,
  outside: Findings["outside"],
): Findings {
  const sumOf = (name: FindingGroup) =>
    found.reduce((sum, { group, count: times }) => sum + (group === name ? times : 0), 0);
  return {
    secrets: sumOf("secrets"),
    pii: sumOf("pii"),
    injection: sumOf("injection"),
    found,
    complete,
    outside,
  };
}

/** What stands in a text of what is named, in the order in which it was found; some of it may overlap. */
export function findIn(text: string, names: readonly string[]): readonly Found[] {
  const searched = { text, folded: foldAscii(text) };
  return GROUPS.flatMap(({ group, detectors }) =>
    detectors
      .filter(({ kind }) => isNamed(names, { kind, group }))
      .flatMap((detector) =>
        spansIn(detector, searched, Infinity).map((span) => ({ ...span, kind: detector.kind })),
      ),
  );
}

export type Found = Span & { readonly kind: string };

export function isNamed(
  names: readonly string[],
  { kind, group }: { readonly kind: string; readonly group: string },
): boolean {
  return names.includes("all") || names.includes(group) || names.includes(kind);
}

/** Where the matches of a detector stand in a text, `most` of them; a text without any is not to cost anything. */
function spansIn(
  { marks, ignoresCase, spanOf }: Detector,
  { text, folded }: Folded,
  most: number,
): readonly Span[] {
  const searched = ignoresCase ? folded : text;
  let spans: Span[] | null = null;
  for (const mark of marks) {
    let at = nextMark(mark, searched, 0);
    while (at !== null && (spans === null || spans.length < most)) {
      const span = spanOf(searched, at.start);
      if (span !== null) (spans ??= []).push(span);
      // Behind the mark, at least: a match that ends before it would be found for ever.
      at = nextMark(mark, searched, Math.max(at.end, span?.end ?? 0));
    }
  }
  return spans ?? NONE;
}

const NONE: readonly Span[] = [];

/** A text, and the same in small letters. */
type Folded = { readonly text: string; readonly folded: string };

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
