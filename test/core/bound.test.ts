import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boundOf, imageTokensMax, outputTokensFor, type Bound } from "../../src/core/bound.ts";
import type { Demand } from "../../src/core/intent.ts";
import { picousd } from "../../src/core/money.ts";
import {
  costOf,
  INPUT_CLASSES,
  OUTPUT_CLASSES,
  type Price,
  type Rates,
} from "../../src/core/price.ts";
import { USAGE_CLASSES, type Usage } from "../../src/core/usage.ts";
import { priceOf } from "../support/prices.ts";

const CHAT: Demand = {
  inputBytes: 100,
  images: 0,
  audioInput: false,
  audioOutput: false,
  outputTokensMax: null,
  choices: 1,
  fixed: {},
  producesTokens: true,
  serviceTier: null,
  unbounded: [],
};

describe("a bound", () => {
  const DOUBLE = { input: picousd(20n), output: picousd(200n) };
  const HALF = { input: picousd(5n), output: picousd(50n) };
  const IMAGE_RATES = { input: picousd(5n), image_output: picousd(40n) };
  type Case = readonly [string, Partial<Demand>, Price | null, number | null, Partial<Bound>];
  const CASES: readonly Case[] = [
    [
      "is input and output at their rates",
      {},
      priceOf({}),
      50,
      { kind: "bounded", usd: picousd(6_000n), tokens: 150 },
    ],
    [
      "takes the client's own maximum",
      { outputTokensMax: 10 },
      priceOf({}),
      null,
      { kind: "bounded", usd: picousd(2_000n) },
    ],
    [
      "takes the maximum that is sent before the client's",
      { outputTokensMax: 10 },
      priceOf({}),
      5,
      { kind: "bounded", usd: picousd(1_500n) },
    ],
    [
      "is multiplied by the choices",
      { choices: 3 },
      priceOf({}),
      50,
      { kind: "bounded", usd: picousd(18_000n), inputTokens: 300, outputTokens: 150 },
    ],
    [
      "is that of the dearest tier in which it may be served",
      { serviceTier: "priority" },
      priceOf({ serviceTiers: [{ name: "priority", rates: DOUBLE, tiers: [] }] }),
      50,
      { kind: "bounded", usd: picousd(12_000n) },
    ],
    [
      "is that of the ordinary tier where a cheaper one may not be had",
      { serviceTier: "flex" },
      priceOf({ serviceTiers: [{ name: "flex", rates: HALF, tiers: [] }] }),
      50,
      { kind: "bounded", usd: picousd(6_000n) },
    ],
    [
      "does not rise by a dearer tier that nobody asked for",
      {},
      priceOf({ serviceTiers: [{ name: "priority", rates: DOUBLE, tiers: [] }] }),
      50,
      { kind: "bounded", usd: picousd(6_000n) },
    ],
    [
      "in a cheaper tier without a price is the ordinary one",
      { serviceTier: "flex" },
      priceOf({}),
      50,
      { kind: "bounded", usd: picousd(6_000n) },
    ],
    [
      "in another tier without a price is none",
      { serviceTier: "priority" },
      priceOf({}),
      50,
      { kind: "unbounded", because: ["service_tier:priority"] },
    ],
    [
      "reaches the long-context rates of the tier, too",
      { serviceTier: "priority" },
      priceOf({
        serviceTiers: [
          {
            name: "priority",
            rates: DOUBLE,
            tiers: [{ aboveInputTokens: 99, rates: { ...DOUBLE, output: picousd(300n) } }],
          },
        ],
      }),
      50,
      { kind: "bounded", usd: picousd(17_000n) },
    ],
    [
      "without a maximum is none",
      {},
      priceOf({}),
      null,
      { kind: "unbounded", because: ["output_tokens"] },
    ],
    [
      "of an operation without output needs no maximum",
      { producesTokens: false },
      priceOf({ rates: { input: picousd(10n) } }),
      null,
      { kind: "bounded", usd: picousd(1_000n) },
    ],
    [
      "names what the demand does not bound",
      { unbounded: ["file", "background"] },
      priceOf({}),
      1,
      { kind: "unbounded", because: ["file", "background"] },
    ],
    [
      "without a price still counts tokens",
      {},
      null,
      5,
      { kind: "unpriced", tokens: 105, missing: [] },
    ],
    [
      "of audio without a rate is unpriced",
      { audioInput: true },
      priceOf({}),
      5,
      { kind: "unpriced", missing: ["audio_input"] },
    ],
    [
      "of spoken output without a rate is unpriced",
      { audioOutput: true },
      priceOf({}),
      5,
      { kind: "unpriced", missing: ["audio_output"] },
    ],
    [
      "of images without a rate is unpriced",
      { fixed: { images: 2 }, producesTokens: false },
      priceOf({}),
      null,
      { kind: "unpriced", missing: ["images"] },
    ],
    [
      "of images charged one by one is their price",
      { inputBytes: 0, fixed: { images: 2 }, producesTokens: false },
      priceOf({ rates: { images: picousd(9n) } }),
      null,
      { kind: "bounded", usd: picousd(18n) },
    ],
    [
      "of images charged by the token is their largest size",
      { inputBytes: 0, fixed: { images: 2 }, producesTokens: false },
      priceOf({ model: "gpt-image-1", rates: IMAGE_RATES }),
      null,
      { kind: "bounded", usd: picousd(523_200n), outputTokens: 13_080 },
    ],
    [
      "of images of an unknown model by the token is none",
      { fixed: { images: 1 }, producesTokens: false },
      priceOf({ rates: IMAGE_RATES }),
      null,
      { kind: "unbounded", because: ["image_output"] },
    ],
    [
      "of speech is its characters",
      { fixed: { characters: 9 }, producesTokens: false },
      priceOf({ rates: { characters: picousd(15n) } }),
      null,
      { kind: "bounded", usd: picousd(135n) },
    ],
    ...(["seconds", "characters", "images"] as const).flatMap((kind): Case[] => [
      [
        `of a chat at a price by ${kind} alone is unpriced`,
        {},
        priceOf({ rates: { [kind]: picousd(50n) } }),
        8_000,
        { kind: "unpriced", missing: ["input", "output"] },
      ],
      [
        `of embeddings at a price by ${kind} alone is unpriced`,
        { producesTokens: false },
        priceOf({ rates: { [kind]: picousd(50n) } }),
        null,
        { kind: "unpriced", missing: ["input"] },
      ],
      [
        `of none of them at a price by ${kind} alone is unpriced`,
        { fixed: { [kind]: 0 }, producesTokens: false },
        priceOf({ rates: { [kind]: picousd(50n) } }),
        null,
        { kind: "unpriced", missing: ["input"] },
      ],
    ]),
    [
      "of sound at a price by the second alone is unpriced",
      { audioInput: true },
      priceOf({ rates: { seconds: picousd(50n) } }),
      5,
      { kind: "unpriced", missing: ["input", "audio_input", "output"] },
    ],
    [
      "of one count at the price of another is unpriced",
      { fixed: { characters: 9 }, producesTokens: false },
      priceOf({ rates: { seconds: picousd(50n) } }),
      null,
      { kind: "unpriced", missing: ["input", "characters"] },
    ],
    [
      "of speech charged by the token is none",
      { fixed: { characters: 9 }, producesTokens: false },
      priceOf({ rates: { input: picousd(1n), audio_output: picousd(12n) } }),
      null,
      { kind: "unbounded", because: ["audio_output"] },
    ],
    [
      "counts a request where requests have a price",
      { inputBytes: 0 },
      priceOf({ rates: { input: picousd(1n), output: picousd(1n), requests: picousd(7n) } }),
      1,
      { kind: "bounded", usd: picousd(8n) },
    ],
    [
      "follows the dearest tier within reach",
      {},
      priceOf({
        tiers: [{ aboveInputTokens: 99, rates: { input: picousd(20n), output: picousd(150n) } }],
      }),
      1,
      { kind: "bounded", usd: picousd(2_150n) },
    ],
    [
      "keeps to the lower tier where that is the dearer",
      {},
      priceOf({
        tiers: [{ aboveInputTokens: 9, rates: { input: picousd(9n), output: picousd(99n) } }],
      }),
      1,
      { kind: "bounded", usd: picousd(1_100n) },
    ],
    [
      "ignores a tier out of reach",
      {},
      priceOf({
        tiers: [{ aboveInputTokens: 100, rates: { input: picousd(20n), output: picousd(150n) } }],
      }),
      1,
      { kind: "bounded", usd: picousd(1_100n) },
    ],
    [
      "beyond exact counting is none",
      {},
      priceOf({}),
      Number.MAX_SAFE_INTEGER,
      { kind: "unbounded", because: ["output_tokens"] },
    ],
  ];
  test.each(CASES)("%s", (...[, demand, price, max, expected]) => {
    expect(boundOf({ ...CHAT, ...demand }, price, max)).toMatchObject(expected);
  });

  test.each([
    ["gpt-4o-mini", 48_169],
    ["gpt-4o-mini-2024-07-18", 48_169],
    ["ft:gpt-4o-mini-2024-07-18:acme::x", 48_169],
    ["openai/gpt-4o-mini", 48_169],
    ["gpt-4o", 16_384],
    ["openai/gpt-5", 16_384],
    ["my-deployment", 48_169],
    [null, 48_169],
  ])("takes an image of %s for %i tokens", (model, tokens) => {
    expect(imageTokensMax(model)).toBe(tokens);
  });

  test("is one only where all that the demand makes has a price", () => {
    let bounded = 0;
    fc.assert(
      fc.property(demands, anyPrices, fc.nat({ max: 500 }), (demand, price, max) => {
        // Chat, responses and embeddings: nothing of them is counted but their tokens.
        const bound = boundOf({ ...demand, fixed: {} }, price, max);
        if (bound.kind !== "bounded" || bound.inputTokens === 0) return;
        bounded += 1;
        const output = demand.producesTokens ? { output: 1 } : {};
        expect(costOf(price, { input: 1, ...output }, null)).not.toBe(null);
      }),
      { numRuns: 5_000 },
    );
    expect(bounded).toBeGreaterThan(100);
  });

  test("is at least the cost of any usage that the demand allows", () => {
    let bounded = 0;
    fc.assert(
      fc.property(demands, prices, fc.nat({ max: 500 }), shares, (demand, price, max, share) => {
        const bound = boundOf(demand, price, max);
        if (bound.kind !== "bounded") return;
        const usage = usageWithin(demand, bound.inputTokens, bound.outputTokens, share);
        // A provider may serve in the ordinary tier whatever was asked.
        for (const tier of [null, demand.serviceTier]) {
          const cost = costOf(price, usage, tier);
          if (cost === null) continue;
          bounded += 1;
          expect(cost <= bound.usd, JSON.stringify({ usage, cost: String(cost) })).toBe(true);
        }
      }),
      { numRuns: 5_000 },
    );
    expect(bounded).toBeGreaterThan(500);
  });
});

