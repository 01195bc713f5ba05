import fc from "fast-check";
import { expect, test } from "vitest";
import { withoutSpace } from "../../src/lib/json-space.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);

test("of any JSON the text without space is left, however it was spaced", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(1, 2, "\t", "\r\n "), (value, space) => {
      const compact = JSON.stringify(value);
      const spaced = ` ${JSON.stringify(value, null, space)}\n\t\r `;
      expect(textOf(withoutSpace(bytesOf(spaced)))).toBe(compact);
    }),
  );
});

test("what has none is the same object", () => {
  const bytes = bytesOf('{"a b":["c \\" d\\\\"],"e":1}');
  expect(withoutSpace(bytes)).toBe(bytes);
});

test.each([
  ["a byte order mark", '\uFEFF{"a":1}', '{"a":1}'],
  ["a byte order mark and space", '\uFEFF { "a" : 1 }', '{"a":1}'],
  [
    "a text that ends with a quote",
    String.raw`{ "a \"" : " b\\" , "c":" \\\" " }`,
    String.raw`{"a \"":" b\\","c":" \\\" "}`,
  ],
  ["only space", " \n", ""],
])("%s", (_, text, left) => {
  expect(textOf(withoutSpace(bytesOf(text)))).toBe(left);
});

test("what is no JSON is answered, too", () => {
  for (const text of ["", '"', '"\\', ' "\\', ' "', " ".repeat(100_000), '" '.repeat(3)]) {
    expect(() => withoutSpace(bytesOf(text))).not.toThrow();
  }
});
