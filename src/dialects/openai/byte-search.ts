/** A sequence of bytes to be found, with what Knuth, Morris and Pratt's search must know of it. */
export type Needle = {
  readonly bytes: Uint8Array;
  /** For each length matched, the longest start of the needle that is also an end of what was matched. */
  readonly borders: Uint8Array;
};

/** Bytes looked at one by one before a native search: it costs more to call than to run over few. */
const WALK_BYTES = 64;

/** Prepares a search for `bytes`, at most 255 of them. */
export function needleOf(bytes: Uint8Array): Needle {
  const borders = new Uint8Array(bytes.length + 1);
  let border = 0;
  for (let index = 1; index < bytes.length; index += 1) {
    while (border > 0 && bytes[index] !== bytes[border]) border = borders[border] ?? 0;
    if (bytes[index] === bytes[border]) border += 1;
    borders[index + 1] = border;
  }
  return { bytes, borders };
}

/**
 * Where the needle first stands, or -1. Linear in the bytes whatever they are: `at` only grows, each of
 * its steps raises `matched` by one at most, and each step back lowers it. Where nothing has matched
 * for a while the next candidate is found natively, and so is text of no interest at all.
 */
export function indexOfNeedle(bytes: Uint8Array, needle: Needle): number {
  const { bytes: wanted, borders } = needle;
  const first = wanted[0];
  if (first === undefined) return -1;
  let matched = 0;
  let idle = 0;
  let at = 0;
  while (at < bytes.length) {
    while (matched > 0 && bytes[at] !== wanted[matched]) matched = borders[matched] ?? 0;
    if (bytes[at] === wanted[matched]) {
      matched += 1;
      idle = 0;
      if (matched === wanted.length) return at + 1 - matched;
    } else {
      idle += 1;
      if (idle === WALK_BYTES) {
        idle = 0;
        const next = bytes.indexOf(first, at + 1);
        if (next < 0) return -1;
        at = next - 1;
      }
    }
    at += 1;
  }
  return -1;
}
