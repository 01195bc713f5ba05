import { assert } from "../../lib/assert.ts";
import { isRecord, decodeUtf8, parseJson } from "../../lib/json.ts";
import type { Edits } from "../dialect.ts";
import { scanMembers } from "./members.ts";
import type { Member, Members, Names } from "./members.ts";
import { METADATA_PREFIX } from "./metadata.ts";
import { redactions } from "./redact.ts";

/** One replacement: the bytes from `start` to `end` give way to `text`. */
export type Splice = { readonly start: number; readonly end: number; readonly text: string };

const EDITED: Names = {
  model: true,
  max_tokens: true,
  max_completion_tokens: true,
  max_output_tokens: true,
  stream_options: true,
  metadata: true,
};

const LIMITS: Names = { max_tokens: true, max_completion_tokens: true, max_output_tokens: true };

const INCLUDE_USAGE: Names = { include_usage: true };

/**
 * Changes members of a JSON object by replacing bytes: what is not changed stays as the caller wrote
 * it, integers above 2^53, key order and white space included. Takes a body that `classify` accepted,
 * so no edited member stands there twice. Answers the same object when there is nothing to change.
 */
export function edit(body: Uint8Array, edits: Edits): Uint8Array {
  const { model, outputTokensMax, injectUsage, stripMetadata, redact } = edits;
  if (Object.keys(edits).length === 0) return body;
  const members = scanMembers(body, 0, EDITED);
  const splices: Splice[] = redact === undefined ? [] : redactions(body, redact);
  const inserts: string[] = [];
  if (model !== undefined) editModel(body, members, model, { splices, inserts });
  if (outputTokensMax !== undefined) {
    editLimit(body, members, outputTokensMax, { splices, inserts });
  }
  if (injectUsage) editUsage(body, members, { splices, inserts });
  const removed = stripMetadata ? removeMetadata(body, members, splices) : 0;
  if (inserts.length > 0) {
    const comma = members.count - removed > 0 ? "," : "";
    splices.push({ start: members.end, end: members.end, text: comma + inserts.join(",") });
  }
  return applySplices(body, splices);
}

type Changes = { readonly splices: Splice[]; readonly inserts: string[] };

function editModel(body: Uint8Array, members: Members, model: string, changes: Changes): void {
  const written = JSON.stringify(model);
  let isThere = false;
  for (const member of members.found) {
    if (member.name !== "model") continue;
    isThere = true;
    if (valueOf(body, member) !== model) changes.splices.push(replace(member, written));
  }
  if (!isThere) changes.inserts.push(`"model":${written}`);
}

/**
 * The named member is lowered or set, whatever other limit stands there: it is the one that the
 * upstream obeys. Others are lowered with it. One exception: `max_tokens` of a chat is a limit that
 * upstreams of `max_completion_tokens` obey too, or refuse; OpenAI answers 400 to both in one request
 * ("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported").
 */
function editLimit(
  body: Uint8Array,
  members: Members,
  limit: { readonly field: string; readonly value: number },
  changes: Changes,
): void {
  const written = String(limit.value);
  let isSet = false;
  let empty: Member | null = null;
  for (const member of members.found) {
    if (!Object.hasOwn(LIMITS, member.name)) continue;
    const value = valueOf(body, member);
    if (typeof value !== "number") {
      if (member.name === limit.field) empty = member;
      continue;
    }
    if (value > limit.value) changes.splices.push(replace(member, written));
    if (bindsAs(member.name, limit.field)) isSet = true;
  }
  if (isSet) return;
  if (empty === null) changes.inserts.push(`${JSON.stringify(limit.field)}:${written}`);
  else changes.splices.push(replace(empty, written));
}

function bindsAs(name: string, field: string): boolean {
  return name === field || (name === "max_tokens" && field === "max_completion_tokens");
}

