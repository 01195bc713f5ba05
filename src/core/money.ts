import { assert } from "../lib/assert.ts";
import type { Brand } from "../lib/brand.ts";
import { InputError } from "./errors.ts";
import { COST_USD_MAX } from "./limits.ts";

/**
 * An exact amount of money: whole pico-dollars (10⁻¹² USD) as a bigint.
 *
 * List prices have at most six decimals per million units, so a price per unit is a whole number of
 * pico-dollars and `units × price` is exact: there is no rounding rule because nothing is rounded.
 */
export type Picousd = Brand<bigint, "picousd">;

/** What `numeric(38,0)` holds; an amount beyond it would fail in the store, after the decision. */
const PICOUSD_MAX = 10n ** 38n - 1n;

const COST_PICOUSD_MAX = BigInt(COST_USD_MAX) * 10n ** 12n;

/** Decimals of a dollar amount that a whole pico-dollar can tell apart. */
const DECIMALS = 12;

/** Longer amounts are not money; it also bounds what the expression below reads. */
const DECIMAL_LENGTH_MAX = 64;

/** Wide enough for anything a float prints, narrow enough that no power of ten is large. */
const EXPONENT_MAX = 40;

const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

/** The one place where a bigint becomes money. */
export function picousd(amount: bigint): Picousd {
  assert(isPicousd(amount), "amount of money beyond numeric(38,0)");
  return amount;
}

/** Whether the store can hold the amount. */
function isPicousd(amount: bigint): amount is Picousd {
  return amount <= PICOUSD_MAX && amount >= -PICOUSD_MAX;
}

/**
 * Reads a decimal amount of dollars exactly: `0.000412500`, `-1.5`, `4.125e-4`.
 * Throws InputError when it is no decimal, finer than 10⁻¹² USD, or beyond `numeric(38,0)`.
 */
export function picousdFromUsd(decimal: string, param: string | null = null): Picousd {
  return picousd(scaled(decimal, DECIMALS, param));
}

/**
 * Reads an amount of an invoice, in dollars or cents, as exactly as a pico-dollar can hold it: what is finer
 * is rounded to the nearest, halves away from zero, for providers print what their floats hold.
 */
export function picousdOfInvoice(
  decimal: string,
  { unit, param }: { readonly unit: "usd" | "cent"; readonly param: string },
): Picousd {
  return picousd(scaled(decimal, unit === "usd" ? DECIMALS : DECIMALS - 2, param, nearestQuotient));
}

/**
 * What one act costs, or may cost: between nothing and `COST_USD_MAX`. Throws InputError as `picousdFromUsd`
 * does, and for what is outside.
 */
export function costFromUsd(decimal: string, param: string): Picousd {
  const cost = picousdFromUsd(decimal, param);
  if (cost < 0n) throw new InputError("invalid_value", param, `'${param}' is not negative.`);
  if (cost > COST_PICOUSD_MAX) {
    throw new InputError("invalid_value", param, `'${param}' is at most ${COST_USD_MAX} USD.`);
  }
  return cost;
}

/** What one line of an invoice costs; a credit is negative. Throws InputError as `costFromUsd` does. */
export function costOfInvoice(decimal: string, param: string): Picousd {
  const cost = picousdFromUsd(decimal, param);
  if (cost <= COST_PICOUSD_MAX && cost >= -COST_PICOUSD_MAX) return cost;
  throw new InputError("invalid_value", param, `'${param}' is at most ${COST_USD_MAX} USD.`);
}

/** A credit, below zero, or a debit: `COST_USD_MAX` at most, and never nothing. Throws InputError. */
export function adjustmentFromUsd(decimal: string, param: string): Picousd {
  const amount = picousdFromUsd(decimal, param);
  if (amount === 0n) throw new InputError("invalid_value", param, `'${param}' is not zero.`);
  if (amount > COST_PICOUSD_MAX || amount < -COST_PICOUSD_MAX) {
    const message = `'${param}' is at most ${COST_USD_MAX} USD, credit or debit.`;
    throw new InputError("invalid_value", param, message);
  }
  return amount;
}

