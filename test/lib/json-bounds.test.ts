import fc from "fast-check";
import { expect, test } from "vitest";
import { excessOf } from "../../src/lib/json-bounds.ts";

function countOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce<number>((sum, member) => sum + countOf(member), 1);
}

test("any JSON has exactly as many values as are counted", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const values = countOf(JSON.parse(text));
      expect(excessOf(text, { valuesMax: values, numberCharsMax: 64 })).toBeNull();
      expect(excessOf(text, { valuesMax: values - 1, numberCharsMax: 64 })).toBe("values");
    }),
  );
});

test.each([
  ["a number of as many characters", "-1234567", null],
  ["a longer one", "[1, -12345678]", "number"],
  ["a longer exponent", '{"a":1e1234567}', "number"],
  ["a string of digits", '"123456789012345678"', null],
  ["a name that ends in a quote", String.raw`{"123456789\"":1,"\\":123}`, null],
])("%s: %s", (_, text, excess) => {
  expect(excessOf(text, { valuesMax: 9, numberCharsMax: 8 })).toBe(excess);
});

test("what is no JSON is answered, too", () => {
  for (const text of ["", '"', String.raw`"\ `, ",,,,", ":::", "]".repeat(1_000_000)]) {
    expect(() => excessOf(text, { valuesMax: 9, numberCharsMax: 8 })).not.toThrow();
  }
});
