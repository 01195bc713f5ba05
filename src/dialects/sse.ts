import { textStart } from "../lib/byte-order-mark.ts";
import { addBytes, clearBytes, emptyBytes, joinParts, partsOf } from "./byte-store.ts";
import type { ByteStore } from "./byte-store.ts";

/**
 * Server-sent events, split by bytes (WHATWG HTML, "Interpreting an event stream"): a line ends with
 * LF, CRLF or CR, an event with an empty line. Bytes may be cut anywhere. Nothing is decoded here.
 */
export type EventSink = {
  /** One whole event, its closing empty line included. */
  readonly event: (bytes: Uint8Array) => void;
  /** Bytes that belong to the event before: the LF of a CRLF that was cut. */
  readonly trail: (bytes: Uint8Array) => void;
  /** Part of an event longer than the splitter may hold; the event's other parts come this way too. */
  readonly oversized: (bytes: Uint8Array) => void;
};

export type EventSplitter = {
  readonly push: (chunk: Uint8Array) => void;
  /** The bytes of an event that the end of the stream cut short; empty when it ended between events. */
  readonly take: () => Uint8Array;
  /** Whether the bytes so far end between two events. */
  readonly isBetween: () => boolean;
  /** The same, and no LF of a cut CRLF can follow: a chunk of whole events may then pass beside the splitter. */
  readonly isClean: () => boolean;
  /** Whether an event is under way that is longer than may be held, and passes unread. */
  readonly isOversized: () => boolean;
};

export const LF = 0x0a;
export const CR = 0x0d;

const EMPTY = new Uint8Array(0);

/** Where a splitter stands between two chunks. */
type Splitting = {
  readonly held: ByteStore;
  lineHasBytes: boolean;
  /** The last byte was a CR: an LF behind it belongs to it, and to a line or to a whole event. */
  afterCr: "no" | "line" | "event";
  isOversized: boolean;
};

/** Splits a stream into events for `sink`, holding at most `bytesMax` of an incomplete one. */
export function createEventSplitter(sink: EventSink, bytesMax: number): EventSplitter {
  const at: Splitting = {
    held: emptyBytes(),
    lineHasBytes: false,
    afterCr: "no",
    isOversized: false,
  };
  const isBetween = (): boolean => at.held.length === 0 && !at.isOversized && !at.lineHasBytes;
  return {
    push: (chunk) => keep(at, sink, splitChunk(at, sink, chunk), bytesMax),
    take: () => take(at),
    isBetween,
    isClean: () => isBetween() && at.afterCr === "no",
    isOversized: () => at.isOversized,
  };
}

/** Gives each event that ends in the chunk to the sink, and answers what is left of the chunk. */
function splitChunk(at: Splitting, sink: EventSink, chunk: Uint8Array): Uint8Array {
  const length = chunk.length;
  if (length === 0) return chunk;
  let start = 0;
  let index = 0;
  if (at.afterCr !== "no" && chunk[0] === LF) {
    index = 1;
    if (at.afterCr === "event") {
      start = 1;
      sink.trail(chunk.subarray(0, 1));
    }
  }
  at.afterCr = "no";
  while (index < length) {
    const lineStart = index;
    while (index < length && chunk[index] !== LF && chunk[index] !== CR) index += 1;
    if (index > lineStart) at.lineHasBytes = true;
    if (index === length) break;
    const byte = chunk[index];
    index += 1;
    const isBlank = !at.lineHasBytes;
    at.lineHasBytes = false;
    if (byte === CR && index < length && chunk[index] === LF) index += 1;
    else if (byte === CR && index === length) at.afterCr = isBlank ? "event" : "line";
    if (isBlank) {
      finish(at, sink, chunk.subarray(start, index));
      start = index;
    }
  }
  return start === 0 ? chunk : chunk.subarray(start);
}

function finish(at: Splitting, sink: EventSink, last: Uint8Array): void {
  if (at.isOversized) {
    at.isOversized = false;
    sink.oversized(last);
    return;
  }
  if (at.held.length === 0) {
    sink.event(last);
    return;
  }
  addBytes(at.held, last);
  const whole = joinParts(at.held);
  clearBytes(at.held);
  sink.event(whole);
}

function keep(at: Splitting, sink: EventSink, rest: Uint8Array, bytesMax: number): void {
  if (rest.length === 0) return;
  if (!at.isOversized && at.held.length + rest.length > bytesMax) {
    at.isOversized = true;
    for (const part of partsOf(at.held)) sink.oversized(part);
    clearBytes(at.held);
  }
  if (at.isOversized) {
    sink.oversized(rest);
    return;
  }
  addBytes(at.held, rest);
}

