import { calcPrice } from "@pydantic/genai-prices";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { picousd, ratePerMillion } from "../../src/core/money.ts";
import { demoPrices, priceSnapshot } from "../../src/core/price-snapshot.ts";
import {
  costOf,
  findPrice,
  priceBook,
  tierServed,
  priceFrom,
  type Price,
  type PriceFields,
  type Rates,
} from "../../src/core/price.ts";
import { USAGE_CLASSES, type Usage } from "../../src/core/usage.ts";
import { priceOf } from "../support/prices.ts";

const snapshot = priceSnapshot();
const book = priceBook(snapshot);
const NOW = new Date("2026-11-01T00:00:00Z");

describe("the shipped price list", () => {
  test("has every rate exact, not negative, and dated", () => {
    expect(snapshot.length).toBeGreaterThan(1_500);
    for (const price of snapshot) {
      const sets: Rates[] = [price.rates, ...price.tiers.map((tier) => tier.rates)];
      for (const rates of sets) {
        expect(Object.keys(rates).length, price.model).toBeGreaterThan(0);
        for (const rate of Object.values(rates))
          expect(rate, price.model).toBeGreaterThanOrEqual(0n);
      }
      expect(Number.isNaN(price.from.getTime())).toBe(false);
      expect(price.version).toMatch(/^[0-9a-f]{32}$/);
    }
  });

  test("holds no price twice", () => {
    const keys = snapshot.map(
      (price) => `${price.upstream}/${price.model}@${price.from.toISOString()}`,
    );
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("agrees with the data it was made of, for every model that both know", () => {
    let compared = 0;
    for (const price of snapshot) {
      if (price.rates.input === undefined) continue;
      const text = { input: 300_000, output: 1_000 };
      const usage: Usage = price.rates.output === undefined ? { input: 300_000 } : text;
      const current = findPrice(book, price.upstream, price.model, NOW);
      const theirs = calcPrice(
        { input_tokens: 300_000, output_tokens: usage.output ?? 0 },
        price.model,
        {
          providerId: price.upstream,
          timestamp: NOW,
        },
      );
      if (current === null || theirs === null || price.rates.requests !== undefined) continue;
      if (current.source.includes("dearest")) continue;
      const ours = Number(costOf(current, usage, null) ?? -1n) / 1e12;
      expect(ours, `${price.upstream}/${price.model}`).toBeCloseTo(theirs.total_price, 9);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(1_500);
  });

  const LISTED: readonly [string, string, Usage, bigint][] = [
    ["openai", "gpt-4o", { input: 1_000, output: 100 }, 3_500_000_000n],
    ["openai", "gpt-4o-mini", { input: 1_000, cache_read: 1_000, output: 100 }, 285_000_000n],
    ["openai", "whisper-1", { seconds: 60 }, 6_000_000_000n],
    ["openai", "tts-1", { characters: 1_000 }, 15_000_000_000n],
    ["openai", "omni-moderation-latest", { input: 9 }, 0n],
    ["openai", "gpt-4o-mini-tts", { input: 10, audio_output: 100, characters: 40 }, 1_206_000_000n],
    ["perplexity", "sonar", { input: 1, output: 1, requests: 1 }, 12_002_000_000n],
  ];
  test.each(LISTED)("%s %s costs what its list says", (upstream, model, usage, cost) => {
    const price = findPrice(book, upstream, model, NOW);
    expect(price === null ? null : costOf(price, usage, "default")).toBe(cost);
  });
});

describe("a price is found", () => {
  const FOUND: readonly [string, string | null][] = [
    ["gpt-4o", "gpt-4o"],
    ["gpt-4o-2024-08-06", "gpt-4o-2024-08-06"],
    ["gpt-4o-2099-01-01", "gpt-4o"],
    ["gpt-4o-mini-2099-01-01", "gpt-4o-mini"],
    ["gpt-4o-20990101", "gpt-4o"],
    ["gpt-4o-unheard-of", null],
    ["gpt-4o-mini-mini", null],
    ["gpt-4", "gpt-4"],
    ["gpt-", null],
    ["ft:gpt-4o-2024-08-06:acme::abc", "ft:gpt-4o"],
    ["ft:gpt-4o-mini-2024-07-18:acme:name:abc", "ft:gpt-4o-mini"],
    ["ft:gpt-3.5-turbo-0125:acme::abc", "ft:gpt-3.5-turbo-0125"],
    ["ft:unheard-of:acme::abc", null],
    ["constructor", null],
    ["", null],
  ];
  test.each(FOUND)("for %j under the name %j", (model, name) => {
    expect(findPrice(book, "openai", model, NOW)?.model ?? null).toBe(name);
  });

  test("of the latest date not after the call, and none before the first", () => {
    const dates = ["2026-03-01", "2026-01-01", "2026-02-01"];
    const dated = priceBook(dates.map((day) => priceOf({ from: new Date(day) })));
    const at = (day: string): string | undefined =>
      findPrice(dated, "up", "m", new Date(day))?.from.toISOString().slice(0, 10);
    expect(at("2025-12-31T23:59:59.999Z")).toBeUndefined();
    expect(at("2026-01-01")).toBe("2026-01-01");
    expect(at("2026-01-31T23:59:59.999Z")).toBe("2026-01-01");
    expect(at("2026-02-01")).toBe("2026-02-01");
    expect(at("2030-01-01")).toBe("2026-03-01");
  });

  test("only at its own upstream", () => {
    expect(findPrice(book, "nowhere", "gpt-4o", NOW)).toBeNull();
  });

  test("an override hides the list prices of its model and of the snapshots of it", () => {
    const override = priceOf({ upstream: "openai", model: "gpt-4o" });
    const own = priceBook(snapshot, [override]);
    for (const model of ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13"]) {
      expect(findPrice(own, "openai", model, NOW)?.version, model).toBe(override.version);
    }
    expect(findPrice(own, "openai", "gpt-4o-mini", NOW)?.model).toBe("gpt-4o-mini");
  });
});

describe("a cost", () => {
  const RATES: Rates = { input: picousd(10n), output: picousd(100n) };
  const COSTS: readonly [string, Rates, Usage, bigint | null][] = [
    ["of nothing is nothing", RATES, {}, 0n],
    ["of an explicit zero is nothing, priced or not", RATES, { audio_input: 0, input: 1 }, 10n],
    ["of reasoning is that of output", RATES, { reasoning: 2 }, 200n],
    [
      "of cached and written input is that of input",
      RATES,
      { cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 },
      30n,
    ],
    ["of image input is that of input", RATES, { image_input: 2 }, 20n],
    ["of audio without a rate is unknown", RATES, { audio_input: 1 }, null],
    ["of audio output without a rate is unknown", RATES, { audio_output: 1 }, null],
    ["of image output without a rate is unknown", RATES, { image_output: 1 }, null],
    ["of images without a rate is unknown", RATES, { images: 1 }, null],
    [
      "of images told in tokens too is that of the tokens",
      { ...RATES, image_output: picousd(7n) },
      { images: 1, image_output: 10 },
      70n,
    ],
    [
      "of images told without their tokens is unknown",
      { ...RATES, image_output: picousd(7n) },
      { images: 1 },
      null,
    ],
    [
      "of an hour of cache is unknown where five minutes have a price",
      { ...RATES, cache_write_5m: picousd(12n) },
      { cache_write_1h: 1 },
      null,
    ],
    ["of input without a rate is unknown", { output: picousd(1n) }, { input: 1 }, null],
    ["of a request is nothing unless priced", RATES, { requests: 3 }, 0n],
    ["of a priced request is its price", { ...RATES, requests: picousd(5n) }, { requests: 3 }, 15n],
    ["of a free class is nothing", { input: picousd(0n) }, { input: 5 }, 0n],
  ];
  test.each(COSTS)("%s", (_name, rates, usage, cost) => {
    expect(costOf(priceOf({ rates }), usage, null)).toBe(cost);
  });

  test.each([
    ["default", 10n],
    ["auto", 10n],
    [null, 10n],
    ["flex", null],
    ["priority", null],
    ["batch", null],
  ])("in service tier %s is %s", (tier, cost) => {
    expect(costOf(priceOf({ rates: RATES }), { input: 1 }, tier)).toBe(cost);
  });

  const SERVED = priceOf({
    rates: RATES,
    serviceTiers: [
      { name: "priority", rates: { input: picousd(25n) }, tiers: [] },
      {
        name: "flex",
        rates: { input: picousd(5n) },
        tiers: [{ aboveInputTokens: 100, rates: { input: picousd(7n) } }],
      },
    ],
  });
  test.each<[string | null, number, bigint | null]>([
    ["flex", 1, 5n],
    ["flex", 101, 707n],
    ["priority", 1, 25n],
    ["default", 101, 1_010n],
    ["batch", 1, null],
  ])("in service tier %s of %i tokens is %s where the price has it", (tier, input, cost) => {
    expect(costOf(SERVED, { input }, tier)).toBe(cost);
  });

  test.each<[string, string | null, string | null, string | null]>([
    ["the one that the answer states", "priority", "default", "default"],
    ["the one asked for where the answer is silent", "priority", null, "priority"],
    ["none where nobody names one", null, null, null],
  ])("is chosen by the service tier: %s", (_name, asked, stated, tier) => {
    expect(tierServed(SERVED, asked, stated)).toBe(tier);
  });

  test("of a cheaper tier without a price and without a word in the answer is the ordinary one", () => {
    expect(tierServed(priceOf({}), "flex", null)).toBeNull();
    expect(tierServed(priceOf({}), "flex", "flex")).toBe("flex");
    expect(tierServed(priceOf({}), "priority", null)).toBe("priority");
  });

  test("of a long call follows the tier of all its input, from one token above", () => {
    const tiers = [
      { aboveInputTokens: 100, rates: { input: picousd(20n), output: picousd(150n) } },
      { aboveInputTokens: 200, rates: { input: picousd(30n), output: picousd(150n) } },
    ];
    const price = priceOf({ rates: RATES, tiers });
    expect(costOf(price, { input: 100, output: 1 }, null)).toBe(1_100n);
    expect(costOf(price, { input: 50, cache_read: 51, output: 1 }, null)).toBe(2_170n);
    expect(costOf(price, { input: 201 }, null)).toBe(6_030n);
    expect(costOf(price, { output: 500 }, null)).toBe(50_000n);
  });

  test("is the sum of units times rates, however large", () => {
    const units = fc.record(
      Object.fromEntries(USAGE_CLASSES.map((kind) => [kind, fc.nat({ max: 2 ** 31 - 1 })])),
    ) as fc.Arbitrary<Usage>;
    const rates = Object.fromEntries(
      USAGE_CLASSES.map((kind, at) => [kind, picousd(BigInt(at + 1) * 10n ** 12n)]),
    ) as Rates;
    const price = priceOf({ rates });
    fc.assert(
      fc.property(units, (usage) => {
        const sum = USAGE_CLASSES.reduce(
          (total, kind) => total + BigInt(usage[kind] ?? 0) * (rates[kind] ?? 0n),
          0n,
        );
        expect(costOf(price, usage, null)).toBe(sum);
      }),
    );
  });
});

describe("a price version", () => {
  const base: PriceFields = priceOf({});
  const CHANGES: readonly [string, Partial<PriceFields>][] = [
    ["upstream", { upstream: "other" }],
    ["model", { model: "other" }],
    ["date", { from: new Date(1) }],
    ["rate", { rates: { input: picousd(11n), output: picousd(100n) } }],
    ["class", { rates: { input: picousd(10n), output: picousd(100n), reasoning: picousd(100n) } }],
    ["tier", { tiers: [{ aboveInputTokens: 5, rates: {} }] }],
    ["maximum", { outputTokensMax: 5 }],
    ["hour", { hourly: { picousdPerHour: picousd(1n), concurrency: 1 } }],
    ["service tier", { serviceTiers: [{ name: "flex", rates: {}, tiers: [] }] }],
  ];
  test.each(CHANGES)("changes with its %s", (_name, change) => {
    expect(priceFrom({ ...base, ...change }).version).not.toBe(priceFrom(base).version);
  });

  test("is the one that the ledgers of the first release hold", () => {
    expect(priceOf({}).version).toBe("238c66f067ab86f0f2ffe412759ad71e");
  });

  test("is that of the content: neither the order of rates nor the source changes it", () => {
    const rates = { output: picousd(100n), input: picousd(10n) };
    const same: Price = priceOf({ rates, source: "elsewhere" });
    expect(same.version).toBe(priceOf({}).version);
  });

  test.each([[[0]], [[5, 5]], [[6, 5]], [[1.5]]])("is refused to tiers at %j", (starts) => {
    const tiers = starts.map((aboveInputTokens) => ({ aboveInputTokens, rates: {} }));
    expect(() => priceOf({ tiers })).toThrow("must ascend");
  });
});

test("the demo's prices are those of the models it plays", () => {
  const demo = priceBook(demoPrices());
  expect(findPrice(demo, "demo", "demo-chat", NOW)?.rates.output).toBe(ratePerMillion("10"));
  expect(findPrice(demo, "demo", "demo-small", NOW)?.rates.cache_read).toBe(
    ratePerMillion("0.075"),
  );
  expect(findPrice(demo, "demo", "demo-embedding", NOW)?.rates.input).toBe(ratePerMillion("0.02"));
});