/**
 * A price as lists print it, in USD per million units, as pico-dollars per unit: `0.075` is 75,000.
 * Throws InputError when it is negative or finer than a whole pico-dollar per unit.
 */
export function ratePerMillion(usdPerMillion: string, param: string | null = null): Picousd {
  const rate = scaled(usdPerMillion, DECIMALS - 6, param);
  if (rate < 0n)
    throw new InputError("invalid_value", param, `A price is not negative: ${usdPerMillion}.`);
  return picousd(rate);
}

/** As sentences say an amount: `$0.0004125`. */
export function dollars(amount: bigint): string {
  return `$${usdOf(amount)}`;
}

/** As `usdFromPicousd`, of an amount as the store keeps it: decimal digits, or a bare bigint. */
export function usdOf(amount: string | bigint): string {
  return usdFromPicousd(picousd(BigInt(amount)));
}

/** Of what has no cost, or none that is known, JSON says null. */
export function usdOrNull(amount: string | bigint | null): string | null {
  return amount === null ? null : usdOf(amount);
}

/**
 * The exact decimal string of JSON: never an exponent, at least two decimals so that it reads as
 * dollars, and no other trailing zero. `0.0004125`, `1.00`, `-0.50`.
 */
export function usdFromPicousd(picousdAmount: Picousd): string {
  const amount: bigint = picousdAmount;
  const digits = (amount < 0n ? -amount : amount).toString().padStart(DECIMALS + 1, "0");
  const whole = digits.slice(0, -DECIMALS);
  let end = digits.length;
  while (end > digits.length - DECIMALS + 2 && digits[end - 1] === "0") end -= 1;
  return `${amount < 0n ? "-" : ""}${whole}.${digits.slice(digits.length - DECIMALS, end)}`;
}

export function minPicousd(a: Picousd, b: Picousd): Picousd {
  return a < b ? a : b;
}

/** `decimal × 10^decimals` as a whole number, or InputError when it is none. */
function scaled(
  decimal: string,
  decimals: number,
  param: string | null,
  quotient: (digits: bigint, places: number) => bigint | null = exactQuotient,
): bigint {
  const parts = decimal.length <= DECIMAL_LENGTH_MAX ? DECIMAL.exec(decimal) : null;
  if (parts === null) {
    const shown = decimal.slice(0, DECIMAL_LENGTH_MAX);
    throw new InputError(
      "invalid_value",
      param,
      `Not a decimal amount, as 1000.50: ${JSON.stringify(shown)}.`,
    );
  }
  const [, sign = "", whole = "", fraction = "", exponentText = "0"] = parts;
  const exponent = Number(exponentText);
  if (exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX) {
    throw new InputError("invalid_value", param, `Exponent out of range: ${decimal}.`);
  }
  const shift = exponent + decimals - fraction.length;
  const digits = BigInt(whole + fraction);
  const magnitude = shift >= 0 ? digits * 10n ** BigInt(shift) : quotient(digits, -shift);
  if (magnitude === null) {
    const message = `Finer than one pico-dollar (10^-12 USD), so it cannot be held exactly: ${decimal}.`;
    throw new InputError("invalid_value", param, message);
  }
  if (magnitude > PICOUSD_MAX) {
    throw new InputError("invalid_value", param, `Amount out of range: ${decimal}.`);
  }
  return sign === "-" ? -magnitude : magnitude;
}

function exactQuotient(digits: bigint, places: number): bigint | null {
  const divisor = 10n ** BigInt(places);
  return digits % divisor === 0n ? digits / divisor : null;
}

function nearestQuotient(digits: bigint, places: number): bigint {
  const divisor = 10n ** BigInt(places);
  return (2n * digits + divisor) / (2n * divisor);
}
