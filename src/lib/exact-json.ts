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

function exactly(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined) return value;
  if (Number.isSafeInteger(value) && String(value) === source) return value;
  return { [SOURCE]: source };
}
