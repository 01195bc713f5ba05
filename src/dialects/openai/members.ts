import { decodeUtf8, parseJson } from "../../lib/json.ts";

/** Where one member of a JSON object stands in the bytes. Offsets are into the whole array. */
export type Member = {
  /** Decoded and folded: `"mod\u0065l"` and `"Model"` are both `model`. */
  readonly name: string;
  /** The name stood there letter for letter (escapes aside), not in another case. */
  readonly exact: boolean;
  /** The opening quote of the name. */
  readonly start: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  /** Where the value before it ended, or -1 for the first member. */
  readonly prevEnd: number;
  /** The opening quote of the next name, or -1 for the last member. */
  nextStart: number;
};

export type Members = {
  readonly found: readonly Member[];
  /** How many members the object has, found or not. */
  readonly count: number;
  /** Where a further member goes: behind the last value, or behind the brace of an empty object. */
  readonly end: number;
  /** How deep the text nests; the object itself is 1. */
  readonly depth: number;
  /** Members of all objects in the text, doubled ones counted twice: outside strings each has one colon. */
  readonly colons: number;
  /** Whether its closing bracket was seen: false means that the text is cut. */
  readonly closed: boolean;
};

/** Names to look for, all lower case. An object and not a set, so that it stands in the source as data. */
export type Names = Readonly<Record<string, true>>;

/** A wanted name is short; even with every letter escaped (`\u006d`) it is no longer than this. */
const ESCAPED_NAME_BYTES_MAX = 192;

/** Strings up to here are walked byte by byte: a native search costs more to call than to run. */
const WALK_BYTES = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

type Cursor = {
  found: Member[];
  count: number;
  end: number;
  deepest: number;
  keyStart: number;
  keyEnd: number;
  colon: number;
  prevEnd: number;
  previous: Member | null;
};

/**
 * Finds the members of the JSON object that starts at or behind `from`, without building it: strings
 * are skipped by a native byte search, so that a megabyte of base64 costs nothing. It never throws
 * and ends on any input; what it says holds only for text that `JSON.parse` accepts too.
 * `names` null finds every member.
 */
export function scanMembers(bytes: Uint8Array, from: number, names: Names | null): Members {
  const at: Cursor = {
    found: [],
    count: 0,
    end: from,
    deepest: 0,
    keyStart: -1,
    keyEnd: -1,
    colon: -1,
    prevEnd: -1,
    previous: null,
  };
  let depth = 0;
  let isObject = false;
  let wantsKey = false;
  let last = from;
  let index = from;
  let closed = false;
  let colons = 0;
  while (index < bytes.length && !closed) {
    const byte = bytes[index];
    if (byte === QUOTE) {
      const close = stringEnd(bytes, index + 1);
      if (wantsKey && depth === 1) {
        wantsKey = false;
        openMember(at, index, close);
      }
      last = close;
      index = close;
      continue;
    }
    index += 1;
    if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > at.deepest) at.deepest = depth;
      if (depth === 1) {
        isObject = byte === 0x7b;
        wantsKey = isObject;
        at.end = index;
      }
      last = index;
    } else if (byte === 0x7d || byte === 0x5d) {
      if (depth === 1) closeMember(bytes, at, last, names);
      depth -= 1;
      last = index;
      closed = depth <= 0;
    } else if (depth === 1 && byte === 0x2c) {
      closeMember(bytes, at, last, names);
      wantsKey = isObject;
    } else if (byte === 0x3a) {
      colons += 1;
      if (depth !== 1) last = index;
      else if (at.keyStart >= 0 && at.colon < 0) at.colon = index;
    } else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
      last = index;
    }
  }
  return { found: at.found, count: at.count, end: at.end, depth: at.deepest, colons, closed };
}

/**
 * What a JSON text would build: the members of its widest object (doubled ones count twice), and how
 * many objects and arrays in all.
 */
export type Shape = { readonly widest: number; readonly containers: number };

