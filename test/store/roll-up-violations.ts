import { setTimeout as sleep } from "node:timers/promises";
import { rollUp, stalestTenant, tellStale } from "../../src/store/roll-up.ts";
import type { Queryable } from "../../src/store/events.ts";

/**
 * Rolls up all that has been posted, in small steps. A transaction that runs somewhere in the cluster, in the
 * database of another test, holds the roll-ups back for as long as it does.
 */
export async function rollUpAll(sql: Queryable, most = 7): Promise<void> {
  const [begun] = await sql`select pg_current_xact_id()::text::bigint as id`;
  const end = performance.now() + 30_000;
  while (performance.now() < end) {
    const step = await rollUp(sql, most);
    const [state] =
      await sql`select rolled_up_to > ${String(begun?.["id"])}::text::bigint as done from roll_up_state`;
    if (state?.["done"] === true) return tellAll(sql);
    if (step?.isBehind !== true) await sleep(5);
  }
  throw new Error("the roll-ups never met the end of the ledger");
}

async function tellAll(sql: Queryable): Promise<void> {
  for (let step = 0; step < 10_000; step += 1) {
    const tenantId = await stalestTenant(sql);
    if (tenantId === null) return;
    await tellStale(sql, tenantId, 500);
  }
  throw new Error("outcomes stay stale for ever");
}

/** What must hold of roll-ups that have met the end of the ledger, by queries that share nothing with them. */
export async function rollUpViolations(sql: Queryable, tenantId: string): Promise<string[]> {
  const found: string[] = [];
  for (const [rule, query] of Object.entries(RULES)) {
    const rows = await sql.unsafe(query, [tenantId]);
    for (const row of rows)
      found.push(
        `${rule}: ${JSON.stringify(row, (_, value) => (typeof value === "bigint" ? String(value) : value))}`,
      );
  }
  return found;
}

const SETTLED = `select coalesce(sum(cost_picousd), 0) as cost from settlements where tenant_id = $1`;

/** Each attempt as it stands after its correction, if it has one. */
const FINAL = `
  select s.attempt_id, sum(coalesce(s.cost_picousd, 0)) as cost, sum(s.tokens) as tokens,
         (array_agg(s.ending order by s.line desc))[1] as ending,
         (array_agg(s.basis order by s.line desc))[1] as basis
  from settlements s where s.tenant_id = $1 group by s.attempt_id`;

function disagreement(name: string, sums: string, truth: string): string {
  return `
    select ${name} from (
      select * from (${sums}) as a except all select * from (${truth}) as b
      union all
      (select * from (${truth}) as b except all select * from (${sums}) as a)
    ) as d`;
}

