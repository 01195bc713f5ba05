/**
 * What outcomes cost: sums over the rows that the roll-up keeps of them, or over the copies of a closing.
 * Taken apart by model, upstream, tool or step, over their parts of the cells of their runs.
 */
import type { Cohort, Filters, Grouping, GroupingKind } from "../core/report.ts";
import { PRICE_VERSIONS_MAX } from "../core/limits-finance.ts";
import { Fault, unreachable } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import {
  asOf,
  bookIs,
  type Fragment,
  groupsOf,
  joinTimes,
  payerIs,
  type Period,
  timesOf,
  within,
} from "./reports-terms.ts";

export type OutcomesAsked = Period & {
  readonly tenantId: string;
  /** Empty: as it is now. */
  readonly closingId: string;
  readonly timeZone: string;
  readonly cohort: Cohort;
  /** Behind the type, which is always the first. */
  readonly groupings: readonly Grouping[];
  readonly filters: Filters;
  readonly rows: number;
};

/** Counts and amounts are decimal digits. `total` counts each outcome once, also where rows are its parts. */
export type OutcomesRow = {
  readonly line: "row" | "left_off" | "total";
  readonly groups: readonly string[];
  readonly rows: string;
  readonly outcomes: string;
  readonly success: string;
  readonly failure: string;
  readonly partial: string;
  readonly reversed: string;
  /** Null in what is left off: a percentile of percentiles is none. */
  readonly p50: string | null;
  readonly p95: string | null;
  readonly attempts: string;
  readonly blocked: string;
  readonly retries: string;
  readonly unpriced: string;
  readonly cost: string;
  readonly failed: string;
  readonly wasted: string;
  readonly estimated: string;
  readonly tokens: string;
  /** Cost of outcomes that failed or were taken back. */
  readonly failures: string;
  /** Of successes whose value is declared; null where none is, or where rows are parts. */
  readonly value: string | null;
  readonly valued: string;
  /** Outcomes with an attempt that has not ended. */
  readonly open: string;
  /** Null where they were not read. */
  readonly priceVersions: readonly string[] | null;
  readonly asOf: Date;
};

/** Whether rows are parts of outcomes, which take longer to sum. */
export function takesApart(groupings: readonly Grouping[]): boolean {
  return groupings.some(({ kind }) => APART.has(kind));
}

const APART: ReadonlySet<GroupingKind> = new Set(["model", "upstream", "tool", "door", "step"]);

export async function sumOutcomes(
  sql: Queryable,
  asked: OutcomesAsked,
): Promise<readonly OutcomesRow[]> {
  const isApart = takesApart(asked.groupings);
  return await sql<OutcomesRow[]>`
    with outcome as (${outcomesIn(sql, asked)}),
    whole as (${wholes(sql, isApart ? { ...asked, groupings: [] } : asked)}),
    ${isApart ? sql`cell as (${cells(sql, asked)}),` : sql``}
    item as (${isApart ? parts(sql) : sql`select * from whole`}),
    grouped as (select groups, 1::numeric as rows, ${sums(sql)} from item group by groups),
    ranked as (
      select g.*, row_number() over (order by g.cost desc, g.groups) as place from grouped g
    ), line as (
      select 'row' as line, r.* from ranked r where r.place <= ${asked.rows}
      union all
      select 'left_off', '{}', count(*), ${resums(sql)}, 0 from ranked where place > ${asked.rows}
      union all
      select 'total', '{}', (select count(*) from grouped), ${sums(sql)}, 0 from whole
    )
    select line, groups, rows::text, outcomes::text, success::text, failure::text, partial::text, reversed::text,
           percentiles[1]::text as p50, percentiles[2]::text as p95, attempts::text, blocked::text, retries::text, unpriced::text, cost::text,
           failed::text, wasted::text, estimated::text, tokens::text, failures::text, value::text, valued::text,
           open::text, ${isApart ? versionsOf(sql) : sql`null::text[]`} as "priceVersions", ${asOf(sql, asked.tenantId)} as "asOf"
    from line l
    order by place, line`;
}

