/** What the roll-up leaves to the turns of each tenant: it is the same in the end, and nobody else waits for it. */
import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "vitest";
import { STALE_OUTCOMES_MAX } from "../../src/core/limits-finance.ts";
import { tellStaleTurn } from "../../src/ledger/roll-up.ts";
import type { Queryable } from "../../src/store/events.ts";
import { putOutcomeType } from "../../src/store/outcome-types.ts";
import { post } from "../../src/store/posting.ts";
import { rolledUpAsOf, rollUp } from "../../src/store/roll-up.ts";
import { settle } from "../../src/store/settlement.ts";
import { readNow } from "../../src/store/usage.ts";
import { createRandom } from "../sim/random.ts";
import { describeEachDatabase, type TestDatabase } from "../support/databases.ts";
import { askOf, createHistory, newTenant, settlementOf, tell } from "../support/ledger-history.ts";
import { rollUpAll, rollUpViolations } from "./roll-up-violations.ts";
import { seedOf } from "./seed.ts";

/** What one step of the roll-up finds of one outcome or run, and of all: as it stands, and so little that most is left. */
const MEASURES: readonly (readonly [RegExp, string])[] = [
  [/\b201\b/gu, "2"],
  [/<= 200\b/gu, "<= 1"],
  [/<= 20000\b/gu, "<= 3"],
];

/** Lets every step of the roll-up leave nearly all to the turns, while that work goes on. */
async function withSmallMeasures(sql: Queryable, work: () => Promise<void>): Promise<void> {
  const [row] = await sql`select pg_get_functiondef('tollgate_roll_up'::regproc) as definition`;
  const whole = String(row?.["definition"]);
  const small = MEASURES.reduce((text, [part, by]) => {
    const changed = text.replace(part, by);
    if (changed === text) throw new Error(`the roll-up has no ${String(part)}`);
    return changed;
  }, whole);
  await sql.unsafe(small);
  try {
    await work();
  } finally {
    await sql.unsafe(whole);
  }
}

/** A run of that tenant which costs 100, and an outcome of it that is told. */
async function oneOutcome(database: TestDatabase, tenantId: string): Promise<void> {
  const ask = askOf(tenantId);
  await post(database.db.gate, "rep", [ask]);
  await settle(database.db.gate, [settlementOf(ask)]);
  await tell(database, tenantId, { subject: "run_a" });
}

/** A transaction of another test may hold it back; what waits for its tenant's turn goes on waiting. */
async function rollUpPast(sql: Queryable, moment: Date): Promise<void> {
  for (let turn = 0; turn < 1_000; turn += 1) {
    await rollUp(sql, 1_000);
    const [state] =
      await sql`select as_of > ${moment.toISOString()}::text::timestamptz as done from roll_up_state`;
    if (state?.["done"] === true) return;
    await sleep(10);
  }
  throw new Error("the roll-ups never met that moment");
}

const valuesOf = async ({ db }: TestDatabase, tenantId: string) =>
  (
    await db.admin`
      select key, value_picousd::text as value from outcome_costs
      where tenant_id = ${tenantId} and closing_id = '' order by key`
  ).map((row) => [row["key"], row["value"]]);

