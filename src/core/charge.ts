/**
 * What an ended attempt is charged: a pure function of what was foreseen and what was seen.
 *
 * Measured usage times price where both are known. Where the upstream told no usage, both sides are
 * estimated, never above what was reserved. Where no estimate would be sound (a reasoning model cut
 * off: its hidden tokens are billed and were never delivered) the reservation is charged in full.
 */
import type { Estimate } from "./decide.ts";
import { minPicousd, picousd, type Picousd } from "./money.ts";
import { costOf, tierServed, type Price } from "./price.ts";
import { INPUT_CLASSES, OUTPUT_CLASSES } from "./price.ts";
import type { Usage } from "./usage.ts";

export type Charge = {
  readonly basis: "computed" | "estimated" | "presumed" | "unpriced" | "none";
  /** Null only when `unpriced`. */
  readonly costPicousd: Picousd | null;
  readonly tokens: number;
  readonly usage: Usage;
  readonly priceVersion: string | null;
};

export type Seen = {
  readonly usage: Usage | null;
  /** As the answer states it, or null. */
  readonly serviceTier: string | null;
  /** As it was asked for, or null. */
  readonly serviceTierAsked: string | null;
  /** From its sending to the end of its answer, as the gate measured it: whole milliseconds, rounded up. */
  readonly milliseconds: number;
  /** The price of the model that answered, or of the model asked when that one has none. */
  readonly price: Price | null;
  /** Counted by us when the upstream told no usage; null when nothing can be counted. */
  readonly counted: Usage | null;
};

export const NOTHING: Charge = {
  basis: "none",
  costPicousd: picousd(0n),
  tokens: 0,
  usage: {},
  priceVersion: null,
};

export function charge(estimate: Estimate, seen: Seen): Charge {
  if (estimate.basis === "free") return NOTHING;
  if (seen.usage !== null) return computed(estimate, seen, seen.usage);
  if (seen.price !== null && seen.price.hourly !== null) return timed(estimate, seen);
  if (seen.counted !== null) return estimated(estimate, seen, seen.counted);
  return presumed(estimate, {}, seen.price);
}

function computed(estimate: Estimate, seen: Seen, told: Usage): Charge {
  const usage = withMeasured(seen, told);
  const cost = costSeen(seen, usage);
  // A class or a service tier without a price: what was reserved is the only figure that is no guess.
  // Its tokens were told all the same, and a quota of tokens counts those.
  if (cost === null)
    return { ...withoutPrice(estimate, usage, seen.price), tokens: tokensOf(usage) };
  return {
    basis: "computed",
    costPicousd: cost,
    tokens: tokensOf(usage),
    usage,
    priceVersion: seen.price?.version ?? null,
  };
}

/** All that costs money was measured, whatever the upstream told: only the tokens are counted, or as reserved. */
function timed(estimate: Estimate, seen: Seen): Charge {
  const measured = computed(estimate, seen, seen.counted ?? {});
  return seen.counted === null ? { ...measured, tokens: estimate.tokens } : measured;
}

function estimated(estimate: Estimate, seen: Seen, counted: Usage): Charge {
  const usage = withMeasured(seen, counted);
  const cost = costSeen(seen, usage);
  if (cost === null) return withoutPrice(estimate, usage, seen.price);
  const reserved = estimate.costPicousd;
  return {
    basis: "estimated",
    costPicousd: reserved === null ? cost : minPicousd(cost, reserved),
    tokens: tokensOf(usage),
    usage,
    priceVersion: seen.price?.version ?? null,
  };
}

function costSeen({ price, serviceTier, serviceTierAsked }: Seen, usage: Usage): Picousd | null {
  if (price === null) return null;
  return costOf(price, usage, tierServed(price, serviceTierAsked, serviceTier));
}

/** No provider counts its requests in an answer, or its time: where they have a price, it was one, and took so long. */
function withMeasured({ price, milliseconds }: Seen, usage: Usage): Usage {
  if (price !== null && price.hourly !== null) return { ...usage, milliseconds };
  if (price?.rates.requests === undefined || usage.requests !== undefined) return usage;
  return { ...usage, requests: 1 };
}

/** Where something was used that has no price, a reservation of nothing does not make it free: its cost is unknown. */
function withoutPrice(estimate: Estimate, usage: Usage, price: Price | null): Charge {
  const isUnpriced = estimate.costPicousd === 0n;
  return presumed(isUnpriced ? { ...estimate, costPicousd: null } : estimate, usage, price);
}

/** Charges the whole reservation; without one the attempt is unpriced, which is not the same as free. */
export function presumed(estimate: Estimate, usage: Usage, price: Price | null): Charge {
  const tokens = Math.max(tokensOf(usage), estimate.tokens);
  if (estimate.costPicousd === null) {
    return { basis: "unpriced", costPicousd: null, tokens, usage, priceVersion: null };
  }
  return {
    basis: "presumed",
    costPicousd: estimate.costPicousd,
    tokens,
    usage,
    priceVersion: price?.version ?? null,
  };
}

/** Every token of every class. */
export function tokensOf(usage: Usage): number {
  let tokens = 0;
  for (const kind of INPUT_CLASSES) tokens += usage[kind] ?? 0;
  for (const kind of OUTPUT_CLASSES) tokens += usage[kind] ?? 0;
  return tokens;
}
