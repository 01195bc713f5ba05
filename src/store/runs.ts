/** Runs that somebody named, and the attempts of any run, named or not. */
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";
import { kindOf } from "./usage.ts";

/** Stored is `stopping` whatever is in flight: `stopped` is read of it, once nothing is. */
export type RunState = "open" | "stopping" | "stopped" | "closed";

export type RunRecord = {
  readonly runId: string;
  readonly state: RunState;
  /** The runs above it, outermost first. */
  readonly ancestors: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The run that this one executes anew, or null. */
  readonly derivedFrom: string | null;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly stoppedAt: Date | null;
};

/** An amount is decimal digits of pico-dollars. */
export type RunTotals = {
  readonly attempts: number;
  readonly blocked: number;
  readonly repeated: number;
  readonly inFlight: number;
  readonly unknown: number;
  readonly unpriced: number;
  readonly costPicousd: string;
  /** Σ of what an operator adjusted of it and of its attempts, beside their cost; null: nothing. */
  readonly adjustedPicousd: string | null;
  readonly reservedPicousd: string;
  readonly tokens: string;
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
};

export type InFlightRow = {
  readonly attemptId: string;
  readonly runId: string;
  readonly resource: string;
  readonly state: "open" | "unknown";
  readonly reservedPicousd: string | null;
  readonly decidedAt: Date;
  readonly deadlineAt: Date;
};

/** False when the run has a row already, made here or by its first call. */
export async function insertRun(
  tx: Queryable,
  run: {
    readonly tenantId: string;
    readonly runId: string;
    readonly ancestors: readonly string[];
    readonly labels: Readonly<Record<string, string>>;
    readonly derivedFrom: string | null;
    readonly createdBy: string;
  },
): Promise<boolean> {
  const rows = await tx`
    insert into runs (tenant_id, run_id, ancestors, labels, derived_from, created_by)
    values (${run.tenantId}, ${run.runId}, ${arrayLiteral(run.ancestors)}::text::text[],
            ${JSON.stringify(run.labels)}::text::json, ${run.derivedFrom}, ${run.createdBy})
    on conflict do nothing
    returning run_id`;
  return rows.length === 1;
}

export async function findRun(
  sql: Queryable,
  tenantId: string,
  runId: string,
): Promise<RunRecord | null> {
  const [row] = await sql<RunRecord[]>`
    select ${columns(sql)} from runs where tenant_id = ${tenantId} and run_id = ${runId}`;
  return row ?? null;
}

/** Whether any attempt was ever decided in a run of this name. */
export async function hasDecisions(
  sql: Queryable,
  tenantId: string,
  runId: string,
): Promise<boolean> {
  const rows = await sql`
    select 1 from decisions where tenant_id = ${tenantId} and run_id = ${runId} limit 1`;
  return rows.length === 1;
}

/** Newest first; with a search only those in whose name it stands. */
export async function listRuns(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly search: string | null },
): Promise<readonly RunRecord[]> {
  return await sql<RunRecord[]>`
    select ${columns(sql)} from runs
    where tenant_id = ${tenantId}
      ${page.search === null ? sql`` : sql`and strpos(lower(run_id), lower(${page.search})) > 0`}
      ${
        page.after === null
          ? sql``
          : sql`and (created_at, run_id) < (
              select created_at, run_id from runs
              where tenant_id = ${tenantId} and run_id = ${page.after})`
      }
    order by created_at desc, run_id desc
    limit ${page.rows}`;
}

export async function updateRunLabels(
  tx: Queryable,
  run: { readonly tenantId: string; readonly runId: string },
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  await tx`
    update runs set labels = ${JSON.stringify(labels)}::text::json
    where tenant_id = ${run.tenantId} and run_id = ${run.runId}`;
}