describeEachDatabase("what a step of the roll-up leaves", (database) => {
  test("gives the same sums, whatever is left and in whatever measures it is done", async () => {
    const { admin } = database.db;
    const random = createRandom(seedOf("stale"));
    const tenantId = await newTenant(database);
    const history = createHistory(database, tenantId, random);
    await withSmallMeasures(admin, async () => {
      for (let step = 0; step < 80; step += 1) {
        await history();
        if (random.below(3) === 0) await rollUp(admin, 1 + random.below(20));
        if (random.below(3) === 0) {
          const [pairs, most] = [1 + random.below(4), 1 + random.below(3)];
          await admin`select tollgate_tell_stale(${tenantId}, ${most}, ${pairs})`;
        }
      }
      await rollUpAll(admin);
    });
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("holds up no other tenant, where thousands of outcomes are told of an operation of thousands of runs", async () => {
    const { admin } = database.db;
    const [hostile, other] = [await newTenant(database), await newTenant(database)];
    await rollUpAll(admin);
    await admin`
      insert into operation_runs (tenant_id, operation, run_id)
      select ${hostile}, 'refund:1', 'run_' || n from generate_series(1, 5000) as n`;
    await admin`
      insert into outcomes (tenant_id, outcome_id, root_id, type, subject_kind, subject, key, status, occurred_at,
                            recorded_by)
      select ${hostile}, ${hostile} || n, ${hostile} || n, 'ticket_resolved', 'operation', 'refund:1', n::text,
             'success', tollgate_now(), 'key_a'
      from generate_series(1, 2000) as n`;
    await oneOutcome(database, other);
    const before = await rolledUpAsOf(admin, other);
    const posted = await readNow(admin);
    const [last] = await admin`select pg_current_xact_id()::text::bigint as id`;
    for (;;) {
      await rollUp(admin, 5_000);
      const [state] = await admin`
        select rolled_up_to > ${String(last?.["id"])}::text::bigint as done from roll_up_state`;
      if (state?.["done"] === true) break;
    }
    const [bound] = await admin`
      select count(*)::int as pairs from outcome_runs where tenant_id = ${hostile}`;
    expect(bound?.["pairs"]).toBeLessThanOrEqual(20_000);
    await rollUp(admin, 5_000);
    const asOf = await rolledUpAsOf(admin, other);
    expect(asOf.getTime()).toBeGreaterThanOrEqual(posted.getTime());
    expect(asOf.getTime()).toBeGreaterThan(before.getTime());
    expect((await rolledUpAsOf(admin, hostile)).getTime()).toBeLessThan(asOf.getTime());
    expect(await rollUpViolations(admin, other)).toEqual([]);

    // Each has its turn, however much of the one is left.
    await admin`
      insert into stale_outcomes (tenant_id, root_id)
      select tenant_id, root_id from outcomes where tenant_id = ${other}`;
    await tellStaleTurn(database.db);
    const waiting = await admin`
      select tenant_id, count(*)::int > 0 as more from stale_outcomes
      where tenant_id in (${hostile}, ${other}) group by tenant_id`;
    expect(waiting.map((row) => ({ ...row }))).toEqual([{ tenant_id: hostile, more: true }]);
    await admin`delete from stale_outcomes where tenant_id = ${hostile}`;
    await admin`delete from stale_runs where tenant_id = ${hostile}`;
  });

  test("holds up no other tenant, where thousands of runs join an operation of thousands of outcomes", async () => {
    const { admin, gate } = database.db;
    const hostile = await newTenant(database);
    await admin`
      insert into outcomes (tenant_id, outcome_id, root_id, type, subject_kind, subject, key, status, occurred_at,
                            recorded_by)
      select ${hostile}, ${hostile} || n, ${hostile} || n, 'ticket_resolved', 'operation', 'refund:2', n::text,
             'success', tollgate_now(), 'key_a'
      from generate_series(1, 400) as n`;
    await rollUpAll(admin, 5_000);
    const asks = Array.from({ length: 60 }, (_, n) =>
      askOf(hostile, { runId: `run_${n}`, context: { operation: "refund:2" } }),
    );
    await post(gate, "rep", asks);
    await settle(
      gate,
      asks.map((ask) => settlementOf(ask)),
    );
    await rollUp(admin, 5_000);
    const [bound] = await admin`
      select count(*)::int as pairs from outcome_runs where tenant_id = ${hostile}`;
    expect(bound?.["pairs"]).toBeLessThanOrEqual(20_000);
    await rollUpAll(admin, 5_000);
    expect(await rollUpViolations(admin, hostile)).toEqual([]);
  });

  test("of a tenant go on in the same turn while another's are postponed", async () => {
    const { admin } = database.db;
    const [postponed, busy] = [await newTenant(database), await newTenant(database)].toSorted();
    await admin`
      insert into stale_outcomes (tenant_id, root_id, due_at)
      values (${postponed ?? ""}, 'out_later', tollgate_now() + interval '1 hour')`;
    await admin`
      insert into stale_outcomes (tenant_id, root_id)
      select ${busy ?? ""}, 'out_' || n from generate_series(1, ${STALE_OUTCOMES_MAX * 2 + 1}::int) as n`;
    await tellStaleTurn(database.db);
    const left = await admin`
      select tenant_id as tenant, count(*)::int as waiting from stale_outcomes
      where tenant_id in (${postponed ?? ""}, ${busy ?? ""}) group by tenant_id`;
    expect([...left]).toEqual([{ tenant: postponed, waiting: 1 }]);
    await admin`delete from stale_outcomes where tenant_id = ${postponed ?? ""}`;
  });
});

describeEachDatabase("the value of an outcome type", (database) => {
  const declare = (tenantId: string, valuePicousd: string | null, name = "ticket_resolved") =>
    putOutcomeType(database.db.admin, tenantId, { name, description: "", valuePicousd });

  test("is that of outcomes told before it changed, where they say none of their own", async () => {
    const { admin } = database.db;
    const tenantId = await newTenant(database);
    await declare(tenantId, "5");
    await declare(tenantId, "9", "refund_paid");
    await oneOutcome(database, tenantId);
    await tell(database, tenantId, { subject: "run_a", key: "other", type: "refund_paid" });
    const own = await tell(database, tenantId, { subject: "run_a", key: "own" });
    const late = await tell(database, tenantId, { subject: "run_a", key: "taken back" });
    await rollUpAll(admin);
    await admin`
      insert into outcomes (tenant_id, outcome_id, root_id, supersedes, type, subject_kind, subject, key, status,
                            value_picousd, occurred_at, recorded_by)
      values (${tenantId}, ${`${own.id}_2`}, ${own.root}, ${own.id}, 'ticket_resolved', 'run', 'run_a', 'own', 'success',
              77, tollgate_now(), 'key_a'),
             (${tenantId}, ${`${late.id}_2`}, ${late.root}, ${late.id}, 'ticket_resolved', 'run', 'run_a', 'taken back',
              'success', 88, tollgate_now(), 'key_a')`;
    await admin`
      insert into outcomes (tenant_id, outcome_id, root_id, supersedes, type, subject_kind, subject, key, status,
                            value_picousd, occurred_at, recorded_by)
      values (${tenantId}, ${`${late.id}_3`}, ${late.root}, ${`${late.id}_2`}, 'ticket_resolved', 'run', 'run_a',
              'taken back', 'success', null, tollgate_now(), 'key_a')`;
    await rollUpAll(admin);
    await declare(tenantId, "6");
    const changed = await readNow(admin);
    await rollUpAll(admin, 1_000);
    await declare(tenantId, "7");
    await rollUpPast(admin, await readNow(admin));
    // Until it has reached all of them, figures are as of before it changed, however much is rolled up meanwhile.
    const asOf = await rolledUpAsOf(admin, tenantId);
    await rollUp(admin, 1_000);
    expect(await rolledUpAsOf(admin, tenantId)).toEqual(asOf);
    expect(asOf.getTime()).toBeGreaterThan(changed.getTime());
    for (let turn = 0; turn < 40; turn += 1)
      await admin`select tollgate_tell_stale(${tenantId}, 1, 1)`;
    expect(await valuesOf(database, tenantId)).toEqual([
      ["", "7"],
      ["other", "9"],
      ["own", "77"],
      ["taken back", "7"],
    ]);
    await declare(tenantId, null);
    await tellStaleTurn(database.db);
    expect(await valuesOf(database, tenantId)).toEqual([
      ["", null],
      ["other", "9"],
      ["own", "77"],
      ["taken back", null],
    ]);
  });

  test("that is declared again as it was makes nobody wait", async () => {
    const { admin } = database.db;
    const tenantId = await newTenant(database);
    await declare(tenantId, "5");
    await declare(tenantId, "5");
    const rows = await admin`
      select revalued_to as to, revalued_since as since from outcome_types where tenant_id = ${tenantId}`;
    expect(rows.map((row) => ({ ...row }))).toEqual([{ to: null, since: null }]);
  });
});
