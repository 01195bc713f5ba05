import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { classify } from "../../../src/dialects/openai/classify.ts";
import { ask, route } from "./ask.ts";

describe("a body that we could misread is refused, naming the member", () => {
  const rows: readonly [string, string, string | null][] = [
    ["", "invalid_json", null],
    ["{", "invalid_json", null],
    ['{"model":"m"} x', "invalid_json", null],
    [`{"model":"m","x":${"[".repeat(200)}${"]".repeat(200)}}`, "invalid_json", null],
    ["[]", "invalid_value", "body"],
    ["null", "invalid_value", "body"],
    ["{}", "missing_required_parameter", "model"],
    ['{"model":""}', "invalid_value", "model"],
    ['{"model":5}', "invalid_value", "model"],
    ['{"model":"m","stream":"true"}', "invalid_value", "stream"],
    ['{"model":"m","stream_options":[]}', "invalid_value", "stream_options"],
    ['{"model":"m","max_tokens":-1}', "invalid_value", "max_tokens"],
    ['{"model":"m","max_tokens":0}', "invalid_value", "max_tokens"],
    ['{"model":"m","max_tokens":1.5}', "invalid_value", "max_tokens"],
    ['{"model":"m","max_tokens":"9"}', "invalid_value", "max_tokens"],
    ['{"model":"m","max_tokens":1e400}', "invalid_value", "max_tokens"],
    ['{"model":"m","n":129}', "invalid_value", "n"],
    ['{"model":"m","n":0}', "invalid_value", "n"],
    [
      '{"model":"m","messages":[{"role":"user","content":[{"Type":"image_url","image_url":"a"}]}]}',
      "invalid_json",
      "messages",
    ],
    [
      '{"model":"m","messages":[{"role":"user","Content":[{"type":"text","Image_URL":{"url":"a"}}]}]}',
      "invalid_json",
      "messages",
    ],
    ['{"model":"m","tools":[{"Type":"web_search","type":"function"}]}', "invalid_json", "tools"],
    [
      '{"model":"m","messages":[{"content":[{"type":"file","file":{"file_id":"u"},"type":"text"}]}]}',
      "invalid_json",
      null,
    ],
    [
      '{"model":"m","messages":[{"content":[{"type":"file","t\\u0079pe":"text"}]}]}',
      "invalid_json",
      null,
    ],
    ['{"model":"m","x":{"__proto__":1,"__proto__":2}}', "invalid_json", null],
    ['{"model":"m","messages":"hi"}', "invalid_value", "messages"],
    ['{"model":"m","metadata":[]}', "invalid_value", "metadata"],
    ['{"model":"m","metadata":{"tollgate_run":5}}', "invalid_value", "metadata.tollgate_run"],
    ['{"model":"m","service_tier":3}', "invalid_value", "service_tier"],
    ['{"model":"m","max_tokens":1,"max_tokens":100000}', "invalid_json", "max_tokens"],
    ['{"model":"m","max_tokens":1,"max_\\u0074okens":100000}', "invalid_json", "max_tokens"],
    ['{"model":"m","tools":[],"x":{"tools":1},"tools":[]}', "invalid_json", "tools"],
    ['{"model":"m","MAX_TOKENS":5}', "unknown_parameter", "max_tokens"],
    ['{"model":"m","max_to\u212aens":5}', "unknown_parameter", "max_tokens"],
    ['{"model":"m","me\u017f\u017fages":[]}', "unknown_parameter", "messages"],
  ];
  test.each(rows)("%s", (body, code, param) => {
    expect(() => ask("/chat/completions", body)).toThrow(expect.objectContaining({ code, param }));
  });

  test("an item of responses that is named in another case", () => {
    expect(() => ask("/responses", { model: "m", input: [{ ID: "msg_1" }] })).toThrow(
      expect.objectContaining({ code: "invalid_json", param: "input" }),
    );
  });

  test("text that looks like members is text", () => {
    const content = '{"type":"a","type":"b"} : \\" : \\\\';
    const body = { model: "m", messages: [{ role: "user", content }], "a:b": { ":": ":" } };
    expect(ask("/chat/completions", body).model).toBe("m");
  });

  test("bytes that are no UTF-8", () => {
    const bytes = Uint8Array.from([...new TextEncoder().encode('{"model":"'), 0xff, 0x22, 0x7d]);
    expect(() => classify(route("/chat/completions"), bytes)).toThrow(
      expect.objectContaining({ code: "invalid_json" }),
    );
  });

  test("any bytes and any JSON are read or refused by an InputError", () => {
    const paths = [
      "/chat/completions",
      "/responses",
      "/completions",
      "/embeddings",
      "/images/generations",
      "/audio/speech",
      "/moderations",
    ];
    const names = [
      "model",
      "messages",
      "input",
      "tools",
      "n",
      "stream",
      "metadata",
      "max_tokens",
      "prompt",
      "Model",
      "type",
      "__proto__",
    ];
    const json = fc
      .dictionary(fc.constantFrom(...names), fc.jsonValue())
      .map((value) => new TextEncoder().encode(JSON.stringify(value)));
    const almost = fc
      .tuple(json, fc.nat(), fc.nat(255))
      .map(([bytes, at, byte]) =>
        bytes.map((old, index) => (index === at % bytes.length ? byte : old)),
      );
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.oneof(fc.uint8Array(), json, almost),
        (path, bytes) => {
          try {
            const { demand } = classify(route(path), bytes);
            expect(Number.isSafeInteger(demand.choices) && demand.choices >= 1).toBe(true);
          } catch (error) {
            if (!(error instanceof InputError)) throw error;
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

test("a body of more objects than can be built in a second is refused before any is built", () => {
  const many = Buffer.from(`{"model":"m","messages":[${"{},".repeat(2_000_001)}{}]}`);
  expect(() => classify(route("/chat/completions"), many)).toThrow(
    "more than 2000000 objects and arrays",
  );
});
