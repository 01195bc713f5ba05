import type { Brand } from "../lib/brand.ts";

/**
 * An exact amount of money: whole pico-dollars (10⁻¹² USD) as a bigint.
 *
 * List prices have at most six decimals per million units, so a price per unit is a whole number of
 * pico-dollars and `units × price` is exact: there is no rounding rule because nothing is rounded.
 */
export type Picousd = Brand<bigint, "picousd">;
