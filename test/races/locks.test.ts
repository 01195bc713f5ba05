import { expect, test } from "vitest";
import { createAdministration } from "../../src/gate/administration.ts";
import { open, type Database, type Sql } from "../../src/store/database.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { expire, settle, type Settlement } from "../../src/store/settlement.ts";
import { newId } from "../gate/gate-on.ts";
import { createRandom } from "../sim/random.ts";
import { seedOf } from "../store/seed.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres, type TestDatabase } from "../support/databases.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { TEST_SEAL } from "../support/seal.ts";

function askOf(tenantId: string, fields: Partial<Ask> = {}): Ask {
  return {
    attemptId: `att_${newId()}`,
    tenantId,
    keyId: "key_a",
    runId: `run_${newId()}`,
    runNamed: false,
    stepId: null,
    stepDigest: null,
    contentDigest: null,
    retryResource: "model:m",
    door: "model",
    operation: "chat",
    resource: "m",
    upstream: "up",
    model: "m",
    judgedReason: null,
    costPicousd: 10n,
    tokens: 1,
    priceVersion: null,
    final: true,
    deadlineMs: 60_000,
    record: "{}",
    refs: [],
    extra: null,
    ...fields,
  };
}

function settlementOf(ask: Ask, fields: Partial<Settlement> = {}): Settlement {
  return {
    tenantId: ask.tenantId,
    attemptId: ask.attemptId,
    ending: "succeeded",
    basis: "computed",
    costPicousd: 4n,
    tokens: 1,
    requests: 1,
    priceVersion: null,
    usage: "{}",
    record: "{}",
    ...fields,
  };
}

async function newTenant({ db }: TestDatabase): Promise<string> {
  const tenantId = `ten_${newId()}`;
  await db.admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  return tenantId;
}

