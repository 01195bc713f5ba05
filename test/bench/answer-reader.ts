/**
 * Reads one HTTP/1.1 answer after another from the bytes of a connection, however they are split
 * (RFC 9112). Bodies are neither kept nor copied: their bytes are counted, and their last ones are
 * compared, where they lie, with those that were expected.
 *
 * What is not certain is a fault, not a guess: a length that is told twice or beside chunks, a framing
 * other than `chunked`, bytes after the end of an answer that nobody asked for.
 */

export type AnswerReader = {
  readonly expectedBytes: number;
  readonly expectedTail: Buffer;
  state: State;
  status: number;
  bodyBytes: number;
  tailIsRight: boolean;
  /** The server keeps the connection open after this answer. */
  keepsAlive: boolean;
  saysWhenToRetry: boolean;
  /** Bytes still to come of a body of known length, or of the current chunk. */
  remaining: number;
  /** The digits of a chunk's size, or the bytes of a trailer line, seen so far. */
  lineBytes: number;
  /** The part of the head that earlier reads brought; null when there is none. */
  headSoFar: Buffer | null;
  fault: string | null;
};

type State =
  | "head"
  | "sized"
  | "chunk_size"
  | "chunk_extension"
  | "chunk_data"
  | "chunk_end"
  | "trailer"
  | "until_close"
  | "whole"
  | "broken";

const HEAD_END = Buffer.from("\r\n\r\n");
/** As much as Node's own server lets through; no gateway of the bench sends a tenth of it. */
const HEAD_BYTES_MAX = 64 * 1024;
/** Eight hexadecimal digits are 4 GiB: more than any chunk of the bench. */
const SIZE_DIGITS_MAX = 8;
const LINE_BYTES_MAX = 8 * 1024;
const CR = 13;
const LF = 10;
const SEMICOLON = 59;

export const newAnswerReader = (expectedBytes: number, expectedTail: Buffer): AnswerReader => ({
  expectedBytes,
  expectedTail,
  state: "head",
  status: 0,
  bodyBytes: 0,
  tailIsRight: true,
  keepsAlive: true,
  saysWhenToRetry: false,
  remaining: 0,
  lineBytes: 0,
  headSoFar: null,
  fault: null,
});

/** Makes it ready for the next answer on the connection. */
export const expectAnswer = (reader: AnswerReader): void => {
  reader.state = "head";
  reader.status = 0;
  reader.bodyBytes = 0;
  reader.tailIsRight = true;
  reader.keepsAlive = true;
  reader.saysWhenToRetry = false;
  reader.headSoFar = null;
  reader.fault = null;
};

/** Takes the first `length` bytes of a buffer; the rest of it may hold anything. */
export const feed = (reader: AnswerReader, bytes: Buffer, length: number): void => {
  let at = 0;
  while (at < length && reader.state !== "broken") at = step(reader, bytes, at, length);
};

/** The connection has ended: an answer without a length is whole now, any other is cut. */
export const feedEnd = (reader: AnswerReader): void => {
  if (reader.state === "until_close") reader.state = "whole";
  else if (reader.state === "head" && reader.status === 0 && reader.headSoFar === null) {
    breakOff(reader, "the connection was closed before the answer");
  } else if (reader.state !== "whole" && reader.state !== "broken") {
    breakOff(reader, `the answer was cut after ${reader.bodyBytes} bytes of its body`);
  }
};

/** What is wrong with an answer that is over; null when it is the expected one. */
export const faultOfAnswer = (reader: AnswerReader): string | null => {
  if (reader.fault !== null) return reader.fault;
  if (reader.status !== 200) return `status ${reader.status}`;
  if (reader.bodyBytes !== reader.expectedBytes) {
    return `${reader.bodyBytes} bytes instead of ${reader.expectedBytes}`;
  }
  return reader.tailIsRight ? null : "another end than expected";
};

