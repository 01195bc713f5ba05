import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { openEmbedded } from "../../src/entry/pglite.ts";
import { connect, type Database } from "../../src/store/database.ts";
import { settle } from "../../src/store/settlement.ts";
import { gateOn } from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { call, OPEN_RESERVATIONS, untilCount } from "./calls.ts";

const CALLS = 60;
const USAGE = { input: 10, output: 5 };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

async function scripted(): Promise<ScriptedUpstream> {
  const upstream = await startScriptedUpstream();
  cleanups.push(upstream.close);
  return upstream;
}

async function started(
  options: Parameters<typeof startTollgateProcess>[0],
): Promise<TollgateProcess> {
  const process = await startTollgateProcess(options);
  cleanups.push(process.close);
  return process;
}

/** Every second call is answered, the others are in the middle of their answer for ever. */
function answerHalf(upstream: ScriptedUpstream): void {
  upstream.otherwise(({ number }) => {
    if (number % 4 === 0) return { kind: "stall" };
    const frames = chatFrames(MODEL, ["a", "b"], USAGE);
    if (number % 2 === 0) return { kind: "sse", frames: frames.slice(0, 2), last: "stall" };
    return { kind: "sse", frames, bill: USAGE };
  });
}

/** Calls in three waves, and the process killed while the third one arrives. */
async function callAndKill(process: TollgateProcess, key: string, upstream: ScriptedUpstream) {
  const calls = Array.from({ length: CALLS }, (_, i) =>
    call({ url: process.url, key, name: `call-${i}`, model: MODEL, run: "crash" }),
  );
  await upstream.arrived(CALLS / 2);
  expect(await process.kill("SIGKILL")).toBe(null);
  const called = await Promise.all(calls);
  await upstream.quiet();
  return called;
}

type Crashed = { readonly db: Database; readonly upstream: ScriptedUpstream };

/** What must hold after any crash: nothing went out undecided, and nothing that was decided is lost. */
async function expectNothingLost({ db, upstream }: Crashed): Promise<void> {
  const allowed = await db.admin`select step_id from decisions where verdict = 'allow'`;
  const steps = new Set(allowed.map((row) => row["step_id"]));
  const dispatched = upstream.journal.map(({ headers }) => headers["x-call"]);
  expect(dispatched.filter((name) => !steps.has(name))).toEqual([]);
  expect(new Set(dispatched).size).toBe(dispatched.length);
  expect(dispatched.length).toBeGreaterThanOrEqual(CALLS / 2);
  expect(await ledgerViolations(db.admin, null, true)).toEqual([]);
}

