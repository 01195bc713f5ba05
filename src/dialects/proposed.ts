import {
  JSON_DEPTH_MAX,
  JSON_NUMBER_CHARS_MAX,
  JSON_VALUES_MAX,
  TOOL_CALL_WORD_CHARS_MAX,
  TOOL_CALLS_CHARS_MAX,
  TOOL_CALLS_MAX,
} from "../core/limits.ts";
import type { Proposal } from "../core/proposal.ts";
import { canonicalJson, parseStrictJson } from "../lib/canonical-json.ts";
import { isExactNumber } from "../lib/exact-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { excessOf } from "../lib/json-bounds.ts";
import { clipped, isRecord } from "../lib/json.ts";

/**
 * The tool calls that a model asks for, while its answer tells them. Their arguments are held only until the
 * attempt is settled, which keeps their digests.
 */
export type Proposed = {
  readonly calls: ProposedCall[];
  /** The calls that may go on: of a chat by choice and index, of Responses by id. */
  readonly places: Map<string, ProposedCall>;
  /** Of all arguments that are held. */
  chars: number;
  /** There were more than are recorded. */
  hasMore: boolean;
  /** Something that may have held a piece of a call passed unread. */
  hasGap: boolean;
};

export type ProposedCall = {
  id: string | null;
  name: string;
  /** Null: no JSON is to be read of it, as it is free text, too long or not whole. */
  text: string | null;
};

export function emptyProposed(): Proposed {
  return { calls: [], places: new Map(), chars: 0, hasMore: false, hasGap: false };
}

/** Of calls that are too many to be read. */
export function noteMore(proposed: Proposed | null): Proposed {
  const noted = proposed ?? emptyProposed();
  noted.hasMore = true;
  return noted;
}

/** A further call at a place, or null where there are as many as are recorded. */
export function openCall(proposed: Proposed, place: string): ProposedCall | null {
  if (proposed.calls.length === TOOL_CALLS_MAX) {
    proposed.hasMore = true;
    return null;
  }
  const call: ProposedCall = { id: null, name: "", text: "" };
  proposed.calls.push(call);
  proposed.places.set(place, call);
  return call;
}

/** Takes a name where there was none, and the arguments as they are known by now. */
export function takeOver(
  proposed: Proposed,
  call: ProposedCall,
  { name, text }: { readonly name: unknown; readonly text: string | null },
): void {
  if (call.name === "") call.name = wordOf(name);
  proposed.chars -= call.text?.length ?? 0;
  const fits = text !== null && proposed.chars + text.length <= TOOL_CALLS_CHARS_MAX;
  call.text = fits ? text : null;
  proposed.chars += call.text?.length ?? 0;
}

/** A name or an id, as it can stand in a record. */
export function wordOf(value: unknown): string {
  return typeof value === "string" ? clipped(value, TOOL_CALL_WORD_CHARS_MAX) : "";
}

/** What is recorded of them. */
export function proposalsOf(proposed: Proposed): readonly Proposal[] {
  const isReadable = !proposed.hasGap && !isExcessive(proposed);
  return proposed.calls.map(({ id, name, text }) => ({
    id,
    name,
    argumentsSha256: isReadable && text !== null ? digestOf(text) : null,
  }));
}

/** All together they are no more than one question to the gate may hold, which bounds the time that they take. */
function isExcessive({ calls }: Proposed): boolean {
  const texts = calls.map(({ text }) => text ?? "").join(",");
  const bounds = { valuesMax: JSON_VALUES_MAX, numberCharsMax: JSON_NUMBER_CHARS_MAX };
  return excessOf(texts, bounds) !== null;
}

/**
 * The digest that a call with these arguments has at a door of tools. Arguments are an object, of which it can be
 * seen that it is whole; and nothing else is carried out.
 */
function digestOf(text: string): string | null {
  const read = parseStrictJson(text, JSON_DEPTH_MAX);
  if (read.kind === "refused") return null;
  const { value } = read;
  return isRecord(value) && !isExactNumber(value) ? sha256Hex(canonicalJson(value)) : null;
}
