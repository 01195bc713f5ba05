/**
 * Fills a ledger with a made-up history: what a business might have asked of models and tools over some
 * months, how it ended and what came of it. It writes what the gate would have written, in large transactions,
 * straight into the tables: ten million attempts through the gate would take an hour.
 *
 * The same seed and numbers give the same history. Amounts are whole pico-dollars; the fractions in
 * `generate.sql` only choose.
 */
import { readFile } from "node:fs/promises";
import { idOf } from "../../src/core/ids.ts";
import type { Sql } from "../../src/store/database.ts";
import { transaction } from "../../src/store/transaction.ts";
import { createRandom } from "../sim/random.ts";

export type MadeTenant = { readonly tenantId: string; readonly keyIds: readonly string[] };

export type History = {
  /** Exists already; the first has the most runs, each further one fewer. */
  readonly tenants: readonly MadeTenant[];
  /** About so many attempts: a run has 3.6 of them on the average. */
  readonly attempts: number;
  readonly from: Date;
  readonly to: Date;
  readonly seed: number;
  readonly progress: (attempts: number) => void;
};

const ATTEMPTS_PER_RUN = 3.6;
/** Runs in one transaction: some 50,000 attempts. */
const RUNS_PER_STEP = 14_000;
/** What the first tenant's monthly budget is; each further one has a smaller part of it. */
const BUDGET_PICOUSD = 40_000n * 10n ** 12n;

/** Answers how many attempts were written. `sql` is one connection. */
export async function generateHistory(sql: Sql, history: History): Promise<number> {
  const runs = Math.max(1, Math.round(history.attempts / ATTEMPTS_PER_RUN));
  const from = history.from.toISOString();
  const to = history.to.toISOString();
  const text = await readFile(new URL("./generate.sql", import.meta.url), "utf8");
  for (const statement of text.split("--> statement\n")) await sql.unsafe(statement);
  await insertTenants(sql, history);
  const offset = createRandom(history.seed).below(2 ** 30);
  let written = 0;
  for (let first = 0; first < runs; first += RUNS_PER_STEP) {
    const last = Math.min(runs, first + RUNS_PER_STEP);
    written += await transaction(sql, async (tx) => {
      const rows = await tx.unsafe(STEP, [first, last, runs, from, to, offset]);
      return Number(rows[0]?.["attempts"]);
    });
    history.progress(written);
  }
  return written;
}

async function insertTenants(sql: Sql, { tenants, from, to, seed }: History): Promise<void> {
  const random = createRandom(seed);
  const weights = tenants.map((_, i) => 1 / (i + 1));
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  let low = 0;
  for (const [i, { tenantId, keyIds }] of tenants.entries()) {
    const bytes = Uint8Array.from({ length: 10 }, () => random.below(256));
    const limitId = idOf("limit", from.getTime(), bytes);
    const amount = String(BUDGET_PICOUSD / BigInt(i + 1));
    const high = i === tenants.length - 1 ? 1 : low + (weights[i] ?? 0) / whole;
    await sql`
      insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount, created_at)
      values (${tenantId}, ${limitId}, 'tenant', 'usd', 'month', ${amount}::text::numeric, ${from.toISOString()}::text::timestamptz)`;
    await sql`
      insert into made_tenant (n, tenant_id, low, high, keys, limit_id)
      values (${i}, ${tenantId}, ${low}, ${high}, ${`{${keyIds.join(",")}}`}::text::text[], ${limitId})`;
    low = high;
  }
  await sql`
    insert into outcome_types (tenant_id, name, description, value_picousd)
    select t.tenant_id, w.outcome, 'Of the made-up history: ' || w.workflow, w.worth from made_tenant t, made_work w`;
  await sql`
    with month as (
      insert into meters (tenant_id, limit_id, subject, window_start)
      select t.tenant_id, t.limit_id, '', tollgate_window_start('month', month, 'UTC')
      from made_tenant t, generate_series(
        date_trunc('month', ${from.toISOString()}::text::timestamptz, 'UTC'),
        ${to.toISOString()}::text::timestamptz, '1 month') as month
      returning tenant_id, meter_id, window_start
    )
    insert into made_meter select tenant_id, window_start, meter_id from month`;
}

