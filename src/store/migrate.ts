/** Applies `drizzle/` in order, forward only, by one process at a time. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { Fault } from "../lib/assert.ts";
import { appliedVersion } from "./applied-version.ts";
import { type Address, open, type Sql } from "./database.ts";

const FOLDER = fileURLToPath(new URL("../../drizzle", import.meta.url));

/** Any number that no other program's advisory lock is likely to use ("toll" in ASCII). */
const LOCK = 0x746f6c6c;

/**
 * Builds before 0.1.0 made what the first migrations make by as many others. They are applied in one transaction:
 * so a database that has only a part of them is of such a build, and these do not go on from there.
 */
const FIRST_MIGRATIONS = 20;

/** How many migrations this program knows: its schema version. */
export function schemaVersion(): number {
  const journal: unknown = JSON.parse(readFileSync(`${FOLDER}/meta/_journal.json`, "utf8"));
  if (typeof journal === "object" && journal !== null && "entries" in journal) {
    if (Array.isArray(journal.entries)) return journal.entries.length;
  }
  throw new Fault("drizzle/meta/_journal.json has no entries");
}

/**
 * Brings the database to this program's schema; replicas that start together wait for the first.
 * Throws a Fault when the database was migrated by a newer program, or not to its end by a build before 0.1.0.
 */
export async function migrate(address: Address): Promise<void> {
  const client = open(address, 1);
  try {
    await client`select pg_advisory_lock(${LOCK}::bigint)`;
    const applied = await appliedVersion(client);
    const known = schemaVersion();
    if (applied > known) {
      throw new Fault(
        `the database has schema version ${applied}, this program knows ${known}: ` +
          "start the newer release, migrations only go forward",
      );
    }
    if (applied > 0 && applied < FIRST_MIGRATIONS) {
      throw new Fault(
        `the database was made by a build before 0.1.0 and has only ${applied} of its ` +
          `${FIRST_MIGRATIONS} migrations: start the last of those builds once, then this one`,
      );
    }
    if (applied < known) await applyMigrations(client);
    await client`select pg_advisory_unlock(${LOCK}::bigint)`;
  } finally {
    await client.end({ timeout: 5 });
  }
}

/** Its packages are loaded only here: most starts find the schema as it should be. */
async function applyMigrations(client: Sql): Promise<void> {
  const [{ drizzle }, { migrate: apply }] = await Promise.all([
    import("drizzle-orm/postgres-js"),
    import("drizzle-orm/postgres-js/migrator"),
  ]);
  await apply(drizzle(client), { migrationsFolder: FOLDER });
}