/** Like `scanMembers` it builds nothing and ends on any input. */
export function shapeOf(bytes: Uint8Array, depthMax: number): Shape {
  // Outside strings a colon stands only behind the name of a member.
  const colons = new Uint32Array(depthMax + 1);
  let depth = 0;
  let widest = 0;
  let containers = 0;
  let index = 0;
  while (index < bytes.length) {
    const byte = bytes[index];
    index += 1;
    if (byte === QUOTE) {
      index = stringEnd(bytes, index);
    } else if (byte === 0x3a) {
      const count = (colons[depth] ?? 0) + 1;
      if (depth <= depthMax) colons[depth] = count;
      if (count > widest) widest = count;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      containers += 1;
      if (depth <= depthMax) colons[depth] = 0;
    } else if (byte === 0x7d || byte === 0x5d) {
      if (depth > 0) depth -= 1;
    }
  }
  return { widest, containers };
}

function openMember(at: Cursor, keyStart: number, keyEnd: number): void {
  at.keyStart = keyStart;
  at.keyEnd = keyEnd;
  if (at.previous !== null) at.previous.nextStart = keyStart;
  at.previous = null;
}

function closeMember(bytes: Uint8Array, at: Cursor, valueEnd: number, names: Names | null): void {
  if (at.keyStart < 0 || at.colon < 0) return;
  at.count += 1;
  const { keyStart: start, keyEnd, prevEnd } = at;
  const raw = nameOf(bytes, start, keyEnd, names);
  const name = names === null ? raw : fold(raw);
  if (names === null || Object.hasOwn(names, name)) {
    let valueStart = at.colon;
    while (valueStart < valueEnd && isSpace(bytes[valueStart])) valueStart += 1;
    const exact = name === raw;
    const member: Member = { name, exact, start, valueStart, valueEnd, prevEnd, nextStart: -1 };
    at.found.push(member);
    at.previous = member;
  }
  at.keyStart = -1;
  at.colon = -1;
  at.prevEnd = valueEnd;
  at.end = valueEnd;
}

export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Just behind the closing quote of a string whose content starts at `from`; the length when it never closes. */
export function stringEnd(bytes: Uint8Array, from: number): number {
  let index = from;
  while (index < bytes.length) {
    const limit = Math.min(bytes.length, index + WALK_BYTES);
    while (index < limit) {
      const byte = bytes[index];
      if (byte === QUOTE) return index + 1;
      index += byte === BACKSLASH ? 2 : 1;
    }
    // From a boundary between characters on, the next quote ends the string unless an odd run of
    // backslashes stands before it; then it is walked again, so that text full of escapes stays cheap.
    const quote = bytes.indexOf(QUOTE, index);
    if (quote < 0) return bytes.length;
    let run = quote;
    while (run > index && bytes[run - 1] === BACKSLASH) run -= 1;
    index = quote + 1;
    if ((quote - run) % 2 === 0) return index;
  }
  return bytes.length;
}

export function nameOf(bytes: Uint8Array, start: number, end: number, names: Names | null): string {
  if (names !== null && end - start > ESCAPED_NAME_BYTES_MAX) return "";
  let name = "";
  for (let index = start + 1; index < end - 1; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte === BACKSLASH || byte >= 0x80) return slowName(bytes.subarray(start, end));
    name += String.fromCharCode(byte);
  }
  return name;
}

function slowName(quoted: Uint8Array): string {
  const text = decodeUtf8(quoted);
  const parsed = text === null ? null : parseJson(text);
  return parsed !== null && typeof parsed.value === "string" ? parsed.value : "";
}

/**
 * Some servers match member names without regard to case (Go's `encoding/json`), and fold `ſ` to `s`
 * and the Kelvin sign to `k`. A limit that we do not see but they do would be a hole in the bound.
 */
export function fold(name: string): string {
  for (let index = 0; index < name.length; index += 1) {
    const code = name.charCodeAt(index);
    if (code >= 0x80) return name.toUpperCase().toLowerCase();
    if (code >= 0x41 && code <= 0x5a) return name.toLowerCase();
  }
  return name;
}
