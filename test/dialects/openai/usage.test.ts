import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Operation } from "../../../src/core/intent.ts";
import type { Usage } from "../../../src/core/usage.ts";
import { parseTelling, readUsage } from "../../../src/dialects/openai/usage.ts";

describe("usage becomes disjoint classes", () => {
  const rows: readonly [string, Operation, unknown, Usage | null][] = [
    ["nothing", "chat", {}, null],
    ["null", "chat", { usage: null }, null],
    ["an empty object", "chat", { usage: {} }, null],
    ["not an object", "chat", "x", null],
    [
      "explicit zero",
      "chat",
      { usage: { prompt_tokens: 0, completion_tokens: 0 } },
      { input: 0, output: 0 },
    ],
    [
      "audio both ways",
      "chat",
      {
        usage: {
          prompt_tokens: 100,
          completion_tokens: 50,
          total_tokens: 150,
          prompt_tokens_details: { audio_tokens: 60, cached_tokens: 10 },
          completion_tokens_details: { audio_tokens: 30, reasoning_tokens: 5 },
        },
      },
      { input: 30, cache_read: 10, audio_input: 60, output: 15, audio_output: 30, reasoning: 5 },
    ],
    [
      "cache writes of two lifetimes",
      "responses",
      {
        usage: {
          input_tokens: 100,
          output_tokens: 1,
          input_tokens_details: {
            cached_tokens: 20,
            cache_write_tokens: 50,
            cache_write_tokens_details: { ttl_12h_tokens: 30, ttl_30m_tokens: 20 },
          },
        },
      },
      { input: 30, cache_read: 20, cache_write_5m: 20, cache_write_1h: 30, output: 1 },
    ],
    [
      "details larger than the sum stand beside it",
      "chat",
      {
        usage: {
          prompt_tokens: 10,
          completion_tokens: 5,
          prompt_tokens_details: { cached_tokens: 99, audio_tokens: 99 },
          completion_tokens_details: { reasoning_tokens: 99 },
        },
      },
      { input: 10, cache_read: 99, audio_input: 99, output: 5, reasoning: 99 },
    ],
    [
      "a cache larger than the prompt, of which the total knows nothing",
      "chat",
      {
        usage: {
          prompt_tokens: 10,
          completion_tokens: 5,
          total_tokens: 15,
          prompt_tokens_details: { cached_tokens: 5_000 },
        },
      },
      { input: 10, cache_read: 5_000, output: 5 },
    ],
    [
      "a cache larger than the prompt, which the total has",
      "responses",
      {
        usage: {
          input_tokens: 10,
          output_tokens: 5,
          total_tokens: 5_035,
          cache_read_input_tokens: 5_000,
          cache_creation_input_tokens: 20,
        },
      },
      { input: 10, cache_read: 5_000, cache_write_5m: 20, output: 5 },
    ],
    [
      "a cache as large as the prompt",
      "chat",
      { usage: { prompt_tokens: 10, completion_tokens: 5, cached_tokens: 10 } },
      { input: 0, cache_read: 10, output: 5 },
    ],
    [
      "reasoning larger than the completion, which the total has",
      "chat",
      {
        usage: {
          prompt_tokens: 10,
          completion_tokens: 5,
          total_tokens: 114,
          completion_tokens_details: { reasoning_tokens: 99 },
        },
      },
      { input: 10, output: 5, reasoning: 99 },
    ],
    [
      "hidden reasoning in the total",
      "chat",
      { usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 40 } },
      { input: 10, output: 30 },
    ],
    [
      "a total below the parts",
      "chat",
      { usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 3 } },
      { input: 10, output: 5 },
    ],
    [
      "decimal",
      "chat",
      { usage: { prompt_tokens: 5, completion_tokens: 1.2, total_tokens: null } },
      { input: 5, output: 2 },
    ],
    ["negative", "chat", { usage: { prompt_tokens: -5, completion_tokens: 1 } }, null],
    ["text", "chat", { usage: { prompt_tokens: "1000", completion_tokens: "2000" } }, null],
    ["absurd", "chat", { usage: { prompt_tokens: 1e300, completion_tokens: 1 } }, null],
    ["endless", "chat", JSON.parse('{"usage":{"total_tokens":1e400}}'), null],
    [
      "an absurd detail",
      "chat",
      { usage: { prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 2e12 } } },
      null,
    ],
    ["absurd seconds", "transcription", { usage: { type: "duration", seconds: 1e13 } }, null],
    [
      "the largest",
      "chat",
      { usage: { prompt_tokens: 1e12, completion_tokens: 1 } },
      { input: 1e12, output: 1 },
    ],
    [
      "hugging face",
      "chat",
      { usage: { prompt_tokens: 10, completion_tokens: 1, cached_tokens: 4 } },
      { input: 6, cache_read: 4, output: 1 },
    ],
    [
      "groq beside",
      "chat",
      { x_groq: { usage: { prompt_tokens: 3, completion_tokens: 4 } } },
      { input: 3, output: 4 },
    ],
    [
      "moonshot with the choice",
      "chat",
      { choices: [{ index: 0, delta: {}, usage: { prompt_tokens: 3, completion_tokens: 4 } }] },
      { input: 3, output: 4 },
    ],
    [
      "two choices with one each",
      "chat",
      { choices: [{ usage: { prompt_tokens: 3 } }, { index: 1, usage: { prompt_tokens: 3 } }] },
      null,
    ],
    ["a second choice", "chat", { choices: [{ index: 1, usage: { prompt_tokens: 3 } }] }, null],
    [
      "in a response",
      "responses",
      { response: { usage: { input_tokens: 3, output_tokens: 4 } } },
      { input: 3, output: 4 },
    ],
    ["older whisper", "transcription", { duration: 8.47, text: "x" }, { seconds: 9 }],
    ["moderation", "moderation", { results: [] }, null],
  ];
  test.each(rows)("%s", (_name, operation, json, usage) =>
    expect(readUsage(json, operation).usage).toEqual(usage),
  );

  test("whatever a provider writes, units are whole, not negative, and add up to what it says at least", () => {
    const number = fc.oneof(
      fc.nat(10_000),
      fc.double(),
      fc.integer(),
      fc.constant(null),
      fc.string(),
    );
    const details = fc.dictionary(
      fc.constantFrom(
        "cached_tokens",
        "audio_tokens",
        "image_tokens",
        "reasoning_tokens",
        "cache_write_tokens",
        "text_tokens",
      ),
      number,
    );
    const usage = fc.record(
      {
        prompt_tokens: number,
        completion_tokens: number,
        total_tokens: number,
        prompt_tokens_details: details,
        completion_tokens_details: details,
        cost: number,
        cost_in_usd_ticks: number,
      },
      { requiredKeys: [] },
    );
    const operation = fc.constantFrom<Operation>(
      "chat",
      "responses",
      "embeddings",
      "image_generation",
      "speech",
      "transcription",
    );
    fc.assert(
      fc.property(usage, operation, (given, asked) => {
        const read = readUsage({ usage: given }, asked);
        expect(read.isAbsurd && read.usage !== null).toBe(false);
        let sum = 0;
        for (const units of Object.values(read.usage ?? {})) {
          expect(Number.isSafeInteger(units) && units >= 0 && !Object.is(units, -0)).toBe(true);
          sum += units;
        }
        const { prompt_tokens: input, completion_tokens: output } = given;
        if (
          !read.isAbsurd &&
          Number.isInteger(input) &&
          Number.isInteger(output) &&
          Number(input) >= 0 &&
          Number(output) >= 0
        ) {
          const least = Number(input) + Number(output);
          expect(sum).toBeGreaterThanOrEqual(least);
        }
        expect(read.providerCostUsd ?? "0.00").toMatch(/^\d{1,7}\.\d{2,}$/);
      }),
      { numRuns: 3_000 },
    );
  });
});

