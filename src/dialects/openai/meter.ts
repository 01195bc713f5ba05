import {
  ANSWER_BYTES_MAX,
  STREAM_TEXT_BYTES_MAX,
  TOOL_CALLS_READ_BYTES_MAX,
} from "../../core/limits.ts";
import type { Operation } from "../../core/intent.ts";
import { textStart } from "../../lib/byte-order-mark.ts";
import { decodeUtf8, isList, isRecord } from "../../lib/json.ts";
import { addBytes, clearBytes, emptyBytes, joinParts, partsOf } from "../byte-store.ts";
import type { ByteStore } from "../byte-store.ts";
import type { Meter, Route } from "../dialect.ts";
import { textOfAnswer } from "./delivered.ts";
import { readLastMembers } from "./last-members.ts";
import { isSpace, scanMembers } from "./members.ts";
import type { Member, Members, Names } from "./members.ts";
import { noteMore } from "../proposed.ts";
import { mayPropose, noteProposed } from "./note-proposed.ts";
import { emptyNotes, noteJson, readingOf } from "./reading.ts";
import type { Notes } from "./reading.ts";
import { createStreamMeter } from "./stream-meter.ts";
import { parseTelling } from "./usage.ts";

export type MeterOptions = {
  readonly stream: boolean;
  /** We asked for usage in the client's stead, and the client must not see it. */
  readonly hideUsage: boolean;
  /** Its head says that its bytes are encoded, though nothing but identity was asked for: they are not undone. */
  readonly isEncoded?: boolean;
};

/** The members of an answer that say what was used; the rest of it, however long, is not built. */
const TELLING: Names = {
  id: true,
  model: true,
  usage: true,
  x_groq: true,
  service_tier: true,
  error: true,
  duration: true,
};

/** The same, and where tool calls stand. */
const READ: Names = { ...TELLING, choices: true, output: true };

const EMPTY = new Uint8Array(0);

/** Listens to one answer of a route. */
export function createMeter(route: Route, options: MeterOptions): Meter {
  const notes = emptyNotes();
  if (options.isEncoded === true) notes.isUnread = true;
  // In encoded bytes nobody sees an event, or that a marker is missing.
  return options.stream && options.isEncoded !== true
    ? createStreamMeter(route, options.hideUsage, notes)
    : createAnswerMeter(route, notes, options);
}

/**
 * An answer up to here is built whole, which costs less than to find and to read its members one by one: a short
 * chat took 18 µs, of which five members were twelve.
 */
const PARSED_BYTES_MAX = 4_096;

/** What is kept of each end of an answer longer than ANSWER_BYTES_MAX: usage stands at one of them. */
const END_BYTES = 65_536;

/** An answer too long to be kept: its first bytes, and its last, in a buffer that is shifted when full. */
type Ends = { readonly head: Uint8Array; readonly tail: Uint8Array; filled: number };

/** Meters an answer that is one document: its bytes pass, and it is read when it has ended. */
function createAnswerMeter(route: Route, notes: Notes, { isEncoded }: MeterOptions): Meter {
  // Speech answers with sound, which says nothing and may be long.
  const isRead = route.operation !== "speech";
  const kept = emptyBytes();
  let ends: Ends | null = null;

  function push(chunk: Uint8Array): Uint8Array {
    if (notes.progress === "none" && chunk.length > 0) notes.progress = "started";
    if (!isRead || chunk.length === 0) return chunk;
    if (ends === null && kept.length + chunk.length > ANSWER_BYTES_MAX) {
      ends = endsOf(kept, chunk);
      clearBytes(kept);
    }
    if (ends === null) addBytes(kept, chunk);
    else addTail(ends, chunk);
    return chunk;
  }

  function flush(): Uint8Array {
    if (ends !== null) readEnds(notes, ends, route);
    else if (isRead) readWhole(notes, joinParts(kept), route);
    // Of what is encoded nobody sees where it ends.
    const isUnseen = !isRead || isEncoded === true;
    if (isUnseen && notes.progress === "started") notes.progress = "complete";
    return EMPTY;
  }

  function deliveredText(): string {
    if (kept.length === 0) return "";
    return textOfAnswer(joinParts(kept), route.operation).slice(0, STREAM_TEXT_BYTES_MAX);
  }

  return {
    push,
    flush,
    reading: () => readingOf(notes),
    deliveredText,
    betweenEvents: () => false,
    nextSequence: () => 0,
  };
}

/** Operations that answer with one JSON object. A transcript may be plain text, and speech is sound. */
export const OBJECTS: ReadonlySet<Operation> = new Set([
  "chat",
  "responses",
  "text_completion",
  "embeddings",
  "moderation",
  "image_generation",
]);

function readWhole(notes: Notes, whole: Uint8Array, route: Route): void {
  const small = whole.length > PARSED_BYTES_MAX ? null : read(whole, 0, whole.length);
  if (isRecord(small)) {
    noteJson(notes, tellingOf(small, route), route.operation);
    notes.proposed = noteProposed(null, small, route.operation);
    notes.progress = "complete";
    noteMissing(notes, route, isList(small["choices"]) || isList(small["output"]));
    return;
  }
  const first = firstOf(whole);
  const members = whole[first] === BRACE ? scanMembers(whole, first, READ) : null;
  if (members === null) {
    // What is no object (encoded, a page of some proxy, nothing at all) tells nothing of what was used.
    if (OBJECTS.has(route.operation)) notes.isUnread = true;
    if (notes.progress === "started") notes.progress = "complete";
    return;
  }
  noteJson(notes, telling(notes, whole, members, route), route.operation);
  noteCalls(notes, whole, members, route);
  const holds = ({ name, exact, valueStart }: Member): boolean =>
    exact && (name === "choices" || name === "output") && whole[valueStart] === BRACKET;
  noteMissing(notes, route, members.found.some(holds));
  // Only a document can be seen to be cut.
  notes.progress = members.closed ? "complete" : "started";
}