describe("the output that a remaining amount affords", () => {
  test("fits, and one token more does not", () => {
    let afforded = 0;
    fc.assert(
      fc.property(
        demands,
        prices,
        fc.bigInt({ min: 0n, max: 5_000_000n }),
        (demand, price, room) => {
          const tokens = outputTokensFor(demand, price, { kind: "usd", amount: picousd(room) });
          const next = boundOf(demand, price, tokens + 1);
          if (next.kind !== "bounded" || !demand.producesTokens) return;
          if (outputIsFree(price)) return;
          expect(next.usd > room).toBe(true);
          if (tokens === 0) return;
          afforded += 1;
          const bound = boundOf(demand, price, tokens);
          expect(bound.kind === "bounded" && bound.usd <= room).toBe(true);
        },
      ),
      { numRuns: 5_000 },
    );
    expect(afforded).toBeGreaterThan(200);
  });

  const ROOMS: readonly [string, Partial<Demand>, Price | null, bigint, number][] = [
    ["is what the tokens leave for each choice", { choices: 2 }, null, 231n, 15],
    ["is nothing when the input alone is too much", {}, null, 99n, 0],
    ["is nothing for a room already overdrawn", {}, null, -5n, 0],
    ["is nothing where something else is unbounded", { unbounded: ["file"] }, null, 1_000n, 0],
    ["is nothing where nothing is produced", { producesTokens: false }, null, 1_000n, 0],
  ];
  test.each(ROOMS)("in tokens %s", (...[, demand, price, amount, tokens]) => {
    expect(outputTokensFor({ ...CHAT, ...demand }, price, { kind: "tokens", amount })).toBe(tokens);
  });

  test("in money is nothing without a price, and stays exact where output is free", () => {
    const room = { kind: "usd", amount: picousd(10n ** 30n) } as const;
    expect(outputTokensFor(CHAT, null, room)).toBe(0);
    const free = priceOf({ rates: { input: picousd(1n), output: picousd(0n) } });
    const tokens = outputTokensFor(CHAT, free, room);
    expect(boundOf(CHAT, free, tokens)).toMatchObject({
      kind: "bounded",
      tokens: Number.MAX_SAFE_INTEGER,
    });
  });
});

