/** The runs of a period, the dearest first: what a report is looked into by. */
import { OUTCOMES_NAMED_MAX, RUNS_SUMMED_MAX } from "../core/limits-finance.ts";
import type { Filters, OutcomeStatus, RunSort } from "../core/report.ts";
import { unreachable } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import {
  bookIs,
  type Fragment,
  payerIs,
  type Period,
  piecesOf,
  resourceIs,
  runsIn,
  within,
} from "./reports-terms.ts";

export type RunsAsked = Period & {
  readonly tenantId: string;
  readonly closingId: string;
  readonly filters: Filters;
  readonly sort: RunSort;
  /** The figure and the run of the last row of the page before. */
  readonly after: { readonly figure: string; readonly runId: string } | null;
  readonly rows: number;
};

export type RunCostRow = {
  readonly runId: string;
  /** What it is sorted by. */
  readonly figure: string;
  readonly keyId: string;
  readonly customer: string;
  readonly workflow: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly startedAt: Date;
  readonly lastAt: Date;
  readonly attempts: string;
  readonly blocked: string;
  readonly retries: string;
  readonly unpriced: string;
  readonly cost: string;
  readonly failed: string;
  readonly wasted: string;
  readonly estimated: string;
  readonly tokens: string;
  /** How many bear its cost, and the first of them. */
  readonly outcomes: number;
  readonly named: readonly {
    readonly type: string;
    readonly subject: string;
    readonly key: string;
    readonly status: OutcomeStatus;
  }[];
};

export async function listRunCosts(
  sql: Queryable,
  asked: RunsAsked,
): Promise<readonly RunCostRow[]> {
  const { after } = asked;
  return await sql<RunCostRow[]>`
    with run as (
      select d.*, ${figureOf(sql, asked.sort)} as figure
      from run_costs d
      where ${bookIs(sql, asked)} and ${within(sql, asked, sql`d.started_at`)}
        ${payerIs(sql, asked.filters)} ${outcomeIs(sql, asked)} ${resourceOfRun(sql, asked)}
    )
    select r.run_id as "runId", r.figure::text, r.key_id as "keyId", r.customer, r.workflow, r.labels,
           r.started_at as "startedAt", r.last_at as "lastAt", r.attempts::text, r.blocked::text, r.retries::text,
           r.unpriced::text, r.cost_picousd::text as cost, r.failed_picousd::text as failed,
           r.wasted_picousd::text as wasted, r.estimated_picousd::text as estimated, r.tokens::text, r.outcomes,
           coalesce((
             select json_agg(json_build_object('type', o.type, 'subject', o.subject, 'key', o.key, 'status', o.status)
                             order by o.root_id)
             from (${outcomesOf(sql, asked)} order by o.root_id limit ${OUTCOMES_NAMED_MAX}) as o
           ), '[]') as named
    from run r
    ${
      after === null
        ? sql``
        : sql`where r.figure <= ${after.figure}::text::numeric
                and (r.figure < ${after.figure}::text::numeric or r.run_id > ${after.runId})`
    }
    order by r.figure desc, r.run_id
    limit ${asked.rows}`;
}

export type RunSums = {
  readonly runs: string;
  readonly attempts: string;
  readonly cost: string;
  readonly wasted: string;
};

/**
 * Of all pages together. Null where some are chosen of a period of more than `RUNS_SUMMED_MAX` runs: each would be
 * looked at. What is adjusted of no run, and what only repeats another run's call, stands among the runs and is none,
 * whether some are chosen or not.
 */
export async function sumRunCosts(sql: Queryable, asked: RunsAsked): Promise<RunSums | null> {
  const { filters } = asked;
  const [all] = await sql<RunSums[]>`
    with piece as (${piecesOf(sql, { ...asked, groupings: [], timeZone: "UTC" }, true)})
    select ${runSums(sql, sql`sum(d.runs)`)}
    from (${runsIn(sql, asked, sql`true`, sql`true`)}) as d`;
  if (all === undefined || Object.values(filters).every((filter) => filter === null)) {
    return all ?? null;
  }
  if (BigInt(all.runs) > RUNS_SUMMED_MAX) return null;
  const [chosen] = await sql<RunSums[]>`
    select ${runSums(sql, sql`count(*) filter (where d.attempts + d.blocked > 0)`)}
    from run_costs d
    where ${bookIs(sql, asked)} and ${within(sql, asked, sql`d.started_at`)}
      ${payerIs(sql, filters)} ${outcomeIs(sql, asked)} ${resourceOfRun(sql, asked)}`;
  return chosen ?? null;
}

function runSums(sql: Queryable, runs: Fragment) {
  return sql`
    coalesce(${runs}, 0)::text as runs, coalesce(sum(d.attempts), 0)::text as attempts,
    coalesce(sum(d.cost_picousd), 0)::text as cost, coalesce(sum(d.wasted_picousd), 0)::text as wasted`;
}

function figureOf(sql: Queryable, sort: RunSort): Fragment {
  switch (sort) {
    case "cost":
      return sql`d.cost_picousd`;
    case "waste":
      return sql`d.wasted_picousd`;
    case "attempts":
      return sql`d.attempts::numeric`;
    case "started":
      return sql`floor(extract(epoch from d.started_at) * 1000000)`;
    default:
      return unreachable(sort);
  }
}

/**
 * What bears a run `r`. Of a closing those that are told of the run itself: which runs an operation spans, or
 * which are below one, may have changed since.
 */
function outcomesOf(sql: Queryable, { closingId }: RunsAsked) {
  if (closingId !== "") {
    return sql`
      select o.* from outcome_costs o
      where o.tenant_id = r.tenant_id and o.closing_id = r.closing_id and o.subject_kind = 'run' and o.subject = r.run_id`;
  }
  return sql`
    select o.* from outcome_runs b
    join outcome_costs o on o.tenant_id = b.tenant_id and o.closing_id = '' and o.root_id = b.root_id
    where b.tenant_id = r.tenant_id and b.run_id = r.run_id`;
}

function outcomeIs(sql: Queryable, { closingId, filters: { type, status } }: RunsAsked) {
  if (type === null && status === null) return sql``;
  const fits = sql`
    ${type === null ? sql`` : sql`and o.type = ${type}`} ${status === null ? sql`` : sql`and o.status = ${status}`}`;
  if (closingId !== "") {
    return sql`
      and d.run_id in (
        select o.subject from outcome_costs o
        where o.tenant_id = d.tenant_id and o.closing_id = d.closing_id and o.subject_kind = 'run' ${fits})`;
  }
  // Looked up run by run, for a page needs few: not joined to all outcomes before the first row is known.
  return sql`
    and (
      select true from outcome_runs b
      join outcome_costs o on o.tenant_id = b.tenant_id and o.closing_id = '' and o.root_id = b.root_id
      where b.tenant_id = d.tenant_id and b.run_id = d.run_id ${fits}
      limit 1)`;
}

/** A run that used the model, the tool or the upstream at all; its cost is all that it cost. */
function resourceOfRun(sql: Queryable, { filters, tenantId }: RunsAsked) {
  const { model, upstream, tool, ending, basis } = filters;
  if ([model, upstream, tool, ending, basis].every((filter) => filter === null)) return sql``;
  return sql`
    and exists (
      select from run_cells c
      where c.tenant_id = d.tenant_id and c.run_id = d.run_id and c.dimension_id in (
        select d.dimension_id from cost_dimensions d where d.tenant_id = ${tenantId} ${resourceIs(sql, filters)}))`;
}
