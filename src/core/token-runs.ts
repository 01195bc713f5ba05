/** The two encodings of OpenAI's models: `o200k_base` since gpt-4o, `cl100k_base` before. */
export type Encoding = "o200k_base" | "cl100k_base";

/**
 * Where a run is cut. A tokeniser's time grows with the square of a run without a boundary: 100 KB of
 * one letter takes 8 to 18 s, in runs of 512 under 20 ms.
 */
export const RUN_CHARS_MAX = 512;

/**
 * The text in pieces, none of which holds a run of more than `charsMax` characters that are all
 * spaces or all none. The pieces joined are the text; text without long runs is one piece. A cut can
 * split a token, so a cut run counts a little more than a whole one: measured per cut 0 to 0.9 tokens
 * in base64, hexadecimals, URLs, letters and Chinese, 2.3 in a repeated alphabet, never fewer.
 * Ordinary text has no cut at all. A surrogate pair is never split.
 */
export function splitRuns(text: string, charsMax: number = RUN_CHARS_MAX): readonly string[] {
  if (text.length <= charsMax) return [text];
  const pieces: string[] = [];
  let pieceStart = 0;
  let runStart = 0;
  let runIsSpace = isSpace(text.charCodeAt(0));
  for (let at = 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const space = isSpace(code);
    if (space !== runIsSpace) {
      runStart = at;
      runIsSpace = space;
    } else if (at - runStart >= charsMax) {
      const cut = isLowSurrogate(code) && at - 1 > runStart ? at - 1 : at;
      pieces.push(text.slice(pieceStart, cut));
      pieceStart = cut;
      runStart = cut;
    }
  }
  pieces.push(text.slice(pieceStart));
  return pieces;
}

/** White space as the tokenisers' patterns mean it, by UTF-16 code unit. */
function isSpace(code: number): boolean {
  if (code <= 32) return code === 32 || (code >= 9 && code <= 13);
  if (code < 0x1680) return code === 0x85 || code === 0xa0;
  if (code >= 0x2000 && code <= 0x200a) return true;
  return (
    code === 0x1680 ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