function take(at: Splitting): Uint8Array {
  const rest = at.held.length === 0 ? EMPTY : joinParts(at.held);
  clearBytes(at.held);
  at.lineHasBytes = false;
  return rest;
}

/** How a stream of events begins: with a field that the standard knows, or with a comment. */
const BEGINNINGS = ["data:", "event:", "id:", "retry:", ":"];

/** Line ends before the first field, which servers send to keep a connection: a document does not begin with so many. */
const LINE_ENDS_MAX = 512;

/** Whether an answer begins as a stream of events does; null while too few of its bytes are there to say. */
export function beginsEvents(bytes: Uint8Array): boolean | null {
  let at = textStart(bytes);
  while (bytes[at] === LF || bytes[at] === CR) at += 1;
  if (at >= LINE_ENDS_MAX) return true;
  const text = String.fromCharCode(...bytes.subarray(at, at + 6));
  if (BEGINNINGS.some((beginning) => text.startsWith(beginning))) return true;
  // Half a mark, or half a name.
  const isOpen = at === 0 && bytes.length < 3 && "\u00ef\u00bb\u00bf".startsWith(text);
  return isOpen || BEGINNINGS.some((beginning) => beginning.startsWith(text)) ? null : false;
}

/** Behind the first event that ends at or behind `from`, or -1; an end by CR alone is left to the splitter. */
export function firstEventEnd(chunk: Uint8Array, from: number): number {
  let end = chunk.indexOf(LF, from) + 1;
  while (end > 0 && !endsEvent(chunk, from, end)) end = chunk.indexOf(LF, end) + 1;
  return end > 0 ? end : -1;
}

/** Behind the last event that ends at or before `to`, or `from` where none does. */
export function lastEventEnd(chunk: Uint8Array, from: number, to: number): number {
  let end = to;
  while (end > from && !endsEvent(chunk, from, end)) end -= 1;
  return end;
}

/** Whether the bytes before `end` close an event that lies behind `from` as a whole. */
function endsEvent(chunk: Uint8Array, from: number, end: number): boolean {
  if (chunk[end - 1] !== LF || end - 2 < from) return false;
  const before = chunk[end - 2];
  return before === LF || (before === CR && end - 3 >= from && chunk[end - 3] === LF);
}

/** Where one `data` line's text stands. */
export type Span = { readonly start: number; readonly end: number };

/** The fields of one event: its `event` name as bytes span, and the spans of its `data` lines. */
export type EventFields = { readonly name: Span | null; readonly data: readonly Span[] };

const DATA = [0x64, 0x61, 0x74, 0x61];
const EVENT = [0x65, 0x76, 0x65, 0x6e, 0x74];

/** Reads the lines of one event: comments and other fields are passed over, one space after the colon is cut. */
export function readEvent(bytes: Uint8Array): EventFields {
  let name: Span | null = null;
  const data: Span[] = [];
  const end = bytes.length;
  let start = textStart(bytes);
  while (start < end) {
    let stop = start;
    while (stop < end && bytes[stop] !== LF && bytes[stop] !== CR) stop += 1;
    const text = fieldText(bytes, start, stop, DATA);
    if (text === null) name = fieldText(bytes, start, stop, EVENT) ?? name;
    else data.push(text);
    start = bytes[stop] === CR && bytes[stop + 1] === LF ? stop + 2 : stop + 1;
  }
  return { name, data };
}

function fieldText(
  bytes: Uint8Array,
  start: number,
  end: number,
  name: readonly number[],
): Span | null {
  for (let index = 0; index < name.length; index += 1) {
    if (bytes[start + index] !== name[index]) return null;
  }
  const colon = start + name.length;
  if (colon === end) return { start: end, end };
  if (colon > end || bytes[colon] !== 0x3a) return null;
  return { start: bytes[colon + 1] === 0x20 && colon + 1 < end ? colon + 2 : colon + 1, end };
}

/** The data of an event as the standard joins it: its lines with LF between them. */
export function joinData(bytes: Uint8Array, data: readonly Span[]): Uint8Array {
  const only = data[0];
  if (only === undefined) return EMPTY;
  if (data.length === 1) return bytes.subarray(only.start, only.end);
  let length = data.length - 1;
  for (const span of data) length += span.end - span.start;
  const whole = new Uint8Array(length).fill(LF);
  let at = 0;
  for (const span of data) {
    whole.set(bytes.subarray(span.start, span.end), at);
    at += span.end - span.start + 1;
  }
  return whole;
}
