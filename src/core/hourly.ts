import { USD_PER_HOUR_MAX } from "./limits-finance.ts";
import { picousd, picousdFromUsd, type Picousd } from "./money.ts";

/**
 * What a machine costs that is paid by the hour, whatever it computes: a call costs the time that it took.
 *
 * Calls that run on one machine at once share its hour. Each by itself would cost the whole of it, and
 * together they would cost a multiple of the rent; so the operator says how many the price is meant for.
 */
export type Hourly = {
  readonly picousdPerHour: Picousd;
  /** Calls that share the hour: each costs its time divided by them. */
  readonly concurrency: number;
};

const MS_PER_HOUR = 3_600_000n;

/**
 * The cost of so many milliseconds, rounded up to a whole pico-dollar. It is the only cost that is rounded at
 * all, because an hour's price is seldom a whole number of pico-dollars a millisecond: $2.00 is 555,555.5…
 */
export function costOfTime({ picousdPerHour, concurrency }: Hourly, milliseconds: number): Picousd {
  const parts = MS_PER_HOUR * BigInt(concurrency);
  return picousd((BigInt(milliseconds) * picousdPerHour + parts - 1n) / parts);
}

/** Twelve decimals of a dollar are whole pico-dollars. */
const USD_PER_HOUR = /^\d{1,5}(?:\.\d{1,12})?$/;

/** USD an hour as people write it, `2.49`, or null where it is no such amount. */
export function ratePerHour(usd: string): Picousd | null {
  if (!USD_PER_HOUR.test(usd)) return null;
  const rate = picousdFromUsd(usd);
  return rate <= BigInt(USD_PER_HOUR_MAX) * 10n ** 12n ? rate : null;
}
