/**
 * One text for each JSON value, so that equal values have equal digests: the JSON Canonicalization
 * Scheme of RFC 8785 (members by the UTF-16 code units of their names, numbers as ECMAScript writes
 * them, no space).
 *
 * Numbers that no double holds are outside of that scheme, and rounding them would give two different
 * values one digest. They are kept as what they are, digit for digit: see `canonicalNumber`.
 */
import { assert } from "./assert.ts";
import { isExactNumber, parseExactJson, sourceOf, type ExactNumber } from "./exact-json.ts";
import { isList, isRecord } from "./json.ts";

/** What a JSON text holds; its numbers are exact, see `exact-json.ts`. */
export type StrictJson =
  | { readonly kind: "value"; readonly value: unknown }
  | {
      readonly kind: "refused";
      readonly why: "invalid" | "duplicate" | "too_deep" | "unpaired_surrogate";
      /** The member that stands twice. */
      readonly member: string | null;
    };

/**
 * Reads JSON that two readers could not understand differently. A member that stands twice in one object
 * is refused, because some take the first and others the last; half a character has no UTF-8.
 */
export function parseStrictJson(text: string, depthMax: number): StrictJson {
  const parsed = parseExactJson(text);
  if (parsed === null) return refused("invalid");
  if (!text.isWellFormed()) return refused("unpaired_surrogate");
  return flawOf(text, depthMax) ?? { kind: "value", value: parsed.value };
}

/** The canonical text. Takes what `JSON.parse` or `parseExactJson` makes, with well-formed strings. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") {
    assert(value.isWellFormed(), "half a character has no canonical form");
    return JSON.stringify(value);
  }
  if (typeof value === "number" || isExactNumber(value)) return canonicalNumber(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(",")}]`;
  assert(isRecord(value), "a JSON value");
  const members = Object.keys(value)
    // The default order compares UTF-16 code units, as the RFC asks.
    .toSorted()
    .map((name) => `${canonicalJson(name)}:${canonicalJson(value[name])}`);
  return `{${members.join(",")}}`;
}

/**
 * As ECMAScript writes the double (RFC 8785 §3.2.2.3) where that says the same number as its source did;
 * else all digits of the source, without leading and trailing zeros, and an exponent: `1234567890123456789`
 * is `1.234567890123456789e+18`, and no double's text is the same.
 */
export function canonicalNumber(number: number | ExactNumber): string {
  if (typeof number === "number") {
    assert(Number.isFinite(number), "JSON has finite numbers");
    return String(number === 0 ? 0 : number);
  }
  const source = sourceOf(number);
  const exact = decimalOf(source);
  if (exact.digits === "") return "0";
  const double = String(Number(source));
  if (isSame(decimalOf(double), exact)) return double;
  const { isNegative, digits, exponent } = exact;
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  const power = exponent + BigInt(digits.length - 1);
  const sign = power < 0n ? "" : "+";
  return `${isNegative ? "-" : ""}${digits[0]}${fraction}e${sign}${power}`;
}

/** ±digits × 10^exponent, no zero at either end of the digits; none at all for zero. */
type Decimal = {
  readonly isNegative: boolean;
  readonly digits: string;
  /** A text of some kilobytes can name an exponent that no number holds. */
  readonly exponent: bigint;
};

function decimalOf(text: string): Decimal {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?)(\d+))?$/.exec(text);
  // `Infinity`, which is what a double makes of too large a number, is no decimal.
  if (match === null) return { isNegative: false, digits: "", exponent: 0n };
  const [, minus, whole = "", fraction = "", sign, power = "0"] = match;
  const all = `${whole}${fraction}`.replace(/^0+/, "");
  const digits = withoutEnd(all);
  const shift = BigInt(all.length - digits.length - fraction.length);
  const exponent = (sign === "-" ? -BigInt(power) : BigInt(power)) + shift;
  return { isNegative: minus === "-", digits, exponent };
}

/** Without the zeros at its end, and without an expression that would try each of many zeros as the first. */
function withoutEnd(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits[end - 1] === "0") end -= 1;
  return digits.slice(0, end);
}

function isSame(a: Decimal, b: Decimal): boolean {
  return a.digits === b.digits && a.exponent === b.exponent && a.isNegative === b.isNegative;
}

/** What keeps a valid JSON text from being read in one way only. Looks at each character once. */
function flawOf(text: string, depthMax: number): StrictJson | null {
  /** Of each object that is open the names that it has, once it has any; of a list null. */
  const open: (Set<string> | null)[] = [];
  let isName = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === QUOTE) {
      const end = afterString(text, at);
      const flaw = flawOfString(text.slice(at, end), isName ? (open.at(-1) ?? null) : null);
      if (flaw !== null) return flaw;
      isName = false;
      at = end - 1;
    } else if (character === OBJECT || character === LIST) {
      isName = character === OBJECT;
      open.push(isName ? new Set() : null);
      if (open.length > depthMax) return refused("too_deep");
    } else if (character === OBJECT_END || character === LIST_END) {
      open.pop();
      isName = false;
    } else if (character === COMMA) {
      isName = open.at(-1) instanceof Set;
    }
  }
  return null;
}

/** `names`: those that stand in the object of which this is a name; null where it is a value. */
function flawOfString(literal: string, names: Set<string> | null): StrictJson | null {
  const isEscaped = literal.includes("\\");
  if (names === null && !isEscaped) return null;
  const string: unknown = isEscaped ? JSON.parse(literal) : literal.slice(1, -1);
  assert(typeof string === "string", "a JSON string is a string");
  // The text is well-formed, so only an escape can write half a character.
  if (isEscaped && !string.isWellFormed()) return refused("unpaired_surrogate");
  if (names?.has(string) === true) return refused("duplicate", string);
  names?.add(string);
  return null;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const LIST = 0x5b;
const BACKSLASH = 0x5c;
const LIST_END = 0x5d;
const OBJECT = 0x7b;
const OBJECT_END = 0x7d;

function afterString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) {
    at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  }
  return at + 1;
}

function refused(
  why: "invalid" | "duplicate" | "too_deep" | "unpaired_surrogate",
  member: string | null = null,
): StrictJson {
  return { kind: "refused", why, member };
}
