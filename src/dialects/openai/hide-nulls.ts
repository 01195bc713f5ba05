import { CR, LF } from "../sse.ts";
import { isSpace } from "./members.ts";
import { nullEnd, startsWith } from "./marks.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Takes every top-level `"usage": null` out of a chunk of whole events in one walk, without building
 * anything: the upstream writes one on each chunk of a stream whose usage we asked for. Answers null
 * where the chunk is not plainly one line of `data` to an event; the events are then taken one by one,
 * by `hideUsage`, with the same result.
 */
export function hideNulls(bytes: Uint8Array): Uint8Array | null {
  const cuts: number[] = [];
  let depth = 0;
  let index = 0;
  let isLineStart = true;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === LF || byte === CR) {
      if (depth !== 0) return null;
      isLineStart = true;
      index += 1;
      continue;
    }
    if (isLineStart) {
      if (!startsWith(bytes, index, "data:")) return null;
      isLineStart = false;
    }
    if (byte === QUOTE) {
      const end = stringEnd(bytes, index + 1);
      if (end < 0) return null;
      if (depth === 1) noteNull(bytes, index, end, cuts);
      index = end;
      continue;
    }
    if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if (byte === 0x7d || byte === 0x5d) depth -= 1;
    index += 1;
  }
  return depth === 0 ? withoutCuts(bytes, cuts) : null;
}

/** Just behind the closing quote, or -1 where the line ends first. */
function stringEnd(bytes: Uint8Array, from: number): number {
  let index = from;
  while (index < bytes.length) {
    const byte = bytes[index];
    if (byte === QUOTE) return index + 1;
    if (byte === LF || byte === CR) return -1;
    index += byte === BACKSLASH ? 2 : 1;
  }
  return -1;
}

/** Notes the range of the member whose name stands at `start`, with one of its commas, if it is the null usage. */
function noteNull(bytes: Uint8Array, start: number, end: number, cuts: number[]): void {
  if (end - start !== 7 || !startsWith(bytes, start, '"usage"')) return;
  const valueEnd = nullEnd(bytes, end);
  if (valueEnd < 0) return;
  let next = valueEnd;
  while (isSpace(bytes[next])) next += 1;
  if (bytes[next] === 0x2c) {
    next += 1;
    while (isSpace(bytes[next])) next += 1;
    cuts.push(start, next);
    return;
  }
  let before = start;
  while (isSpace(bytes[before - 1])) before -= 1;
  if (bytes[before - 1] !== 0x2c) {
    cuts.push(start, valueEnd);
    return;
  }
  before -= 1;
  while (isSpace(bytes[before - 1])) before -= 1;
  cuts.push(before, valueEnd);
}

/** Ranges in their order: start, end, start, end. */
export function withoutCuts(bytes: Uint8Array, cuts: readonly number[]): Uint8Array {
  if (cuts.length === 0) return bytes;
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = Buffer.allocUnsafe(bytes.length);
  let from = 0;
  let to = 0;
  for (let index = 0; index < cuts.length; index += 2) {
    const start = cuts[index] ?? from;
    to += all.copy(out, to, from, start);
    from = cuts[index + 1] ?? start;
  }
  to += all.copy(out, to, from);
  return out.subarray(0, to);
}
