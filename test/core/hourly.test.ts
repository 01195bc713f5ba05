import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { boundOf, demandAt, outputTokensFor } from "../../src/core/bound.ts";
import { charge, type Seen } from "../../src/core/charge.ts";
import type { Estimate } from "../../src/core/decide.ts";
import { costOfTime, type Hourly } from "../../src/core/hourly.ts";
import { importedPrices, priceFor } from "../../src/core/imported-prices.ts";
import { NO_DEMAND, type Demand } from "../../src/core/intent.ts";
import { picousd, picousdFromUsd } from "../../src/core/money.ts";
import { costOf, findPrice, priceBook } from "../../src/core/price.ts";
import { priceOf } from "../support/prices.ts";

const NOW = new Date("2030-01-01T00:00:00Z");
const hourOf = (usd: string, concurrency = 1): Hourly => {
  return { picousdPerHour: picousdFromUsd(usd), concurrency };
};
const machine = (usd: string, concurrency = 1) =>
  priceOf({ rates: {}, hourly: hourOf(usd, concurrency) });

describe("the time of a machine", () => {
  const COSTS: readonly [string, number, number, bigint][] = [
    ["2.49", 1, 3_600_000, 2_490_000_000_000n],
    ["2.49", 1, 1_000, 691_666_667n],
    ["1.80", 1, 1, 500_000n],
    ["2.00", 1, 1, 555_556n],
    ["2.00", 4, 1, 138_889n],
    ["10", 3, 3_600_000, 3_333_333_333_334n],
    ["2.49", 1, 0, 0n],
    ["0", 1, 3_600_000, 0n],
    ["0.000000000001", 10_000, 1, 1n],
  ];
  test.each(COSTS)("at %s USD an hour shared by %i costs for %i ms %i", (usd, by, ms, cost) => {
    expect(costOfTime(hourOf(usd, by), ms)).toBe(cost);
  });

  test("is rounded up, by less than a pico-dollar a call", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 16n }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.nat({ max: 3_600_000 }),
        (perHour, concurrency, ms) => {
          const cost = costOfTime({ picousdPerHour: picousd(perHour), concurrency }, ms);
          const [exact, parts] = [BigInt(ms) * perHour, 3_600_000n * BigInt(concurrency)];
          expect(cost * parts >= exact && cost * parts < exact + parts).toBe(true);
        },
      ),
    );
  });

  test("is all that a call costs there, whatever tokens and tier are told; untold it is unknown", () => {
    const price = machine("3.60");
    const usage = { input: 7, output: 9, audio_input: 3, milliseconds: 2_000 };
    expect(costOf(price, usage, "scale")).toBe(picousdFromUsd("0.002"));
    expect(costOf(price, { input: 7 }, null)).toBeNull();
  });
});

describe("the bound of a call that is paid by the hour", () => {
  const demand = { ...NO_DEMAND, producesTokens: true, inputBytes: 100, images: 2 };
  const demandWithin = (asked: Demand, timeoutMs: number | null) =>
    demandAt(asked, { route: null, price: machine("3.60"), timeoutMs });

  test("is the time after which its upstream is given up, in any tier and with any tokens", () => {
    const asked = demandWithin({ ...demand, serviceTier: "scale" }, 600_000);
    expect(boundOf(asked, machine("3.60", 2), 500)).toEqual({
      kind: "bounded",
      usd: picousdFromUsd("0.3"),
      inputTokens: 100 + 2 * 48_169,
      outputTokens: 500,
      tokens: 600 + 2 * 48_169,
    });
  });

  test("is none without that time, and none of tokens without a maximum", () => {
    const because = (max: number | null, ms: number | null) =>
      boundOf(demandWithin(demand, ms), machine("3.60"), max);
    expect(because(5, null)).toEqual({ kind: "unbounded", because: ["milliseconds"] });
    expect(because(null, 5)).toEqual({ kind: "unbounded", because: ["output_tokens"] });
  });

  test("is not lowered by a shorter answer", () => {
    const asked = demandWithin(demand, 600_000);
    const room = (usd: string) => ({ kind: "usd", amount: picousdFromUsd(usd) }) as const;
    expect(outputTokensFor(asked, machine("3.60"), room("0.599999999999"))).toBe(0);
    expect(outputTokensFor(asked, machine("3.60"), room("0.6"))).toBeGreaterThan(1_000_000);
  });
});

describe("a call that is paid by the hour is charged", () => {
  const price = machine("3.60");
  const reserved: Estimate = {
    costPicousd: picousdFromUsd("0.6"),
    tokens: 600,
    basis: "bound",
    outputTokensMax: null,
    clampedTo: null,
  };
  const seen: Seen = {
    usage: { input: 10, output: 5 },
    serviceTier: null,
    serviceTierAsked: null,
    milliseconds: 1_500,
    price,
    counted: null,
  };
  const spent = {
    basis: "computed",
    costPicousd: picousdFromUsd("0.0015"),
    priceVersion: price.version,
  };

  test("its time, which stands in its usage beside the tokens that are told", () => {
    const usage = { input: 10, output: 5, milliseconds: 1_500 };
    expect(charge(reserved, seen)).toEqual({ ...spent, tokens: 15, usage });
  });

  test("its time where the upstream tells nothing: the tokens are counted, or as reserved", () => {
    const counted = { ...seen, usage: null, counted: { input: 3, output: 4 } };
    const usage = { input: 3, output: 4, milliseconds: 1_500 };
    expect(charge(reserved, counted)).toEqual({ ...spent, tokens: 7, usage });
    const none = charge(reserved, { ...seen, usage: null });
    expect(none).toEqual({ ...spent, tokens: 600, usage: { milliseconds: 1_500 } });
  });

  test("nothing of it where the price is by usage: time is not told where it costs nothing", () => {
    const usage = { input: 10, output: 5 };
    const charged = charge(reserved, { ...seen, price: priceOf({}) });
    expect(charged).toMatchObject({ usage, costPicousd: 600n });
  });
});

describe("the price of all models of a machine", () => {
  const all = priceOf({ upstream: "gpu", model: "*", rates: {}, hourly: hourOf("2") });
  const own = priceOf({ upstream: "gpu", model: "own" });
  const list = priceOf({ upstream: "vendor", model: "listed" });
  const book = priceBook([own, list], [all]);

  test("holds for those without a price of their own there, and for no other upstream", () => {
    expect(findPrice(book, "gpu", "any-model-2030-01-01", NOW)).toBe(all);
    expect(findPrice(book, "gpu", "own", NOW)).toBe(own);
    expect(findPrice(book, "up", "any-model", NOW)).toBeNull();
  });

  test("comes before the list of a provider, and after what is said of the model", () => {
    const asked = { tenantId: "t", upstream: "gpu", list: "vendor", model: "listed", at: NOW };
    expect(priceFor({ imported: importedPrices([]), listed: book }, asked)).toBe(all);
    const dated = priceOf({ upstream: "gpu", model: "listed", from: new Date("2040-01-01") });
    const negotiated = priceOf({ upstream: "gpu", model: "*", rates: {}, hourly: hourOf("1") });
    const entries = [
      { tenantId: "t", price: negotiated, until: null },
      { tenantId: "t", price: dated, until: null },
    ];
    const prices = { imported: importedPrices(entries), listed: book };
    expect(priceFor(prices, asked)).toBe(negotiated);
    expect(priceFor(prices, { ...asked, at: new Date("2040-01-01") })).toBe(dated);
    expect(priceFor(prices, { ...asked, tenantId: "other" })).toBe(all);
  });
});
