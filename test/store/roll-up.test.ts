/** Roll-ups against the ledger: any history, in any steps, gives the same sums to the pico-dollar. */
import { expect, test } from "vitest";
import { type Ask, post } from "../../src/store/posting.ts";
import { settle } from "../../src/store/settlement.ts";
import { tellStaleTurn } from "../../src/ledger/roll-up.ts";
import { rolledUpAsOf, rollUp } from "../../src/store/roll-up.ts";
import { open } from "../../src/store/database.ts";
import type { Queryable } from "../../src/store/events.ts";
import { createRandom } from "../sim/random.ts";
import {
  describeEachDatabase,
  describeOnPostgres,
  type TestDatabase,
} from "../support/databases.ts";
import {
  adjust,
  askOf,
  createHistory,
  newTenant,
  settlementOf,
  tell,
} from "../support/ledger-history.ts";
import { seedOf } from "./seed.ts";
import { rollUpAll, rollUpViolations } from "./roll-up-violations.ts";

/** By subject, type and key. */
const costs = async ({ db }: TestDatabase, tenantId: string) =>
  Object.fromEntries(
    (
      await db.admin`
        select subject || ' ' || type || ' ' || key as name, cost_picousd::text as cost, runs, attempts::int as attempts
        from outcome_costs where tenant_id = ${tenantId} and closing_id = ''`
    ).map((row) => [String(row["name"]).trim(), row["cost"]]),
  );

