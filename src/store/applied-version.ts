/** Which schema a database has. Apart from `migrate.ts`, which reads files: Workers have none. */
import type { Sql } from "./database.ts";

/**
 * The schema that this program needs, for a runtime that cannot count `drizzle/`. A test holds it equal
 * to the migrations there.
 */
export const SCHEMA_VERSION = 22;

/** How many migrations the database has had: its schema version. */
export async function appliedVersion(client: Sql): Promise<number> {
  const [table] =
    await client`select to_regclass('drizzle.__drizzle_migrations') is not null as exists`;
  if (table?.["exists"] !== true) return 0;
  const [row] = await client`select count(*)::int as count from drizzle.__drizzle_migrations`;
  return Number(row?.["count"]);
}