const RULES: Readonly<Record<string, string>> = {
  "cells cost what was settled": `
    select c.cost::text, s.cost::text as settled
    from (select coalesce(sum(cost_picousd), 0) as cost from cost_cells where tenant_id = $1) as c, (${SETTLED}) as s
    where c.cost <> s.cost`,
  "cells of runs cost what was settled": `
    select c.cost::text, s.cost::text as settled
    from (select coalesce(sum(cost_picousd), 0) as cost from run_cells where tenant_id = $1) as c, (${SETTLED}) as s
    where c.cost <> s.cost`,
  "outcomes and what is not attributed cost what was settled": `
    select o.cost::text as outcomes, r.cost::text as unattributed, s.cost::text as settled
    from (select coalesce(sum(cost_picousd), 0) as cost from outcome_costs
          where tenant_id = $1 and closing_id = '') as o,
         (select coalesce(sum(cost_picousd), 0) as cost from run_costs
          where tenant_id = $1 and closing_id = '' and outcomes = 0) as r, (${SETTLED}) as s
    where o.cost + r.cost <> s.cost`,
  "days are the sums of their cells": disagreement(
    "*",
    `select utc_day, dimension_id, attempts, retries, cost_picousd, wasted_picousd, tokens, input_tokens,
            cached_tokens, output_tokens
     from cost_days where tenant_id = $1`,
    `select date_trunc('day', bucket, 'UTC'), dimension_id, sum(attempts)::bigint, sum(retries)::bigint,
            sum(cost_picousd), sum(wasted_picousd), sum(tokens)::bigint, sum(input_tokens)::bigint,
            sum(cached_tokens)::bigint, sum(output_tokens)::bigint
     from cost_cells where tenant_id = $1 group by 1, 2`,
  ),
  "days of runs are the sums of their runs": disagreement(
    "*",
    `select closing_id, utc_day, is_attributed, runs, attempts, unpriced, cost_picousd, wasted_picousd
     from run_days where tenant_id = $1 and runs <> 0`,
    `select closing_id, date_trunc('day', started_at, 'UTC'), outcomes > 0, count(*), sum(attempts)::bigint,
            sum(unpriced)::bigint, sum(cost_picousd), sum(wasted_picousd)
     from run_costs where tenant_id = $1 group by 1, 2, 3`,
  ),
  "days of outcomes are the sums of their outcomes": disagreement(
    "*",
    `select closing_id, cohort, utc_day, type, sum(success) as success, sum(failure), sum(partial), sum(reversed),
            sum(valued), sum(value_picousd), sum(attempts), sum(blocked), sum(retries), sum(unpriced),
            sum(cost_picousd), sum(failed_picousd), sum(wasted_picousd), sum(estimated_picousd),
            sum(failures_picousd), sum(tokens)
     from outcome_days where tenant_id = $1 group by 1, 2, 3, 4
     having sum(success + failure + partial + reversed) <> 0`,
    `select closing_id, x.cohort, date_trunc('day', x.at, 'UTC'), type, sum((status = 'success')::int),
            sum((status = 'failure')::int), sum((status = 'partial')::int), sum((status = 'reversed')::int),
            sum((status = 'success' and value_picousd is not null)::int),
            coalesce(sum(value_picousd) filter (where status = 'success'), 0), sum(attempts), sum(blocked),
            sum(retries), sum(unpriced), sum(cost_picousd), sum(failed_picousd), sum(wasted_picousd),
            sum(estimated_picousd), coalesce(sum(cost_picousd) filter (where status in ('failure', 'reversed')), 0),
            sum(tokens)
     from outcome_costs
     cross join lateral (values ('outcome', occurred_at), ('run_start', started_at)) as x(cohort, at)
     where tenant_id = $1 group by 1, 2, 3, 4`,
  ),
  "a class has as many outcomes as cost that": disagreement(
    "*",
    `select cohort, type, cost_class, sum(success + failure + partial + reversed) as outcomes
     from outcome_days where tenant_id = $1 group by 1, 2, 3 having sum(success + failure + partial + reversed) <> 0`,
    `select x.cohort, type, case when abs(cost_picousd) < 100 then cost_picousd
              else left(cost_picousd::text, case when cost_picousd < 0 then 3 else 2 end)::numeric
                   * ('1' || repeat('0', length(abs(cost_picousd)::text) - 2))::numeric end, count(*)
     from outcome_costs, (values ('outcome'), ('run_start')) as x(cohort) where tenant_id = $1 group by 1, 2, 3`,
  ),
  "a day costs what was settled on it": disagreement(
    "*",
    `select date_trunc('day', bucket, 'Asia/Kathmandu') as day, sum(cost_picousd) as cost from cost_cells
     where tenant_id = $1 group by 1 having sum(cost_picousd) <> 0`,
    `select date_trunc('day', settled_at, 'Asia/Kathmandu') as day, sum(cost_picousd) as cost from settlements
     where tenant_id = $1 group by 1 having sum(cost_picousd) <> 0`,
  ),
  "each ending of each model costs what its attempts cost": disagreement(
    "*",
    `select d.model, d.key_id, d.ending, d.basis, sum(c.attempts)::bigint as attempts, sum(c.cost_picousd) as cost,
            sum(c.tokens) as tokens
     from cost_cells c join cost_dimensions d on d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id
     where c.tenant_id = $1 and d.ending <> 'blocked' group by 1, 2, 3, 4 having sum(c.attempts) <> 0`,
    `select coalesce(d.model, '') as model, d.key_id, f.ending, f.basis, count(*) as attempts, sum(f.cost) as cost,
            sum(f.tokens) as tokens
     from (${FINAL}) as f join decisions d on d.tenant_id = $1 and d.attempt_id = f.attempt_id group by 1, 2, 3, 4`,
  ),
  "each reason refused as often as it was decided": disagreement(
    "*",
    `select d.reason, sum(c.attempts)::bigint as refused
     from cost_cells c join cost_dimensions d on d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id
     where c.tenant_id = $1 and d.ending = 'blocked' group by 1`,
    `select reason, count(*) as refused from decisions where tenant_id = $1 and verdict <> 'allow' group by 1`,
  ),
  "a run costs what its attempts cost": disagreement(
    "*",
    `select run_id, attempts, cost_picousd as cost, failed_picousd as failed, unpriced from run_costs
     where tenant_id = $1 and closing_id = '' and attempts > 0`,
    `select d.run_id, count(*) as attempts, sum(f.cost) as cost,
            sum(case when f.ending <> 'succeeded' then f.cost else 0 end) as failed,
            count(*) filter (where f.basis = 'unpriced') as unpriced
     from (${FINAL}) as f join decisions d on d.tenant_id = $1 and d.attempt_id = f.attempt_id group by d.run_id`,
  ),
};