/** Operations whose answer holds what was generated, as `choices` or `output`. */
const GENERATING: ReadonlySet<Operation> = new Set(["chat", "responses", "text_completion"]);

/** An answer without what was generated tells nothing of its cost: it may come later, elsewhere. An error says why. */
function noteMissing(notes: Notes, route: Route, hasGenerated: boolean): void {
  if (hasGenerated || notes.error !== null) return;
  if (GENERATING.has(route.operation)) notes.isUnread = true;
}

const BRACE = 0x7b;
const BRACKET = 0x5b;

/** Where the text begins: behind a byte order mark, and space. */
function firstOf(bytes: Uint8Array): number {
  let first = textStart(bytes);
  while (isSpace(bytes[first])) first += 1;
  return first;
}

/** Builds the choices or the output of an answer only where a tool call stands in them. */
function noteCalls(notes: Notes, whole: Uint8Array, members: Members, route: Route): void {
  const name = route.operation === "chat" ? "choices" : "output";
  const member = members.found.findLast((found) => found.exact && found.name === name);
  if (member === undefined) return;
  const { valueStart, valueEnd } = member;
  if (!mayPropose(whole.subarray(valueStart, valueEnd), route.operation)) return;
  if (valueEnd - valueStart > TOOL_CALLS_READ_BYTES_MAX) {
    notes.proposed = noteMore(notes.proposed);
    return;
  }
  const answer = { [name]: read(whole, valueStart, valueEnd) };
  notes.proposed = noteProposed(notes.proposed, answer, route.operation);
}

function endsOf(kept: ByteStore, chunk: Uint8Array): Ends {
  const head = new Uint8Array(END_BYTES);
  let filled = 0;
  const ends: Ends = { head, tail: new Uint8Array(2 * END_BYTES), filled: 0 };
  const parts = partsOf(kept);
  for (const part of [...parts, chunk]) {
    if (filled === END_BYTES) break;
    const taken = part.subarray(0, END_BYTES - filled);
    head.set(taken, filled);
    filled += taken.length;
  }
  for (const part of parts) addTail(ends, part);
  return ends;
}

function addTail(ends: Ends, chunk: Uint8Array): void {
  const { tail } = ends;
  const last = chunk.length > END_BYTES ? chunk.subarray(chunk.length - END_BYTES) : chunk;
  if (ends.filled + last.length > tail.length) {
    tail.copyWithin(0, ends.filled - END_BYTES, ends.filled);
    ends.filled = END_BYTES;
  }
  tail.set(last, ends.filled);
  ends.filled += last.length;
}

/** Of an answer too long to be kept, the first and the last members of the document are read. */
function readEnds(notes: Notes, ends: Ends, route: Route): void {
  const { head } = ends;
  const first = firstOf(head);
  const tail = ends.tail.subarray(Math.max(0, ends.filled - END_BYTES), ends.filled);
  const last = readLastMembers(tail, TELLING);
  if (head[first] === BRACE && last.closed) {
    const members = scanMembers(head, first, TELLING);
    noteJson(notes, { ...valuesOf(head, members), ...last.values }, route.operation);
  }
  notes.isUnread = true;
  notes.progress = last.closed || head[first] !== BRACE ? "complete" : "started";
}

/** The members that say what was used, of an answer that was built whole. */
function tellingOf(
  answer: Readonly<Record<string, unknown>>,
  route: Route,
): Readonly<Record<string, unknown>> {
  if (route.operation === "image_generation" && !Object.hasOwn(answer, "usage")) return answer;
  const { id, model, usage, x_groq, service_tier, error, duration, choices } = answer;
  return { id, model, usage, x_groq, service_tier, error, duration, choices };
}

function telling(notes: Notes, whole: Uint8Array, members: Members, route: Route): unknown {
  const hasUsage = members.found.some((member) => member.exact && member.name === "usage");
  // Images without usage are counted, for which the whole document is built.
  if (route.operation === "image_generation" && !hasUsage) return read(whole, 0, whole.length);
  const values = valuesOf(whole, members);
  if (isRecord(values["usage"])) return values;
  const choices = members.found.findLast((found) => found.exact && found.name === "choices");
  if (choices === undefined) return values;
  // Some tell the usage with the choice.
  const { valueStart, valueEnd } = choices;
  if (!holdsUsage(whole.subarray(valueStart, valueEnd))) return values;
  if (valueEnd - valueStart > TOOL_CALLS_READ_BYTES_MAX) {
    notes.isUnread = true;
    return values;
  }
  return { ...values, choices: read(whole, valueStart, valueEnd) };
}

/** A native search, where building it would take ten times as long. */
function holdsUsage(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes('"usage"');
}

function valuesOf(bytes: Uint8Array, members: Members): Readonly<Record<string, unknown>> {
  const values: [string, unknown][] = [];
  for (const { name, exact, valueStart, valueEnd } of members.found) {
    if (exact && Object.hasOwn(TELLING, name))
      values.push([name, read(bytes, valueStart, valueEnd)]);
  }
  return Object.fromEntries(values);
}

function read(bytes: Uint8Array, start: number, end: number): unknown {
  const text = decodeUtf8(bytes.subarray(start, end));
  return text === null ? null : (parseTelling(text)?.value ?? null);
}
