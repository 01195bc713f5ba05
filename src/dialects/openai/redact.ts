/** Searches the texts of a body, and replaces what was found in its content, by the same reading of its bytes. */
import type { Text } from "../../core/detect.ts";
import { replacementsIn, type Replacement } from "../../core/redact.ts";
import { Fault } from "../../lib/assert.ts";
import { decodeUtf8, parseJson } from "../../lib/json.ts";
import { stringsIn } from "./content.ts";
import type { Splice } from "./edit.ts";
import { isDataUrl } from "./texts.ts";

/** What is replaced may uncover what it touched: no key begins within a word, but one may behind a bracket. */
const PASSES_MAX = 8;

/** Of a text in which every replacement uncovered another. That one is longer: it holds as many placeholders. */
const NOTHING_LEFT = '"[redacted]"';

/** Every text of a body but data URLs: what detectors search. Names of members are none. */
export function* searchedIn(body: Uint8Array): Generator<Text> {
  for (const { start, end, place } of stringsIn(body)) {
    const text = textOf(literalAt(body, start, end));
    if (!isDataUrl(text)) yield { text, isContent: place === "content" || place === "ours" };
  }
}

/** Takes a body that `classify` accepted. */
export function redactions(body: Uint8Array, names: readonly string[]): Splice[] {
  const splices: Splice[] = [];
  for (const { start, end, place } of stringsIn(body)) {
    if (place !== "content") continue;
    const literal = literalAt(body, start, end);
    const text = redactLiteral(literal, names);
    if (text !== literal) splices.push({ start, end, text });
  }
  return splices;
}

/** A string of JSON without what is named; all else of it stays as it was written, escapes included. */
export function redactLiteral(given: string, names: readonly string[]): string {
  let literal = given;
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const text = textOf(literal);
    const replacements = isDataUrl(text) ? [] : replacementsIn(text, names);
    if (replacements.length === 0) return literal;
    literal = replacedIn(literal, replacements);
  }
  return NOTHING_LEFT;
}

/** Places of a text are found in its literal by counting: an escape is one character of the text. */
function replacedIn(literal: string, replacements: readonly Replacement[]): string {
  let [at, chars, kept] = [1, 0, 0];
  const seek = (to: number) => {
    for (; chars < to; chars += 1) {
      if (literal[at] !== "\\") at += 1;
      else at += literal[at + 1] === "u" ? 6 : 2;
    }
    return at;
  };
  let out = "";
  for (const { start, end, text } of replacements) {
    out += literal.slice(kept, seek(start)) + text;
    kept = seek(end);
  }
  return out + literal.slice(kept);
}

function literalAt(body: Uint8Array, start: number, end: number): string {
  return decodeUtf8(body.subarray(start, end)) ?? "";
}

function textOf(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, -1);
  const value = parseJson(literal)?.value;
  if (typeof value === "string") return value;
  throw new Fault("a string of a body that was read is one");
}
