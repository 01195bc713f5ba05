/** The step of a deployment that makes a database ready for runtimes that cannot do it themselves. */
import { randomBytes } from "node:crypto";

import { priceSnapshot } from "../core/price-snapshot.ts";
import { appliedVersion } from "../store/applied-version.ts";
import { open, type Address } from "../store/database.ts";
import { findOrCreateInstallation } from "../store/installation.ts";
import { migrate } from "../store/migrate.ts";
import type { Config } from "./config.ts";
import { requireSoundDatabase } from "./database-checks.ts";
import { recordListPrices } from "./list-prices.ts";

export type Migrated = {
  /** Schema versions, before and now. */
  readonly from: number;
  readonly to: number;
  /** Prices that are recorded now, of the list and of the configuration. */
  readonly prices: number;
};

/** Repeating it changes nothing. Throws a Fault for a database on which no decision would hold. */
export async function migrateDatabase(config: Config, url: string): Promise<Migrated> {
  await requireSoundDatabase(url);
  const address: Address = { kind: "url", url };
  const client = open(address, 1);
  try {
    const from = await appliedVersion(client);
    await migrate(address);
    await findOrCreateInstallation(client, randomBytes(32).toString("hex"));
    const prices = await recordListPrices(client, config, priceSnapshot());
    return { from, to: await appliedVersion(client), prices };
  } finally {
    await client.end({ timeout: 5 });
  }
}