function editUsage(body: Uint8Array, members: Members, changes: Changes): void {
  const options = members.found.find((member) => member.name === "stream_options");
  if (options === undefined) {
    changes.inserts.push('"stream_options":{"include_usage":true}');
    return;
  }
  if (body[options.valueStart] !== 0x7b) {
    changes.splices.push(replace(options, '{"include_usage":true}'));
    return;
  }
  const inner = scanMembers(body, options.valueStart, INCLUDE_USAGE);
  for (const member of inner.found) {
    if (member.exact && valueOf(body, member) !== true)
      changes.splices.push(replace(member, "true"));
  }
  if (inner.found.some((member) => member.exact)) return;
  const comma = inner.count > 0 ? "," : "";
  changes.splices.push({ start: inner.end, end: inner.end, text: `${comma}"include_usage":true` });
}

/** Answers how many members of the body itself went: one, when nothing of its metadata is left. */
function removeMetadata(body: Uint8Array, members: Members, splices: Splice[]): number {
  const metadata = members.found.find((member) => member.name === "metadata");
  if (metadata === undefined || body[metadata.valueStart] !== 0x7b) return 0;
  const inner = scanMembers(body, metadata.valueStart, null).found;
  const isOurs = (member: Member): boolean => member.name.startsWith(METADATA_PREFIX);
  if (!inner.some(isOurs)) return 0;
  if (inner.every(isOurs)) {
    splices.push(removal(metadata));
    return 1;
  }
  // A member goes together with the comma behind it; of the last ones, the comma before them goes.
  const tail = inner.findLastIndex((member) => !isOurs(member));
  for (let index = 0; index < tail; index += 1) {
    const member = inner[index];
    if (member !== undefined && isOurs(member)) splices.push(removal(member));
  }
  const start = inner[tail]?.valueEnd;
  const end = inner.at(-1)?.valueEnd;
  if (start !== undefined && end !== undefined && start < end)
    splices.push({ start, end, text: "" });
  return 0;
}

/** Takes a member out with one of its commas. */
export function removal(member: Member): Splice {
  const { start, valueEnd, prevEnd, nextStart } = member;
  if (nextStart >= 0) return { start, end: nextStart, text: "" };
  return { start: prevEnd >= 0 ? prevEnd : start, end: valueEnd, text: "" };
}

function replace(member: Member, text: string): Splice {
  return { start: member.valueStart, end: member.valueEnd, text };
}

/** The value of a small member; undefined for an object or array, which nobody here compares. */
export function valueOf(bytes: Uint8Array, member: Member): unknown {
  const text = decodeUtf8(bytes.subarray(member.valueStart, member.valueEnd));
  const parsed = text === null ? null : parseJson(text);
  return parsed === null || isRecord(parsed.value) ? undefined : parsed.value;
}

/** One for all: it keeps nothing between two texts. */
const UTF8 = new TextEncoder();

/** Applies splices that do not overlap, in one copy. */
export function applySplices(bytes: Uint8Array, splices: readonly Splice[]): Uint8Array {
  if (splices.length === 0) return bytes;
  const ordered = splices.map(({ start, end, text }) => ({
    start,
    end,
    bytes: UTF8.encode(text),
  }));
  ordered.sort((a, b) => a.start - b.start || a.end - b.end);
  let length = bytes.length;
  let end = 0;
  for (const splice of ordered) {
    assert(splice.start >= end && splice.end >= splice.start, "splices do not overlap");
    end = splice.end;
    length += splice.bytes.length - (splice.end - splice.start);
  }
  assert(end <= bytes.length, "splices lie within the text");
  // Not zeroed before, which took four times as long: each of its bytes is written below, or what stood in
  // this memory would be sent.
  const out = Buffer.allocUnsafe(length);
  let from = 0;
  let to = 0;
  for (const splice of ordered) {
    out.set(bytes.subarray(from, splice.start), to);
    to += splice.start - from;
    out.set(splice.bytes, to);
    to += splice.bytes.length;
    from = splice.end;
  }
  out.set(bytes.subarray(from), to);
  return out;
}