/** Writes a step's runs, decisions, settlements and outcomes, and what they move on the meters. */
const STEP = `
  with a as materialized (
    select * from pg_temp.made_attempts($1, $2, $3, $4, $5, $6)
  ), told as (
    insert into runs (tenant_id, run_id, labels, created_by, created_at)
    select tenant_id, run_id, json_build_object('workflow', workflow), key_id, started_at from a where j = 1 and named
  ), decided as (
    insert into decisions (tenant_id, attempt_id, key_id, run_id, step_id, attempt, door, operation, resource, upstream,
                           model, verdict, reason, decided_at, estimate_picousd, price_version, retry, meters, record)
    select tenant_id, attempt_id, key_id, run_id, step, 1 + is_retry::int, case when is_tool then 'step' else 'model' end,
           case when is_tool then 'execute_tool' else 'chat' end, case when is_tool then step else model end,
           case when not is_tool then upstream end, case when not is_tool then model end,
           case when blocked is null then 'allow' else 'block' end, blocked, at, cost * 2,
           case when not is_tool then 'made-up' end,
           case when is_retry then '{"because":"step","prior_status":"failed"}'::json end, '[]',
           json_build_object('context', json_build_object('customer', customer,
             'labels', json_build_object('workflow', workflow), 'tool', case when is_tool then step end))
    from a
  ), settled as (
    insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd, reserved_picousd, tokens,
                             price_version, usage, record, meter_ids, meter_units, settled_at)
    select a.tenant_id, a.attempt_id, 0, a.ending, a.basis, case when a.basis <> 'unpriced' then a.cost end, a.cost * 2,
           a.input + a.output, case when not a.is_tool then 'made-up' end,
           json_build_object('input', a.input - a.cached, 'cache_read', a.cached, 'output', a.output, 'requests', 1),
           '{}', array[m.meter_id], '{usd}', a.at + interval '3 seconds'
    from a join made_meter m on m.tenant_id = a.tenant_id
      and m.window_start = date_trunc('month', a.at, 'UTC')
    where a.blocked is null
  ), moved as (
    update meters m set committed = m.committed + s.cost
    from (
      select a.tenant_id, m.meter_id, sum(a.cost) as cost
      from a join made_meter m on m.tenant_id = a.tenant_id and m.window_start = date_trunc('month', a.at, 'UTC')
      where a.blocked is null and a.basis <> 'unpriced'
      group by 1, 2
    ) as s
    where m.tenant_id = s.tenant_id and m.meter_id = s.meter_id
  ), ended as (
    select a.*, w.outcome, w.chance, a.started_at + interval '5 minutes' * (1 + pg_temp.chance(run, 20)) as occurred,
           pg_temp.made_id('out', a.started_at, run, 3) as root
    from a join made_work w on w.workflow = a.workflow
    where j = 1 and named and pg_temp.chance(run, 19) < 0.86
  ), told_outcomes as (
    insert into outcomes (tenant_id, outcome_id, root_id, supersedes, type, subject_kind, subject, status, evidence,
                          occurred_at, recorded_at, recorded_by)
    select tenant_id, root, root, null, outcome, 'run', run_id,
           case when pg_temp.chance(run, 21) < chance then 'success'
                when pg_temp.chance(run, 22) < 0.25 then 'partial' else 'failure' end,
           '', occurred, occurred, key_id
    from ended
    union all
    select tenant_id, pg_temp.made_id('out', started_at, run, 4), root, root, outcome, 'run', run_id, 'reversed',
           'reopened by the customer', occurred, occurred + interval '1 day', key_id
    from ended where pg_temp.chance(run, 23) < 0.015 and pg_temp.chance(run, 21) < chance
  )
  select count(*)::int as attempts from a`;
