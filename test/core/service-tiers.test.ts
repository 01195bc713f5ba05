import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { boundOf } from "../../src/core/bound.ts";
import { NO_DEMAND } from "../../src/core/intent.ts";
import { picousdFromUsd } from "../../src/core/money.ts";
import { priceSnapshot } from "../../src/core/price-snapshot.ts";
import {
  costOf,
  findPrice,
  priceBook,
  rateOf,
  type Price,
  type ServiceTier,
} from "../../src/core/price.ts";
import { USAGE_CLASSES, type Usage } from "../../src/core/usage.ts";
import { tierDataOf } from "../support/service-tiers.ts";

const snapshot = priceSnapshot();
const book = priceBook(snapshot);
const NOW = new Date("2026-11-01T00:00:00Z");

const priceAt = (upstream: string, model: string): Price => {
  const price = findPrice(book, upstream, model, NOW);
  if (price === null) throw new Error(`no price of ${upstream}/${model}`);
  return price;
};

/** Each rate of a service tier beside the ordinary one of the same class and size of call. */
function pairsOf(price: Price, tier: ServiceTier) {
  expect(tier.tiers.length, price.model).toBe(price.tiers.length);
  return [tier, ...tier.tiers].flatMap(({ rates }, at) =>
    USAGE_CLASSES.flatMap((kind) => {
      const [own, usual] = [rates[kind], rateOf([price, ...price.tiers][at]?.rates ?? {}, kind)];
      if (own === undefined || usual === null) return [];
      const about = `${price.upstream}/${price.model} ${tier.name} ${kind}`;
      return [{ name: tier.name, about, own, usual }];
    }),
  );
}

/** Entries as the data set has them, in every cost that they state. */
const CAPTURED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = JSON.parse(
  readFileSync(new URL("../fixtures/prices/litellm.json", import.meta.url), "utf8"),
);
/** Under the names of our list. */
const AS_LISTED: readonly [string, string, string][] = [
  ["gpt-5", "openai", "gpt-5"],
  ["gpt-5", "openai", "gpt-5-2025-08-07"],
  ["gpt-5.4", "openai", "gpt-5.4"],
  ["gpt-4.1", "openai", "gpt-4.1"],
  ["o3", "openai", "o3"],
  ["gpt-6-sol", "openai", "gpt-6-sol"],
  ["gemini/gemini-2.5-pro", "google", "gemini-2.5-pro"],
  ["azure/gpt-5", "azure", "gpt-5"],
  ["claude-haiku-4-5", "anthropic", "claude-haiku-4-5"],
];

