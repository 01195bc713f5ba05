import { textStart } from "./byte-order-mark.ts";

/**
 * The bytes of a JSON text without what stands around its values and means nothing (RFC 8259 §2: spaces, tabs, line ends;
 * and a byte order mark at its start): the same object where there is none, as in what most libraries write. Looks at each
 * byte once. Of bytes that are no JSON it answers some.
 */
export function withoutSpace(bytes: Uint8Array): Uint8Array {
  const start = textStart(bytes);
  const first = firstSpace(bytes, start);
  if (first === bytes.length) return start === 0 ? bytes : bytes.subarray(start);
  const kept = new Uint8Array(bytes.length - start);
  kept.set(bytes.subarray(start, first));
  let length = first - start;
  for (let at = first; at < bytes.length;) {
    const byte = bytes[at] ?? 0;
    const end = byte === QUOTE ? afterString(bytes, at) : at + 1;
    if (!isSpace(byte)) {
      for (let from = at; from < end; from += 1) kept[length + from - at] = bytes[from] ?? 0;
      length += end - at;
    }
    at = end;
  }
  return kept.subarray(0, length);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Where the first space stands that is in no string, or the length. */
function firstSpace(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length;) {
    const byte = bytes[at] ?? 0;
    if (isSpace(byte)) return at;
    at = byte === QUOTE ? afterString(bytes, at) : at + 1;
  }
  return bytes.length;
}

/** Behind the closing quote, or the end of a text that lacks one. */
function afterString(bytes: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return Math.min(at + 1, bytes.length);
}
