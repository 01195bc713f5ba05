import { encodeId, ID_LENGTH, isBase32 } from "../lib/random-id.ts";

/** What an identifier names, so that one pasted in the wrong place is told as such. */
export const ID_PREFIXES = {
  tenant: "ten",
  key: "key",
  run: "run",
  step: "stp",
  attempt: "att",
  decision: "dec",
  policy: "pol",
  meter: "mtr",
  limit: "lim",
  approval: "apr",
  webhook: "whk",
  delivery: "dlv",
  closing: "cls",
  schedule: "rsc",
  reconciliation: "rec",
  event: "evt",
  outcome: "out",
  adjustment: "adj",
  request: "req",
} as const;

export type IdKind = keyof typeof ID_PREFIXES;

/** `dec_` and 26 characters: 48 bits of time, 80 of chance. Sorts by time within its kind. */
export function idOf(kind: IdKind, ms: number, random: Uint8Array): string {
  return `${ID_PREFIXES[kind]}_${encodeId(ms, random)}`;
}

/** Prefixes an already encoded identifier: what the entry composes with its own source. */
export function withPrefix(kind: IdKind, encoded: string): string {
  return `${ID_PREFIXES[kind]}_${encoded}`;
}

/** The decision of an attempt: `dec_X` and `att_X` are the same X. */
export function decisionIdOf(attemptId: string): string {
  return attemptId.startsWith("att_") ? `dec_${attemptId.slice(4)}` : attemptId;
}

/** The attempt that a decision is about. */
export function attemptIdOf(decisionId: string): string {
  return decisionId.startsWith("dec_") ? `att_${decisionId.slice(4)}` : decisionId;
}

/** Whether a text is an identifier of this kind, letter for letter. */
export function isId(kind: IdKind, text: string): boolean {
  const prefix = ID_PREFIXES[kind];
  if (text.length !== prefix.length + 1 + ID_LENGTH) return false;
  return text.startsWith(`${prefix}_`) && isEncoded(text.slice(prefix.length + 1));
}

/** Whether a text is the part behind the prefix. Its first character holds three bits: `0` to `7`. */
export function isEncoded(text: string): boolean {
  if (text.length !== ID_LENGTH || !"01234567".includes(text.charAt(0))) return false;
  return isBase32(text);
}