describeEachDatabase("the roll-ups", (database) => {
  test("attribute to an outcome all that its run cost, whenever each of them comes", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const early = askOf(tenantId);
    await post(gate, "rep", [early]);
    await settle(gate, [settlementOf(early, { ending: "failed", costPicousd: 7n })]);
    await rollUpAll(admin);
    await tell(database, tenantId, { subject: "run_a" });
    await rollUpAll(admin);
    expect(await costs(database, tenantId)).toEqual({ "run_a ticket_resolved": "7" });
    const late = askOf(tenantId);
    await post(gate, "rep", [late]);
    await settle(gate, [settlementOf(late)]);
    await rollUpAll(admin);
    expect(await costs(database, tenantId)).toEqual({ "run_a ticket_resolved": "107" });
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("split a run that outcomes share by their weights, and lose nothing of what does not divide", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const ask = askOf(tenantId);
    await post(gate, "rep", [ask]);
    await settle(gate, [settlementOf(ask)]);
    const first = await tell(database, tenantId, { subject: "run_a", key: "1" });
    await tell(database, tenantId, { subject: "run_a", key: "2" });
    await tell(database, tenantId, { subject: "run_a", key: "3" });
    await rollUpAll(admin);
    expect(await costs(database, tenantId)).toEqual({
      "run_a ticket_resolved 1": "34",
      "run_a ticket_resolved 2": "33",
      "run_a ticket_resolved 3": "33",
    });
    await tell(database, tenantId, { subject: "run_a", key: "1", weight: 6, supersedes: first });
    await rollUpAll(admin);
    expect(await costs(database, tenantId)).toEqual({
      "run_a ticket_resolved 1": "76",
      "run_a ticket_resolved 2": "12",
      "run_a ticket_resolved 3": "12",
    });
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("take thousands of outcomes that share a run in one step, without telling each of each", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const ask = askOf(tenantId);
    await post(gate, "rep", [ask]);
    await settle(gate, [settlementOf(ask)]);
    await admin`
      insert into outcomes (tenant_id, outcome_id, root_id, type, subject_kind, subject, key, status, occurred_at,
                            recorded_by)
      select ${tenantId}, ${tenantId} || n, ${tenantId} || n, 'ticket_resolved', 'run', 'run_a', n::text, 'success',
             tollgate_now(), 'key_a'
      from generate_series(1, 4000) as n`;
    await rollUpAll(admin, 5_000);
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("let an operation bear its runs, and an outcome the runs below its own", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    await admin`insert into runs (tenant_id, run_id, ancestors, created_by)
                values (${tenantId}, 'run_child', array['run_a'], 'key_a')`;
    await tell(database, tenantId, { subject: "refund:1", type: "refund_paid" });
    await tell(database, tenantId, { subject: "run_a" });
    await rollUpAll(admin);
    const asks = [
      askOf(tenantId, { runId: "run_b", context: { operation: "refund:1" } }),
      askOf(tenantId, { runId: "run_c", context: { operation: "refund:1" } }),
      askOf(tenantId, { runId: "run_child" }),
      askOf(tenantId, { runId: "run_d" }),
    ];
    await post(gate, "rep", asks);
    await settle(
      gate,
      asks.map((ask) => settlementOf(ask)),
    );
    await rollUpAll(admin);
    expect(await costs(database, tenantId)).toEqual({
      "refund:1 refund_paid": "200",
      "run_a ticket_resolved": "100",
    });
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("take back what was presumed where evidence corrects it", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const ask = askOf(tenantId);
    await post(gate, "rep", [ask]);
    await settle(gate, [
      settlementOf(ask, { ending: "unknown", basis: "presumed", costPicousd: 1_000n, usage: "{}" }),
    ]);
    await rollUpAll(admin);
    await settle(gate, [settlementOf(ask)]);
    await rollUpAll(admin);
    const rows = await admin`
      select d.ending, sum(c.cost_picousd)::text as cost, sum(c.attempts)::int as attempts
      from cost_cells c join cost_dimensions d on d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id
      where c.tenant_id = ${tenantId} group by d.ending order by d.ending`;
    expect(rows.map((row) => ({ ...row }))).toEqual([
      { ending: "succeeded", cost: "100", attempts: 1 },
      { ending: "unknown", cost: "0", attempts: 0 },
    ]);
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("say that a run is its first call's, though a later one ended before or an adjustment came first", async () => {
    const tenantId = await newTenant(database);
    const { admin, gate } = database.db;
    const whose = async () => {
      await rollUpAll(admin);
      return await admin`
        select run_id, key_id, customer, labels->>'team' as team from run_costs where tenant_id = ${tenantId}`;
    };
    await adjust(database, tenantId, { attempt: null, run: "run_a" }, -30n);
    await whose();
    const first = askOf(tenantId, { context: { customer: "acme", labels: { team: "search" } } });
    const second = askOf(tenantId, { keyId: "key_b" });
    for (const ask of [first, second]) await post(gate, "rep", [ask]);
    const run = { run_id: "run_a" };
    await settle(gate, [settlementOf(second)]);
    expect(await whose()).toEqual([{ ...run, key_id: "key_b", customer: "", team: null }]);
    await settle(gate, [settlementOf(first)]);
    expect(await whose()).toEqual([{ ...run, key_id: "key_a", customer: "acme", team: "search" }]);
  });

  test("say that a run is of the call with the first id, where several came at one moment", async () => {
    const tenantId = await newTenant(database);
    const { admin, gate } = database.db;
    const id = (n: number) => ({ attemptId: `att_${tenantId}_${n}` });
    const asks = [
      askOf(tenantId, { ...id(3), keyId: "key_a" }),
      askOf(tenantId, { ...id(1), keyId: "key_b", context: { customer: "acme" } }),
      askOf(tenantId, { ...id(4), keyId: "key_b", context: { customer: "acme" } }),
      askOf(tenantId, { ...id(2), keyId: "key_c" }),
    ];
    await post(gate, "rep", asks);
    await settle(
      gate,
      asks.map((ask) => settlementOf(ask)),
    );
    await rollUpAll(admin);
    const [moments] = await admin`
      select count(distinct decided_at)::int as count from decisions where tenant_id = ${tenantId}`;
    expect({ ...moments }).toEqual({ count: 1 });
    const [run] = await admin`
      select key_id, customer, attempts::int as attempts from run_costs where tenant_id = ${tenantId}`;
    expect({ ...run }).toEqual({ key_id: "key_b", customer: "acme", attempts: 4 });
  });

  test("count as wasted the retries that failed or repeated what had succeeded", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const step = { stepId: "s", stepDigest: "digest" };
    const endings = ["failed", "failed", "succeeded", "succeeded"] as const;
    for (const [i, ending] of endings.entries()) {
      const ask = askOf(tenantId, step);
      await post(gate, "rep", [ask]);
      await settle(gate, [settlementOf(ask, { ending, costPicousd: 10n ** BigInt(i) })]);
    }
    await rollUpAll(admin);
    const [run] = await admin`
      select cost_picousd::text as cost, failed_picousd::text as failed, wasted_picousd::text as wasted, retries::int as retries
      from run_costs where tenant_id = ${tenantId}`;
    expect({ ...run }).toEqual({ cost: "1111", failed: "11", wasted: "1010", retries: 3 });
  });

  test("equal the ledger to the pico-dollar after any history, rolled up in any steps", async () => {
    const random = createRandom(seedOf("roll-ups"));
    const tenantId = await newTenant(database);
    const history = createHistory(database, tenantId, random);
    for (let step = 0; step < 60; step += 1) {
      await history();
      if (random.below(3) === 0) await rollUp(database.db.admin, 1 + random.below(20));
    }
    await rollUpAll(database.db.admin);
    expect(await rollUpViolations(database.db.admin, tenantId)).toEqual([]);
  });
});

describeOnPostgres("the roll-ups", (database) => {
  test("miss nothing of a transaction that ends after later ones", async () => {
    const tenantId = await newTenant(database);
    const { admin } = database.db;
    const slow = open(database.address, 1);
    const asks = [askOf(tenantId), askOf(tenantId)] as const;
    await post(admin, "rep", asks);
    await slow.begin(async (tx) => {
      await settle(tx, [settlementOf(asks[0])]);
      await settle(admin, [settlementOf(asks[1])]);
      expect((await rollUp(admin, 100))?.isBehind).toBe(false);
      const [run] = await admin`select 1 from run_costs where tenant_id = ${tenantId}`;
      expect(run).toBeUndefined();
    });
    await slow.end();
    await rollUpAll(admin);
    expect(await rollUpViolations(admin, tenantId)).toEqual([]);
  });

  test("are as of no later moment than what they hold, whatever goes on or waits for a row", async () => {
    const { admin } = database.db;
    const [holder, slow] = [open(database.address, 1), open(database.address, 1)];
    const asOf = async () => {
      for (let turn = 0; turn < 3; turn += 1) await rollUp(admin, 100);
      return (await rolledUpAsOf(admin, null)).getTime();
    };
    const settledAt = async (tx: Queryable, { attemptId }: Ask) => {
      const [row] = await tx`select settled_at from settlements where attempt_id = ${attemptId}`;
      if (!(row?.["settled_at"] instanceof Date)) throw new Error("nothing was settled");
      return row["settled_at"].getTime();
    };
    const tenantId = await newTenant(database);
    const asks = [askOf(tenantId), askOf(tenantId)] as const;
    await post(admin, "rep", asks);
    // The newest of all that go on.
    await slow.begin(async (tx) => {
      await settle(tx, [settlementOf(asks[0])]);
      expect(await asOf()).toBeLessThanOrEqual(await settledAt(tx, asks[0]));
    });
    // One that has read the clock and waits, while a roll-up marks where the ledger ends.
    const [held, left, waited, ended] = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
    const holding = holder.begin(async (tx) => {
      await tx`select from reservations where attempt_id = ${asks[1].attemptId} for update`;
      held?.resolve();
      await left?.promise;
    });
    await held?.promise;
    let at = 0;
    const settling = slow.begin(async (tx) => {
      await settle(tx, [settlementOf(asks[1])]);
      at = await settledAt(tx, asks[1]);
      waited?.resolve();
      await ended?.promise;
    });
    for (;;) {
      const [row] =
        await admin`select 1 from pg_locks where not granted and locktype = 'transactionid'`;
      if (row !== undefined) break;
    }
    await asOf();
    left?.resolve();
    await waited?.promise;
    expect(await asOf()).toBeLessThanOrEqual(at);
    ended?.resolve();
    await Promise.all([holding, settling]);
    await rollUpAll(admin);
    expect(await asOf()).toBeGreaterThan(at);
    await Promise.all([holder.end(), slow.end()]);
  });

  test("let a tenant wait whose outcomes take longer than a statement may, and nobody else", async () => {
    const slow = await newTenant(database);
    const other = await newTenant(database);
    const { admin } = database.db;
    for (const tenantId of [slow, other]) {
      await tell(database, tenantId, { subject: "run_a" });
    }
    await rollUpAll(admin);
    await admin`
      insert into stale_outcomes (tenant_id, root_id, since)
      select tenant_id, root_id, tollgate_now() - interval '1 minute' from outcomes
      where tenant_id in (${slow}, ${other})`;
    await admin.unsafe(`
      create function too_slow() returns trigger language plpgsql as $$
      begin
        if new.tenant_id = '${slow}' then
          raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';
        end if;
        return new;
      end $$;
      create trigger too_slow before update on outcome_costs for each row execute function too_slow()`);
    await tellStaleTurn(database.db);
    const waiting =
      await admin`select tenant_id, due_at > tollgate_now() as later from stale_outcomes`;
    expect(waiting.map((row) => ({ ...row }))).toEqual([{ tenant_id: slow, later: true }]);
    expect((await rolledUpAsOf(admin, slow)).getTime()).toBeLessThan(
      (await rolledUpAsOf(admin, other)).getTime(),
    );
    await admin`drop trigger too_slow on outcome_costs`;
    await admin`update stale_outcomes set due_at = tollgate_now()`;
    await tellStaleTurn(database.db);
    expect(await admin`select from stale_outcomes`).toHaveLength(0);
  });

  test("are kept by one connection at a time, and the others go on", async () => {
    const { admin } = database.db;
    const other = open(database.address, 1);
    await other.begin(async (tx) => {
      await rollUp(tx, 10);
      expect(await rollUp(admin, 10)).toBeNull();
    });
    await other.end();
    expect(await rollUp(admin, 10)).not.toBeNull();
    expect(await rolledUpAsOf(admin, null)).toBeInstanceOf(Date);
  });
});
