/** Every price that a call may be charged by: the shipped list, the demo's, and the configured ones. */
import type { Price } from "../core/price.ts";
import { demoPrices } from "../core/price-snapshot.ts";
import { sha256Hex } from "../lib/hash.ts";
import type { Sql } from "../store/database.ts";
import { recordPrices } from "../store/installation.ts";
import type { Config } from "./config.ts";

/** A settlement names its price by version: every price that may be used is in the ledger before. */
export async function recordListPrices(
  sql: Sql,
  config: Config,
  listed: readonly Price[],
): Promise<number> {
  const prices = [...listed, ...demoPrices(), ...config.prices];
  const digest = sha256Hex(prices.map((price) => price.version).join());
  await recordPrices(sql, digest, prices);
  return prices.length;
}