describeOnPostgres("a process that was killed in the middle of it", (database) => {
  const urlOfTest = () => {
    if (database.address.kind !== "url") throw new Error("a URL is needed");
    return database.address.url;
  };

  test("dispatched nothing undecided and loses nothing: what it held is held, charged in full, and corrected", async () => {
    const { db } = database;
    const upstream = await scripted();
    answerHalf(upstream);
    const adminKey = randomUUID() + randomUUID();
    const options = { databaseUrl: urlOfTest(), upstream: upstream.url, adminKey };
    const first = await started(options);
    const tenant = await first.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "1" });
    await tenant.limit({ scope: "each_run", unit: "tokens", limit: 10_000_000 });
    const called = await callAndKill(first, tenant.key, upstream);
    await expectNothingLost({ db, upstream });
    const [held] = await db.admin`
      select count(*)::int as open, sum(cost_picousd) as cost from reservations where state = 'open'`;
    // More than the calls whose answer stalled: also what was answered and not yet written.
    expect(held?.["open"]).toBeGreaterThan(0);
    expect(called.filter(({ error }) => error !== null).length).toBeGreaterThanOrEqual(CALLS / 4);

    const second = await started(options);
    const gate = await gateOn(db);
    await shiftClock(db, LEASE_MS + 1_000);
    await gate.gateway.sweep();
    await untilCount(db, OPEN_RESERVATIONS, 0);
    const unknown = await db.admin`
      select attempt_id, cost_picousd as cost, tokens from reservations where state = 'unknown'`;
    expect(unknown.length).toBe(held?.["open"]);
    await expectNothingLost({ db, upstream });
    // The other process goes on meanwhile.
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "c", USAGE), bill: USAGE });
    const next = { url: second.url, key: tenant.key, name: "next", model: MODEL, stream: false };
    expect((await call(next)).text).toBe("c");

    await shiftClock(db, LEASE_MS + UNKNOWN_GRACE_MS + 20_000);
    await gate.gateway.sweep();
    await untilCount(db, "select count(*)::int as count from reservations", 0);
    const [presumed] = await db.admin`
      select count(*)::int as attempts, sum(cost_picousd) as cost from settlements where basis = 'presumed'`;
    expect(presumed).toEqual({ attempts: unknown.length, cost: held?.["cost"] });
    const [late] = unknown;
    const evidence = {
      tenantId: tenant.id,
      attemptId: String(late?.["attempt_id"]),
      ending: "succeeded",
      basis: "computed",
      costPicousd: 600n,
      tokens: 15,
      requests: 1,
      priceVersion: null,
      usage: "{}",
      record: "{}",
    } as const;
    const outcomes = [];
    for (let i = 0; i < 3; i += 1) outcomes.push((await settle(db.gate, [evidence]))[0]?.outcome);
    expect(outcomes).toEqual(["corrected", "repeated", "repeated"]);
    await expectNothingLost({ db, upstream });
    await resetClock(db);
  });

  test("by SIGTERM finishes the streams that it began, writes their endings, and ends its lease", async () => {
    const { db } = database;
    const upstream = await scripted();
    const release = Promise.withResolvers<void>();
    // Every second one tells no usage: its tokens are counted, in another thread, after the answer.
    upstream.otherwise(({ number }) => {
      const frames = chatFrames(MODEL, ["a", "b"], number % 2 === 0 ? null : USAGE);
      return {
        kind: "sse",
        bill: USAGE,
        frames: frames.map((bytes, i) => (i === 2 ? { bytes, gate: release.promise } : bytes)),
      };
    });
    const leases = async () => (await db.admin`select replica_id from replicas`).length;
    const before = await leases();
    const process = await started({ databaseUrl: urlOfTest(), upstream: upstream.url });
    const tenant = await process.tenant();
    expect(await leases()).toBe(before + 1);
    const calls = Array.from({ length: 5 }, (_, i) =>
      call({ url: process.url, key: tenant.key, name: `open-${i}`, model: MODEL }),
    );
    await upstream.arrived(5);
    process.signal("SIGTERM");
    while (!process.output().stderr.includes("SIGTERM"))
      await new Promise((done) => setTimeout(done, 10));
    // It takes nothing new, and has not cut what it has.
    const next = { url: process.url, key: tenant.key, name: "late", model: MODEL };
    expect((await call(next)).text).toBe(null);
    release.resolve();
    expect((await Promise.all(calls)).map(({ text }) => text)).toEqual([
      "ab",
      "ab",
      "ab",
      "ab",
      "ab",
    ]);
    expect(await process.exited).toBe(0);
    expect(await leases()).toBe(before);
    const settled = await db.admin`
      select ending, basis, count(*)::int as count from settlements
      where tenant_id = ${tenant.id} group by ending, basis order by basis`;
    expect(settled).toEqual([
      { ending: "succeeded", basis: "computed", count: 3 },
      { ending: "succeeded", basis: "estimated", count: 2 },
    ]);
    // Less than the program waits for answers that do not end: here all of them have.
  }, 25_000);
});

describe("the embedded database", () => {
  test("of a killed process opens again, whole; a second live process is refused", async () => {
    const dataDirectory = await mkdtemp(join(tmpdir(), "tollgate-crash-"));
    cleanups.push(() => rm(dataDirectory, { recursive: true, force: true }));
    const upstream = await scripted();
    answerHalf(upstream);
    const options = { dataDirectory, upstream: upstream.url };
    const first = await started(options);
    const key = first.firstKey ?? "";
    await expect(startTollgateProcess(options)).rejects.toThrow(
      `another Tollgate (process ${first.pid}) has the embedded database open`,
    );
    await callAndKill(first, key, upstream);

    const second = await started(options);
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "c", USAGE), bill: USAGE });
    const next = { url: second.url, key, name: "next", model: MODEL, stream: false };
    expect((await call(next)).text).toBe("c");
    // The lock was the only owner's: its attempts are unknown at once, not after a lease.
    await untilMetric(second, "tollgate_reservations_open", 0);
    expect(await second.kill("SIGTERM")).toBe(0);

    const embedded = await openEmbedded(dataDirectory);
    const db = connect(embedded.address, { gateConnections: 1, adminConnections: 1 });
    cleanups.push(embedded.close, db.close);
    await expectNothingLost({ db, upstream });
    const [unknown] =
      await db.admin`select count(*)::int as count from reservations where state = 'unknown'`;
    expect(unknown?.["count"]).toBeGreaterThan(0);
  });
});

async function untilMetric({ url, adminKey }: TollgateProcess, name: string, value: number) {
  for (;;) {
    const response = await fetch(`${url}/metrics`, {
      headers: { authorization: `Bearer ${adminKey}` },
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(text);
    if (text.split("\n").includes(`${name} ${value}`)) return;
    await new Promise((done) => setTimeout(done, 100));
  }
}
