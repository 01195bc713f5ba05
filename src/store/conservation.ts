/** Whether all sums of a tenant's ledger are the same sum, to the pico-dollar. */
import { CHECK_DAYS_MAX, CHECK_METERS_MAX, CHECK_STATEMENT_MS } from "../core/limits-finance.ts";
import { assert } from "../lib/assert.ts";
import type { Sql } from "./database.ts";
import type { Queryable } from "./events.ts";
import { transaction } from "./transaction.ts";

export type ConservationRow = {
  /** Of what is rolled up. */
  readonly settled: string;
  readonly adjusted: string;
  /** Settled or adjusted since, and not rolled up yet. */
  readonly behind: string;
  readonly costCells: string;
  readonly costDays: string;
  readonly runCells: string;
  readonly runCosts: string;
  readonly runDays: string;
  readonly outcomes: string;
  readonly outcomeDays: string;
  /** Of the same outcomes, on the days on which their runs began. */
  readonly startDays: string;
  readonly unattributedDays: string;
  readonly unattributed: string;
  /** Outcomes whose cost is to be told anew, and runs whose outcomes are. */
  readonly stale: number;
  readonly asOf: Date;
};

export type MetersRow = {
  readonly meters: string;
  readonly differing: string;
  /** The first of them. */
  readonly first: readonly {
    readonly meter: string;
    readonly limit: string;
    readonly unit: "usd" | "tokens";
    readonly committed: string;
    readonly settled: string;
    readonly reserved: string;
    /** By reservations that are open. */
    readonly held: string;
  }[];
};

/** A day of UTC whose sums are not what was posted on it, though all days together may be. */
export type DayRow = {
  readonly day: string;
  readonly posted: string;
  readonly costCells: string;
  readonly costDays: string;
};

/**
 * Both are read in one snapshot, beside which postings go on: what is not rolled up yet is told apart by the
 * transaction that posted it, and a meter and its settlements are written in one commit.
 */
export async function readConservation(
  db: Sql,
  tenantId: string,
): Promise<{
  readonly sums: ConservationRow;
  readonly days: readonly DayRow[];
  readonly meters: MetersRow;
}> {
  return await transaction(db, async (tx) => {
    await tx`set transaction isolation level repeatable read, read only`;
    await tx`select set_config('statement_timeout', ${String(CHECK_STATEMENT_MS)}, true)`;
    return {
      sums: await readSums(tx, tenantId),
      days: await readDays(tx, tenantId),
      meters: await readMeters(tx, tenantId),
    };
  });
}

async function readSums(tx: Queryable, tenantId: string): Promise<ConservationRow> {
  const [row] = await tx<ConservationRow[]>`
    with posted as (
      select coalesce(sum(s.cost_picousd) filter (where s.posted_in < r.rolled_up_to), 0)::text as settled,
             coalesce(sum(s.cost_picousd) filter (where s.posted_in >= r.rolled_up_to), 0) as behind
      from roll_up_state r left join settlements s on s.tenant_id = ${tenantId}
      where r.one = 1
    ), adjusted as (
      select coalesce(sum(a.amount_picousd) filter (where a.posted_in < r.rolled_up_to), 0)::text as adjusted,
             coalesce(sum(a.amount_picousd) filter (where a.posted_in >= r.rolled_up_to), 0) as behind
      from roll_up_state r left join adjustments a on a.tenant_id = ${tenantId}
      where r.one = 1
    )
    select p.settled, a.adjusted, (p.behind + a.behind)::text as behind,
           (select coalesce(sum(cost_picousd), 0)::text from cost_cells where tenant_id = ${tenantId}) as "costCells",
           (select coalesce(sum(cost_picousd), 0)::text from cost_days where tenant_id = ${tenantId}) as "costDays",
           (select coalesce(sum(cost_picousd), 0)::text from run_cells where tenant_id = ${tenantId}) as "runCells",
           (select coalesce(sum(cost_picousd), 0)::text from run_costs
            where tenant_id = ${tenantId} and closing_id = '') as "runCosts",
           (select coalesce(sum(cost_picousd), 0)::text from run_days
            where tenant_id = ${tenantId} and closing_id = '') as "runDays",
           (select coalesce(sum(cost_picousd), 0)::text from outcome_costs
            where tenant_id = ${tenantId} and closing_id = '') as outcomes,
           (select coalesce(sum(cost_picousd), 0)::text from outcome_days
            where tenant_id = ${tenantId} and closing_id = '' and cohort = 'outcome') as "outcomeDays",
           (select coalesce(sum(cost_picousd), 0)::text from outcome_days
            where tenant_id = ${tenantId} and closing_id = '' and cohort = 'run_start') as "startDays",
           (select coalesce(sum(cost_picousd), 0)::text from run_days
            where tenant_id = ${tenantId} and closing_id = '' and not is_attributed) as "unattributedDays",
           (select coalesce(sum(cost_picousd), 0)::text from run_costs
            where tenant_id = ${tenantId} and closing_id = '' and outcomes = 0) as unattributed,
           (select count(*)::int from stale_outcomes where tenant_id = ${tenantId})
           + (select count(*)::int from stale_runs where tenant_id = ${tenantId}) as stale, r.as_of as "asOf"
    from posted p, adjusted a, roll_up_state r where r.one = 1`;
  assert(row !== undefined, "sums over nothing are a row as well");
  return row;
}

