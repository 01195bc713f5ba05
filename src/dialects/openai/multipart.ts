import { FORM_FIELD_BYTES_MAX, FORM_PARTS_MAX } from "../../core/limits.ts";
import { decodeUtf8 } from "../../lib/json.ts";

/** Reads small text fields from a multipart body that passes by; the bytes are not touched. */
export type MultipartFieldReader = {
  readonly push: (chunk: Uint8Array) => void;
  /** The fields whose end was seen; the first of a name counts, as it does for most servers. */
  readonly fields: () => Readonly<Record<string, string>>;
  /** Names that came more than once, or too long to read: what they say is not known. */
  readonly unclear: () => readonly string[];
  /** Whether the closing boundary was seen, or more parts than are read. */
  readonly isDone: () => boolean;
};

/** The boundary of a `content-type` header, or null where it names none that RFC 2046 allows. */
export function boundaryOf(contentType: string): string | null {
  if (!/^\s*multipart\/form-data\s*;/i.test(contentType)) return null;
  const match = /;\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70})(?=[\s;]|$))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2] ?? null;
  return boundary !== null && /^[\x21-\x7e ]+$/.test(boundary) ? boundary : null;
}

/** Bytes of one part's headers; a file name is the longest thing in them. */
const HEADER_BYTES_MAX = 8_192;

type State = {
  readonly delimiter: Uint8Array;
  readonly names: readonly string[];
  readonly found: Map<string, string>;
  readonly unclear: Set<string>;
  stage: "preamble" | "boundary" | "headers" | "body" | "done";
  /** Bytes kept of the stage at hand: of headers and wanted fields all, of other bodies the last few. */
  held: Uint8Array;
  /** The wanted field at hand, or null for a part that is passed over. */
  field: string | null;
  parts: number;
};

/**
 * Reads the fields `names` of a form with this boundary (RFC 7578), fed in any pieces. Files are passed
 * over by a native byte search; only a small tail of what has passed is kept.
 */
export function multipartFieldReader(
  boundary: string,
  names: readonly string[],
): MultipartFieldReader {
  const state: State = {
    delimiter: new TextEncoder().encode(`\r\n--${boundary}`),
    names,
    found: new Map(),
    unclear: new Set(),
    stage: "preamble",
    // The first boundary has no line break before it, so one is put there.
    held: new Uint8Array([0x0d, 0x0a]),
    field: null,
    parts: 0,
  };
  return {
    push: (chunk) => read(state, chunk),
    fields: () => Object.fromEntries(state.found),
    unclear: () => [...state.unclear],
    isDone: () => state.stage === "done",
  };
}

function read(state: State, chunk: Uint8Array): void {
  if (state.stage === "done" || chunk.length === 0) return;
  let rest = concat(state.held, chunk);
  let next: Uint8Array | null = rest;
  while (next !== null) {
    rest = next;
    next = step(state, rest);
  }
  state.held = keepOf(state, rest);
}

/** Takes one stage as far as it goes: the bytes behind it, or null when more are needed. */
function step(state: State, bytes: Uint8Array): Uint8Array | null {
  switch (state.stage) {
    case "preamble":
    case "body": {
      const at = indexOf(bytes, state.delimiter);
      if (at < 0) return null;
      if (state.stage === "body") closeField(state, bytes.subarray(0, at));
      state.stage = "boundary";
      return bytes.subarray(at + state.delimiter.length);
    }
    case "boundary": {
      if (bytes.length < 2) return null;
      state.parts += 1;
      const isLast = bytes[0] === 0x2d && bytes[1] === 0x2d;
      state.stage = isLast || state.parts > FORM_PARTS_MAX ? "done" : "headers";
      return bytes;
    }
    case "headers": {
      const end = indexOf(bytes, HEADERS_END);
      if (end < 0 && bytes.length <= HEADER_BYTES_MAX) return null;
      state.field = end < 0 ? null : fieldOf(state, bytes.subarray(0, end));
      state.stage = "body";
      // The line break that ends the headers may open the delimiter of an empty body.
      return end < 0 ? bytes : bytes.subarray(end + 2);
    }
    case "done":
      return null;
  }
}

const HEADERS_END = new Uint8Array([0x0d, 0x0a, 0x0d, 0x0a]);

/** What must be kept until more comes: a delimiter may be cut anywhere. */
function keepOf(state: State, bytes: Uint8Array): Uint8Array {
  if (state.stage === "done") return new Uint8Array(0);
  const isWhole = state.stage === "headers" || state.stage === "boundary" || state.field !== null;
  if (
    isWhole &&
    state.stage === "body" &&
    bytes.length > FORM_FIELD_BYTES_MAX + state.delimiter.length
  ) {
    if (state.field !== null) state.unclear.add(state.field);
    state.field = null;
  } else if (isWhole && state.stage !== "preamble") {
    return bytes.slice();
  }
  return bytes.slice(Math.max(0, bytes.length - state.delimiter.length));
}

function closeField(state: State, body: Uint8Array): void {
  const name = state.field;
  state.field = null;
  if (name === null) return;
  // Two bytes of line break stand before the text: those that ended the headers.
  const text = body.length > FORM_FIELD_BYTES_MAX + 2 ? null : decodeUtf8(body.subarray(2));
  if (text === null || state.found.has(name)) state.unclear.add(name);
  else state.found.set(name, text);
}

/** The wanted field that a part's headers name; a part with a file name is a file, whatever its name. */
function fieldOf(state: State, headers: Uint8Array): string | null {
  const text = new TextDecoder().decode(headers);
  const disposition = /(?:^|\r\n)content-disposition:([^\r\n]*)/i.exec(text)?.[1] ?? "";
  const name = /;\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i.exec(disposition);
  const field = name?.[1] ?? name?.[2] ?? null;
  if (field === null || !state.names.includes(field)) return null;
  if (!/;\s*filename\*?=/i.test(disposition)) return field;
  state.unclear.add(field);
  return null;
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first, 0);
  whole.set(second, first.length);
  return whole;
}

/** A native search for the first byte, then the rest by hand; -1 where it does not stand. */
function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  const first = wanted[0];
  if (first === undefined) return -1;
  let at = bytes.indexOf(first);
  while (at >= 0) {
    let length = 1;
    while (length < wanted.length && bytes[at + length] === wanted[length]) length += 1;
    if (length === wanted.length) return at;
    at = bytes.indexOf(first, at + 1);
  }
  return -1;
}
