import { expect, test } from "vitest";
import { count, newHistogram, quantile } from "./histogram.ts";

test("a quantile is within one per cent of the exact one, from a microsecond to half an hour", () => {
  for (const scale of [1, 7, 130, 255, 256, 257, 5_000, 1_234_567, 2_000_000]) {
    const histogram = newHistogram();
    for (let at = 1; at <= 1_000; at += 1) count(histogram, at * scale);
    for (const share of [0.01, 0.5, 0.99, 1]) {
      const exact = Math.min(2 ** 31 - 1, share * 1_000 * scale);
      const told = quantile(histogram, share) ?? Number.NaN;
      expect(Math.abs(told - exact) / exact).toBeLessThan(0.01);
    }
  }
});

test("an empty histogram has no quantile, and out-of-range values count at its ends", () => {
  const histogram = newHistogram();
  expect(quantile(histogram, 0.5)).toBeNull();
  count(histogram, -5);
  expect(quantile(histogram, 0.5)).toBe(0);
  count(histogram, Number.MAX_SAFE_INTEGER);
  expect(quantile(histogram, 1)).toBeGreaterThan(2 ** 30);
});
