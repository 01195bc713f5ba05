/** PostgreSQL array literals: measured the cheapest way to hand a batch to a function. */

/** Characters that need no quotes in an array literal; everything else is quoted and escaped. */
const PLAIN = /^[A-Za-z0-9_.:/-]+$/;

export function arrayLiteral(
  values: readonly (string | number | bigint | boolean | null)[],
): string {
  const elements: string[] = [];
  // Most columns of a batch say the same of each ask: what is equal is written once.
  let last: string | number | bigint | boolean | null | undefined;
  let written = "NULL";
  for (const value of values) {
    if (value !== last) {
      last = value;
      written = value === null ? "NULL" : element(value);
    }
    elements.push(written);
  }
  return `{${elements.join(",")}}`;
}

function element(value: string | number | bigint | boolean): string {
  if (typeof value !== "string") return String(value);
  if (PLAIN.test(value) && value.toUpperCase() !== "NULL") return value;
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}
