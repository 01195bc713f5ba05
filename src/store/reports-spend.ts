/**
 * What was spent, by anything: sums of the cells that the roll-up keeps, never of the ledger itself. Where
 * runs, steps, outcomes, customers or labels are told apart, of the cells of runs.
 */
import type { Filters, Grouping, GroupingKind } from "../core/report.ts";
import { unreachable } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import {
  asOf,
  endingOf,
  type Fragment,
  groupsOf,
  joinTimes,
  payerIs,
  piecesOf,
  type Period,
  resourceIs,
  timesOf,
  within,
} from "./reports-terms.ts";

export type SpendAsked = Period & {
  /** Null: all tenants. */
  readonly tenantId: string | null;
  readonly timeZone: string;
  readonly groupings: readonly Grouping[];
  readonly filters: Filters;
  /** Dearest first by what; `waste` leaves out what was not tried again. */
  readonly order: "cost" | "waste";
  readonly rows: number;
};

/** `left_off` sums the rows beyond those that were asked for. Counts and amounts are decimal digits. */
export type SpendRow = {
  readonly line: "row" | "left_off" | "total";
  readonly groups: readonly string[];
  /** How many rows this line sums. */
  readonly rows: string;
  readonly attempts: string;
  readonly blocked: string;
  readonly repeated: string;
  readonly retries: string;
  /** Attempts that did not succeed; `failed` is what those cost. */
  readonly failures: string;
  readonly unpriced: string;
  readonly cost: string;
  readonly failed: string;
  readonly wasted: string;
  readonly estimated: string;
  readonly presumed: string;
  readonly tokens: string;
  /** Null where cells of runs were read, which do not keep them. */
  readonly inputTokens: string | null;
  readonly cachedTokens: string | null;
  readonly outputTokens: string | null;
  /** In any order; empty where no price was needed. */
  readonly priceVersions: readonly string[];
  readonly asOf: Date;
};

/** Of one tenant, or across tenants where none is named. An outcome's part of a run is its part of each of its cells. */
export async function sumSpend(sql: Queryable, asked: SpendAsked): Promise<readonly SpendRow[]> {
  const isTyped =
    asked.groupings.some(({ kind }) => kind === "type") || asked.filters.type !== null;
  const order = asked.order === "cost" ? sql`g.cost` : sql`g.wasted`;
  return await sql<SpendRow[]>`
    with piece as (${piecesOf(sql, asked, !readsRuns(asked))}),
    source as (${cells(sql, asked)}),
    typed as (${isTyped ? typedCells(sql, asked) : sql`select s.*, '' as type from source s`}),
    cell as (
      select ${groupsOf(sql, asked, (kind) => columnOf(sql, kind))} as groups, s.*, ${endingOf(sql)} as ending, d.basis, d.price_version
      from typed s
      join cost_dimensions d on d.tenant_id = s.tenant_id and d.dimension_id = s.dimension_id
      where true ${payerIs(sql, asked.filters)} ${resourceIs(sql, asked.filters)}
        ${asked.filters.type === null ? sql`` : sql`and s.type = ${asked.filters.type}`}
    ), priced as (
      select groups, price_version, ${sums(sql)} from cell group by groups, price_version
    ), grouped as (
      select groups, 1::numeric as rows, ${resums(sql)}, array_agg(price_version) as versions
      from priced group by groups
    ), ranked as (
      select g.*, row_number() over (order by ${order} desc, g.groups) as place from grouped g
      where ${asked.order === "cost" ? sql`true` : sql`g.retries <> 0 or g.wasted <> 0`}
    ), whole as (
      select s.*, ${endingOf(sql)} as ending, d.basis, d.price_version
      from source s
      join cost_dimensions d on d.tenant_id = s.tenant_id and d.dimension_id = s.dimension_id
      where true ${payerIs(sql, asked.filters)} ${resourceIs(sql, asked.filters)}
    ), line as (
      select 'row' as line, r.* from ranked r where r.place <= ${asked.rows}
      union all
      select 'left_off', '{}', count(*), ${resums(sql)}, (
               select coalesce(array_agg(distinct v.version), '{}')
               from ranked r cross join unnest(r.versions) as v(version) where r.place > ${asked.rows}
             ), 0
      from ranked where place > ${asked.rows}
      union all
      ${
        isTyped && asked.filters.type === null
          ? sql`select 'total', '{}', (select count(*) from ranked), ${sums(sql)}, ${versions(sql)}, 0 from whole`
          : sql`select 'total', '{}', (select count(*) from ranked), ${resums(sql)}, (select ${versions(sql)} from priced), 0 from grouped`
      }
    )
    select line, groups, rows::text, attempts::text, blocked::text, repeated::text, retries::text, failures::text, unpriced::text, cost::text,
           failed::text, wasted::text, estimated::text, presumed::text, tokens::text,
           input_tokens::text as "inputTokens", cached_tokens::text as "cachedTokens",
           output_tokens::text as "outputTokens", versions as "priceVersions",
           ${asOf(sql, asked.tenantId)} as "asOf"
    from line
    order by place, line`;
}

