/** What the queries of reports share: whose rows, of when, told apart by what. */
import type postgres from "postgres";

import {
  type Filters,
  type Grouping,
  type GroupingKind,
  type NamedPeriod,
  PERIOD_MONTHS,
} from "../core/report.ts";
import { REPORT_MEMORY_MB_MAX } from "../core/limits-finance.ts";
import { REPEAT_REASONS } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import type { Sql } from "./database.ts";
import type { Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";
import { transaction } from "./transaction.ts";

/** A part of a query. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>;

/**
 * Reads in one snapshot, with room to sort and hash a month of a large tenant in memory: four connections
 * at most do so at once. Compiling a plan costs more than these queries take.
 */
export async function reading<Result>(
  db: Sql,
  work: (tx: Queryable) => Promise<Result>,
): Promise<Result> {
  return await transaction(db, async (tx) => {
    await tx`set transaction isolation level repeatable read, read only`;
    await tx`select set_config('work_mem', ${`${REPORT_MEMORY_MB_MAX}MB`}, true), set_config('jit', 'off', true)`;
    return await work(tx);
  });
}

/** From the first moment to before the second. */
export type Period = { readonly from: Date; readonly to: Date };

/**
 * The period that was asked for, its days read in the zone. What is absent is the month's: it begins with
 * the month that holds its end, and ends with the month that is now.
 */
export async function readPeriod(
  sql: Queryable,
  asked: { readonly from: string | null; readonly to: string | null; readonly timeZone: string },
): Promise<Period> {
  const { from, to, timeZone } = asked;
  const monthEnd = sql`
    tollgate_window_end('month', tollgate_now(), ${timeZone}::text)`;
  const [row] = await sql<Period[]>`
    with ending as (
      select ${to === null ? monthEnd : momentOf(sql, to, timeZone)} as moment
    )
    select ${
      from === null
        ? sql`tollgate_window_start('month', ending.moment - interval '1 microsecond', ${timeZone}::text)`
        : momentOf(sql, from, timeZone)
    } as from, ending.moment as to
    from ending`;
  assert(row !== undefined, "a period is a row");
  return row;
}

/** Where a period stands that is named, counted from the month that is now in the zone. */
export async function readNamedPeriod(
  sql: Queryable,
  { name, fiscalYearStart }: NamedPeriod,
  timeZone: string,
): Promise<Period> {
  const { months, before } = PERIOD_MONTHS[name];
  const [row] = await sql<Period[]>`
    with month as (
      select date_trunc('month', tollgate_now() at time zone ${timeZone}::text) as begins
    ), first as (
      select begins - make_interval(months => ${before}::int
               + (extract(month from begins)::int - ${fiscalYearStart}::int + 12) % ${months}::int) as begins
      from month
    )
    select tollgate_first_at(begins, ${timeZone}::text) as from,
           tollgate_first_at(begins + make_interval(months => ${months}::int), ${timeZone}::text) as to
    from first`;
  assert(row !== undefined, "a period is a row");
  return row;
}

/** A day begins at its midnight in the zone; a moment says its own. */
function momentOf(sql: Queryable, text: string, timeZone: string) {
  return text.length === 10
    ? sql`tollgate_first_at(${text}::text::timestamp, ${timeZone}::text)`
    : sql`${text}::text::timestamptz`;
}

/** Of a row `d` of a tenant's live figures, or of one closing; said twice, for the index is by both in one. */
export function bookIs(
  sql: Queryable,
  { tenantId, closingId }: { readonly tenantId: string; readonly closingId: string },
) {
  return sql`
    d.tenant_id = ${tenantId} and d.closing_id = ${closingId}
    and d.tenant_id || d.closing_id = ${`${tenantId}${closingId}`}`;
}

/** Of a row `d` that says whose it is: a dimension, a run or an outcome. */
export function payerIs(sql: Queryable, filters: Filters) {
  const { key, customer, workflow, label } = filters;
  return sql`
    ${key === null ? sql`` : sql`and d.key_id = ${key}`}
    ${customer === null ? sql`` : sql`and d.customer = ${customer}`}
    ${workflow === null ? sql`` : sql`and d.workflow = ${workflow}`}
    ${label === null ? sql`` : sql`and d.labels->>${label.name}::text = ${label.value}`}`;
}

/** Whether nothing is chosen by whose it is. */
export function isOfAllPayers({ key, customer, workflow, label }: Filters): boolean {
  return [key, customer, workflow, label].every((filter) => filter === null);
}

/** How what a dimension `d` is of ended; the roll-up keeps repeats among what was blocked. */
export function endingOf(sql: Queryable) {
  return sql`
    case when d.ending = 'blocked' and d.reason = any(${arrayLiteral(REPEAT_REASONS)}::text::text[]) then 'repeated'
         else d.ending end`;
}

/** Of a dimension `d`. */
export function resourceIs(sql: Queryable, filters: Filters) {
  const { model, upstream, tool, ending, basis } = filters;
  return sql`
    ${model === null ? sql`` : sql`and d.model = ${model}`}
    ${upstream === null ? sql`` : sql`and d.upstream = ${upstream}`}
    ${tool === null ? sql`` : sql`and d.tool = ${tool}`}
    ${ending === null ? sql`` : sql`and ${endingOf(sql)} = ${ending}`}
    ${basis === null ? sql`` : sql`and d.basis = ${basis}`}`;
}

type Timed = Period & { readonly groupings: readonly Grouping[]; readonly timeZone: string };

const TIMES = ["day", "week", "month"] as const;

/** Of the groupings, those by time. */
function timesIn({ groupings }: Timed): readonly (typeof TIMES)[number][] {
  return TIMES.filter((time) => groupings.some(({ kind }) => kind === time));
}

/**
 * The columns `day`, `week` and `month`: when each begins in the zone, where rows are grouped by it. Said of each
 * quarter of an hour once and joined: of each row it took ten times as long.
 */
export function timesOf(sql: Queryable, asked: Timed) {
  return timesIn(asked).length > 0
    ? sql`q.day, q.week, q.month`
    : sql`null::timestamptz as day, null::timestamptz as week, null::timestamptz as month`;
}

/** From when to when a row has the times that it has. */
export function spanOf(sql: Queryable, asked: Timed) {
  return timesIn(asked).length > 0
    ? sql`q.span_from, q.span_to`
    : sql`${asked.from}::timestamptz as span_from, ${asked.to}::timestamptz as span_to`;
}

/** What these columns are of: to stand behind the table that has the moment. */
export function joinTimes(sql: Queryable, asked: Timed, moment: Fragment) {
  const times = timesIn(asked);
  if (times.length === 0) return sql``;
  const { timeZone, from, to } = asked;
  const begins = (time: string) =>
    sql`tollgate_window_start(${time}, q.quarter, ${timeZone}::text)`;
  const ends = (time: string) => sql`tollgate_window_end(${time}, q.quarter, ${timeZone}::text)`;
  return sql`
    join (
      select q.quarter, ${begins("day")} as day, ${begins("week")} as week, ${begins("month")} as month,
             greatest(${from}::timestamptz ${times.map((time): Fragment => sql`, ${begins(time)}`)}) as span_from,
             least(${to}::timestamptz ${times.map((time): Fragment => sql`, ${ends(time)}`)}) as span_to
      from generate_series(${from}::timestamptz, ${to}::timestamptz, interval '15 minutes') as q(quarter)
    ) as q on q.quarter = tollgate_quarter(${moment})`;
}

/** Not `1 day`, which is a day of the session's zone. */
const UTC_DAY = "24 hours";

/**
 * The period cut in pieces, `lo` to before `hi`: days of UTC that lie whole in it and in each time that rows are
 * grouped by (`is_days`), whose sums are kept; and what is left around them. One piece, where days are not to be used.
 */
export function piecesOf(sql: Queryable, asked: Timed, byDays: boolean) {
  const { from, to, timeZone } = asked;
  if (!byDays) {
    return sql`select ${from}::timestamptz as lo, ${to}::timestamptz as hi, false as is_days`;
  }
  const uncut = timesIn(asked).reduce(
    (rest: Fragment, time): Fragment => sql`
      ${rest} and date_trunc(${time}, d.day, ${timeZone}::text)
        = date_trunc(${time}, d.day + ${UTC_DAY}::interval - interval '1 microsecond', ${timeZone}::text)`,
    sql``,
  );
  const begin = sql`${from}::timestamptz`;
  const days = sql`
    select generate_series(
      date_trunc('day', ${begin}, 'UTC'),
      ${to}::timestamptz - interval '1 microsecond',
      ${UTC_DAY}::interval
    ) as day`;
  return sql`
    select greatest(min(d.day), ${from}::timestamptz) as lo,
           least(max(d.day) + ${UTC_DAY}::interval, ${to}::timestamptz) as hi, d.is_days
    from (
      select d.*, d.day - row_number() over (partition by d.is_days order by d.day) * ${UTC_DAY}::interval as island
      from (
        select d.day, d.day >= ${from}::timestamptz and d.day + ${UTC_DAY}::interval <= ${to}::timestamptz ${uncut} as is_days
        from (${days}) as d
      ) as d
    ) as d
    group by d.island, d.is_days`;
}

/**
 * Sums of the runs that began in each piece, `d` of both conditions: those of a day of UTC, and single ones around.
 */
export function runsIn(
  sql: Queryable,
  book: { readonly tenantId: string; readonly closingId: string },
  ofRun: Fragment,
  ofDay: Fragment,
) {
  return sql`
    select d.*
    from piece p
    cross join lateral (
      -- What was adjusted of no run stands among them, and is none.
      select count(*) filter (where d.attempts + d.blocked > 0) as runs, sum(d.attempts) as attempts, sum(d.unpriced) as unpriced,
             sum(d.cost_picousd) as cost_picousd, sum(d.wasted_picousd) as wasted_picousd
      from run_costs d
      where ${bookIs(sql, book)} and d.started_at >= p.lo and d.started_at < p.hi and ${ofRun}
    ) as d
    where not p.is_days
    union all
    select d.runs, d.attempts, d.unpriced, d.cost_picousd, d.wasted_picousd
    from piece p
    join run_days d on d.tenant_id = ${book.tenantId} and d.closing_id = ${book.closingId}
      and d.utc_day >= p.lo and d.utc_day < p.hi and ${ofDay}
    where p.is_days`;
}

const TIME_FORMATS: Partial<Record<GroupingKind, string>> = {
  day: "YYYY-MM-DD",
  week: 'IYYY-"W"IW',
  month: "YYYY-MM",
};

/** What a row is grouped by, as texts in the order of the groupings; empty where nothing is said. */
export function groupsOf(
  sql: Queryable,
  asked: { readonly groupings: readonly Grouping[]; readonly timeZone: string },
  columns: (kind: GroupingKind) => Fragment,
) {
  const each = asked.groupings.map((grouping): Fragment => {
    if (grouping.kind === "label") {
      return sql`coalesce(${columns("label")}->>${grouping.label}::text, '')`;
    }
    const format = TIME_FORMATS[grouping.kind];
    if (format === undefined) return columns(grouping.kind);
    return sql`to_char(${columns(grouping.kind)} at time zone ${asked.timeZone}::text, ${format}::text)`;
  });
  const list = each.map((column, at) => (at === 0 ? column : sql`, ${column}`));
  return sql`(array[${list}]::text[] collate "C")`;
}

/** When this was rolled up to: of one tenant, or with null of all. */
export function asOf(sql: Queryable, tenantId: string | null) {
  // In a query of its own, so that it is read once and not for each row.
  return sql`(select tollgate_as_of(${tenantId}::text))`;
}

/** As parameters of their type: a text would be read as a time again for each row. */
export function within(sql: Queryable, { from, to }: Period, moment: Fragment) {
  return sql`${moment} >= ${from}::timestamptz and ${moment} < ${to}::timestamptz`;
}
