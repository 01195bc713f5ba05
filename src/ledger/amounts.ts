/** Stored amounts as JSON shows them: money as exact decimal strings, counts as whole numbers. */
import { usdOf } from "../core/money.ts";
import type { Unit } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";

/** An amount in a limit's own unit: a decimal string of dollars, or a count. */
export type Amount = string | number;

/** A JSON number is exact up to 2⁵³; more tokens or requests than that were never counted. */
export function countOf(digits: string | bigint): number {
  const count = Number(digits);
  assert(Number.isSafeInteger(count), "a count within 2^53");
  return count;
}

export function amountOf(unit: Unit, digits: string | bigint): Amount {
  return unit === "usd" ? usdOf(digits) : countOf(digits);
}

export function timeOrNull(at: Date | null): string | null {
  return at === null ? null : at.toISOString();
}
