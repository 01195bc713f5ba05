import { FORM_FIELD_BYTES_MAX, FORM_PARTS_MAX } from "../../core/limits.ts";
import { sha256Hex } from "../../lib/hash.ts";
import { decodeUtf8 } from "../../lib/json.ts";
import { indexOfNeedle, needleOf } from "./byte-search.ts";
import type { Needle } from "./byte-search.ts";
import { readPartHeaders } from "./form-headers.ts";

/** Reads small text fields from a multipart body that passes by; the bytes are not touched. */
export type MultipartFieldReader = {
  readonly push: (chunk: Uint8Array) => void;
  /** The fields whose end was seen; the first of a name counts, as it does for most servers. */
  readonly fields: () => Readonly<Record<string, string>>;
  /** Names that came more than once, or too long to read: what they say is not known. */
  readonly unclear: () => readonly string[];
  /** Whether the closing boundary was seen, or a problem behind which nothing is read. */
  readonly isDone: () => boolean;
  /** Why servers may read this form differently from us, or null; asked when the whole form was pushed. */
  readonly problem: () => string | null;
};

/** Bytes of one part's headers; a file name is the longest thing in them. */
const HEADER_BYTES_MAX = 8_192;

type State = {
  /** Two dashes and the boundary, without the line break that must stand before them. */
  readonly delimiter: Needle;
  readonly names: readonly string[];
  readonly found: Map<string, string>;
  readonly unclear: Set<string>;
  stage: "preamble" | "boundary" | "headers" | "body" | "epilogue" | "done";
  /** Bytes kept of the stage at hand: of headers and wanted fields all, of other bodies the last few. */
  held: Uint8Array;
  /** The wanted field at hand, or null for a part that is passed over. */
  field: string | null;
  /** What is held of a body begins behind its start. */
  isCut: boolean;
  parts: number;
  problem: string | null;
};

/**
 * Reads the fields `names` of a form with this boundary (RFC 7578), fed in any pieces. It reads only
 * what all servers read alike: a form that hides a second `n` from us and shows it to the upstream
 * would escape its bound. In time it is linear in the form: each byte is searched once for the
 * delimiter, and headers only within their limit.
 */
export function multipartFieldReader(
  boundary: string,
  names: readonly string[],
): MultipartFieldReader {
  const state: State = {
    delimiter: needleOf(new TextEncoder().encode(`--${boundary}`)),
    names,
    found: new Map(),
    unclear: new Set(),
    stage: "preamble",
    // The first boundary has no line break before it, so one is put there.
    held: new Uint8Array([0x0d, 0x0a]),
    field: null,
    isCut: false,
    parts: 0,
    problem: null,
  };
  return {
    push: (chunk) => read(state, chunk),
    fields: () => Object.fromEntries(state.found),
    unclear: () => [...state.unclear],
    isDone: () => state.stage === "done" || state.stage === "epilogue",
    problem: () => {
      const isOpen = state.stage !== "done" && state.stage !== "epilogue";
      return state.problem ?? (isOpen ? "The form does not end with its closing boundary" : null);
    },
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
    case "body":
      return takeToDelimiter(state, bytes);
    case "boundary":
      return takeBoundary(state, bytes);
    case "headers":
      return takeHeaders(state, bytes);
    case "epilogue":
      // Some servers go on reading behind the closing boundary.
      return bytes.every(isBreak) ? null : stop(state, "The form goes on behind its end");
    case "done":
      return null;
  }
}

function takeToDelimiter(state: State, bytes: Uint8Array): Uint8Array | null {
  const { delimiter, stage } = state;
  // Text before the first boundary is allowed, but nobody sends it, and some servers look into it.
  const isPreamble = stage === "preamble";
  const start = isPreamble ? bytes.subarray(0, delimiter.bytes.length + 4) : bytes;
  const at = indexOfNeedle(start, delimiter);
  if (at < 0) {
    const isLate = isPreamble && start.length === delimiter.bytes.length + 4;
    return isLate ? stop(state, "The form does not begin with its boundary") : null;
  }
  const isLine = bytes[at - 2] === 0x0d && bytes[at - 1] === 0x0a;
  if (isPreamble) {
    const isFirst = at === 2 || (at === 4 && isLine);
    if (!isFirst) return stop(state, "The form does not begin with its boundary");
  } else {
    // The break that ends the headers is not the one before the delimiter, or the part has no body.
    if (!isLine || (!state.isCut && at < 4)) {
      return stop(state, "The boundary of the form stands where no part ends");
    }
    closeField(state, bytes.subarray(0, at - 2));
  }
  state.stage = "boundary";
  return bytes.subarray(at + delimiter.bytes.length);
}