describe("the shipped service tiers", () => {
  test("are those of the providers that sell them, by the names that answers state", () => {
    const names = snapshot.flatMap(({ serviceTiers }) => serviceTiers.map(({ name }) => name));
    expect([...new Set(names)].toSorted()).toEqual(["batch", "flex", "priority"]);
    const upstreams = snapshot.filter(({ serviceTiers }) => serviceTiers.length > 0);
    expect([...new Set(upstreams.map(({ upstream }) => upstream))].toSorted()).toEqual(
      "anthropic aws azure fireworks google openai x-ai".split(" "),
    );
    for (const { source } of upstreams) expect(source).toContain("service tiers of litellm");
  });

  /** The ordinary rates bound a flex call of which no rates are known: so none may be dearer. */
  test("cost less than the ordinary tier in flex and batch, and more in priority", () => {
    const listed = snapshot.flatMap((price) =>
      price.serviceTiers.flatMap((tier) => pairsOf(price, tier)),
    );
    for (const { name, about, own, usual } of listed) {
      if (name === "priority") expect(own, about).toBeGreaterThanOrEqual(usual);
      else expect(own, about).toBeLessThanOrEqual(usual);
    }
    expect(listed.length).toBeGreaterThan(800);
  });

  const COSTS: readonly [string, string, string, Usage, string | null][] = [
    ["openai", "gpt-5", "default", { input: 86, cache_read: 1920, output: 300 }, "0.0033475"],
    ["openai", "gpt-5", "flex", { input: 86, cache_read: 1920, output: 300 }, "0.00167375"],
    ["openai", "gpt-5", "batch", { input: 86, cache_read: 1920, output: 300 }, "0.00167375"],
    ["openai", "gpt-5", "priority", { input: 86, cache_read: 1920, output: 300 }, "0.006695"],
    ["openai", "gpt-4.1", "batch", { input: 1000, cache_read: 1000 }, "0.002"],
    ["openai", "o3", "flex", { input: 1000, output: 1000 }, "0.005"],
    ["openai", "gpt-5.4", "flex", { input: 272_000 }, "0.68"],
    ["openai", "gpt-5.4", "flex", { input: 1000 }, "0.00125"],
    ["openai", "gpt-5.4", "priority", { input: 272_000 }, null],
    ["openai", "gpt-5.4", "priority", { input: 1000 }, "0.005"],
    ["openai", "gpt-6-sol", "flex", { cache_write_5m: 1000, cache_write_1h: 1000 }, "0.00375"],
    ["openai", "gpt-4.1", "flex", { input: 1000 }, null],
    ["google", "gemini-2.5-pro", "flex", { input: 1000, output: 1000 }, "0.005625"],
    ["google", "gemini-2.5-pro", "priority", { input: 200_001 }, "0.9000045"],
    ["azure", "gpt-5", "priority", { input: 1000, output: 1000 }, "0.0225"],
    ["anthropic", "claude-haiku-4-5", "batch", { input: 1000, output: 1000 }, "0.003"],
    ["anthropic", "claude-haiku-4-5", "batch", { cache_write_1h: 1 }, null],
  ];
  test.each(COSTS)(
    "at %s %s in %s cost what is listed: %o",
    (upstream, model, tier, usage, usd) => {
      const cost = costOf(priceAt(upstream, model), usage, tier);
      expect(cost).toBe(usd === null ? null : picousdFromUsd(usd));
    },
  );

  test("bound a call that is longer than their tier is sold for by the ordinary rates of its length", () => {
    const price = priceAt("openai", "gpt-5.4");
    const demand = { ...NO_DEMAND, inputBytes: 300_000, serviceTier: "priority" };
    // The long ordinary rate equals the short one of priority: 5 dollars per million.
    const expected = { kind: "bounded", usd: picousdFromUsd("1.5") };
    expect(boundOf({ ...demand, producesTokens: false }, price, null)).toMatchObject(expected);
  });
});

describe("service tiers are read from the data set", () => {
  const { tiersOf, leftOut } = tierDataOf(CAPTURED);
  const rowOf = (upstream: string, model: string, change: object = {}) => {
    const { prices } = JSON.parse(
      readFileSync(new URL("../../src/core/prices.json", import.meta.url), "utf8"),
    ) as { prices: Row[] };
    const row = prices.findLast((each) => each.upstream === upstream && each.model === model);
    if (row === undefined) throw new Error(`no row of ${upstream}/${model}`);
    return { ...row, ...change };
  };
  type Row = {
    readonly upstream: string;
    readonly model: string;
    readonly rates: string;
    readonly tiers: string;
    readonly service_tiers?: string;
  };

  test.each(AS_LISTED)("%s as %s/%s is what is shipped", (_, upstream, model) => {
    const row = rowOf(upstream, model);
    expect(row.service_tiers).toMatch(/batch: /u);
    expect(tiersOf(row)).toBe(row.service_tiers);
  });

  test("not where the data sets differ in an ordinary rate, or in the sizes of long calls", () => {
    const before = leftOut.length;
    expect(
      tiersOf(rowOf("openai", "gpt-5", { rates: "input 1.25 cache_read 0.1 output 10" })),
    ).toBe("");
    expect(tiersOf(rowOf("openai", "gpt-5.4", { tiers: "" }))).toBe("");
    expect(leftOut.slice(before)).toEqual([
      "service tiers of openai/gpt-5: the ordinary rates of the two data sets differ",
      "service tiers of openai/gpt-5.4: the ordinary rates of the two data sets differ",
    ]);
  });

  test("not where a tier is priced in part", () => {
    const tiers = tiersOf(rowOf("azure", "gpt-5.4"));
    expect([tiers.includes("flex: "), tiers.includes("priority: ")]).toEqual([false, true]);
    expect(leftOut).toContain("flex of azure/gpt-5.4: no rate of cache_read");
  });
});