/** Whether an answer that is over turned the call away: 503, and when to come again. */
export const isShed = (reader: AnswerReader): boolean =>
  reader.fault === null && reader.status === 503 && reader.saysWhenToRetry;

/** Answers where to go on. */
const step = (reader: AnswerReader, bytes: Buffer, at: number, length: number): number => {
  switch (reader.state) {
    case "head":
      return readHead(reader, bytes, at, length);
    case "sized":
    case "chunk_data":
    case "until_close":
      return readBody(reader, bytes, at, length);
    case "chunk_size":
    case "chunk_extension":
      return readChunkSize(reader, bytes, at, length);
    case "chunk_end":
      return readChunkEnd(reader, bytes, at);
    case "trailer":
      return readTrailer(reader, bytes, at, length);
    case "whole":
      return breakOff(reader, "bytes after the end of the answer");
    case "broken":
      return length;
  }
};

const breakOff = (reader: AnswerReader, fault: string): number => {
  reader.state = "broken";
  reader.fault = fault;
  reader.keepsAlive = false;
  return Number.MAX_SAFE_INTEGER;
};

const readHead = (reader: AnswerReader, bytes: Buffer, at: number, length: number): number => {
  const before = reader.headSoFar;
  if (before === null) {
    // An end found beyond `length` is one of an earlier read; the first one found is the nearest.
    const end = bytes.indexOf(HEAD_END, at);
    if (end !== -1 && end + HEAD_END.length <= length) {
      takeHead(reader, bytes.toString("latin1", at, end + 2));
      return end + HEAD_END.length;
    }
  }
  const part = bytes.subarray(at, length);
  const joined = before === null ? Buffer.from(part) : Buffer.concat([before, part]);
  const end = joined.indexOf(HEAD_END);
  if (end === -1) {
    if (joined.length > HEAD_BYTES_MAX) return breakOff(reader, "a head without end");
    reader.headSoFar = joined;
    return length;
  }
  reader.headSoFar = null;
  takeHead(reader, joined.toString("latin1", 0, end + 2));
  return at + end + HEAD_END.length - (before?.length ?? 0);
};

const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: [^\r\n]*)?\r\n/u;
/** The only lines that matter here; one of them may come several times. */
const FRAMING =
  /\n(content-length|transfer-encoding|connection|retry-after)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)/giu;

/** `head` ends with the CRLF of its last line. */
const takeHead = (reader: AnswerReader, head: string): void => {
  const line = STATUS_LINE.exec(head);
  if (line === null) {
    breakOff(reader, `no status line: ${head.slice(0, 80)}`);
    return;
  }
  const status = Number(line[2]);
  // An interim answer: the real one follows.
  if (status >= 100 && status < 200 && status !== 101) return;
  reader.status = status;
  reader.keepsAlive = line[1] === "1";
  let size: string | null = null;
  let coding: string | null = null;
  for (const [, name = "", value = ""] of head.matchAll(FRAMING)) {
    const text = value.toLowerCase();
    // The names differ in length, and nothing else has to be told apart.
    if (name.length === "content-length".length) {
      if (size !== null && size !== text) return void breakOff(reader, "two lengths");
      size = text;
    } else if (name.length === "transfer-encoding".length) {
      coding = coding === null ? text : `${coding}, ${text}`;
    } else if (name.length === "retry-after".length) reader.saysWhenToRetry = true;
    else if (text.includes("close")) reader.keepsAlive = false;
    else if (text.includes("keep-alive")) reader.keepsAlive = true;
  }
  frame(reader, size, coding);
};

const frame = (reader: AnswerReader, size: string | null, coding: string | null): void => {
  if (coding !== null) {
    if (coding !== "chunked") breakOff(reader, `unknown transfer coding ${coding}`);
    else if (size !== null) breakOff(reader, "a length beside chunks");
    else startLine(reader, "chunk_size");
    return;
  }
  if (size !== null && !/^\d{1,15}$/u.test(size)) {
    breakOff(reader, `no length: ${size}`);
    return;
  }
  if (reader.status === 204 || reader.status === 304) reader.state = "whole";
  else if (size === null) {
    reader.state = "until_close";
    reader.keepsAlive = false;
  } else {
    reader.remaining = Number(size);
    reader.state = reader.remaining === 0 ? "whole" : "sized";
  }
};

