/** Keeps the roll-ups behind the ledger, see `drizzle/0020_roll_up.sql`; and says how far they are. */
import { STALE_PAIRS_MAX } from "../core/limits-finance.ts";
import { assert } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import type { Fragment } from "./reports-terms.ts";

/** `isBehind`: more was posted than one step takes. */
export type RolledUp = { readonly lines: number; readonly isBehind: boolean };

/** Rolls up what was posted, at most so many lines of each kind; null where another connection is at it. */
export async function rollUp(sql: Queryable, most: number): Promise<RolledUp | null> {
  const [row] = await sql<RolledUp[]>`
    select lines, is_behind as "isBehind" from tollgate_roll_up(${most})`;
  return row ?? null;
}

/**
 * Whose outcomes have the next turn, one tenant after the other: whoever has many waits behind everybody else
 * between two measures of them. Null: nobody's wait, or another connection rolls up or tells.
 */
export async function nextStaleTenant(sql: Queryable): Promise<string | null> {
  const behind = (last: Fragment) => sql`
    least((select min(o.tenant_id) from stale_outcomes o where o.tenant_id > ${last}),
          (select min(r.tenant_id) from stale_runs r where r.tenant_id > ${last}),
          (select min(t.tenant_id) from outcome_types t where t.revalued_to is not null and t.tenant_id > ${last}))`;
  const [row] = await sql<{ readonly tenantId: string }[]>`
    with state as (
      select s.stale_tenant as last from roll_up_state s where s.one = 1 for update skip locked
    ), next as (
      select coalesce(${behind(sql`state.last`)}, ${behind(sql`''`)}) as tenant_id from state
    )
    update roll_up_state s set stale_tenant = n.tenant_id
    from next n where s.one = 1 and n.tenant_id is not null
    returning s.stale_tenant as "tenantId"`;
  return row?.tenantId ?? null;
}

/** Does a measure of what a tenant's outcomes wait for, and tells at most so many. Answers how much; 0: nothing is due. */
export async function tellStale(sql: Queryable, tenantId: string, most: number): Promise<number> {
  const [row] = await sql<{ readonly done: number }[]>`
    select tollgate_tell_stale(${tenantId}, ${most}, ${STALE_PAIRS_MAX}) as done`;
  return row?.done ?? 0;
}

/** Of a tenant: what is not told yet as it is now. */
export function waits(sql: Queryable, tenantId: string) {
  return sql`
    (exists (select from stale_outcomes o where o.tenant_id = ${tenantId})
     or exists (select from stale_runs r where r.tenant_id = ${tenantId})
     or exists (select from outcome_types t where t.tenant_id = ${tenantId} and t.revalued_to is not null))`;
}

/** Lets a tenant's stale outcomes wait: they take longer than a statement may, and others wait behind them. */
export async function postponeStale(sql: Queryable, tenantId: string, ms: number): Promise<void> {
  await sql`
    with runs as (
      update stale_runs set due_at = tollgate_now() + ${ms} * interval '1 millisecond'
      where tenant_id = ${tenantId}
    )
    update stale_outcomes set due_at = tollgate_now() + ${ms} * interval '1 millisecond'
    where tenant_id = ${tenantId}`;
}

/** All that was recorded before this moment is in the roll-ups of this tenant, or with null of every one. */
export async function rolledUpAsOf(sql: Queryable, tenantId: string | null): Promise<Date> {
  const [row] = await sql<
    { readonly asOf: Date }[]
  >`select tollgate_as_of(${tenantId}::text) as "asOf"`;
  assert(row !== undefined, "an installation has its row");
  return row.asOf;
}