/** How many outcomes of the period there are, at most so many. */
export async function countOutcomes(
  sql: Queryable,
  asked: OutcomesAsked,
  most: number,
): Promise<number> {
  const [row] = await sql<{ readonly rows: number }[]>`
    select count(*)::int as rows
    from (
      select from outcome_costs d
      where ${bookIs(sql, asked)} and ${within(sql, asked, cohortOf(sql, asked.cohort))}
      limit ${most}
    ) as few`;
  return row?.rows ?? 0;
}

export type Unattributed = {
  readonly runs: string;
  readonly cost: string;
  readonly unpriced: string;
};

/** Runs of the period that no outcome bears: they go on, or nobody said what became of them. */
export async function sumUnattributed(sql: Queryable, asked: OutcomesAsked): Promise<Unattributed> {
  const [row] = await sql<Unattributed[]>`
    select count(*)::text as runs, coalesce(sum(cost_picousd), 0)::text as cost,
           coalesce(sum(unpriced), 0)::text as unpriced
    from run_costs d
    where ${bookIs(sql, asked)} and d.outcomes = 0
      and ${within(sql, asked, sql`d.started_at`)} ${payerIs(sql, asked.filters)}`;
  return row ?? { runs: "0", cost: "0", unpriced: "0" };
}

function cohortOf(sql: Queryable, cohort: Cohort): Fragment {
  return cohort === "outcome" ? sql`d.occurred_at` : sql`d.started_at`;
}

/** The outcomes of a period; with those that have an attempt still open, where it is not closed. */
function outcomesIn(sql: Queryable, asked: OutcomesAsked) {
  const { tenantId, closingId, cohort, filters } = asked;
  const moment = cohortOf(sql, cohort);
  // By key, one by one: what is open is little, whatever is known of how much there was.
  const open = sql`
    d.root_id in (
      select b.root_id
      from reservations r
      cross join lateral (
        select a.run_id from decisions a where a.tenant_id = r.tenant_id and a.attempt_id = r.attempt_id offset 0
      ) as a
      cross join lateral (
        select b.root_id from outcome_runs b where b.tenant_id = r.tenant_id and b.run_id = a.run_id offset 0
      ) as b
      where r.tenant_id = ${tenantId})`;
  return sql`
    select d.*, ${timesOf(sql, asked)}, ${closingId === "" ? open : sql`false`} as is_open
    from outcome_costs d ${joinTimes(sql, asked, moment)}
    where ${bookIs(sql, asked)} and ${within(sql, asked, moment)}
      ${filters.type === null ? sql`` : sql`and d.type = ${filters.type}`}
      ${payerIs(sql, filters)}`;
}

const TYPE: Grouping = { kind: "type", name: "type" };

/** One row for each outcome, as it is kept. */
function wholes(sql: Queryable, asked: OutcomesAsked) {
  const columns = { ...asked, groupings: [TYPE, ...asked.groupings] };
  return sql`
    select ${groupsOf(sql, columns, (kind) => columnOf(sql, kind))} as groups, o.status,
           o.value_picousd as value, o.attempts::numeric, o.blocked::numeric, o.retries::numeric,
           o.unpriced::numeric, o.cost_picousd as cost, o.failed_picousd as failed, o.wasted_picousd as wasted,
           o.estimated_picousd as estimated, o.tokens::numeric, o.is_open
    from outcome o`;
}

/** The parts of outcomes that each cell of their runs is, by what rows are grouped by. */
function cells(sql: Queryable, asked: OutcomesAsked) {
  const columns = { ...asked, groupings: [TYPE, ...asked.groupings] };
  return sql`
    select ${groupsOf(sql, columns, (kind) => columnOf(sql, kind))} as groups, o.root_id, o.status, o.is_open,
           d.ending, d.basis, d.price_version, p.attempts, p.retries, p.cost, p.wasted, p.tokens
    from (select array_agg(tenant_id) as tenants, array_agg(root_id) as roots from outcome) as w
    cross join lateral tollgate_outcome_parts(w.tenants, w.roots) as p
    join outcome o on o.root_id = p.root_id
    join cost_dimensions d on d.tenant_id = p.tenant_id and d.dimension_id = p.dimension_id`;
}

