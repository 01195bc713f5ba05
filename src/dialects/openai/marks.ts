/** What a chunk holds that matters, as bits. `USAGE_NULL` and `USAGE` differ in the value that follows. */
export const USAGE = 1;
export const USAGE_NULL = 2;
export const ERROR = 4;
export const FINISH = 8;
export const DONE = 16;
export const TERMINAL = 32;
export const CALL = 64;

/** Marks for which an event is parsed. */
export const MATTERS = USAGE | ERROR | FINISH | DONE | TERMINAL | CALL;

const QUOTE = 0x22;

/** Places of marks and the marks themselves are told in one number, for there are many and no object is wanted. */
const MARKS = 128;

/**
 * Looks once through the bytes for what decides about money or the end of a stream, or calls a tool. A mark
 * may be wrong in one direction only (text that happens to hold `[DONE]`): the event is then parsed and says
 * nothing. 0.4 µs for a chunk of 280 bytes, where decoding and parsing it takes 0.9.
 */
export function findMarks(bytes: Uint8Array): number {
  let marks = 0;
  for (let found = nextMark(bytes, 0); found >= 0; found = nextMark(bytes, placeOf(found) + 1)) {
    marks |= found % MARKS;
  }
  return marks;
}

/** What `findMarks` finds, up to the first mark that matters: whether a null usage is among it, and where it ends. */
export function findPlain(bytes: Uint8Array, from: number): { end: number; hasNull: boolean } {
  let hasNull = false;
  for (let found = nextMark(bytes, from); found >= 0; found = nextMark(bytes, placeOf(found) + 1)) {
    if (((found % MARKS) & MATTERS) !== 0) return { end: placeOf(found), hasNull };
    hasNull = true;
  }
  return { end: bytes.length, hasNull };
}

/** The first mark that begins between two places, as its bits; 0 where none does. */
export function firstMark(bytes: Uint8Array, from: number, to: number): number {
  const found = nextMark(bytes, from, to);
  return found < 0 ? 0 : found % MARKS;
}

function placeOf(found: number): number {
  return Math.floor(found / MARKS);
}

/** The first mark at or behind `from` and before `to`, as its place times `MARKS` and itself, or -1. */
function nextMark(bytes: Uint8Array, from: number, to: number = bytes.length): number {
  if (startsErrorEvent(bytes, from)) return from * MARKS + ERROR;
  // Every mark is longer than two bytes, so nothing is missed at the end, and no read leaves the array:
  // one that does makes the engine give up its fast path for the whole loop.
  const last = Math.min(to, bytes.length - 2);
  for (let index = from; index < last; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte > 0x5b) continue;
    let mark = 0;
    if (byte === QUOTE) {
      if (mayMark(bytes[index + 1], bytes[index + 2])) mark = markOfName(bytes, index + 1);
    } else if (byte === 0x5b) {
      if (bytes[index + 1] === 0x44 && startsWith(bytes, index + 1, "DONE]")) mark = DONE;
    } else if (byte === 0x0a || byte === 0x0d) {
      if (startsErrorEvent(bytes, index + 1)) mark = ERROR;
    }
    if (mark !== 0) return index * MARKS + mark;
  }
  return -1;
}

/** Whether a mark may begin here, by as much of it as stands before `end`. */
export function mayBegin(bytes: Uint8Array, at: number, end: number): boolean {
  const byte = bytes[at];
  if (byte === 0x5b || byte === 0x0a || byte === 0x0d) return true;
  return byte === QUOTE && (at + 2 >= end || mayMark(bytes[at + 1], bytes[at + 2]));
}

/** Most names are told apart by two letters, before anything larger is called. */
function mayMark(first: number | undefined, second: number | undefined): boolean {
  switch (first) {
    case 0x75: // us
      return second === 0x73;
    case 0x65: // er
      return second === 0x72;
    case 0x74: // tr, to
      return second === 0x72 || second === 0x6f;
    case 0x66: // fi, fu
      return second === 0x69 || second === 0x75;
    case 0x63: // cu
      return second === 0x75;
    case 0x72: // re
      return second === 0x65;
    case 0x73: // sp
      return second === 0x70;
    case 0x69: // im
      return second === 0x6d;
    default:
      return false;
  }
}

function markOfName(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case 0x75:
      if (!startsWith(bytes, at, 'usage"')) return 0;
      return nullEnd(bytes, at + 6) >= 0 ? USAGE_NULL : USAGE;
    case 0x65:
      return startsWith(bytes, at, 'error"') && nullEnd(bytes, at + 6) < 0 ? ERROR : 0;
    case 0x66:
      if (startsWith(bytes, at, 'function_call"')) return nullEnd(bytes, at + 14) < 0 ? CALL : 0;
      return startsWith(bytes, at, 'finish_reason"') && nullEnd(bytes, at + 14) < 0 ? FINISH : 0;
    case 0x72:
      return startsWith(bytes, at, "response.") && endsResponse(bytes, at + 9) ? TERMINAL : 0;
    case 0x63:
      return startsWith(bytes, at, 'custom_tool_call"') ? CALL : 0;
    case 0x74:
      if (startsWith(bytes, at, 'tool_calls"')) return holdsCalls(bytes, at + 11) ? CALL : 0;
      return startsWith(bytes, at, 'transcript.text.done"') ? TERMINAL : 0;
    case 0x73:
      return startsWith(bytes, at, 'speech.audio.done"') ? TERMINAL : 0;
    case 0x69:
      return endsImage(bytes, at) ? TERMINAL : 0;
    default:
      return 0;
  }
}

/** Some name the list in every event, null or empty; and as a finish reason the name is a value. */
function holdsCalls(bytes: Uint8Array, from: number): boolean {
  let at = from;
  while (bytes[at] === 0x20) at += 1;
  if (bytes[at] !== 0x3a) return false;
  at += 1;
  while (bytes[at] === 0x20) at += 1;
  return !startsWith(bytes, at, "null") && !startsWith(bytes, at, "[]");
}

function endsImage(bytes: Uint8Array, at: number): boolean {
  return (
    startsWith(bytes, at, 'image_generation.completed"') ||
    startsWith(bytes, at, 'image_edit.completed"')
  );
}

function endsResponse(bytes: Uint8Array, at: number): boolean {
  return (
    startsWith(bytes, at, 'completed"') ||
    startsWith(bytes, at, 'failed"') ||
    startsWith(bytes, at, 'incomplete"')
  );
}

/** Groq names an error by the event's own field, `event: error`. */
function startsErrorEvent(bytes: Uint8Array, at: number): boolean {
  if (at + 1 >= bytes.length || bytes[at] !== 0x65 || bytes[at + 1] !== 0x76) return false;
  return startsWith(bytes, at, "event: error") || startsWith(bytes, at, "event:error");
}

/** Where `: null` ends that stands behind a name, or -1 where another value does. */
export function nullEnd(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20) at += 1;
  if (bytes[at] !== 0x3a) return -1;
  at += 1;
  while (bytes[at] === 0x20) at += 1;
  return startsWith(bytes, at, "null") ? at + 4 : -1;
}

export function startsWith(bytes: Uint8Array, at: number, text: string): boolean {
  if (at + text.length > bytes.length) return false;
  for (let index = 0; index < text.length; index += 1) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}
