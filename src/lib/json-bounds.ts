/** How much a JSON text may hold, whatever its length. */
export type JsonBounds = {
  /** Values in all: lists, objects, and what stands in them. */
  readonly valuesMax: number;
  readonly numberCharsMax: number;
};

/** The values of a text, or what of it is too much. */
export type Counted =
  | { readonly kind: "counted"; readonly values: number }
  | { readonly kind: "excess"; readonly of: "values" | "number" };

/** What a text has too much of, or null. */
export function excessOf(text: string, bounds: JsonBounds): "values" | "number" | null {
  const counted = countValues(text, bounds);
  return counted.kind === "excess" ? counted.of : null;
}

/**
 * How many values a text has, if not too many. It looks at each character once and builds nothing, because it is
 * the building that costs: a megabyte takes some 5 ms here, and up to two seconds to be read and digested.
 * Of a text that is no JSON it answers something, and the reader refuses it.
 */
export function countValues(text: string, bounds: JsonBounds): Counted {
  let values = 0;
  let at = 0;
  while (at < text.length) {
    const character = text.charCodeAt(at);
    if (character === QUOTE) {
      at = afterString(text, at);
      values += 1;
    } else if (isPart(character)) {
      const end = afterScalar(text, at);
      if (end - at > bounds.numberCharsMax) return { kind: "excess", of: "number" };
      at = end;
      values += 1;
    } else {
      // What stands before a colon was a name and no value.
      if (character === COLON) values -= 1;
      else if (character === LIST || character === OBJECT) values += 1;
      else if (character === COMMA && values > bounds.valuesMax) {
        return { kind: "excess", of: "values" };
      }
      at += 1;
    }
  }
  return values > bounds.valuesMax ? { kind: "excess", of: "values" } : { kind: "counted", values };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const LIST = 0x5b;
const BACKSLASH = 0x5c;
const OBJECT = 0x7b;

/** Of a number, `true`, `false` or `null`: of letters, digits, a sign or a point. */
function isPart(character: number): boolean {
  const isLetter = (character | 0x20) >= 0x61 && (character | 0x20) <= 0x7a;
  const isNumeric = character >= 0x2b && character <= 0x39 && character !== COMMA;
  return isLetter || isNumeric;
}

function afterScalar(text: string, from: number): number {
  let at = from;
  while (at < text.length && isPart(text.charCodeAt(at))) at += 1;
  return at;
}

/** Behind the closing quote, or the end of a text that lacks one. */
function afterString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === BACKSLASH) at += 1;
    else if (character === QUOTE) return at + 1;
  }
  return text.length;
}