/** Resolves when a statement in this database waits for a lock of another one. */
async function untilSomebodyWaits(sql: Sql): Promise<void> {
  for (;;) {
    const [row] = await sql`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    if (Number(row?.["count"]) > 0) return;
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** Runs `first` in a transaction, begins `second` beside it, and commits only when the second one waits. */
async function oneAfterTheOther<Result>(
  { address, db }: TestDatabase,
  first: (sql: Sql) => Promise<unknown>,
  second: () => Promise<Result>,
): Promise<Result> {
  const holder = open(address, 1);
  const begun = Promise.withResolvers<void>();
  const commit = Promise.withResolvers<void>();
  const held = holder.begin(async (tx) => {
    await first(tx as unknown as Sql);
    begun.resolve();
    await commit.promise;
  });
  await begun.promise;
  const waiting = second();
  await untilSomebodyWaits(db.admin);
  commit.resolve();
  await held;
  await holder.end();
  return await waiting;
}

describeOnPostgres("what stands still for a posting", (database) => {
  test("a stop waits for the calls that found its run open, its parents too; afterwards none is admitted", async () => {
    const { db } = database;
    const tenantId = await newTenant(database);
    await db.admin`insert into runs (tenant_id, run_id, created_by, ancestors) values
      (${tenantId}, 'above', 'k', '{}'), (${tenantId}, 'below', 'k', '{above}')`;
    const administration = createAdministration({
      db,
      newId,
      now: () => new Date(),
      seal: TEST_SEAL,
      webhook: { allowsPrivate: false },
      refresh: async () => undefined,
      configuration: NOTHING_CONFIGURED,
    });
    const ask = askOf(tenantId, { runId: "below", runNamed: true });
    await oneAfterTheOther(
      database,
      (sql) => post(sql, "rep", [ask]),
      () => administration.stopRun({ installation: true }, tenantId, "above"),
    );
    // Whoever has seen the stop return sees every call that it did not prevent.
    const seen = await db.admin`select attempt_id from reservations where tenant_id = ${tenantId}`;
    expect(seen).toEqual([{ attempt_id: ask.attemptId }]);
    const [late] = await post(db.gate, "rep", [
      askOf(tenantId, { runId: "below", runNamed: true }),
    ]);
    expect(late?.reason).toBe("run_stopped");
  });

  test("attempts of one step get each a number of their own, from any number of processes", async () => {
    const tenantId = await newTenant(database);
    const connections = Array.from({ length: 4 }, () => open(database.address, 1));
    const step = { runId: "run_steps", runNamed: true, stepId: "step", stepDigest: "step" };
    const batches = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post(connections[i % 4]!, "rep", [askOf(tenantId, step), askOf(tenantId, step)]),
      ),
    );
    const numbers = batches.flat().map(({ attempt }) => attempt);
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    await Promise.all(connections.map((each) => each.end()));
  });

  test("evidence that meets a presumption being written corrects it, where no meter orders the two", async () => {
    const { db } = database;
    const ask = askOf(await newTenant(database));
    await post(db.gate, "rep", [ask]);
    const presumption = { ending: "unknown", basis: "presumed", costPicousd: 10n } as const;
    const [evidence] = await oneAfterTheOther(
      database,
      (sql) => settle(sql, [settlementOf(ask, presumption)]),
      () => settle(db.gate, [settlementOf(ask)]),
    );
    expect(evidence?.outcome).toBe("corrected");
  });
});

describeOnPostgres("batches that cross", (database) => {
  test("wait for each other and never in a circle", async () => {
    const { db, address } = database;
    const tenantId = await newTenant(database);
    const random = createRandom(seedOf("crossing batches"));
    for (let i = 0; i < 6; i += 1) {
      await db.admin`insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount)
        values (${tenantId}, ${`lim_${i}`}, 'each_customer', 'usd', 'none', 1000000)`;
    }
    await db.admin`insert into limits (tenant_id, limit_id, scope_kind, scope_id, unit, window_kind, amount)
      values (${tenantId}, 'lim_run', 'run', 'run_1', 'usd', 'none', 1000000)`;
    const connections = Array.from({ length: 6 }, () => open(address, 1));
    const admitted: Ask[] = [];
    const newAsk = (): Ask => {
      const named = random.below(2) === 0;
      const refs = Array.from({ length: 1 + random.below(4) }, () => ({
        limitId: `lim_${random.below(6)}`,
        subject: `customer ${random.below(5)}`,
        share: null,
      }));
      const distinct = new Map(refs.map((ref) => [`${ref.limitId} ${ref.subject}`, ref]));
      return askOf(tenantId, {
        refs: [...distinct.values()],
        ...(named
          ? { runId: `run_${random.below(4)}`, runNamed: true, stepId: "s", stepDigest: "s" }
          : {}),
      });
    };
    const work = async (sql: Sql): Promise<void> => {
      for (let round = 0; round < 40; round += 1) {
        const asks = Array.from({ length: 1 + random.below(12) }, newAsk);
        await post(sql, "rep_lost", asks);
        admitted.push(...asks);
        const ends = Array.from({ length: 8 }, () => settlementOf(random.pick(admitted)));
        await settle(sql, ends);
        if (round % 5 === 0) await expire(sql, 1, 20);
      }
    };
    const results = await Promise.allSettled(connections.map(work));
    expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
    expect(await ledgerViolations(db.admin, tenantId, true)).toEqual([]);
    await Promise.all(connections.map((each) => each.end()));
  });
});

/** Replaces a part of one of the gate's functions, in this suite's own database. */
async function mutate({ admin }: Database, name: string, part: RegExp, by: string): Promise<void> {
  const [row] = await admin`select pg_get_functiondef(${name}::regproc) as definition`;
  const definition = String(row?.["definition"]);
  const mutant = definition.replace(part, by);
  if (mutant === definition) throw new Error(`${name} has no ${String(part)}`);
  await admin.unsafe(mutant);
}

describeOnPostgres("the same checks, with a lock taken out,", (database) => {
  test("find a meter that two postings read at once", async () => {
    const { db, address } = database;
    const tenantId = await newTenant(database);
    await db.admin`insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount)
      values (${tenantId}, 'lim_1', 'tenant', 'usd', 'none', 10)`;
    const refs = [{ limitId: "lim_1", subject: "", share: null }];
    await post(db.gate, "rep", [askOf(tenantId, { refs, costPicousd: 0n })]);
    await mutate(db, "tollgate_post", /for update of m\n/u, "\n");
    // Prepared statements of this connection would keep the function as it was.
    const other = open(address, 1);
    const [second] = await oneAfterTheOther(
      database,
      (sql) => post(sql, "rep", [askOf(tenantId, { refs })]),
      () => post(other, "rep", [askOf(tenantId, { refs })]),
    );
    expect(second?.outcome).toBe("allow");
    expect(await ledgerViolations(db.admin, tenantId, true)).not.toEqual([]);
    await other.end();
  });

  test("find evidence that came while a presumption was written", async () => {
    const { db, address } = database;
    const ask = askOf(await newTenant(database));
    await post(db.gate, "rep", [ask]);
    await mutate(
      db,
      "tollgate_settle",
      /(?<=where r\.tenant_id = asked\.t and r\.attempt_id = asked\.a)\n/u,
      "\n and r.ctid in (select x.ctid from reservations x for update skip locked)\n",
    );
    const [holder, other] = [open(address, 1), open(address, 1)];
    const presumption = { ending: "unknown", basis: "presumed", costPicousd: 10n } as const;
    const [evidence] = await holder.begin(async (tx) => {
      await settle(tx, [settlementOf(ask, presumption)]);
      return settle(other, [settlementOf(ask)]);
    });
    expect(evidence?.outcome).toBe("missing");
    await Promise.all([holder.end(), other.end()]);
  });

  test("find two attempts of one number", async () => {
    const { db, address } = database;
    const tenantId = await newTenant(database);
    const step = { runId: "run_steps", runNamed: true, stepId: "step", stepDigest: "step" };
    await db.admin`insert into runs (tenant_id, run_id, created_by) values (${tenantId}, 'run_steps', 'k')`;
    await mutate(db, "tollgate_post", /for no key update of runs/u, "");
    const [holder, other] = [open(address, 1), open(address, 1)];
    const numbers = await holder.begin(async (tx) => {
      const first = await post(tx as unknown as Sql, "rep", [askOf(tenantId, step)]);
      const second = await post(other, "rep", [askOf(tenantId, step)]);
      return [...first, ...second].map(({ attempt }) => attempt);
    });
    expect(numbers).toEqual([1, 1]);
    await Promise.all([holder.end(), other.end()]);
  });
});
