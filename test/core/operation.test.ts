import { describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import {
  extractOperation,
  flawOfExtractor,
  operationText,
  parseOperation,
  parsePointer,
  valueAt,
} from "../../src/core/operation.ts";
import { parseExactJson } from "../../src/lib/exact-json.ts";

describe("an operation", () => {
  test.each([
    ["refund:order-123", "refund", "order-123"],
    ["a:b:c", "a", "b:c"],
    ["onboard.v2:Ü 1", "onboard.v2", "Ü 1"],
  ])("%s has a type and a key, and is written as it was read", (text, type, key) => {
    const operation = parseOperation(text, "operation");
    expect(operation).toEqual({ type, key });
    expect(operationText(operation)).toBe(text);
  });

  test.each([
    ["order-123", "no colon"],
    ["", "no colon"],
    [":order-123", "The type"],
    ["1st:order", "The type"],
    ["re fund:order", "The type"],
    [`${"t".repeat(65)}:1`, "The type"],
    ["refund:", "not empty"],
    ["refund: 1", "no space"],
    ["refund:a\nb", "control characters"],
    [`refund:${"k".repeat(250)}`, "at most 256 bytes"],
    [`refund:${"ü".repeat(125)}`, "at most 256 bytes"],
  ])("%j is refused, and told why", (text, why) => {
    expect(() => parseOperation(text, "operation")).toThrow(InputError);
    expect(() => parseOperation(text, "operation")).toThrow(why);
  });
});

describe("a JSON pointer", () => {
  // RFC 6901 §5, but for the empty one, which names the whole document.
  const document = {
    foo: ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
  };
  test.each([
    ["/foo", ["bar", "baz"]],
    ["/foo/0", "bar"],
    ["/", 0],
    ["/a~1b", 1],
    ["/c%d", 2],
    ["/e^f", 3],
    ["/g|h", 4],
    ["/i\\j", 5],
    ['/k"l', 6],
    ["/ ", 7],
    ["/m~0n", 8],
    ["/foo/2", undefined],
    ["/foo/01", undefined],
    ["/foo/-", undefined],
    ["/foo/length", undefined],
    ["/foo/0/0", undefined],
    ["/constructor", undefined],
  ])("%s leads to %j", (pointer, value) => {
    const parts = parsePointer(pointer);
    expect(parts).not.toBeNull();
    expect(valueAt(document, parts ?? [])).toEqual(value);
  });

  test("~01 is ~1, and not a slash", () => {
    expect(parsePointer("/~01")).toEqual(["~1"]);
  });

  test.each(["", "order_id", "/a~", "/a~2b", `/${"a/".repeat(17)}`, `/${"a".repeat(300)}`])(
    "%j is none",
    (text) => {
      expect(parsePointer(text)).toBeNull();
    },
  );
});

describe("an extractor", () => {
  const extractor = (...pointers: string[]) =>
    ({ type: "refund", pointers, mode: "enforce" }) as const;
  const keyOf = (text: string, ...pointers: string[]) => {
    const extracted = extractOperation(extractor(...pointers), parseExactJson(text)?.value);
    return extracted.kind === "found" ? extracted.operation.key : extracted;
  };

  test("finds the key of the operation, a number as it stands there", () => {
    expect(keyOf('{"order":{"id":"order-123"}}', "/order/id")).toBe("order-123");
    expect(keyOf('{"id":123}', "/id")).toBe("123");
    expect(keyOf('{"id":1234567890123456789}', "/id")).toBe("1234567890123456789");
    expect(keyOf('{"id":1.50}', "/id")).toBe("1.5");
    expect(keyOf('{"ids":["a","b"]}', "/ids/1")).toBe("b");
  });

  test("joins several parts so that no two lists of parts are one key", () => {
    expect(keyOf('{"a":"x","b":"y"}', "/a", "/b")).toBe("x:y");
    expect(keyOf('{"a":"x:y","b":"z"}', "/a", "/b")).not.toBe(
      keyOf('{"a":"x","b":"y:z"}', "/a", "/b"),
    );
    expect(keyOf('{"a":"x%3Ay","b":"z"}', "/a", "/b")).not.toBe(
      keyOf('{"a":"x:y","b":"z"}', "/a", "/b"),
    );
  });

  test.each([
    ['{"other":1}', "nothing stands there"],
    ['{"id":null}', "null stands there"],
    ['{"id":""}', "an empty string"],
    ['{"id":{}}', "of type object"],
    ['{"id":[1]}', "a list"],
    ['{"id":true}', "of type boolean"],
    ['{"id":" x"}', "no space at either end"],
    [`{"id":"${"x".repeat(300)}"}`, "at most 256 bytes"],
    ["[]", "nothing stands there"],
    ["1.5", "nothing stands there"],
  ])("says why it found none in %s", (text, why) => {
    expect(keyOf(text, "/id")).toMatchObject({
      kind: "missing",
      why: expect.stringContaining(why),
    });
  });

  test("is refused when it could never find one", () => {
    expect(flawOfExtractor(extractor("/id"))).toBeNull();
    expect(flawOfExtractor({ ...extractor("/id"), type: "a b" })).toContain("type");
    expect(flawOfExtractor({ ...extractor("/id"), type: "run" })).toMatch(/^its type `run` is/u);
    expect(flawOfExtractor(extractor())).toContain("1 to 4");
    expect(flawOfExtractor(extractor("/a", "/b", "/c", "/d", "/e"))).toContain("1 to 4");
    expect(flawOfExtractor(extractor("id"))).toContain("`id`");
  });
});
