import { assert } from "./assert.ts";

declare global {
  interface JSON {
    /** A JSON text that `stringify` writes as it stands (ECMAScript, JSON.parse source text access). */
    rawJSON(text: string): object;
    isRawJSON(value: unknown): boolean;
  }
}

/** A JSON number as it was written, where a float would not be the same number. */
export type ExactNumber = { readonly [SOURCE]: string };

const SOURCE: unique symbol = Symbol("the text of a JSON number");

/**
 * Reads JSON without letting a float touch an amount: a number that is not a plain whole one (`0.1`,
 * `1e3`, beyond 2⁵³) is kept as its text. Null where the text is not JSON, or nested so deep that
 * reading it would exhaust the stack.
 */
export function parseExactJson(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text, exactly) };
  } catch {
    return null;
  }
}

export function isExactNumber(value: unknown): value is ExactNumber {
  return typeof value === "object" && value !== null && SOURCE in value;
}

/** What stood in the JSON text. */
export function sourceOf(number: ExactNumber): string {
  return number[SOURCE];
}

type Plain =
  | null
  | boolean
  | number
  | string
  | readonly Plain[]
  | { readonly [name: string]: Plain };

/**
 * The same value with floats for its numbers, and no NUL: it is judged, and kept in a record into which PostgreSQL looks
 * only if there is none in it. Takes what `JSON.parse` or `parseExactJson` makes.
 */
export function plainJson(value: unknown): Plain {
  if (isExactNumber(value)) return Number(sourceOf(value));
  if (typeof value === "string") return withoutNul(value);
  if (Array.isArray(value)) return value.map(plainJson);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(
        ([name, part]) => [name.replaceAll("\0", "\uFFFD"), plainJson(part)] as const,
      ),
    );
  }
  const isPlain = typeof value === "number" || typeof value === "boolean";
  assert(isPlain || value === null, "a JSON value");
  return value;
}

function withoutNul(text: string): string {
  return text.replaceAll("\0", "\uFFFD");
}

/** The same value for `JSON.stringify`, which then writes each number as it was written. */
export function asWritten(value: unknown): unknown {
  if (isExactNumber(value)) return JSON.rawJSON(sourceOf(value));
  if (JSON.isRawJSON(value)) return value;
  if (Array.isArray(value)) return value.map(asWritten);
  if (typeof value !== "object" || value === null) return value;
  // Not by assignment: `__proto__` is a name like any other.
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, asWritten(part)]));
}

/** The text of a number that `asWritten` made; null for all else. */
export function rawNumberOf(value: unknown): string | null {
  return JSON.isRawJSON(value) ? JSON.stringify(value) : null;
}

function exactly(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined) return value;
  if (Number.isSafeInteger(value) && String(value) === source) return value;
  return { [SOURCE]: source };
}
