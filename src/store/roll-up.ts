/** Keeps the roll-ups behind the ledger, see `drizzle/0004_finance.sql`; and says how far they are. */
import { assert } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";

/** `isBehind`: more was posted than one step takes. */
export type RolledUp = { readonly lines: number; readonly isBehind: boolean };

/** Rolls up what was posted, at most so many lines of each kind; null where another connection is at it. */
export async function rollUp(sql: Queryable, most: number): Promise<RolledUp | null> {
  const [row] = await sql<RolledUp[]>`
    select lines, is_behind as "isBehind" from tollgate_roll_up(${most})`;
  return row ?? null;
}

/** The tenant whose outcomes have waited longest to be told what they cost now; null: none is due. */
export async function stalestTenant(sql: Queryable): Promise<string | null> {
  const [row] = await sql<{ readonly tenantId: string }[]>`
    select tenant_id as "tenantId" from stale_outcomes where due_at <= tollgate_now()
    order by due_at limit 1`;
  return row?.tenantId ?? null;
}

/** Tells what at most so many outcomes of a tenant cost now. Answers how many were told. */
export async function tellStale(sql: Queryable, tenantId: string, most: number): Promise<number> {
  const [row] = await sql<{ readonly told: number }[]>`
    select tollgate_tell_stale(${tenantId}, ${most}) as told`;
  return row?.told ?? 0;
}

/** Lets a tenant's stale outcomes wait: they take longer than a statement may, and others wait behind them. */
export async function postponeStale(sql: Queryable, tenantId: string, ms: number): Promise<void> {
  await sql`
    update stale_outcomes set due_at = tollgate_now() + ${ms} * interval '1 millisecond'
    where tenant_id = ${tenantId}`;
}

/** All that was recorded before this moment is in the roll-ups of this tenant, or with null of every one. */
export async function rolledUpAsOf(sql: Queryable, tenantId: string | null): Promise<Date> {
  const [row] = await sql<{ readonly asOf: Date }[]>`
    select least(s.as_of, (
      select min(o.since) from stale_outcomes o where ${tenantId}::text is null or o.tenant_id = ${tenantId}
    )) as "asOf"
    from roll_up_state s`;
  assert(row !== undefined, "an installation has its row");
  return row.asOf;
}
