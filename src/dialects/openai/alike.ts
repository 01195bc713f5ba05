/**
 * Most events of a stream differ in a word: what stands before it and behind it is the same to the byte. Of two events in
 * which nothing matters a template is made, and an event that begins and ends like it is compared natively and looked
 * through only where it differs: to look at every byte was a fourth of what a stream cost.
 *
 * An event is alike only if every byte that is not looked at is one that was looked at before, at the same distance from
 * the event's beginning or end. Names of marks are looked for from MARGIN before the difference, and read on behind
 * it, so none is missed that lies across.
 */
import { CR, LF } from "../sse.ts";
import { hideNulls } from "./hide-nulls.ts";
import { firstMark, mayBegin } from "./marks.ts";

export type Template = {
  readonly head: Buffer;
  readonly tail: Buffer;
  /** From where in the head a mark may begin that ends behind it. */
  readonly lookFrom: number;
  /** Where the null usage stands, counted from the event's end; null where it has none, or none is hidden. */
  readonly cut: { readonly from: number; readonly to: number } | null;
};

/** Longer than any mark with what stands between its name and its value. */
const MARGIN = 64;

/** Shorter ends save nothing. */
const ENDS_MIN = 64;

const END = Buffer.from("\n\n");

/** Of whole events in which nothing matters, the last two; null where they are not alike, or not of one line ending. */
export function templateOf(events: Uint8Array, hides: boolean): Template | null {
  const bytes = asBuffer(events);
  if (bytes.length < 4 || !bytes.subarray(-2).equals(END) || bytes.includes(CR)) return null;
  const start = startOfLast(bytes, bytes.length);
  if (start === 0) return null;
  const last = bytes.subarray(start);
  const before = bytes.subarray(startOfLast(bytes, start), start);
  const most = Math.min(last.length, before.length);
  let head = 0;
  while (head < most && last[head] === before[head]) head += 1;
  let tail = 0;
  while (tail < most - head && last[last.length - 1 - tail] === before[before.length - 1 - tail]) {
    tail += 1;
  }
  if (head + tail < ENDS_MIN) return null;
  const cut = hides ? cutOf(last) : null;
  // What is cut must be of the part that is the same.
  if (cut === undefined || (cut !== null && cut.from > tail)) return null;
  // Copies: the chunk that they stand in is not kept for them.
  return {
    lookFrom: firstOpen(last, head),
    head: Buffer.from(last.subarray(0, head)),
    tail: Buffer.from(last.subarray(last.length - tail)),
    cut,
  };
}

/** The first place near the head's end where a mark may begin that ends behind it. */
function firstOpen(event: Buffer, head: number): number {
  for (let at = Math.max(0, head - MARGIN); at < head; at += 1) {
    if (mayBegin(event, at, head)) return at;
  }
  return head;
}

function startOfLast(bytes: Buffer, end: number): number {
  const before = bytes.lastIndexOf(END, end - END.length - 1);
  return before < 0 || before >= end - END.length ? 0 : before + END.length;
}

/** The one range that is hidden of an event, from its end; null where nothing is; undefined where it is not one. */
function cutOf(event: Buffer): Template["cut"] | undefined {
  const shown = hideNulls(event);
  if (shown === null) return undefined;
  const length = event.length - shown.length;
  if (length === 0) return null;
  let from = 0;
  while (from < shown.length && event[from] === shown[from]) from += 1;
  // Where bytes around a cut are the same, several places give the same text: any of them will do.
  if (!event.subarray(from + length).equals(shown.subarray(from))) return undefined;
  return { from: event.length - from, to: event.length - from - length };
}

export type Alike = {
  /** Behind the last event that is like the template, at or behind where it was asked from. */
  readonly end: number;
  /** Ranges to be hidden: start, end, start, end. */
  readonly cuts: readonly number[];
};

/** The events from `from` on, as many as are like the template and hold nothing that matters. */
export function eventsAlike(
  { head, tail, lookFrom, cut }: Template,
  chunk: Uint8Array,
  from: number,
): Alike {
  const bytes = asBuffer(chunk);
  const cuts: number[] = [];
  let at = from;
  while (at + head.length < bytes.length) {
    const middle = at + head.length;
    if (bytes.compare(head, 0, head.length, at, middle) !== 0) break;
    // The tail ends with an event; that it is this one, no line ends before it.
    const middleEnd = bytes.indexOf(tail, middle);
    if (middleEnd < 0 || hasLineEnd(bytes, middle, middleEnd)) break;
    // Any at all, a null usage included: what stands elsewhere than in the template is hidden the long way.
    if (firstMark(bytes, at + lookFrom, middleEnd) !== 0) break;
    const end = middleEnd + tail.length;
    if (cut !== null) cuts.push(end - cut.from, end - cut.to);
    at = end;
  }
  return { end: at, cuts };
}

/** Then it has other lines than the template, and what stands at its end may stand in another object. */
function hasLineEnd(bytes: Buffer, from: number, to: number): boolean {
  for (let index = from; index < to; index += 1) {
    const byte = bytes[index];
    if (byte === LF || byte === CR) return true;
  }
  return false;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