const rate = fc.nat({ max: 50 }).map((n) => picousd(BigInt(n)));
const rates = fc.record(Object.fromEntries(USAGE_CLASSES.map((kind) => [kind, rate])), {
  requiredKeys: ["input", "output"],
}) as fc.Arbitrary<Rates>;
const prices = fc
  .record({
    base: rates,
    long: fc.option(rates),
    served: fc.option(rates),
    model: fc.constantFrom("m", "gpt-4o", "gpt-image-1"),
  })
  .map(({ base, long, served, model }) => {
    const tiers = long === null ? [] : [{ aboveInputTokens: 150, rates: long }];
    const priority = { name: "priority", rates: served ?? {}, tiers };
    return priceOf({ model, rates: base, tiers, serviceTiers: served === null ? [] : [priority] });
  });
/** Prices in which any class may be missing. */
const anyPrices = fc
  .record(Object.fromEntries(USAGE_CLASSES.map((kind) => [kind, rate])), { requiredKeys: [] })
  .map((some) => priceOf({ rates: some }));
const demands: fc.Arbitrary<Demand> = fc.record({
  inputBytes: fc.nat({ max: 300 }),
  images: fc.constantFrom(0, 0, 1),
  audioInput: fc.boolean(),
  audioOutput: fc.boolean(),
  outputTokensMax: fc.constant(null),
  choices: fc.integer({ min: 1, max: 3 }),
  fixed: fc.record(
    {
      images: fc.nat({ max: 2 }),
      characters: fc.nat({ max: 9 }),
      seconds: fc.nat({ max: 9 }),
      requests: fc.constant(1),
    },
    { requiredKeys: [] },
  ),
  producesTokens: fc.boolean(),
  serviceTier: fc.constantFrom(null, "default", "flex", "priority"),
  unbounded: fc.constant([]),
});
const shares = fc.array(fc.nat({ max: 100 }), { minLength: 10, maxLength: 10 });

