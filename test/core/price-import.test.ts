import { describe, expect, test } from "vitest";
import { ANY, importedPrices, type ImportedPrice } from "../../src/core/imported-prices.ts";
import { readPriceFile } from "../../src/core/price-file.ts";
import {
  percentOf,
  planImport,
  rateChanges,
  sizeChanges,
  type ImportPlan,
} from "../../src/core/price-import.ts";
import { picousd } from "../../src/core/money.ts";
import { priceBook, type PriceFields } from "../../src/core/price.ts";
import { priceOf } from "../support/prices.ts";

const LISTED = priceBook(
  [
    priceOf({ upstream: "up", model: "m", outputTokensMax: 500, contextTokensMax: 9_000 }),
    priceOf({ upstream: "up", model: "late", from: new Date("2026-01-01"), outputTokensMax: 70 }),
    priceOf({ upstream: "up", model: "both", outputTokensMax: 90, contextTokensMax: 9_000 }),
  ],
  [priceOf({ upstream: "own", model: "both", outputTokensMax: 30 })],
);
const NOW = new Date("2030-01-01T00:00:00Z");

function plan(entries: readonly string[], stored: readonly ImportedPrice[] = []): ImportPlan {
  const lines = entries.map((entry) => `  - { ${entry} }\n`).join("");
  const known = {
    imported: importedPrices(stored),
    listed: LISTED,
    upstreams: new Map([
      ["up", { priceList: "up" }],
      ["up-eu", { priceList: "up" }],
      ["own", { priceList: "own" }],
    ]),
    tenantIds: new Map([["acme", "ten_a"]]),
    now: NOW,
  };
  return planImport(readPriceFile(`source: s\nprices:\n${lines}`), known);
}

function stored(
  from: string,
  fields: Partial<PriceFields> & { until?: string } = {},
): ImportedPrice {
  const { until, ...rest } = fields;
  return {
    tenantId: ANY,
    price: priceOf({ upstream: "up", from: new Date(`${from}T00:00:00Z`), ...rest }),
    until: until === undefined ? null : new Date(`${until}T00:00:00Z`),
  };
}

const entry = (from: string, more = "", input = "0.00002") =>
  `upstream: up, model: m, valid_from: ${from}, usd_per_million: { input: ${input}, output: 0.0001 }${more}`;