function takeBoundary(state: State, bytes: Uint8Array): Uint8Array | null {
  if (bytes.length < 2) return null;
  if (bytes[0] === 0x2d && bytes[1] === 0x2d) {
    state.stage = "epilogue";
    return bytes.subarray(2);
  }
  // RFC 2046 allows spaces here; servers differ on whether they do.
  if (bytes[0] !== 0x0d || bytes[1] !== 0x0a) {
    return stop(state, "A boundary of the form is followed by something else than a line break");
  }
  state.parts += 1;
  if (state.parts > FORM_PARTS_MAX) {
    return stop(state, `The form has more than ${FORM_PARTS_MAX} parts`);
  }
  state.stage = "headers";
  return bytes;
}

const HEADERS_END: Needle = needleOf(new Uint8Array([0x0d, 0x0a, 0x0d, 0x0a]));

function takeHeaders(state: State, bytes: Uint8Array): Uint8Array | null {
  const end = indexOfNeedle(bytes.subarray(0, HEADER_BYTES_MAX), HEADERS_END);
  if (end < 0) {
    if (bytes.length < HEADER_BYTES_MAX) return null;
    return stop(state, `The headers of a part are longer than ${HEADER_BYTES_MAX} bytes`);
  }
  const headers = bytes.subarray(0, end);
  if (indexOfNeedle(headers, state.delimiter) >= 0) {
    return stop(state, "The boundary of the form stands where no part ends");
  }
  const part = readPartHeaders(headers);
  if (part.kind === "problem") return stop(state, part.problem);
  state.field = fieldOf(state, part.name, part.isFile);
  state.stage = "body";
  state.isCut = false;
  // The line break that ends the headers stays: it is how an empty body is told from none.
  return bytes.subarray(end + 2);
}

function stop(state: State, problem: string): null {
  state.problem = problem;
  state.stage = "done";
  return null;
}

function isBreak(byte: number): boolean {
  return byte === 0x0d || byte === 0x0a;
}

/** What must be kept until more comes: a delimiter and the line break before it may be cut anywhere. */
function keepOf(state: State, bytes: Uint8Array): Uint8Array {
  if (state.stage === "done" || state.stage === "epilogue") return new Uint8Array(0);
  const tail = state.delimiter.bytes.length + 2;
  if (state.stage !== "body") return bytes.slice();
  if (state.field !== null) {
    if (bytes.length <= FORM_FIELD_BYTES_MAX + 2 + tail) return bytes.slice();
    state.unclear.add(state.field);
    state.field = null;
  }
  if (bytes.length <= tail) return bytes.slice();
  state.isCut = true;
  return bytes.slice(bytes.length - tail);
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

/**
 * The wanted field that a part is, or null. One with a file name is a file to some servers and a text
 * to others; `Model`, ` model` and `model[]` are the model to some.
 */
function fieldOf(state: State, name: string, isFile: boolean): string | null {
  const folded = name.trim().toLowerCase().split("[", 1)[0] ?? "";
  if (!state.names.includes(folded)) return null;
  if (name === folded && !isFile) return name;
  state.unclear.add(folded);
  return null;
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first, 0);
  whole.set(second, first.length);
  return whole;
}

/**
 * SHA-256, hex, of a form that a reader found nothing wrong with, without its boundary: libraries draw another for each
 * attempt. Each piece is hashed by itself, so that forms which differ in anything else differ here, too.
 */
export function formDigest(boundary: string, bytes: Uint8Array): string {
  const delimiter = needleOf(new TextEncoder().encode(`--${boundary}`));
  const pieces: string[] = [];
  let rest = bytes;
  for (let at = indexOfNeedle(rest, delimiter); at >= 0; at = indexOfNeedle(rest, delimiter)) {
    pieces.push(sha256Hex(rest.subarray(0, at)));
    rest = rest.subarray(at + delimiter.bytes.length);
  }
  return sha256Hex([...pieces, sha256Hex(rest)].join(" "));
}
