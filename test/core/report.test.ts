import { expect, test } from "vitest";
import { burnOf } from "../../src/core/forecast.ts";
import { parseGroupings, roundedQuotient, shareOf, usdEach } from "../../src/core/report.ts";

test.each([
  [9n, 1n, "0.000000000009"],
  [210_000_000_000n, 1n, "0.21"],
  [10n, 3n, "0.000000000003"],
  [11n, 3n, "0.000000000004"],
  [1n, 2n, "0.000000000001"],
  [-1n, 2n, "-0.000000000001"],
  [0n, 5n, "0.00"],
])("%s pico-dollars among %s are %s each, rounded half up", (amount, count, each) => {
  expect(usdEach(amount, count)).toBe(each);
});

test("a cost among nobody is null, and neither 0 nor without end", () => {
  expect(usdEach(5n, 0n)).toBeNull();
  expect(shareOf(5n, 0n)).toBeNull();
});

test("a share has four places, rounded half up", () => {
  expect(shareOf(1n, 3n)).toBe("0.3333");
  expect(shareOf(2n, 3n)).toBe("0.6667");
  expect(shareOf(7n, 7n)).toBe("1.0000");
  expect(shareOf(-1n, 4n)).toBe("-0.2500");
});

test("a quotient is the nearest whole number, on both sides of zero", () => {
  for (let dividend = -50n; dividend <= 50n; dividend += 1n) {
    for (let divisor = 1n; divisor <= 7n; divisor += 1n) {
      const off = 2n * (roundedQuotient(dividend, divisor) * divisor - dividend);
      expect(off <= divisor && off >= -divisor).toBe(true);
    }
  }
});

test("groupings are read in their order, and what is none is told with those there are", () => {
  expect(parseGroupings("day, label:team", ["day", "label"])).toEqual([
    { kind: "day", name: "day" },
    { kind: "label", label: "team", name: "label:team" },
  ]);
  expect(parseGroupings("", ["day"])).toEqual([]);
  for (const text of ["colour", "label:", "day,day", "run", "day,week,month,label:a,label:b"]) {
    expect(() => parseGroupings(text, ["day", "week", "month", "label"])).toThrow(
      expect.objectContaining({ code: "invalid_value", param: "group_by" }),
    );
  }
});

const DAY = 86_400_000;

test("a limit that is half used after a quarter of its window is exhausted at its half", () => {
  const meter = { limit: 100n, startsAtMs: 0, endsAtMs: 28 * DAY, nowMs: 7 * DAY };
  expect(burnOf({ ...meter, committed: 50n })).toEqual({
    perDay: 7n,
    atEnd: 200n,
    exhaustedAtMs: 14 * DAY,
  });
});

test("a limit that lasts for its window is never exhausted, one used up already is so now", () => {
  const meter = { limit: 100n, startsAtMs: 0, endsAtMs: 10 * DAY, nowMs: 5 * DAY };
  expect(burnOf({ ...meter, committed: 50n })?.exhaustedAtMs).toBeNull();
  expect(burnOf({ ...meter, committed: 51n })?.exhaustedAtMs).not.toBeNull();
  expect(burnOf({ ...meter, committed: 100n })?.exhaustedAtMs).toBe(5 * DAY);
  expect(burnOf({ ...meter, committed: 0n })).toEqual({
    perDay: 0n,
    atEnd: 0n,
    exhaustedAtMs: null,
  });
});

test("a limit without a window has no forecast at its end, and one at its beginning has no rate", () => {
  const meter = { limit: 100n, committed: 10n, startsAtMs: 0, endsAtMs: null };
  expect(burnOf({ ...meter, nowMs: DAY })).toEqual({
    perDay: 10n,
    atEnd: null,
    exhaustedAtMs: 10 * DAY,
  });
  expect(burnOf({ ...meter, nowMs: 0 })).toBeNull();
});