describe("an import", () => {
  test("tells what is added, and what changes from which price, by how much", () => {
    const { added, changed, unchanged, refused } = plan([
      entry("2030-02-01"),
      entry("2030-01-01").replace("model: m", "model: new"),
    ]);
    expect([unchanged, refused]).toEqual([0, []]);
    expect(added.map(({ entry: { price }, before }) => [price.model, before])).toEqual([
      ["new", null],
    ]);
    const [change] = changed;
    expect(change?.before?.source).toBe("test");
    const rates = change === undefined ? [] : rateChanges(change.before, change.entry.price);
    expect(rates).toEqual([{ name: "input", per: "unit", before: 10n, after: 20n }]);
    expect(percentOf(10n, 20n)).toBe("+100.0");
  });

  test("keeps the sizes that are known, where the file has none", () => {
    const [kept, own, list] = plan([
      entry("2030-01-01"),
      entry("2030-02-01", ", output_tokens_max: 7"),
      entry("2030-01-01").replace("up,", "up-eu,"),
    ]).changed.map(({ entry: { price } }) => [price.outputTokensMax, price.contextTokensMax]);
    expect(kept).toEqual([500, 9_000]);
    expect(list).toEqual([7, 9_000]);
    expect(own).toEqual([500, 9_000]);
  });

  const SIZES: readonly (readonly [string, string, readonly (number | null)[]])[] = [
    ["the list price", "tenant: acme, model: m, valid_from: 2030-02-01", [500, 9_000]],
    [
      "what it says itself",
      "tenant: acme, model: m, valid_from: 2030-02-01, output_tokens_max: 7",
      [7, 9_000],
    ],
    [
      "one upstream's",
      "tenant: acme, upstream: own, model: both, valid_from: 2030-02-01",
      [30, null],
    ],
    ["the least of several", "tenant: acme, model: both, valid_from: 2030-02-01", [30, 9_000]],
    [
      "the list price at the upstreams of a provider",
      "tenant: acme, upstream: up, model: m, valid_from: 2030-02-01",
      [500, 9_000],
    ],
    [
      "what holds now, from a date before it",
      "tenant: acme, model: late, valid_from: 2020-01-01",
      [70, null],
    ],
    ["the same for everybody", "upstream: up, model: late, valid_from: 2020-01-01", [70, null]],
    [
      "none, where nothing is known",
      "tenant: acme, model: new, valid_from: 2030-02-01",
      [null, null],
    ],
  ];
  test.each(SIZES)("has the sizes of the price that it hides: %s", (_name, terms, sizes) => {
    const { added, changed } = plan([`${terms}, usd_per_million: { input: 0.1, output: 0.2 }`]);
    const prices = [...added, ...changed].map(({ entry: { price } }) => price);
    expect(prices.map((price) => [price.outputTokensMax, price.contextTokensMax])).toEqual([sizes]);
  });

  test("repairs the sizes of a price that was recorded without any", () => {
    const own = stored("2030-01-01", { upstream: ANY, model: "m" });
    const terms = "tenant: acme, model: m, valid_from: 2030-01-01, usd_per_million: { input: 0.1 }";
    const { changed } = plan([terms], [{ ...own, tenantId: "ten_a" }]);
    const [change] = changed;
    expect(change?.entry.price.outputTokensMax).toBe(500);
    expect(change === undefined ? [] : sizeChanges(change.before, change.entry.price)).toEqual([
      { name: "context_tokens_max", before: null, after: 9_000 },
      { name: "output_tokens_max", before: null, after: 500 },
    ]);
  });

  test("sees what the file itself says before it", () => {
    const { changed } = plan([entry("2030-03-01", "", "0.00003"), entry("2030-02-01")]);
    expect(
      changed.map(({ before, entry: { price } }) => [before?.rates.input, price.rates.input]),
    ).toEqual([
      [10n, 20n],
      [20n, 30n],
    ]);
  });

  test("of what stands in the book just so changes nothing", () => {
    const first = plan([entry("2030-02-01", ", valid_until: 2030-03-01")]);
    const book = first.changed.map((change) => change.entry);
    const again = plan([entry("2030-02-01", ", valid_until: 2030-03-01")], book);
    expect([again.unchanged, again.added, again.changed, again.refused]).toEqual([1, [], [], []]);
    const longer = plan([entry("2030-02-01", ", valid_until: 2030-04-01")], book);
    expect([longer.unchanged, longer.changed.length]).toEqual([0, 1]);
  });

  test("compares a tenant's price with the one that it pays", () => {
    const { changed } = plan(
      [entry("2030-02-01", ", tenant: acme")],
      [stored("2030-01-01", { rates: { input: picousd(40n) } })],
    );
    expect(changed[0]?.entry.tenantId).toBe("ten_a");
    expect(changed[0]?.before?.rates.input).toBe(40n);
  });

  const REFUSED: readonly (readonly [
    string,
    readonly string[],
    readonly ImportedPrice[],
    number,
    RegExp,
  ])[] = [
    [
      "a tenant that is not there",
      [entry("2030-01-01", ", tenant: nobody")],
      [],
      3,
      /no such tenant/,
    ],
    ["a date twice", [entry("2030-01-01"), entry("2030-01-01", "", "0.1")], [], 4, /second price/],
    [
      "one that holds while another does",
      [entry("2030-01-01", ", valid_until: 2030-02-02"), entry("2030-02-01")],
      [],
      4,
      /until 2030-02-02, and another begins on 2030-02-01/,
    ],
    [
      "one that begins while a stored one holds",
      [entry("2030-01-15")],
      [stored("2030-01-01", { until: "2030-02-01" })],
      3,
      /two would hold at once/,
    ],
    [
      "one that goes on when a stored one begins",
      [entry("2030-01-01", ", valid_until: 2030-03-01")],
      [stored("2030-02-01")],
      3,
      /two would hold at once/,
    ],
  ];
  test.each(REFUSED)("is refused with its line for %s", (_name, entries, book, line, message) => {
    const { refused } = plan(entries, book);
    expect(refused.map((problem) => problem.line)).toEqual([line]);
    expect(refused[0]?.message).toMatch(message);
  });

  test("may end a stored price earlier, and begin another there", () => {
    const book = [stored("2030-01-01", { until: "2030-06-01" })];
    const { refused, changed } = plan(
      [entry("2030-01-01", ", valid_until: 2030-02-01"), entry("2030-02-01")],
      book,
    );
    expect([refused, changed.length]).toEqual([[], 2]);
  });
});

test.each([
  [100n, 112n, "+12.0"],
  [3n, 4n, "+33.3"],
  [4n, 3n, "-25.0"],
  [1_000n, 999n, "-0.1"],
  [10n, 0n, "-100.0"],
  [0n, 10n, null],
  [null, 10n, null],
  [10n, null, null],
])("from %s to %s is %s percent", (before, after, percent) => {
  expect(percentOf(before, after)).toBe(percent);
});

test("what differs between two prices is named by service tier, class and length", () => {
  const before = priceOf({
    tiers: [{ aboveInputTokens: 100, rates: { input: picousd(20n) } }],
    serviceTiers: [{ name: "flex", rates: { output: picousd(50n) }, tiers: [] }],
  });
  const after = priceOf({
    tiers: [{ aboveInputTokens: 100, rates: { input: picousd(30n) } }],
    serviceTiers: [{ name: "priority", rates: { output: picousd(200n) }, tiers: [] }],
  });
  expect(rateChanges(before, after)).toEqual([
    { name: "input above 100", per: "unit", before: 20n, after: 30n },
    { name: "priority output", per: "unit", before: null, after: 200n },
    { name: "flex output", per: "unit", before: 50n, after: null },
  ]);
  const hour = { rates: {}, hourly: { picousdPerHour: picousd(7n), concurrency: 1 } };
  const shared = { rates: {}, hourly: { picousdPerHour: picousd(7n), concurrency: 4 } };
  expect(rateChanges(priceOf(hour), priceOf(shared))).toEqual([
    { name: "hour shared by 4", per: "hour", before: null, after: 7n },
    { name: "hour", per: "hour", before: 7n, after: null },
  ]);
});
