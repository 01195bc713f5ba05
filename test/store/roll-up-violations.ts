import { setTimeout as sleep } from "node:timers/promises";
import { nextStaleTenant, rollUp, tellStale } from "../../src/store/roll-up.ts";
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
    const tenantId = await nextStaleTenant(sql);
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

/** Every line that was posted: what attempts cost, and what was adjusted beside it. */
const POSTED = `
  select cost_picousd as cost, settled_at as at from settlements where tenant_id = $1
  union all
  select amount_picousd, posted_at from adjustments where tenant_id = $1`;
const SETTLED = `select coalesce(sum(cost), 0) as cost from (${POSTED}) as p`;

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
     from run_days where tenant_id = $1 and (runs <> 0 or cost_picousd <> 0)`,
    `select closing_id, date_trunc('day', started_at, 'UTC'), outcomes > 0,
            count(*) filter (where attempts + blocked > 0), sum(attempts)::bigint,
            sum(unpriced)::bigint, sum(cost_picousd), sum(wasted_picousd)
     from run_costs where tenant_id = $1 group by 1, 2, 3
     having count(*) filter (where attempts + blocked > 0) <> 0 or sum(cost_picousd) <> 0`,
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
    `select date_trunc('day', at, 'Asia/Kathmandu') as day, sum(cost) as cost from (${POSTED}) as p
     group by 1 having sum(cost) <> 0`,
  ),
  "each ending of each model costs what its attempts cost": disagreement(
    "*",
    `select d.model, d.key_id, d.ending, d.basis, sum(c.attempts)::bigint as attempts, sum(c.cost_picousd) as cost,
            sum(c.tokens) as tokens
     from cost_cells c join cost_dimensions d on d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id
     where c.tenant_id = $1 and d.ending not in ('blocked', 'adjusted') group by 1, 2, 3, 4
     having sum(c.attempts) <> 0`,
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
  "a run costs what its attempts cost, and what was adjusted of it": disagreement(
    "*",
    `select run_id, attempts, cost_picousd as cost, failed_picousd as failed, unpriced from run_costs
     where tenant_id = $1 and closing_id = '' and attempts > 0`,
    `select d.run_id, count(*) as attempts,
            sum(f.cost) + coalesce((select sum(a.amount_picousd) from adjustments a
                                    where a.tenant_id = $1 and a.run_id = d.run_id), 0) as cost,
            sum(case when f.ending <> 'succeeded' then f.cost else 0 end) as failed,
            count(*) filter (where f.basis = 'unpriced') as unpriced
     from (${FINAL}) as f join decisions d on d.tenant_id = $1 and d.attempt_id = f.attempt_id group by d.run_id`,
  ),
  "a run is whose its first call says": `
    select r.run_id, r.key_id, r.customer, r.started_at::text from run_costs r
    where r.tenant_id = $1 and r.closing_id = '' and r.attempts + r.blocked > 0
      and (r.started_at > (select min(d.decided_at) from decisions d join settlements s using (tenant_id, attempt_id)
                           where d.tenant_id = $1 and d.run_id = r.run_id and d.verdict = 'allow')
           or not exists (select from decisions d
                          where d.tenant_id = $1 and d.run_id = r.run_id and d.decided_at = r.started_at
                            and d.key_id = r.key_id
                            and coalesce(d.record->'context'->>'customer', '') = r.customer))`,
  "adjustments stand by themselves, with the model of the attempt that they name": disagreement(
    "*",
    `select d.model, d.upstream, d.key_id, d.basis, c.run_id, sum(c.cost_picousd) as cost
     from run_cells c join cost_dimensions d on d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id
     where c.tenant_id = $1 and d.ending = 'adjusted' group by 1, 2, 3, 4, 5`,
    `select coalesce(d.model, '') as model, coalesce(d.upstream, '') as upstream,
            coalesce(d.key_id, (select f.key_id from decisions f where f.tenant_id = $1 and f.run_id = a.run_id
                                order by f.decided_at, f.attempt_id limit 1), '') as key_id, 'adjustment' as basis,
            coalesce(a.run_id, a.adjustment_id) as run_id, sum(a.amount_picousd) as cost
     from adjustments a left join decisions d on d.tenant_id = $1 and d.attempt_id = a.attempt_id
     where a.tenant_id = $1 group by 1, 2, 3, 4, 5`,
  ),
  "every run that an outcome is about is bound to it": disagreement(
    "*",
    `select root_id, run_id from outcome_runs where tenant_id = $1`,
    `select o.outcome_id as root_id, p.run_id from outcomes o
     join operation_runs p on p.tenant_id = $1 and o.subject_kind = 'operation' and p.operation = o.subject
     where o.tenant_id = $1 and o.supersedes is null
     union
     select o.outcome_id, o.subject from outcomes o
     where o.tenant_id = $1 and o.supersedes is null and o.subject_kind = 'run'
     union
     select o.outcome_id, r.run_id from outcomes o
     join runs r on r.tenant_id = $1 and o.subject_kind = 'run' and o.subject = any (r.ancestors)
     where o.tenant_id = $1 and o.supersedes is null`,
  ),
};
