import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Edits } from "../../../src/dialects/dialect.ts";
import { applySplices, edit } from "../../../src/dialects/openai/edit.ts";

function edited(text: string, edits: Edits): string {
  return new TextDecoder().decode(edit(new TextEncoder().encode(text), edits));
}

describe("an edit changes its member and no other byte", () => {
  const limit = { outputTokensMax: { field: "max_completion_tokens", value: 50 } };
  const older = { outputTokensMax: { field: "max_tokens", value: 50 } };
  const ofResponses = { outputTokensMax: { field: "max_output_tokens", value: 50 } };
  const rows: readonly [string, Edits, string][] = [
    [
      '{ "model" : "a" , "seed":12345678901234567890 }',
      { model: 'b"c' },
      '{ "model" : "b\\"c" , "seed":12345678901234567890 }',
    ],
    ['{"mod\\u0065l":"a"}', { model: "b" }, '{"mod\\u0065l":"b"}'],
    ['{"x":{"model":"a"}}', { model: "b" }, '{"x":{"model":"a"},"model":"b"}'],
    ["{ }", { model: "b" }, '{"model":"b" }'],
    ['{"max_tokens":100}', limit, '{"max_tokens":50}'],
    ['{"max_tokens":10}', limit, '{"max_tokens":10}'],
    [
      '{"max_tokens":100,"max_completion_tokens":60}',
      limit,
      '{"max_tokens":50,"max_completion_tokens":50}',
    ],
    [
      '{"max_tokens":100,"max_completion_tokens":null}',
      limit,
      '{"max_tokens":50,"max_completion_tokens":null}',
    ],
    ['{"max_completion_tokens": null}', limit, '{"max_completion_tokens": 50}'],
    ['{"max_tokens":null}', limit, '{"max_tokens":null,"max_completion_tokens":50}'],
    ['{"max_output_tokens":1}', limit, '{"max_output_tokens":1,"max_completion_tokens":50}'],
    ['{"max_completion_tokens":100}', older, '{"max_completion_tokens":50,"max_tokens":50}'],
    [
      '{"max_completion_tokens":10,"max_tokens":null}',
      older,
      '{"max_completion_tokens":10,"max_tokens":50}',
    ],
    ['{"max_tokens":1}', ofResponses, '{"max_tokens":1,"max_output_tokens":50}'],
    ['{"max_tokens":"1"}', ofResponses, '{"max_tokens":"1","max_output_tokens":50}'],
    ['{"a":1\n}', { injectUsage: true }, '{"a":1,"stream_options":{"include_usage":true}\n}'],
    ['{"stream_options":null}', { injectUsage: true }, '{"stream_options":{"include_usage":true}}'],
    ['{"stream_options":{ }}', { injectUsage: true }, '{"stream_options":{"include_usage":true }}'],
    [
      '{"stream_options":{"include_obfuscation":false}}',
      { injectUsage: true },
      '{"stream_options":{"include_obfuscation":false,"include_usage":true}}',
    ],
    [
      '{"stream_options":{"include_usage":false,"x":1}}',
      { injectUsage: true },
      '{"stream_options":{"include_usage":true,"x":1}}',
    ],
    [
      '{"stream_options":{"include_usage":true}}',
      { injectUsage: true },
      '{"stream_options":{"include_usage":true}}',
    ],
    ['{"a":1, "metadata":{"tollgate_run":"r"}, "b":2}', { stripMetadata: true }, '{"a":1, "b":2}'],
    ['{"a":1, "metadata":{"tollgate_run":"r"}}', { stripMetadata: true }, '{"a":1}'],
    ['{"metadata":{"tollgate_run":"r"}}', { stripMetadata: true, model: "m" }, '{"model":"m"}'],
    [
      '{"a":1,"metadata":{"tollgate_run":"r"}}',
      { stripMetadata: true, model: "m" },
      '{"a":1,"model":"m"}',
    ],
    [
      '{"metadata":{"tollgate_a":"1","x":"2","tollgate_b":"3","y":"4","tollgate_c":"5","tollgate_d":"6"}}',
      { stripMetadata: true },
      '{"metadata":{"x":"2","y":"4"}}',
    ],
    [
      '{"metadata":{"x":"tollgate_run"}}',
      { stripMetadata: true },
      '{"metadata":{"x":"tollgate_run"}}',
    ],
  ];
  test.each(rows)("%s with %o", (text, edits, expected) =>
    expect(edited(text, edits)).toBe(expected),
  );

  test("nothing to change is the same object", () => {
    const bytes = new TextEncoder().encode(
      '{"model":"m","stream_options":{"include_usage":true},"max_tokens":1,"metadata":{}}',
    );
    expect(edit(bytes, {})).toBe(bytes);
    expect(
      edit(bytes, {
        model: "m",
        injectUsage: true,
        stripMetadata: true,
        outputTokensMax: { field: "max_tokens", value: 5 },
      }),
    ).toBe(bytes);
  });
});

