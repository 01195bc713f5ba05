/**
 * What the planner knows of tables. A PostgreSQL server looks again by itself (autovacuum); the embedded database
 * has nobody who would, and plans a report of ten thousand runs as if every table were new.
 */
import type { Sql } from "./database.ts";

/** Below it any plan is good. */
const PAGES_MIN = 8;

/** A table is looked at again when it is so many times as large as it was. */
const GROWN_BY = 1.3;

/** Looks at the tables that have grown, each in a statement of its own, so that no call waits for all. Answers which. */
export async function analyzeGrown(sql: Sql): Promise<readonly string[]> {
  const grown = await sql<{ name: string }[]>`
    select c.relname as name from pg_class c
    where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
      and pg_relation_size(c.oid) / current_setting('block_size')::int
          >= greatest(${PAGES_MIN}::int, c.relpages * ${GROWN_BY}::float8)
    order by c.relname`;
  for (const { name } of grown) await sql`analyze ${sql(name)}`;
  return grown.map(({ name }) => name);
}