const OF_RUNS: ReadonlySet<GroupingKind> = new Set(["run", "step", "type", "customer", "label"]);

/** What is kept by run alone. */
function readsRuns({ filters, groupings }: SpendAsked): boolean {
  const { type, customer, label } = filters;
  return (
    [type, customer, label].some((filter) => filter !== null) ||
    groupings.some(({ kind }) => OF_RUNS.has(kind))
  );
}

/**
 * The cells of a period, summed by their dimension before anything is joined to them: they are many, and
 * dimensions are few. Tenant by tenant, for their index begins with it.
 */
function cells(sql: Queryable, asked: SpendAsked) {
  const { tenantId } = asked;
  return sql`
    select t.tenant_id, c.*
    from (select tenant_id from tenants ${tenantId === null ? sql`` : sql`where tenant_id = ${tenantId}`}) as t
    cross join lateral (${readsRuns(asked) ? runCells(sql, asked) : costCells(sql, asked)}) as c`;
}

function costCells(sql: Queryable, asked: SpendAsked) {
  const moment = sql`c.bucket`;
  return sql`
    select '' as run_id, '' as step, c.dimension_id, ${timesOf(sql, asked)},
           sum(c.attempts) as attempts, sum(c.retries) as retries, sum(c.cost_picousd) as cost,
           sum(c.wasted_picousd) as wasted, sum(c.tokens) as tokens, sum(c.input_tokens) as input_tokens,
           sum(c.cached_tokens) as cached_tokens, sum(c.output_tokens) as output_tokens
    from (
      select c.*
      from piece p
      cross join lateral (
        select c.* from cost_cells c
        where c.tenant_id = t.tenant_id and c.bucket >= p.lo and c.bucket < p.hi offset 0
      ) as c
      where not p.is_days
      union all
      select c.*
      from piece p
      cross join lateral (
        select c.* from cost_days c
        where c.tenant_id = t.tenant_id and c.utc_day >= p.lo and c.utc_day < p.hi offset 0
      ) as c
      where p.is_days
    ) as c ${joinTimes(sql, asked, moment)}
    group by c.dimension_id, day, week, month`;
}

const WITHIN_RUNS: ReadonlySet<GroupingKind> = new Set(["run", "step", "type"]);

/** Where runs are told apart, these are hardly fewer when they are summed: a run has few cells of a kind. */
function runCells(sql: Queryable, asked: SpendAsked) {
  const moment = sql`c.bucket`;
  const isWithin =
    asked.filters.type !== null || asked.groupings.some(({ kind }) => WITHIN_RUNS.has(kind));
  return sql`
    select ${isWithin ? sql`c.run_id, c.step` : sql`'' as run_id, '' as step`}, c.dimension_id, ${timesOf(sql, asked)},
           sum(c.attempts) as attempts, sum(c.retries) as retries, sum(c.cost_picousd) as cost,
           sum(c.wasted_picousd) as wasted, sum(c.tokens) as tokens, null::numeric as input_tokens,
           null::numeric as cached_tokens, null::numeric as output_tokens
    from run_cells c ${joinTimes(sql, asked, moment)}
    where c.tenant_id = t.tenant_id and ${within(sql, asked, moment)}
    group by ${isWithin ? sql`c.run_id, c.step,` : sql``} c.dimension_id, day, week, month`;
}

/**
 * Each outcome's part of the cells, and those of runs that no outcome bears. Who bears a run is looked up by
 * key, one by one: a plan that hashed all runs of all tenants would be chosen for a day of few.
 */
