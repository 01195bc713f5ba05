import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, parseStrictJson } from "../../src/lib/canonical-json.ts";

/** What the canonical form of a text is. */
function canonical(text: string): string {
  const read = parseStrictJson(text, 64);
  if (read.kind === "refused") throw new Error(`refused: ${read.why}`);
  return canonicalJson(read.value);
}

describe("canonical JSON", () => {
  // RFC 8785 §3.2.2 and §3.2.3.
  test("is that of the example of RFC 8785", () => {
    const text = String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`;
    expect(canonicalJson(JSON.parse(text))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("orders members by UTF-16 code units, as RFC 8785 §3.2.3 shows", () => {
    const text = String.raw`{
      "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }`;
    const values = [...canonical(text).matchAll(/:"([^"]+)"/gu)].map(([, value]) => value);
    expect(values).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
  });

  // RFC 8785 appendix B: the bits of a double, and its text.
  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("writes the double %s as %s", (bits, text) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(`0x${bits}`));
    expect(canonicalJson(view.getFloat64(0))).toBe(text);
    expect(canonical(text)).toBe(text);
  });

  test.each([
    ["1.0", "1"],
    ["100e-2", "1"],
    ["-0", "0"],
    ["-0.000", "0"],
    ["0e99999999999", "0"],
    ["0.1000", "0.1"],
    ["10000000000000000000000", "1e+22"],
    // No double is one of these.
    ["1234567890123456789", "1.234567890123456789e+18"],
    ["-12345678901234567890.50", "-1.23456789012345678905e+19"],
    ["333333333.33333329", "3.3333333333333329e+8"],
    ["1e400", "1e+400"],
    ["0.25e-9999", "2.5e-10000"],
  ])("writes the number %s as %s", (text, written) => {
    expect(canonical(text)).toBe(written);
  });

  test("tells apart what a double would make one", () => {
    expect(canonical("9007199254740993")).not.toBe(canonical("9007199254740992"));
    expect(canonical("0.1")).not.toBe(canonical("0.1000000000000000055511151231257827"));
  });

  test("of a canonical text is that text, and any order of members has the same", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = canonicalJson(JSON.parse(JSON.stringify(value)));
        expect(canonical(text)).toBe(text);
        expect(canonical(JSON.stringify(value, null, 2))).toBe(text);
      }),
    );
  });
});

describe("a JSON text that could be read in two ways is refused:", () => {
  test.each([
    ["a member twice", '{"a":1,"b":{"a":1},"a":2}', "duplicate"],
    ["a member twice, written differently", String.raw`{"a":1,"\u0061":2}`, "duplicate"],
    ["a member twice below a list", '[{"x":[]},{"x":1,"x":2}]', "duplicate"],
    ["half a character", String.raw`{"a":"\ud800"}`, "unpaired_surrogate"],
    ["half a character in a name", String.raw`{"\udc00":1}`, "unpaired_surrogate"],
    ["too deep a nesting", "[[[[[]]]]]", "too_deep"],
    ["no JSON", "{a:1}", "invalid"],
    ["nothing", "", "invalid"],
  ])("%s", (_, text, why) => {
    expect(parseStrictJson(text, 4)).toMatchObject({ kind: "refused", why });
  });

  test("and what only looks like it is read", () => {
    const text = String.raw`[{"a":"a","b":["a","a"]},{"a":{"a":"{\"a\":1,\"a\":2}"}},"a","a"]`;
    expect(canonical(text)).toBe(text);
    expect(canonical('{"__proto__":1,"constructor":2}')).toBe('{"__proto__":1,"constructor":2}');
  });

  test("text full of names takes no longer than its length", () => {
    const names = Array.from({ length: 50_000 }, (_, i) => `"n${i}":"${"\\\\".repeat(3)}"`);
    expect(parseStrictJson(`{${names.join(",")}}`, 4).kind).toBe("value");
    expect(canonical(`1${"0".repeat(100_000)}`)).toBe("1e+100000");
  });
});