const startLine = (reader: AnswerReader, state: "chunk_size" | "trailer"): void => {
  reader.state = state;
  reader.lineBytes = 0;
  reader.remaining = 0;
};

const readBody = (reader: AnswerReader, bytes: Buffer, at: number, length: number): number => {
  if (reader.state === "until_close") {
    countBody(reader, bytes, at, length);
    return length;
  }
  const end = Math.min(length, at + reader.remaining);
  reader.remaining -= end - at;
  countBody(reader, bytes, at, end);
  if (reader.remaining === 0) {
    reader.state = reader.state === "sized" ? "whole" : "chunk_end";
    reader.lineBytes = 0;
  }
  return end;
};

const countBody = (reader: AnswerReader, bytes: Buffer, from: number, to: number): void => {
  const { expectedTail, expectedBytes, bodyBytes } = reader;
  const end = bodyBytes + to - from;
  reader.bodyBytes = end;
  const tailAt = expectedBytes - expectedTail.length;
  if (end <= tailAt) return;
  for (let i = Math.max(bodyBytes, tailAt); i < end && i < expectedBytes; i += 1) {
    if (bytes[from + i - bodyBytes] !== expectedTail[i - tailAt]) reader.tailIsRight = false;
  }
};

const hexOf = (byte: number): number => {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
};

/** `size [; extension] CRLF`; an extension is passed over. `lineBytes` counts digits, then its bytes. */
const readChunkSize = (reader: AnswerReader, bytes: Buffer, at: number, length: number): number => {
  for (let i = at; i < length; i += 1) {
    const byte = bytes[i] ?? 0;
    if (byte === LF) {
      if (reader.state === "chunk_size") return breakOff(reader, "a chunk size without CR");
      if (reader.remaining === 0) startLine(reader, "trailer");
      else reader.state = "chunk_data";
      return i + 1;
    }
    if (reader.state === "chunk_extension") {
      reader.lineBytes += 1;
      if (reader.lineBytes > LINE_BYTES_MAX) return breakOff(reader, "a chunk size without end");
      continue;
    }
    const digit = hexOf(byte);
    if (digit !== -1) {
      reader.lineBytes += 1;
      if (reader.lineBytes > SIZE_DIGITS_MAX) return breakOff(reader, "a chunk too large");
      reader.remaining = reader.remaining * 16 + digit;
    } else if (reader.lineBytes > 0 && (byte === CR || byte === SEMICOLON || byte === 32)) {
      reader.state = "chunk_extension";
    } else return breakOff(reader, `no chunk size: byte ${byte}`);
  }
  return length;
};

const readChunkEnd = (reader: AnswerReader, bytes: Buffer, at: number): number => {
  const expected = reader.lineBytes === 0 ? CR : LF;
  if (bytes[at] !== expected) return breakOff(reader, "a chunk longer than its size");
  if (expected === LF) startLine(reader, "chunk_size");
  else reader.lineBytes = 1;
  return at + 1;
};

/** Lines up to an empty one. `lineBytes` counts the bytes of the current line, its CR left out. */
const readTrailer = (reader: AnswerReader, bytes: Buffer, at: number, length: number): number => {
  for (let i = at; i < length; i += 1) {
    const byte = bytes[i];
    if (byte === LF) {
      if (reader.lineBytes === 0) {
        reader.state = "whole";
        return i + 1;
      }
      reader.lineBytes = 0;
    } else if (byte !== CR) {
      reader.lineBytes += 1;
      if (reader.lineBytes > LINE_BYTES_MAX) return breakOff(reader, "a trailer without end");
    }
  }
  return length;
};
