import { decodeUtf8 } from "../../lib/json.ts";
import { parseTelling } from "./usage.ts";
import { isSpace } from "./members.ts";
import type { Names } from "./members.ts";

export type LastMembers = {
  /** The members found of those asked for, by their exact names; the last of a name, as parsers take it. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Whether the text ends as an object does. */
  readonly closed: boolean;
};

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Reads the last members of a JSON object from the end of its text, where the beginning is lost. Read
 * backwards, a string begins at the first quote that no odd run of backslashes stands before, so what
 * is text and what is structure is known exactly, and a `usage` in a text or below is not taken.
 */
export function readLastMembers(bytes: Uint8Array, names: Names): LastMembers {
  const values: Record<string, unknown> = {};
  let index = bytes.length - 1;
  while (isSpace(bytes[index])) index -= 1;
  if (bytes[index] !== 0x7d) return { values, closed: false };
  let depth = 1;
  let valueEnd = index;
  let colon = -1;
  index -= 1;
  while (index >= 0 && depth > 0) {
    const byte = bytes[index];
    if (byte === QUOTE) {
      const start = stringStart(bytes, index - 1);
      if (start < 0) break;
      if (depth === 1 && colon >= 0) {
        const name = read(bytes.subarray(start, index + 1));
        const isWanted = typeof name === "string" && Object.hasOwn(names, name);
        if (isWanted && !Object.hasOwn(values, name)) {
          values[name] = read(bytes.subarray(colon + 1, valueEnd));
        }
        colon = -1;
      }
      index = start;
    } else if (byte === 0x7d || byte === 0x5d) depth += 1;
    else if (byte === 0x7b || byte === 0x5b) depth -= 1;
    else if (depth === 1 && byte === 0x3a) colon = index;
    else if (depth === 1 && byte === 0x2c) valueEnd = index;
    index -= 1;
  }
  return { values, closed: true };
}

/** The opening quote of the string that ends behind `from`, or -1 where it is lost. */
function stringStart(bytes: Uint8Array, from: number): number {
  let index = from;
  while (index >= 0) {
    if (bytes[index] === QUOTE) {
      let run = index;
      while (run > 0 && bytes[run - 1] === BACKSLASH) run -= 1;
      // A run that reaches the beginning may have gone on before it.
      if (run === 0 && index > 0 && bytes[0] === BACKSLASH) return -1;
      if ((index - run) % 2 === 0) return index;
      index = run;
    }
    index -= 1;
  }
  return -1;
}

function read(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  return text === null ? null : (parseTelling(text)?.value ?? null);
}
