/**
 * The items that a report on outcomes sums: outcomes one by one, the sums of their days, or their parts of the cells
 * of their runs; and the percentiles that are looked up where days are summed.
 */
import type { Cohort, Filters, Grouping, GroupingKind } from "../core/report.ts";
import { Fault, unreachable } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import {
  bookIs,
  endingOf,
  type Fragment,
  groupsOf,
  isOfAllPayers,
  joinTimes,
  payerIs,
  type Period,
  spanOf,
  timesOf,
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

/** Whether rows are parts of outcomes, which take longer to sum. */
export function takesApart(groupings: readonly Grouping[]): boolean {
  return groupings.some(({ kind }) => APART.has(kind));
}

const APART: ReadonlySet<GroupingKind> = new Set(["model", "upstream", "tool", "door", "step"]);

/** What the sums of days tell apart. */
const OF_DAYS: ReadonlySet<GroupingKind> = new Set(["tenant", "type", "day", "week", "month"]);

export function readsDays({ groupings, filters }: OutcomesAsked): boolean {
  return groupings.every(({ kind }) => OF_DAYS.has(kind)) && isOfAllPayers(filters);
}

export function cohortOf(sql: Queryable, cohort: Cohort): Fragment {
  return cohort === "outcome" ? sql`d.occurred_at` : sql`d.started_at`;
}

/** The outcomes of the pieces that are read one by one; with those that have an attempt still open. */
export function outcomesIn(sql: Queryable, asked: OutcomesAsked) {
  const moment = cohortOf(sql, asked.cohort);
  return sql`
    select d.*, ${timesOf(sql, asked)}, ${spanOf(sql, asked)}, d.root_id in (${openIn(sql, asked)}) as is_open
    from piece p
    cross join lateral (
      select d.* from outcome_costs d
      where ${bookIs(sql, asked)} and ${moment} >= p.lo and ${moment} < p.hi ${chosen(sql, asked.filters)} offset 0
    ) as d ${joinTimes(sql, asked, moment)}
    where not p.is_days`;
}

function chosen(sql: Queryable, filters: Filters) {
  return sql`${filters.type === null ? sql`` : sql`and d.type = ${filters.type}`} ${payerIs(sql, filters)}`;
}

/**
 * By key, one by one: what is open is little, whatever is known of how much there was. Each once; none where it is closed.
 * A run joins the outcomes of its operation and of the runs above it with its first ending, and is not theirs before.
 */
function openIn(sql: Queryable, { tenantId, closingId }: OutcomesAsked) {
  return sql`
    select distinct b.root_id
    from reservations r
    cross join lateral (
      select a.run_id,
             coalesce(a.record->'context'->>'operation',
                      case when a.record->'act'->'extracted'->>'mode' = 'enforce'
                        then a.record->'act'->'extracted'->>'operation' end) as operation
      from decisions a where a.tenant_id = r.tenant_id and a.attempt_id = r.attempt_id offset 0
    ) as a
    cross join lateral (
      (select b.root_id from outcome_runs b where b.tenant_id = r.tenant_id and b.run_id = a.run_id offset 0)
      union all
      (select o.root_id
       from (
         select 'operation' as kind, a.operation as subject where a.operation is not null
         union all
         select 'run', u.above
         from (
           select r.ancestors from runs r where r.tenant_id = ${tenantId} and r.run_id = a.run_id offset 0
         ) as r cross join lateral unnest(r.ancestors) as u(above)
       ) as of
       cross join lateral (
         select o.root_id from outcomes o
         where o.tenant_id = ${tenantId} and o.subject_kind = of.kind and o.subject = of.subject
           and o.supersedes is null offset 0
       ) as o)
    ) as b
    where r.tenant_id = ${tenantId} and ${closingId}::text = ''`;
}

const TYPE: Grouping = { kind: "type", name: "type" };

/** One row for each outcome, as it is kept; and for each class of those of a day. */
export function wholes(sql: Queryable, asked: OutcomesAsked, byDays: boolean) {
  const columns = { ...asked, groupings: [TYPE, ...asked.groupings] };
  const groups = groupsOf(sql, columns, (kind) => columnOf(sql, kind));
  const each = sql`
    select ${groups} as groups, o.span_from, o.span_to,
           ${byDays ? sql`tollgate_cost_class(o.cost_picousd)` : sql`null::numeric`} as class, 1::bigint as outcomes,
           (o.status = 'success')::int::bigint as success, (o.status = 'failure')::int::bigint as failure,
           (o.status = 'partial')::int::bigint as partial, (o.status = 'reversed')::int::bigint as reversed,
           case o.status when 'success' then o.value_picousd end as value,
           (o.status = 'success' and o.value_picousd is not null)::int::bigint as valued, o.attempts, o.blocked,
           o.retries, o.unpriced, o.cost_picousd as cost, o.failed_picousd as failed, o.wasted_picousd as wasted,
           o.estimated_picousd as estimated, o.tokens,
           case when o.status in ('failure', 'reversed') then o.cost_picousd else 0 end as failures,
           o.is_open::int::bigint as open
    from outcome o`;
  if (!byDays) return each;
  return sql`
    ${each}
    union all
    select ${groups}, o.span_from, o.span_to, o.cost_class, o.success + o.failure + o.partial + o.reversed, o.success,
           o.failure, o.partial, o.reversed, case when o.valued <> 0 then o.value_picousd end, o.valued, o.attempts,
           o.blocked, o.retries, o.unpriced, o.cost_picousd, o.failed_picousd, o.wasted_picousd, o.estimated_picousd,
           o.tokens, o.failures_picousd, 0
    from (
      select d.*, ${timesOf(sql, asked)}, ${spanOf(sql, asked)}
      from piece p
      cross join lateral (
        select d.* from outcome_days d
        where d.tenant_id = ${asked.tenantId} and d.closing_id = ${asked.closingId} and d.cohort = ${asked.cohort}
          and d.utc_day >= p.lo and d.utc_day < p.hi ${chosen(sql, asked.filters)} offset 0
      ) as d ${joinTimes(sql, asked, sql`d.utc_day`)}
      where p.is_days and d.success + d.failure + d.partial + d.reversed <> 0
    ) as o
    union all
    select ${groups}, o.span_from, o.span_to, 0, 0, 0, 0, 0, 0, null, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1
    from (
      select d.*, ${timesOf(sql, asked)}, ${spanOf(sql, asked)}
      from (${openIn(sql, asked)}) as open
      join outcome_costs d on d.tenant_id = ${asked.tenantId} and d.closing_id = '' and d.root_id = open.root_id
        ${chosen(sql, asked.filters)}
      join piece p on p.is_days and ${cohortOf(sql, asked.cohort)} >= p.lo and ${cohortOf(sql, asked.cohort)} < p.hi
      ${joinTimes(sql, asked, cohortOf(sql, asked.cohort))}
    ) as o`;
}

/**
 * The percentiles of what items count: in which class each lies says how many there are in it, and which of the
 * class it is say the outcomes themselves.
 */
export function percentilesOfDays(sql: Queryable, asked: OutcomesAsked) {
  const moment = cohortOf(sql, asked.cohort);
  return sql`
    with classed as (
      select groups, groups[1:1] as types, span_from, span_to, class, sum(outcomes) as outcomes
      from item where outcomes <> 0 group by groups, span_from, span_to, class
      union all
      select '{}', (select array_agg(distinct groups[1]) from grouped), ${asked.from}, ${asked.to}, class, sum(outcomes)
      from item where outcomes <> 0 group by class
    ), placed as (
      select c.*, sum(c.outcomes) over (partition by c.groups order by c.class) as upto,
             sum(c.outcomes) over (partition by c.groups) as all_of_them
      from classed c
    )
    select w.groups, array_agg(found.cost order by w.fraction) as costs
    from (
      select p.*, f.fraction, ceil(f.fraction * p.all_of_them::float8)::bigint as rank
      from placed p cross join (values (0.5::float8), (0.95)) as f(fraction)
    ) as w
    cross join lateral (
      select d.cost
      from unnest(w.types) as t(type)
      cross join lateral (
        select d.cost_picousd as cost from outcome_costs d
        where ${bookIs(sql, asked)} and d.type = t.type and tollgate_cost_class(d.cost_picousd) = w.class
          and ${moment} >= w.span_from and ${moment} < w.span_to offset 0
      ) as d
      order by d.cost
      offset w.rank - (w.upto - w.outcomes) - 1 limit 1
    ) as found
    where w.rank > w.upto - w.outcomes and w.rank <= w.upto
    group by w.groups`;
}

/**
 * The parts of outcomes that each cell of their runs is, by what rows are grouped by. Where an outcome shares none
 * of its runs, as most do, these are the cells themselves.
 */
export function cells(sql: Queryable, asked: OutcomesAsked) {
  const columns = { ...asked, groupings: [TYPE, ...asked.groupings] };
  return sql`
    select ${groupsOf(sql, columns, (kind) => columnOf(sql, kind))} as groups, o.root_id, o.status, o.is_open,
           ${endingOf(sql)} as ending, d.basis, d.price_version, p.attempts, p.retries, p.cost, p.wasted, p.tokens
    from (
      select array_agg(tenant_id) filter (where is_shared) as tenants,
             array_agg(root_id) filter (where is_shared) as roots from bearing
    ) as w
    cross join lateral (
      select p.root_id, p.dimension_id, p.step, p.attempts, p.retries, p.cost, p.wasted, p.tokens
      from tollgate_outcome_parts(w.tenants, w.roots) as p
      union all
      select x.root_id, c.dimension_id, c.step, c.attempts, c.retries, c.cost_picousd, c.wasted_picousd, c.tokens
      from bearing x
      cross join lateral (
        select b.run_id from outcome_runs b
        where b.tenant_id = ${asked.tenantId} and b.root_id = x.root_id offset 0
      ) as b
      cross join lateral (
        select c.* from run_cells c where c.tenant_id = ${asked.tenantId} and c.run_id = b.run_id offset 0
      ) as c
      where not x.is_shared
    ) as p
    join outcome o on o.root_id = p.root_id
    join cost_dimensions d on d.tenant_id = ${asked.tenantId} and d.dimension_id = p.dimension_id`;
}

/** Which of the outcomes share a run with another. By key, one by one. */
export function bearing(sql: Queryable, { tenantId }: OutcomesAsked) {
  return sql`
    select o.tenant_id, o.root_id, exists (
      select from outcome_runs b
      cross join lateral (
        select r.outcomes from run_costs r
        where r.tenant_id = ${tenantId} and r.closing_id = '' and r.run_id = b.run_id offset 0
      ) as r
      where b.tenant_id = ${tenantId} and b.root_id = o.root_id and r.outcomes > 1
    ) as is_shared
    from outcome o`;
}

/** One row for each outcome and group: its part of what the group costs. What a part is worth is not declared. */
export function parts(sql: Queryable) {
  return sql`
    select p.*, 1::bigint as outcomes, (status = 'success')::int::bigint as success,
           (status = 'failure')::int::bigint as failure, (status = 'partial')::int::bigint as partial,
           (status = 'reversed')::int::bigint as reversed, null::numeric as value, 0::bigint as valued,
           case when status in ('failure', 'reversed') then cost else 0 end as failures, is_open::int::bigint as open
    from (
      select groups, status, is_open, ${partSums(sql)} from cell group by root_id, groups, status, is_open offset 0
    ) as p`;
}

function partSums(sql: Queryable) {
  return sql`
    coalesce(sum(attempts) filter (where ending not in ('blocked', 'repeated')), 0) as attempts,
    coalesce(sum(attempts) filter (where ending = 'blocked'), 0) as blocked,
    coalesce(sum(retries) filter (where ending not in ('blocked', 'repeated')), 0) as retries,
    coalesce(sum(attempts) filter (where basis = 'unpriced'), 0) as unpriced, sum(cost) as cost,
    coalesce(sum(cost) filter (where ending not in ('succeeded', 'adjusted')), 0) as failed, sum(wasted) as wasted,
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
      return sql`o.tenant_id`;
    case "ending":
    case "basis":
    case "reason":
      throw new Fault(`outcomes are not grouped by ${kind}`);
    default:
      return unreachable(kind);
  }
}
