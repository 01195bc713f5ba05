import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { picousd } from "../../src/core/money.ts";
import { connect } from "../../src/store/database.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatFrames } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { chargeOf, endingOf, gateOn, intentOf, newTenant, type Gate } from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { call, OPEN_RESERVATIONS, untilCount } from "./calls.ts";

const CALLS = 200;
const DOLLAR = 1_000_000_000_000n;

/** $10 a million tokens in and out: a call of at most 1,000 tokens out could cost a little over a cent. */
const DEAR_MODEL = "dear";
const DEAR_RATE = picousd(10_000_000n);
const YAML = `  - { upstream: up, model: ${DEAR_MODEL}, input: 10.00, output: 10.00, output_tokens_max: 1000 }
`;

describeOnPostgres("two processes on one database", (database) => {
  let upstream: ScriptedUpstream;
  let processes: TollgateProcess[] = [];
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    const { address } = database;
    if (address.kind !== "url") throw new Error("races are run on PostgreSQL");
    const adminKey = randomUUID() + randomUUID();
    const options = { databaseUrl: address.url, upstream: upstream.url, adminKey, yaml: YAML };
    processes = await Promise.all([startTollgateProcess(options), startTollgateProcess(options)]);
  });
  afterAll(async () => {
    await Promise.all(processes.map((each) => each.close()));
    await upstream.close();
  });

  /** All calls at once, every second one to the other process. */
  const callAll = (key: string, terms: { model: string; run: string; maxRetries: number }) =>
    Promise.all(
      Array.from({ length: CALLS }, (_, i) =>
        call({ url: processes[i % 2]!.url, key, name: `call-${i}`, ...terms }),
      ),
    );

  test("dispatch exactly as many of 200 parallel calls as the budget holds", async () => {
    const tenant = await processes[0]!.tenant();
    const release = Promise.withResolvers<void>();
    const usage = { input: 10, output: 5 };
    upstream.otherwise({
      kind: "sse",
      headersGate: release.promise,
      frames: chatFrames(MODEL, ["a"], usage),
      bill: usage,
    });
    const probe = call({ url: processes[0]!.url, key: tenant.key, name: "probe", model: MODEL });
    await upstream.arrived(1);
    const [row] = await database.db.admin`
      select estimate_picousd as cost from decisions where tenant_id = ${tenant.id}`;
    const cost = BigInt(String(row?.["cost"]));
    // Room for 37 calls as long as the probe, and not for one more. The probe came before the limit.
    const budget = 37n * cost + cost / 2n;
    await tenant.limit({ scope: "key", id: tenant.keyId, unit: "usd", limit: usd(budget) });
    await Promise.all(processes.map((each) => untilKnows(each, tenant.key)));
    const before = upstream.journal.length;
    const refused = Promise.withResolvers<void>();
    let refusals = 0;
    const calls = Array.from({ length: CALLS }, async (_, i) => {
      const url = processes[i % 2]!.url;
      const called = await call({ url, key: tenant.key, name: `call-${i}`, model: MODEL });
      if (called.error !== null && (refusals += 1) === CALLS - 37) refused.resolve();
      return called;
    });
    await refused.promise;
    expect(upstream.journal.length - before).toBe(37);
    release.resolve();
    const all = await Promise.all(calls);
    await probe;
    expect(upstream.journal.length - before).toBe(37);
    expect(all.filter(({ text }) => text === "a").length).toBe(37);
    // Held by calls in flight, not spent: the refusals say that another try may do.
    expect(new Set(all.flatMap(({ statuses }) => statuses))).toEqual(new Set([200, 429]));
    await untilCount(database.db, OPEN_RESERVATIONS, 0);
    expect(await ledgerViolations(database.db.admin, tenant.id, true)).toEqual([]);
  });

  test("keep 200 parallel streams of the official library within a run's $1, to the pico-dollar", async () => {
    const tenant = await processes[0]!.tenant();
    await tenant.run("dollar", { budgetUsd: "1" });
    await Promise.all(processes.map((each) => untilKnows(each, tenant.key)));
    const before = upstream.journal.length;
    upstream.otherwise((exchange) => {
      const usage = { input: 20 + (exchange.number % 7), output: 800 + (exchange.number % 150) };
      return { kind: "sse", frames: chatFrames(DEAR_MODEL, ["b"], usage), bill: usage };
    });
    const all = await callAll(tenant.key, { model: DEAR_MODEL, run: "dollar", maxRetries: 2 });
    await untilCount(database.db, OPEN_RESERVATIONS, 0);
    const bill = upstream.bill(({ number }) => ratesAfter(before, number));
    const [ledger] = await database.db.admin`
      select sum(cost_picousd) as cost, count(*)::int as attempts from settlements
      where tenant_id = ${tenant.id}`;
    expect(bill).toBeLessThanOrEqual(DOLLAR);
    expect(BigInt(String(ledger?.["cost"]))).toBe(bill);
    expect(ledger?.["attempts"]).toBe(upstream.journal.length - before);
    // The budget was worth using: no room for two more calls is left over.
    expect(bill).toBeGreaterThan(DOLLAR - 3n * 1_020n * DEAR_RATE);
    const answered = all.filter(({ text }) => text !== null);
    expect(answered.length).toBe(upstream.journal.length - before);
    // A 402 is the last that the library hears: it sends that call once more for nothing.
    const told = all.filter(({ statuses }) => statuses.includes(402));
    for (const { statuses } of told) {
      expect(statuses.filter((status) => status === 402).length).toBe(1);
      expect(statuses.at(-1)).toBe(402);
    }
    const [decided] = await database.db.admin`
      select count(*)::int as refusals, count(distinct step_id)::int as calls from decisions
      where tenant_id = ${tenant.id} and reason = 'run_budget_exceeded'`;
    expect(decided).toEqual({ refusals: told.length, calls: told.length });
    expect(told.length).toBeGreaterThan(0);
    expect(await ledgerViolations(database.db.admin, tenant.id, true)).toEqual([]);
  });
});

