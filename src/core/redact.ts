/**
 * The obligation to redact: what is replaced of a text, and when a call cannot be sent so.
 *
 * A placeholder is the kind in brackets, `[email]`, cut to the length of what it replaces. So a body never
 * grows, and the bound that was built on its bytes stays one.
 */
import { type Findings, findIn, type Found, isNamed } from "./detect.ts";
import type { Facts } from "./facts.ts";
import type { Intent } from "./intent.ts";
import { DETECT_CHARS_MAX } from "./limits-policy.ts";
import type { Obligations } from "./policy-judge.ts";

/** The characters from `start` to `end` give way to `text`, which is ASCII and no longer. */
export type Replacement = { readonly start: number; readonly end: number; readonly text: string };

/** In their order, none overlapping another: what overlaps is replaced as one, by the kind that begins first. */
export function replacementsIn(text: string, names: readonly string[]): readonly Replacement[] {
  const found = findIn(text, names).map((each) => ({ ...each, start: behindEscape(text, each) }));
  const merged: Found[] = [];
  for (const each of found.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = merged.at(-1);
    if (last === undefined || each.start >= last.end) merged.push(each);
    else if (each.end > last.end) merged[merged.length - 1] = { ...last, end: each.end };
  }
  return merged.map(({ start, end, kind }) => ({
    start,
    end,
    // No match is shorter than three characters, and each takes a byte or more.
    text: `[${kind.slice(0, end - start - 2)}]`,
  }));
}

/** In JSON within a text (the arguments of a call) a letter behind a backslash is of an escape, which stays whole. */
function behindEscape(text: string, { start }: Found): number {
  if (text[start - 1] !== "\\") return start;
  const escape = /^(?:u[0-9a-fA-F]{4}|[bfnrt])/.exec(text.slice(start, start + 5))?.[0] ?? "";
  return start + escape.length;
}

/** What is to be replaced in a call that passes; empty where nothing of it was found. */
export function redactionOf(
  names: readonly string[],
  findings: Findings | null,
): readonly string[] {
  return findings?.found.some((found) => isNamed(names, found)) === true ? names : [];
}

/** Why what must be redacted cannot be, for the caller; null where it can, or there is nothing to redact. */
export function whyNotRedacted(
  { findings }: Facts,
  { door, operation }: Intent,
  { redact }: Obligations,
): string | null {
  if (redact === null) return null;
  const { policy, names } = redact;
  const wants = `Policy \`${policy}\` has ${names.join(", ")} replaced in what is sent`;
  if (findings === null || !findings.complete) {
    return `${wants}, and not all texts of this could be searched for it: forms, uploads and routes that only pass through are not, nor are more than ${DETECT_CHARS_MAX} characters.`;
  }
  const kinds = findings.found.filter((found) => isNamed(names, found)).map(({ kind }) => kind);
  if (kinds.length === 0) return null;
  const holds = `${wants}. This holds ${kinds.join(", ")}`;
  if (door === "step") {
    return `${holds}, and its caller acts itself, so nothing can be replaced: ask without it.`;
  }
  if (!REDACTED.has(operation)) return `${holds}, and a call for ${operation} is not rewritten.`;
  const outside = kinds.filter((kind) => findings.outside.includes(kind));
  if (outside.length === 0) return null;
  return `${holds}, and ${outside.join(", ")} outside its content, in a name, an id, an address, a schema or the like, which are not rewritten.`;
}

/** Whose bodies are JSON. Speech is priced by its characters before it is sent, so its text stays. */
const REDACTED: ReadonlySet<Intent["operation"]> = new Set([
  "chat",
  "responses",
  "text_completion",
  "embeddings",
  "moderation",
  "image_generation",
]);
