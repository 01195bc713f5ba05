import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import {
  costFromUsd,
  picousd,
  picousdFromUsd,
  ratePerMillion,
  usdFromPicousd,
} from "../../src/core/money.ts";

const MAX = 10n ** 38n - 1n;
const amount = fc.bigInt({ min: -MAX, max: MAX });

describe("an amount of money", () => {
  const READ: readonly [string, bigint][] = [
    ["0", 0n],
    ["-0", 0n],
    ["0.000412500", 412_500_000n],
    ["-1.5", -1_500_000_000_000n],
    ["+2", 2_000_000_000_000n],
    ["4.125e-4", 412_500_000n],
    ["1E2", 100_000_000_000_000n],
    ["1e-12", 1n],
    ["0.000000000001", 1n],
    ["10e-13", 1n],
    ["0.0000000000010000000", 1n],
    ["007.10", 7_100_000_000_000n],
  ];
  test.each(READ)("%s is read exactly", (text, expected) => {
    expect(picousdFromUsd(text)).toBe(expected);
  });

  const REFUSED = [
    "",
    " 1",
    "1 ",
    "1.",
    ".5",
    "1,5",
    "0x10",
    "NaN",
    "Infinity",
    "1e",
    "--1",
    "1_000",
    "$1",
    "١",
    "0.0000000000001",
    "1e-13",
    "1e41",
    "1e999",
    "1e26",
    "9".repeat(65),
    "1\n",
  ];
  test.each(REFUSED)("%j is refused as bad input", (text) => {
    expect(() => picousdFromUsd(text, "budget_usd")).toThrow(InputError);
  });

  test("survives the way to JSON and back", () => {
    fc.assert(
      fc.property(amount, (n) => {
        const text = usdFromPicousd(picousd(n));
        expect(text).toMatch(/^-?\d+\.\d{2,12}$/);
        expect(picousdFromUsd(text)).toBe(n);
      }),
    );
  });

  const WRITTEN: readonly [bigint, string][] = [
    [0n, "0.00"],
    [1n, "0.000000000001"],
    [412_500_000n, "0.0004125"],
    [1_000_000_000_000n, "1.00"],
    [-500_000_000_000n, "-0.50"],
    [12_345_600_000_000_000n, "12345.60"],
  ];
  test.each(WRITTEN)("%s pico-dollars are written %s", (n, text) => {
    expect(usdFromPicousd(picousd(n))).toBe(text);
  });

  test("beyond what the store holds is a fault, never a wrong figure", () => {
    expect(() => picousd(MAX + 1n)).toThrow("numeric(38,0)");
  });
});

describe("a cost", () => {
  test("is between nothing and a billion dollars, and says so", () => {
    expect(costFromUsd("0", "cost_usd")).toBe(0n);
    expect(costFromUsd("1e9", "cost_usd")).toBe(10n ** 21n);
    expect(() => costFromUsd("-0.01", "cost_usd")).toThrow("'cost_usd' is not negative");
    expect(() => costFromUsd("1000000000.000000000001", "cost_usd")).toThrow(
      "'cost_usd' is at most 1000000000 USD",
    );
  });
});

describe("a price per million", () => {
  test.each([
    ["0.075", 75_000n],
    ["2.5", 2_500_000n],
    ["0.000001", 1n],
    ["1e-6", 1n],
    ["0", 0n],
  ])("of %s USD is %s pico-dollars per unit", (text, rate) => {
    expect(ratePerMillion(text)).toBe(rate);
  });

  test.each(["0.0000001", "-1", "0.08333333333333334"])("of %s USD is refused", (text) => {
    expect(() => ratePerMillion(text)).toThrow(InputError);
  });
});
