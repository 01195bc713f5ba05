import { expect, test } from "vitest";
import { isExactNumber, parseExactJson, sourceOf } from "../../src/lib/exact-json.ts";

const read = (text: string): unknown => {
  const parsed = parseExactJson(text);
  if (parsed === null) return "no JSON";
  return isExactNumber(parsed.value) ? { exactly: sourceOf(parsed.value) } : parsed.value;
};

const CASES: readonly (readonly [text: string, value: unknown])[] = [
  ["0", 0],
  ["-7", -7],
  ["9007199254740991", 9_007_199_254_740_991],
  ["9007199254740993", { exactly: "9007199254740993" }],
  ["0.1", { exactly: "0.1" }],
  ["1.0", { exactly: "1.0" }],
  ["1e3", { exactly: "1e3" }],
  ["-0", { exactly: "-0" }],
  ["0.1234567890123456789", { exactly: "0.1234567890123456789" }],
  ['"0.1"', "0.1"],
  ["null", null],
  ["[1,", "no JSON"],
  ["", "no JSON"],
  ["NaN", "no JSON"],
  ["[".repeat(200_000) + "]".repeat(200_000), "no JSON"],
];

test.each(CASES)("%s keeps the number that was written", (text, value) => {
  expect(read(text)).toEqual(value);
});

test("no JSON text makes what looks like an exact number", () => {
  const parsed = parseExactJson(
    '{"source":"1","SOURCE":"1","Symbol(the text of a JSON number)":"1"}',
  );
  expect(isExactNumber(parsed?.value)).toBe(false);
});