/** Writes an object member by member, so that keys may be escaped and the white space is any. */
function written(members: readonly [string, string][], space: string): string {
  return `{${space}${members.map(([name, value]) => `${name}${space}:${space}${value}`).join(`${space},${space}`)}${space}}`;
}

test("edit, then parse, is parse, then change; and untouched text survives in order", () => {
  const name = fc.constantFrom(
    "model",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "metadata",
    "a",
    "b",
    "seed",
    "messages",
  );
  const key = fc
    .tuple(name, fc.boolean())
    .map(
      ([text, escaped]) =>
        [
          text,
          escaped
            ? `"\\u${text.charCodeAt(0).toString(16).padStart(4, "0")}${text.slice(1)}"`
            : `"${text}"`,
        ] as const,
    );
  const other = fc.oneof(
    fc.constantFrom(
      "18446744073709551615",
      "1.10",
      '"\\u00e9\\ud83c\\udf27 \\" ] }"',
      "[ { } , [] ]",
    ),
    fc.jsonValue().map((value) => JSON.stringify(value)),
  );
  const valueFor = (text: string): fc.Arbitrary<string> => {
    if (text === "model") return fc.string().map((value) => JSON.stringify(value));
    if (text.startsWith("max_")) return fc.oneof(fc.constant("null"), fc.nat(200).map(String));
    if (text === "stream_options")
      return fc.constantFrom(
        "null",
        "{}",
        '{"include_usage":false}',
        '{ "x" : 1 }',
        '{"include_usage":true,"x":[]}',
      );
    if (text === "metadata")
      return fc.oneof(
        fc.constant("null"),
        fc
          .dictionary(fc.constantFrom("tollgate_a", "tollgate_b", "c", "d"), fc.string())
          .map((value) => JSON.stringify(value)),
      );
    return other;
  };
  const body = fc
    .uniqueArray(key, { selector: ([text]) => text })
    .chain((keys) =>
      fc.tuple(
        ...keys.map(([text, quoted]) =>
          valueFor(text).map((value) => [text, quoted, value] as const),
        ),
      ),
    );
  fc.assert(
    fc.property(body, fc.constantFrom("", " ", "\n\t"), (members, space) => {
      const text = written(
        members.map(([, quoted, value]) => [quoted, value]),
        space,
      );
      const out = edited(text, {
        model: "new",
        injectUsage: true,
        stripMetadata: true,
        outputTokensMax: { field: "max_completion_tokens", value: 100 },
      });
      const expected = JSON.parse(text);
      expected.model = "new";
      expected.stream_options = { ...expected.stream_options, include_usage: true };
      const limits = ["max_tokens", "max_completion_tokens"].filter(
        (field) => typeof expected[field] === "number",
      );
      for (const field of limits) expected[field] = Math.min(100, expected[field]);
      if (limits.length === 0) expected.max_completion_tokens = 100;
      const metadata = Object.entries(expected.metadata ?? {});
      const kept = metadata.filter(([field]) => !field.startsWith("tollgate_"));
      if (metadata.length > kept.length) expected.metadata = Object.fromEntries(kept);
      if (metadata.length > 0 && kept.length === 0) delete expected.metadata;
      expect(JSON.parse(out)).toEqual(expected);
      let from = 0;
      for (const [field, quoted, value] of members) {
        if (!["a", "b", "seed", "messages"].includes(field)) continue;
        const at = out.indexOf(`${quoted}${space}:${space}${value}`, from);
        expect(at).toBeGreaterThanOrEqual(from);
        from = at;
      }
    }),
    { numRuns: 2_000 },
  );
});

test("any bytes can be edited without a throw", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.string().map((text) => new TextEncoder().encode(`{"metadata":{${text}`)),
      ),
      (bytes) => {
        expect(edit(bytes, { model: "m", injectUsage: true, stripMetadata: true })).toBeInstanceOf(
          Uint8Array,
        );
      },
    ),
    { numRuns: 1_000 },
  );
});

test.each([
  [
    "overlap",
    [
      { start: 0, end: 6, text: "" },
      { start: 2, end: 4, text: "x" },
    ],
  ],
  ["end before they begin", [{ start: 4, end: 2, text: "x" }]],
  ["lie outside of the text", [{ start: 2, end: 40, text: "x" }]],
])("splices that %s are a fault, for what stands in fresh memory is never sent", (_, splices) => {
  const bytes = new TextEncoder().encode("0123456789");
  expect(() => applySplices(bytes, splices)).toThrow("splices");
});