function typedCells(sql: Queryable, asked: SpendAsked) {
  return sql`
    select p.tenant_id, p.run_id, p.step, p.dimension_id, ${timesOf(sql, asked)},
           p.attempts::numeric as attempts, p.retries::numeric as retries, p.cost, p.wasted,
           p.tokens::numeric as tokens, null::numeric as input_tokens, null::numeric as cached_tokens,
           null::numeric as output_tokens, o.type
    from (
      select array_agg(b.tenant_id) as tenants, array_agg(b.root_id) as roots
      from (
        select distinct b.tenant_id, b.root_id
        from (select distinct tenant_id, run_id from source) as s
        cross join lateral (
          select b.tenant_id, b.root_id from outcome_runs b
          where b.tenant_id = s.tenant_id and b.run_id = s.run_id offset 0
        ) as b
      ) as b
    ) as w
    cross join lateral tollgate_outcome_parts(w.tenants, w.roots) as p
    join outcome_costs o on o.tenant_id = p.tenant_id and o.closing_id = '' and o.root_id = p.root_id
    ${joinTimes(sql, asked, sql`p.bucket`)}
    where ${within(sql, asked, sql`p.bucket`)}
    union all
    select s.*, ''
    from source s
    where (
      select true from outcome_runs b where b.tenant_id = s.tenant_id and b.run_id = s.run_id limit 1
    ) is null`;
}

function columnOf(sql: Queryable, kind: GroupingKind): Fragment {
  switch (kind) {
    case "tenant":
      return sql`s.tenant_id`;
    case "key":
      return sql`d.key_id`;
    case "customer":
      return sql`d.customer`;
    case "workflow":
      return sql`d.workflow`;
    case "run":
      return sql`s.run_id`;
    case "step":
      return sql`s.step`;
    case "model":
      return sql`d.model`;
    case "upstream":
      return sql`d.upstream`;
    case "tool":
      return sql`d.tool`;
    case "door":
      return sql`d.door`;
    case "type":
      return sql`s.type`;
    case "ending":
      return endingOf(sql);
    case "basis":
      return sql`d.basis`;
    case "reason":
      return sql`d.reason`;
    case "day":
      return sql`s.day`;
    case "week":
      return sql`s.week`;
    case "month":
      return sql`s.month`;
    case "label":
      return sql`d.labels`;
    default:
      return unreachable(kind);
  }
}

function versions(sql: Queryable) {
  return sql`coalesce(array_agg(distinct price_version), '{}')`;
}

/** Of cells with their dimension: what every line holds, in its order. */
function sums(sql: Queryable) {
  return sql`
    coalesce(sum(attempts) filter (where ending not in ('blocked', 'repeated')), 0) as attempts,
    coalesce(sum(attempts) filter (where ending = 'blocked'), 0) as blocked,
    coalesce(sum(attempts) filter (where ending = 'repeated'), 0) as repeated,
    coalesce(sum(retries) filter (where ending not in ('blocked', 'repeated')), 0) as retries,
    coalesce(sum(attempts) filter (where ending not in ('succeeded', 'blocked', 'repeated', 'adjusted')), 0)
      as failures,
    coalesce(sum(attempts) filter (where basis = 'unpriced'), 0) as unpriced,
    coalesce(sum(cost), 0) as cost,
    coalesce(sum(cost) filter (where ending not in ('succeeded', 'adjusted')), 0) as failed,
    coalesce(sum(wasted), 0) as wasted,
    coalesce(sum(cost) filter (where basis = 'estimated'), 0) as estimated,
    coalesce(sum(cost) filter (where basis = 'presumed'), 0) as presumed,
    coalesce(sum(tokens), 0) as tokens,
    sum(input_tokens) as input_tokens, sum(cached_tokens) as cached_tokens, sum(output_tokens) as output_tokens`;
}

/** The same of rows that are summed already. */
function resums(sql: Queryable) {
  return sql`
    coalesce(sum(attempts), 0) as attempts, coalesce(sum(blocked), 0) as blocked,
    coalesce(sum(repeated), 0) as repeated, coalesce(sum(retries), 0) as retries,
    coalesce(sum(failures), 0) as failures, coalesce(sum(unpriced), 0) as unpriced, coalesce(sum(cost), 0) as cost, coalesce(sum(failed), 0) as failed,
    coalesce(sum(wasted), 0) as wasted, coalesce(sum(estimated), 0) as estimated,
    coalesce(sum(presumed), 0) as presumed, coalesce(sum(tokens), 0) as tokens, sum(input_tokens) as input_tokens,
    sum(cached_tokens) as cached_tokens, sum(output_tokens) as output_tokens`;
}