/** False when the run was not open. */
export async function stopRun(tx: Queryable, tenantId: string, runId: string): Promise<boolean> {
  const rows = await tx`
    update runs set state = 'stopping', stopped_at = tollgate_now()
    where tenant_id = ${tenantId} and run_id = ${runId} and state = 'open'
    returning run_id`;
  return rows.length === 1;
}

/** What still holds money of a run or of a run below it: in flight, or ended in a way nobody knows. */
export async function listInFlight(
  sql: Queryable,
  tenantId: string,
  run: { readonly runId: string; readonly rows: number },
): Promise<readonly InFlightRow[]> {
  return await sql<InFlightRow[]>`
    with family as (
      select ${run.runId}::text as run_id
      union
      select run_id from runs
      where tenant_id = ${tenantId} and ancestors @> array[${run.runId}::text]
    )
    select d.attempt_id as "attemptId", d.run_id as "runId", d.resource, r.state,
           r.cost_picousd as "reservedPicousd", d.decided_at as "decidedAt",
           r.deadline_at as "deadlineAt"
    from decisions d
    join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
    where d.tenant_id = ${tenantId} and d.run_id in (select run_id from family)
    order by d.decided_at, d.attempt_id
    limit ${run.rows}`;
}

/**
 * Sums over all attempts of each of some runs, in their order; the runs below one have totals of their own.
 * A run of which nothing was ever asked has zeros.
 */
export async function sumRuns(
  sql: Queryable,
  tenantId: string,
  runIds: readonly string[],
): Promise<readonly RunTotals[]> {
  return await sql<RunTotals[]>`
    select (count(d.attempt_id) filter (where ${kindOf(sql)} = 'attempt'))::int as attempts,
           (count(d.attempt_id) filter (where ${kindOf(sql)} = 'blocked'))::int as blocked,
           (count(d.attempt_id) filter (where ${kindOf(sql)} = 'repeated'))::int as repeated,
           (count(*) filter (where r.state = 'open'))::int as "inFlight",
           (count(*) filter (where r.state = 'unknown'))::int as unknown,
           (count(*) filter (where s.unpriced))::int as unpriced,
           coalesce(sum(s.cost), 0)::text as "costPicousd",
           (select sum(a.amount_picousd)::text from adjustments a
            where a.tenant_id = ${tenantId} and a.run_id = wanted.run_id) as "adjustedPicousd",
           coalesce(sum(r.cost_picousd), 0)::text as "reservedPicousd",
           coalesce(sum(s.tokens), 0)::text as tokens,
           min(d.decided_at) as "firstAt", max(d.decided_at) as "lastAt"
    from unnest(${arrayLiteral(runIds)}::text::text[]) with ordinality as wanted(run_id, place)
    left join decisions d on d.tenant_id = ${tenantId} and d.run_id = wanted.run_id
    left join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
    left join lateral (
      select sum(cost_picousd) as cost, sum(tokens) as tokens, bool_or(basis = 'unpriced') as unpriced
      from settlements s where s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id
    ) as s on true
    group by wanted.place, wanted.run_id
    order by wanted.place`;
}

/**
 * Whether a run, or one below it, has an attempt in flight. Found by what is reserved, which is little, whatever the
 * run has asked.
 */
function isInFlight(sql: Queryable) {
  return sql`
    exists (
      select from (
        select d.run_id
        from reservations r
        join decisions d on d.tenant_id = r.tenant_id and d.attempt_id = r.attempt_id
        where r.tenant_id = runs.tenant_id and r.state = 'open' offset 0
      ) as held
      where held.run_id = runs.run_id or exists (
        select from runs below
        where below.tenant_id = runs.tenant_id and below.run_id = held.run_id
          and below.ancestors @> array[runs.run_id]
      )
    )`;
}

function columns(sql: Queryable) {
  return sql`
    run_id as "runId", case when state = 'stopping' and not ${isInFlight(sql)} then 'stopped' else state end as state,
    ancestors, labels, derived_from as "derivedFrom",
    created_by as "createdBy",
    created_at as "createdAt", stopped_at as "stoppedAt"`;
}
