import { expect, test } from "vitest";
import { charge, type Charge, type Seen } from "../../src/core/charge.ts";
import type { Estimate } from "../../src/core/decide.ts";
import { picousd } from "../../src/core/money.ts";
import type { Rates } from "../../src/core/price.ts";
import type { Usage } from "../../src/core/usage.ts";
import { priceOf } from "../support/prices.ts";

/** What is charged of a usage told, where not all of it has a price. */
const charged = (costPicousd: bigint | null, usage: Usage | null, rates: Rates): Charge => {
  const estimate: Estimate = {
    costPicousd: costPicousd === null ? null : picousd(costPicousd),
    tokens: 9,
    basis: costPicousd === null ? "unpriced" : "bound",
    outputTokensMax: null,
    clampedTo: null,
  };
  const seen: Seen = {
    usage,
    serviceTier: null,
    serviceTierAsked: null,
    milliseconds: 1,
    price: priceOf({ rates }),
    counted: null,
  };
  return charge(estimate, seen);
};

const BY_THE_SECOND = { seconds: picousd(50n) };
const FREE = { input: picousd(0n), output: picousd(0n) };
const TOLD = { input: 1_000, output: 2_000 };

const ROWS: readonly [string, bigint | null, Usage | null, Rates, Partial<Charge>][] = [
  [
    "that has no price is unpriced where nothing was reserved",
    0n,
    TOLD,
    BY_THE_SECOND,
    { basis: "unpriced", costPicousd: null, tokens: 3_000, usage: TOLD, priceVersion: null },
  ],
  [
    "that has no price is unpriced where a tolerant tenant reserved no money",
    null,
    TOLD,
    BY_THE_SECOND,
    { basis: "unpriced", costPicousd: null, tokens: 3_000 },
  ],
  [
    "that has no price is what was reserved",
    7n,
    TOLD,
    BY_THE_SECOND,
    { basis: "presumed", costPicousd: picousd(7n), tokens: 3_000 },
  ],
  [
    "of a class beside free ones is unpriced",
    0n,
    { ...TOLD, audio_output: 1 },
    FREE,
    { basis: "unpriced", costPicousd: null },
  ],
  [
    "of what is free costs nothing",
    0n,
    TOLD,
    FREE,
    { basis: "computed", costPicousd: picousd(0n), tokens: 3_000 },
  ],
  [
    "of nothing costs nothing, whatever has a price",
    0n,
    { input: 0, output: 0 },
    BY_THE_SECOND,
    { basis: "computed", costPicousd: picousd(0n), tokens: 0 },
  ],
  [
    "that nobody told is what was reserved",
    0n,
    null,
    FREE,
    { basis: "presumed", costPicousd: picousd(0n), tokens: 9 },
  ],
];
test.each(ROWS)("a usage %s", (_, reserved, usage, rates, expected) => {
  expect(charged(reserved, usage, rates)).toMatchObject(expected);
});
