import { describe, expect, test } from "vitest";
import {
  ANY,
  entryAt,
  importedPrices,
  priceFor,
  type ImportedPrice,
  type PriceAsked,
  type Prices,
} from "../../src/core/imported-prices.ts";
import { picousd } from "../../src/core/money.ts";
import { priceBook } from "../../src/core/price.ts";
import { priceOf } from "../support/prices.ts";

const MAY = new Date("2030-05-01T00:00:00Z");
const JUNE = new Date("2030-06-01T00:00:00Z");
const JULY = new Date("2030-07-01T00:00:00Z");

const ASKED: PriceAsked = {
  tenantId: "ten_a",
  upstream: "azure-eu",
  list: "azure",
  model: "gpt-4o",
  at: JUNE,
};

function entry(
  tenantId: string,
  upstream: string,
  fields: { from?: Date; until?: Date | null; model?: string; input?: bigint } = {},
): ImportedPrice {
  const { from = new Date(0), until = null, model = "gpt-4o", input = 1n } = fields;
  return {
    tenantId,
    until,
    price: priceOf({ upstream, model, from, rates: { input: picousd(input) } }),
  };
}

const LISTED = priceBook(
  [
    priceOf({ upstream: "azure", model: "gpt-4o", source: "list" }),
    priceOf({ upstream: "azure", model: "gpt-4o-2024-08-06", source: "dated list" }),
  ],
  [priceOf({ upstream: "azure-eu", model: "gpt-4o", source: "configured" })],
);

describe("the price that holds for a call", () => {
  // Each row has all that stands below it: it is the last word for as long as it is there.
  const LADDER: readonly (readonly [string, ImportedPrice | null])[] = [
    ["the list price", null],
    ["what was imported for the provider", entry(ANY, "azure")],
    ["what was configured for the upstream", null],
    ["what was imported for the upstream", entry(ANY, "azure-eu")],
    ["what the tenant has negotiated anywhere", entry("ten_a", ANY)],
    ["what the tenant has negotiated with the provider", entry("ten_a", "azure")],
    ["what the tenant has negotiated at the upstream", entry("ten_a", "azure-eu")],
  ];
  test.each(LADDER.map(([name], at) => ({ name, at })))("is $name", ({ at }) => {
    const entries = LADDER.slice(0, at + 1).flatMap(([, each]) => (each === null ? [] : [each]));
    const listed = at < 2 ? priceBook([priceOf({ upstream: "azure", model: "gpt-4o" })]) : LISTED;
    const price = priceFor({ imported: importedPrices(entries), listed }, ASKED);
    const expected = LADDER[at]?.[1]?.price.version;
    if (expected !== undefined) expect(price?.version).toBe(expected);
    else expect(price?.upstream).toBe(at === 0 ? "azure" : "azure-eu");
  });

  test("is never another tenant's", () => {
    const imported = importedPrices([entry("ten_b", "azure-eu"), entry("ten_b", ANY)]);
    expect(priceFor({ imported, listed: LISTED }, ASKED)?.source).toBe("configured");
  });

  test("is unknown where nobody has one", () => {
    const prices: Prices = { imported: importedPrices([]), listed: priceBook([]) };
    expect(priceFor(prices, ASKED)).toBeNull();
  });

  test("of a dated model is the imported one of its plain name, before the listed one of its date", () => {
    const imported = importedPrices([entry(ANY, "azure", { input: 7n })]);
    const asked = { ...ASKED, upstream: "azure", model: "gpt-4o-2024-08-06" };
    expect(priceFor({ imported, listed: LISTED }, asked)?.rates.input).toBe(7n);
    const mini = { ...asked, model: "gpt-4o-mini" };
    expect(priceFor({ imported, listed: LISTED }, mini)).toBeNull();
  });
});

describe("an imported price", () => {
  const dated = importedPrices([
    entry(ANY, "azure", { from: JUNE, until: JULY, input: 2n }),
    entry(ANY, "azure", { from: MAY, input: 1n }),
  ]);
  test.each([
    ["2030-04-30T23:59:59.999Z", undefined],
    ["2030-05-01T00:00:00Z", 1n],
    ["2030-05-31T23:59:59.999Z", 1n],
    ["2030-06-01T00:00:00Z", 2n],
    ["2030-06-30T23:59:59.999Z", 2n],
    ["2030-07-01T00:00:00Z", undefined],
  ])("holds from its first moment to before its last one: at %s", (at, input) => {
    const key = { tenantId: ANY, upstream: "azure", model: "gpt-4o" };
    expect(entryAt(dated, key, new Date(at))?.price.rates.input).toBe(input);
  });

  test("that has ended leaves the call to the price below it", () => {
    const prices: Prices = { imported: dated, listed: LISTED };
    const asked = { ...ASKED, upstream: "azure", at: JULY };
    expect(priceFor(prices, asked)?.source).toBe("list");
  });
});