/** Nothing of the exchanges before counts: they are another test's. */
function ratesAfter(before: number, number: number) {
  const rate = number > before ? DEAR_RATE : picousd(0n);
  return { input: rate, output: rate };
}

function usd(amount: bigint): string {
  return `${amount / DOLLAR}.${String(amount % DOLLAR).padStart(12, "0")}`;
}

/** A key made beside a running process holds there as soon as it has read the register again. */
async function untilKnows({ url }: TollgateProcess, key: string): Promise<void> {
  for (;;) {
    const { status } = await fetch(`${url}/api/usage`, {
      headers: { authorization: `Bearer ${key}` },
    });
    if (status !== 401) return;
    await new Promise((done) => setTimeout(done, 50));
  }
}

describeOnPostgres("10,000 asks on one budget of $1", (database) => {
  test("from two gateways never spend more, at any moment that was looked at", async () => {
    const connections = { gateConnections: 3, adminConnections: 2 };
    const second = connect(database.address, connections);
    const gates = [await gateOn(database.db), await gateOn(second)];
    const limits = [
      { id: "lim_dollar", scope: "tenant", unit: "usd", amount: DOLLAR },
      { id: "lim_count", scope: "tenant", unit: "requests", amount: 1_000_000n },
    ];
    const caller = await newTenant(gates[0]!, limits);
    await gates[1]!.gateway.authority.refresh();
    // A bound of 0.0003 dollars, of which the calls use a third to all: some 5,000 fit.
    const intent = intentOf({ demand: { inputBytes: 30_000_000 } });
    let asked = 0;
    let spent = 0n;
    const outcomes = { admitted: 0, tool_admitted: 0, granted: 0, refused: 0, gone: 0 };
    const worker = async (gate: Gate): Promise<void> => {
      while (asked < 10_000) {
        asked += 1;
        const part = BigInt(1 + (asked % 3));
        const admission = await gate.admit(caller, intent);
        outcomes[admission.kind] += 1;
        if (admission.kind !== "admitted") continue;
        const cost = part * 100_000_000n;
        spent += cost;
        await gate.end(admission.permit, endingOf("succeeded"), chargeOf(cost));
      }
    };
    const working = { isOver: false };
    const look = async (): Promise<void> => {
      while (!working.isOver) {
        expect(await ledgerViolations(second.admin, caller.tenantId, true)).toEqual([]);
        await new Promise((done) => setTimeout(done, 200));
      }
    };
    const looking = look();
    const workers = gates.flatMap((gate) => Array.from({ length: 128 }, () => worker(gate)));
    await Promise.all(workers);
    working.isOver = true;
    await looking;
    expect(await ledgerViolations(second.admin, caller.tenantId, true)).toEqual([]);
    const [meter] = await second.admin`
      select committed, reserved from meters where tenant_id = ${caller.tenantId} and limit_id = 'lim_dollar'`;
    expect([meter?.["committed"], meter?.["reserved"]]).toEqual([spent.toString(), "0"]);
    expect(spent).toBeLessThanOrEqual(DOLLAR);
    expect(spent).toBeGreaterThan(DOLLAR - 400_000_000n);
    expect(outcomes.admitted + outcomes.refused).toBeGreaterThanOrEqual(10_000);
    await second.close();
  });
});
