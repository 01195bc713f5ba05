import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { csvCell, readCsv } from "../../src/lib/csv.ts";

const rows = (text: string): unknown => {
  const read = readCsv(text);
  return read.kind === "read" ? read.records.map(({ line, cells }) => [line, cells]) : read;
};

test("any cells that are written are read again, whatever ends the lines", () => {
  const cell = fc.string({
    unit: fc.constantFrom("a", '"', ",", "\r", "\n", " ", "é", "\u{feff}"),
    minLength: 1,
    maxLength: 6,
  });
  const records = fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 5 });
  const end = fc.constantFrom("\n", "\r\n", "\r");
  fc.assert(
    fc.property(records, end, fc.boolean(), fc.boolean(), (written, ending, isEnded, hasMark) => {
      const lines = written.map((cells) => cells.map(csvCell).join(","));
      // A mark at the very beginning is taken for the file's, so a file that begins with one has two.
      const mark = hasMark || lines[0]?.startsWith("\u{feff}") === true ? "\u{feff}" : "";
      const text = mark + lines.join(ending) + (isEnded ? ending : "");
      const read = readCsv(text);
      expect(read.kind === "read" && read.records.map(({ cells }) => cells)).toEqual(written);
      expect(read.kind === "read" && read.records.map((record) => record.text)).toEqual(lines);
    }),
  );
});

test.each<readonly [string, string, unknown]>([
  ["nothing", "", []],
  ["a byte order mark alone", "\u{feff}", []],
  [
    "empty lines",
    "\n\r\na\n\nb\n",
    [
      [3, ["a"]],
      [5, ["b"]],
    ],
  ],
  [
    "empty cells",
    'a,,\n,"",b',
    [
      [1, ["a", "", ""]],
      [2, ["", "", "b"]],
    ],
  ],
  [
    "a cell of several lines",
    '"a\r\nb\nc",d\ne',
    [
      [1, ["a\r\nb\nc", "d"]],
      [4, ["e"]],
    ],
  ],
  ["doubled quotes", '"a ""b""",""""', [[1, ['a "b"', '"']]]],
  ["spaces", " a , b", [[1, [" a ", " b"]]]],
])("%s", (_, text, expected) => {
  expect(rows(text)).toEqual(expected);
});

describe("what readers understand differently is refused, and where", () => {
  test.each([
    ['a\nb,c"d', 2, "in the middle"],
    ['a\n"b"c', 2, "behind the closing quote"],
    ['a\n"b\nc', 2, "never closed"],
    ['"a\nb",c"', 2, "in the middle"],
  ])("%j", (text, line, why) => {
    expect(rows(text)).toEqual({ kind: "broken", line, why: expect.stringContaining(why) });
  });
});

test("reads no further than it was asked to", () => {
  const bounds = { recordsMax: 2, cellsMax: 3 };
  expect(readCsv('a\n\nb\nc"', bounds)).toEqual({
    kind: "read",
    records: [
      { line: 1, text: "a", cells: ["a"] },
      { line: 3, text: "b", cells: ["b"] },
    ],
  });
  expect(readCsv("a,b,c\n,,,,", bounds)).toMatchObject({ kind: "broken", line: 2 });
});
