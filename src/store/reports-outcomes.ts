/**
 * What outcomes cost: sums over the rows that the roll-up keeps of them, or over the copies of a closing. By type
 * and time, over the sums of their days. Taken apart by model, upstream, tool or step, over their parts of the
 * cells of their runs.
 */
import { PRICE_VERSIONS_MAX } from "../core/limits-finance.ts";
import type { Queryable } from "./events.ts";
import {
  bearing,
  cells,
  cohortOf,
  type OutcomesAsked,
  outcomesIn,
  parts,
  percentilesOfDays,
  readsDays,
  takesApart,
  wholes,
} from "./reports-outcome-items.ts";
import { asOf, bookIs, isOfAllPayers, payerIs, piecesOf, runsIn, within } from "./reports-terms.ts";

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

export async function sumOutcomes(
  sql: Queryable,
  asked: OutcomesAsked,
): Promise<readonly OutcomesRow[]> {
  const isApart = takesApart(asked.groupings);
  const byDays = !isApart && readsDays(asked);
  return await sql<OutcomesRow[]>`
    with piece as (${piecesOf(sql, asked, byDays)}),
    outcome as (${outcomesIn(sql, asked)}),
    whole as (${wholes(sql, isApart ? { ...asked, groupings: [] } : asked, byDays)}),
    ${isApart ? sql`bearing as (${bearing(sql, asked)}), cell as (${cells(sql, asked)}), version as (${versionsOf(sql)}),` : sql``}
    item as (${isApart ? parts(sql) : sql`select * from whole`}),
    grouped as (
      select groups, 1::numeric as rows, ${sums(sql)}, ${byDays ? sql`null::numeric[] as percentiles` : percentiles(sql)}
      from item group by groups
    ), ${byDays ? sql`percentile as (${percentilesOfDays(sql, asked)}),` : sql``}
    ranked as (
      select g.*, row_number() over (order by g.cost desc, g.groups) as place from grouped g
    ), line as (
      select 'row' as line, r.* from ranked r where r.place <= ${asked.rows}
      union all
      select 'left_off', '{}', count(*), ${sums(sql)}, null, 0 from ranked where place > ${asked.rows}
      union all
      ${
        isApart
          ? sql`select 'total', '{}', (select count(*) from grouped), ${sums(sql)}, ${percentiles(sql)}, 0 from whole`
          : sql`
              select 'total', '{}', count(*), ${sums(sql)}, ${byDays ? sql`null` : sql`(select ${percentiles(sql)} from whole)`}, 0
              from grouped`
      }
    )
    select line, l.groups, rows::text, outcomes::text, success::text, failure::text, partial::text, reversed::text,
           p.costs[1]::text as p50, p.costs[2]::text as p95, attempts::text, blocked::text, retries::text, unpriced::text, cost::text,
           failed::text, wasted::text, estimated::text, tokens::text, failures::text, value::text, valued::text,
           open::text, ${isApart ? sql`(select v.names from version v where v.groups = l.groups and l.line <> 'left_off')` : sql`null::text[]`} as "priceVersions", ${asOf(sql, asked.tenantId)} as "asOf"
    from line l ${
      byDays
        ? sql`left join percentile p on p.groups = l.groups and l.line <> 'left_off'`
        : sql`cross join lateral (select l.percentiles as costs) as p`
    }
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

/** Runs of the period that no outcome bears: they go on, or nobody said what became of them. With adjustments of no run. */
export async function sumUnattributed(sql: Queryable, asked: OutcomesAsked): Promise<Unattributed> {
  const [row] = await sql<Unattributed[]>`
    with piece as (${piecesOf(sql, { ...asked, groupings: [] }, isOfAllPayers(asked.filters))})
    select coalesce(sum(d.runs), 0)::text as runs, coalesce(sum(d.cost_picousd), 0)::text as cost,
           coalesce(sum(d.unpriced), 0)::text as unpriced
    from (${runsIn(sql, asked, sql`d.outcomes = 0 ${payerIs(sql, asked.filters)}`, sql`not d.is_attributed`)}) as d`;
  return row ?? { runs: "0", cost: "0", unpriced: "0" };
}

/** What every line holds, in its order; of items, or of rows that are summed already. */
function sums(sql: Queryable) {
  return sql`
    coalesce(sum(outcomes), 0) as outcomes, coalesce(sum(success), 0) as success,
    coalesce(sum(failure), 0) as failure, coalesce(sum(partial), 0) as partial,
    coalesce(sum(reversed), 0) as reversed, coalesce(sum(attempts), 0) as attempts,
    coalesce(sum(blocked), 0) as blocked, coalesce(sum(retries), 0) as retries,
    coalesce(sum(unpriced), 0) as unpriced, coalesce(sum(cost), 0) as cost, coalesce(sum(failed), 0) as failed,
    coalesce(sum(wasted), 0) as wasted, coalesce(sum(estimated), 0) as estimated,
    coalesce(sum(tokens), 0) as tokens, coalesce(sum(failures), 0) as failures, sum(value) as value,
    coalesce(sum(valued), 0) as valued, coalesce(sum(open), 0) as open`;
}

function percentiles(sql: Queryable) {
  return sql`percentile_disc(array[0.5, 0.95]) within group (order by cost) as percentiles`;
}

/** Which prices the cells of each group were counted by, and of no group those of all. */
function versionsOf(sql: Queryable) {
  return sql`
    select v.groups, (array_agg(v.price_version order by v.price_version))[1:${PRICE_VERSIONS_MAX}::int] as names
    from (
      select groups, price_version from cell where price_version <> ''
      union
      select '{}', price_version from cell where price_version <> ''
    ) as v
    group by v.groups`;
}
