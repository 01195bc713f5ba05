import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitRuns } from "../../src/core/token-runs.ts";

describe("text cut into runs", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", " ", "\n", "😀", "\u3000", "日"),
    maxLength: 80,
  });

  test("joins to the same text, has no run longer than the limit, splits no character", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 2, max: 10 }), (whole, charsMax) => {
        const pieces = splitRuns(whole, charsMax);
        expect(pieces.join("")).toBe(whole);
        for (const piece of pieces) {
          expect(piece.isWellFormed()).toBe(true);
          for (const run of piece.match(/\s+|\S+/g) ?? [])
            expect(run.length).toBeLessThanOrEqual(charsMax);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("without long runs is one piece", () => {
    const prose = "every word is short ".repeat(1_000);
    expect(splitRuns(prose)).toEqual([prose]);
  });

  test("of one letter is cut at every limit", () => {
    expect(splitRuns("a".repeat(1_300)).map((piece) => piece.length)).toEqual([512, 512, 276]);
  });
});