/** The first days that differ: what is too much on one and too little on another is in no sum of all of them. */
async function readDays(tx: Queryable, tenantId: string): Promise<readonly DayRow[]> {
  return await tx<DayRow[]>`
    with figure as (
      select date_trunc('day', s.settled_at, 'UTC') as day, s.cost_picousd as posted, 0 as cells, 0 as days
      from settlements s, roll_up_state r where s.tenant_id = ${tenantId} and s.posted_in < r.rolled_up_to
      union all
      select date_trunc('day', a.posted_at, 'UTC'), a.amount_picousd, 0, 0
      from adjustments a, roll_up_state r where a.tenant_id = ${tenantId} and a.posted_in < r.rolled_up_to
      union all
      select date_trunc('day', c.bucket, 'UTC'), 0, c.cost_picousd, 0 from cost_cells c where c.tenant_id = ${tenantId}
      union all
      select d.utc_day, 0, 0, d.cost_picousd from cost_days d where d.tenant_id = ${tenantId}
    ), by_day as (
      select day, coalesce(sum(posted), 0) as posted, sum(cells) as cells, sum(days) as days from figure group by day
    )
    select to_char(day at time zone 'UTC', 'YYYY-MM-DD') as day, posted::text, cells::text as "costCells",
           days::text as "costDays"
    from by_day where posted <> cells or posted <> days order by by_day.day limit ${CHECK_DAYS_MAX}`;
}

/**
 * Meters of money and tokens: the committed sum of each is that of the settlement lines that name it, and what it
 * has reserved is what is held by the reservations that do.
 */
async function readMeters(tx: Queryable, tenantId: string): Promise<MetersRow> {
  const [row] = await tx<MetersRow[]>`
    with settled as (
      select named.meter_id,
             sum(case named.unit when 'usd' then coalesce(s.cost_picousd, 0) else s.tokens end) as amount
      from settlements s cross join lateral unnest(s.meter_ids, s.meter_units) as named(meter_id, unit)
      where s.tenant_id = ${tenantId} and named.unit in ('usd', 'tokens')
      group by named.meter_id
    ), held as (
      select named.meter_id, sum(named.amount) as amount
      from reservations r cross join lateral unnest(r.meter_ids, r.amounts) as named(meter_id, amount)
      where r.tenant_id = ${tenantId}
      group by named.meter_id
    ), meter as (
      select m.meter_id, l.limit_id, l.unit, m.committed, coalesce(s.amount, 0) as amount, m.reserved,
             coalesce(h.amount, 0) as held
      from meters m
      join limits l on l.tenant_id = m.tenant_id and l.limit_id = m.limit_id
      left join settled s on s.meter_id = m.meter_id
      left join held h on h.meter_id = m.meter_id
      where m.tenant_id = ${tenantId} and l.unit in ('usd', 'tokens')
    ), differing as (
      select * from meter where committed <> amount or reserved <> held order by limit_id, meter_id limit ${CHECK_METERS_MAX}
    )
    select (select count(*)::text from meter) as meters,
           (select count(*)::text from meter where committed <> amount or reserved <> held) as differing,
           coalesce((
             select json_agg(json_build_object('meter', meter_id::text, 'limit', limit_id, 'unit', unit,
                                               'committed', committed::text, 'settled', amount::text,
                                               'reserved', reserved::text, 'held', held::text)
                             order by limit_id, meter_id)
             from differing
           ), '[]') as first`;
  assert(row !== undefined, "counts are a row");
  return row;
}