/** A usage that uses a demand up: its tokens dealt out over the classes that it allows. */
function usageWithin(
  demand: Demand,
  inputTokens: number,
  outputTokens: number,
  share: number[],
): Usage {
  const inputs = INPUT_CLASSES.filter(
    (kind) =>
      (kind !== "audio_input" || demand.audioInput) &&
      (kind !== "image_input" || demand.images > 0),
  );
  const outputs = OUTPUT_CLASSES.filter((kind) => kind !== "audio_output" || demand.audioOutput);
  return {
    ...demand.fixed,
    ...dealt(inputs, inputTokens, share),
    ...dealt(outputs, outputTokens, share.slice(6)),
    requests: 1,
  };
}

function dealt(kinds: readonly string[], tokens: number, share: number[]): Usage {
  const parts: Record<string, number> = {};
  let left = tokens;
  for (const [at, kind] of kinds.entries()) {
    const part = Math.floor((left * (share[at] ?? 0)) / 100);
    if (part > 0) parts[kind] = part;
    left -= part;
  }
  return parts;
}

function outputIsFree(price: Price): boolean {
  const sets = [price.rates, ...price.tiers.map((tier) => tier.rates)];
  return sets.some((set) => OUTPUT_CLASSES.every((kind) => (set[kind] ?? 0n) === 0n));
}