test.each<[string, string | null]>([
  ["0", "0.00"],
  ["0.1", "0.10"],
  ["0.30000000000000004", "0.30000000000000004"],
  ["0.000144999999999999980000001", "0.000144999999999999980000001"],
  ["4.8e-6", "0.0000048"],
  ["1E-7", "0.0000001"],
  ["12.5", "12.50"],
  ["1e6", "1000000.00"],
  ["007.5", null],
  ["1e7", null],
  ["5e-41", null],
  ["-1", null],
  ["-0.5", null],
  ["null", null],
  ["1e400", null],
  ['"0.00012"', "0.00012"],
  ['"12 cents"', null],
  ['{"total_cost": 0.005}', "0.005"],
])("a provider's cost of %s is kept to its last digit: %s", (text, cost) => {
  const parsed = parseTelling(`{"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":${text}}}`);
  expect(readUsage(parsed?.value ?? null, "chat").providerCostUsd).toBe(cost);
});

test.each([
  ["37756000", "0.0037756"],
  ["1", "0.0000000001"],
  ["0", "0.00"],
  ["9007199254740993", "900719.9254740993"],
])("a cost of %s ticks of xAI is %s", (ticks, cost) => {
  const parsed = parseTelling(`{"usage":{"total_tokens":1,"cost_in_usd_ticks":${ticks}}}`);
  expect(readUsage(parsed?.value ?? null, "chat").providerCostUsd).toBe(cost);
});