/** One row for each outcome and group: its part of what the group costs. What a part is worth is not declared. */
function parts(sql: Queryable) {
  return sql`
    select groups, status, null::numeric as value, ${partSums(sql)}, is_open
    from cell
    group by groups, root_id, status, is_open`;
}

function partSums(sql: Queryable) {
  return sql`
    coalesce(sum(attempts) filter (where ending <> 'blocked'), 0) as attempts,
    coalesce(sum(attempts) filter (where ending = 'blocked'), 0) as blocked, sum(retries) as retries,
    coalesce(sum(attempts) filter (where basis = 'unpriced'), 0) as unpriced, sum(cost) as cost,
    coalesce(sum(cost) filter (where ending <> 'succeeded'), 0) as failed, sum(wasted) as wasted,
    coalesce(sum(cost) filter (where basis in ('estimated', 'presumed')), 0) as estimated, sum(tokens) as tokens`;
}

function columnOf(sql: Queryable, kind: GroupingKind): Fragment {
  switch (kind) {
    case "type":
      return sql`o.type`;
    case "key":
      return sql`o.key_id`;
    case "customer":
      return sql`o.customer`;
    case "workflow":
      return sql`o.workflow`;
    case "label":
      return sql`o.labels`;
    case "run":
      return sql`o.subject`;
    case "day":
      return sql`o.day`;
    case "week":
      return sql`o.week`;
    case "month":
      return sql`o.month`;
    case "model":
      return sql`d.model`;
    case "upstream":
      return sql`d.upstream`;
    case "tool":
      return sql`d.tool`;
    case "door":
      return sql`d.door`;
    case "step":
      return sql`p.step`;
    case "tenant":
    case "ending":
    case "basis":
    case "reason":
      throw new Fault(`outcomes are not grouped by ${kind}`);
    default:
      return unreachable(kind);
  }
}

/** Of items: what every line holds, in its order. */
function sums(sql: Queryable) {
  return sql`
    count(*)::numeric as outcomes,
    (count(*) filter (where status = 'success'))::numeric as success,
    (count(*) filter (where status = 'failure'))::numeric as failure,
    (count(*) filter (where status = 'partial'))::numeric as partial,
    (count(*) filter (where status = 'reversed'))::numeric as reversed,
    percentile_disc(array[0.5, 0.95]) within group (order by cost) as percentiles,
    coalesce(sum(attempts), 0) as attempts, coalesce(sum(blocked), 0) as blocked,
    coalesce(sum(retries), 0) as retries, coalesce(sum(unpriced), 0) as unpriced, coalesce(sum(cost), 0) as cost,
    coalesce(sum(failed), 0) as failed, coalesce(sum(wasted), 0) as wasted,
    coalesce(sum(estimated), 0) as estimated, coalesce(sum(tokens), 0) as tokens,
    coalesce(sum(cost) filter (where status in ('failure', 'reversed')), 0) as failures,
    sum(value) filter (where status = 'success') as value,
    (count(value) filter (where status = 'success'))::numeric as valued,
    (count(*) filter (where is_open))::numeric as open`;
}

/** The same of rows that are summed already. */
function resums(sql: Queryable) {
  return sql`
    coalesce(sum(outcomes), 0), coalesce(sum(success), 0), coalesce(sum(failure), 0), coalesce(sum(partial), 0),
    coalesce(sum(reversed), 0), null::numeric[], coalesce(sum(attempts), 0), coalesce(sum(blocked), 0),
    coalesce(sum(retries), 0), coalesce(sum(unpriced), 0), coalesce(sum(cost), 0), coalesce(sum(failed), 0),
    coalesce(sum(wasted), 0), coalesce(sum(estimated), 0), coalesce(sum(tokens), 0), coalesce(sum(failures), 0),
    sum(value), coalesce(sum(valued), 0), coalesce(sum(open), 0)`;
}

/** Which prices the cells of a line's group were counted by. */
function versionsOf(sql: Queryable) {
  return sql`(
    select (array_agg(distinct c.price_version order by c.price_version))[1:${PRICE_VERSIONS_MAX}::int]
    from cell c where c.groups = l.groups and c.price_version <> ''
  )`;
}
