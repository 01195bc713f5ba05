/** Periods that are closed: what their runs and outcomes cost is copied once, and read from there ever after. */
import { assert } from "../lib/assert.ts";
import type { Page, Queryable } from "./events.ts";
import { asOf, bookIs, type Period, within } from "./reports-terms.ts";
import { waits } from "./roll-up.ts";

export type ClosingRow = {
  readonly closingId: string;
  readonly beginsAt: Date;
  readonly endsAt: Date;
  readonly closedBy: string;
  readonly closedAt: Date;
  /** All that was recorded before is in the copies. */
  readonly asOf: Date;
};

/** What a period must be before it is closed. */
export type Closable = {
  readonly now: Date;
  /** All that was recorded before is rolled up. */
  readonly asOf: Date;
  /** Attempts that were decided before its end and have not ended. */
  readonly open: number;
};

export async function readClosable(
  tx: Queryable,
  tenantId: string,
  period: Period,
): Promise<Closable> {
  const [row] = await tx<Closable[]>`
    select tollgate_now() as now, ${asOf(tx, tenantId)} as "asOf", (
      select count(*)::int
      from reservations r
      join decisions d on d.tenant_id = r.tenant_id and d.attempt_id = r.attempt_id
      where r.tenant_id = ${tenantId} and d.decided_at < ${period.to.toISOString()}::text::timestamptz
    ) as open`;
  assert(row !== undefined, "an installation has its row");
  return row;
}

/** Of exactly this period, or null. */
export async function findClosingOf(
  sql: Queryable,
  tenantId: string,
  { from, to }: Period,
): Promise<ClosingRow | null> {
  const [row] = await sql<ClosingRow[]>`
    select ${columns(sql)} from period_closings c
    where c.tenant_id = ${tenantId} and c.begins_at = ${from.toISOString()}::text::timestamptz
      and c.ends_at = ${to.toISOString()}::text::timestamptz`;
  return row ?? null;
}

export async function findClosing(
  sql: Queryable,
  tenantId: string,
  closingId: string,
): Promise<ClosingRow | null> {
  const [row] = await sql<ClosingRow[]>`
    select ${columns(sql)} from period_closings c
    where c.tenant_id = ${tenantId} and c.closing_id = ${closingId}`;
  return row ?? null;
}

/** Newest first. */
export async function listClosings(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly ClosingRow[]> {
  return await sql<ClosingRow[]>`
    select ${columns(sql)} from period_closings c
    where c.tenant_id = ${tenantId} ${page.after === null ? sql`` : sql`and c.closing_id < ${page.after}`}
    order by c.closing_id desc
    limit ${page.rows}`;
}

export type NewClosing = Period & {
  readonly tenantId: string;
  readonly closingId: string;
  readonly closedBy: string;
};

export type Copied = { readonly runs: number; readonly outcomes: number };

/**
 * Copies the runs that began in the period, and the outcomes that occurred in it or whose runs began in it:
 * an outcome belongs to a period in either way. One statement, so that all are of one moment. Null where some of
 * the tenant's outcomes wait to be told at that moment: what would be copied is older than its runs.
 */
export async function insertClosing(tx: Queryable, closing: NewClosing): Promise<Copied | null> {
  const { tenantId, closingId } = closing;
  const live = { tenantId, closingId: "" };
  const [row] = await tx<Copied[]>`
    with closed as (
      insert into period_closings (tenant_id, closing_id, begins_at, ends_at, closed_by, as_of)
      select ${tenantId}, ${closingId}, ${closing.from.toISOString()}::text::timestamptz,
             ${closing.to.toISOString()}::text::timestamptz, ${closing.closedBy}, ${asOf(tx, tenantId)}
      where not ${waits(tx, tenantId)}
      returning 1
    ), begun as (
      insert into run_costs (tenant_id, closing_id, run_id, started_at, last_at, outcomes, ${figures(tx)})
      select tenant_id, ${closingId}, run_id, started_at, last_at, outcomes, ${figures(tx)}
      from run_costs d
      where exists (select from closed) and ${bookIs(tx, live)} and ${within(tx, closing, tx`d.started_at`)}
      returning 1
    ), told as (
      insert into outcome_costs (tenant_id, closing_id, root_id, type, subject_kind, subject, key, status,
                                 value_picousd, occurred_at, started_at, runs, ${figures(tx)})
      select tenant_id, ${closingId}, root_id, type, subject_kind, subject, key, status, value_picousd, occurred_at,
             started_at, runs, ${figures(tx)}
      from outcome_costs d
      where exists (select from closed) and ${bookIs(tx, live)}
        and ((${within(tx, closing, tx`d.occurred_at`)}) or (${within(tx, closing, tx`d.started_at`)}))
      returning 1
    )
    select (select count(*)::int from begun) as runs, (select count(*)::int from told) as outcomes from closed`;
  return row ?? null;
}

function figures(tx: Queryable) {
  return tx`
    key_id, customer, workflow, labels, attempts, blocked, retries, unpriced, cost_picousd, failed_picousd,
    wasted_picousd, estimated_picousd, tokens`;
}

/** Of one type: as it was closed, and as it is. Empty: of runs that no outcome bears. */
export type DriftRow = {
  readonly type: string;
  readonly closedOutcomes: string;
  readonly closedSuccess: string;
  readonly closedCost: string;
  readonly outcomes: string;
  readonly success: string;
  readonly cost: string;
  readonly asOf: Date;
};

export async function readDrift(
  sql: Queryable,
  tenantId: string,
  closing: ClosingRow,
): Promise<readonly DriftRow[]> {
  const period = { from: closing.beginsAt, to: closing.endsAt };
  const copies = `${tenantId}${closing.closingId}`;
  return await sql<DriftRow[]>`
    with line as (
      select o.type, o.closing_id <> '' as is_closed, 1 as outcomes, (o.status = 'success')::int as success,
             o.cost_picousd as cost
      from outcome_costs o
      where o.tenant_id = ${tenantId} and o.tenant_id || o.closing_id in (${tenantId}, ${copies})
        and ${within(sql, period, sql`o.occurred_at`)}
      union all
      select '', r.closing_id <> '', 0, 0, r.cost_picousd
      from run_costs r
      where r.tenant_id = ${tenantId} and r.tenant_id || r.closing_id in (${tenantId}, ${copies}) and r.outcomes = 0
        and ${within(sql, period, sql`r.started_at`)}
    )
    select type, coalesce(sum(outcomes) filter (where is_closed), 0)::text as "closedOutcomes",
           coalesce(sum(success) filter (where is_closed), 0)::text as "closedSuccess",
           coalesce(sum(cost) filter (where is_closed), 0)::text as "closedCost",
           coalesce(sum(outcomes) filter (where not is_closed), 0)::text as outcomes,
           coalesce(sum(success) filter (where not is_closed), 0)::text as success,
           coalesce(sum(cost) filter (where not is_closed), 0)::text as cost,
           ${asOf(sql, tenantId)} as "asOf"
    from line group by type order by type`;
}

function columns(sql: Queryable) {
  return sql`
    c.closing_id as "closingId", c.begins_at as "beginsAt", c.ends_at as "endsAt", c.closed_by as "closedBy",
    c.closed_at as "closedAt", coalesce(c.as_of, c.closed_at) as "asOf"`;
}
