import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { RESERVATION_MARGIN_MS } from "../../src/core/limits.ts";
import { REFRESH_MS } from "../../src/gate/authority.ts";
import { connect, open, type Database } from "../../src/store/database.ts";
import { changeRegister } from "../../src/store/events.ts";
import { migrate } from "../../src/store/migrate.ts";
import { listenForChanges } from "../../src/store/snapshot.ts";
import { gateOn } from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startPostgres, type Cluster } from "../support/postgres.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgateProcess,
  type Tenant,
  type TollgateProcess,
} from "../support/tollgate.ts";
import { OPEN_RESERVATIONS, untilCount } from "./calls.ts";

const USAGE = { input: 10, output: 5 };

/** The promise: calls pass again so soon after the database is back. */
const RECOVERY_MS_MAX = 5_000;

/** The promise: a revoked key passes nowhere so soon after the answer that it is revoked. */
const REVOCATION_MS_MAX = 2_000;

type Answered = {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly text: string;
};

async function ask(url: string, key: string): Promise<Answered> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "a" }] }),
  });
  const text = await response.text();
  return { status: response.status, retryAfter: response.headers.get("retry-after"), text };
}

async function probe(url: string, path: string): Promise<Answered> {
  const response = await fetch(`${url}${path}`);
  const text = await response.text();
  return { status: response.status, retryAfter: response.headers.get("retry-after"), text };
}

describe("while PostgreSQL is away", () => {
  let cluster: Cluster;
  let upstream: ScriptedUpstream;
  let process: TollgateProcess;
  let tenant: Tenant;

  beforeAll(async () => {
    [cluster, upstream] = await Promise.all([startPostgres(), startScriptedUpstream()]);
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "c", USAGE), bill: USAGE });
    const { user, host, port } = cluster.address;
    const databaseUrl = `postgres://${user}@${host}:${port}/postgres`;
    process = await startTollgateProcess({ databaseUrl, upstream: upstream.url });
    tenant = await process.tenant();
  });
  afterAll(async () => {
    await process?.close();
    await upstream?.close();
    await cluster?.stop();
  });

  test.each(["immediate", "fast"] as const)(
    "(stopped: %s) nothing passes, 503 says when to try again and 401 is never said; it recovers by itself",
    async (mode) => {
      const { url } = process;
      expect((await ask(url, tenant.key)).status).toBe(200);
      expect(await probe(url, "/readyz")).toMatchObject({ status: 200 });
      const before = upstream.journal.length;
      await cluster.halt(mode);
      const unknownKey = `${tenant.key.slice(0, -1)}${tenant.key.endsWith("0") ? "1" : "0"}`;
      // Longer than what is known may be old.
      const until = performance.now() + 2 * REVOCATION_MS_MAX;
      const seen: Answered[] = [];
      while (performance.now() < until) {
        seen.push(await ask(url, tenant.key));
        await new Promise((done) => setTimeout(done, 100));
      }
      // What was being posted when it went may be tried again until it is over.
      expect(new Set(seen.map(({ status }) => status))).toEqual(new Set([503]));
      expect(seen.every(({ retryAfter }) => retryAfter !== null)).toBe(true);
      expect(seen.every(({ text }) => text.includes("admission_unavailable"))).toBe(true);
      // Whether a key that is not known now was made meanwhile nobody can tell.
      expect((await ask(url, unknownKey)).status).toBe(503);
      expect(await probe(url, "/readyz")).toMatchObject({ status: 503, retryAfter: "1" });
      expect(await probe(url, "/healthz")).toMatchObject({ status: 200 });
      expect(upstream.journal.length).toBe(before);

      await cluster.start();
      const backAtMs = performance.now();
      const statuses = new Set<number>();
      for (;;) {
        const { status } = await ask(url, tenant.key);
        statuses.add(status);
        if (status === 200) break;
        await new Promise((done) => setTimeout(done, 50));
      }
      expect(performance.now() - backAtMs).toBeLessThan(RECOVERY_MS_MAX);
      expect([...statuses].filter((status) => status !== 200 && status !== 503)).toEqual([]);
      expect((await probe(url, "/readyz")).status).toBe(200);
      expect((await ask(url, unknownKey)).status).toBe(401);
      await untilNothingIsOpen(cluster);
    },
  );
});

/** What was given up while it was away is released by the process, and nothing else is left over. */
async function untilNothingIsOpen({ address }: Cluster): Promise<void> {
  const { user, host, port } = address;
  const url = { kind: "url", url: `postgres://${user}@${host}:${port}/postgres` } as const;
  const db = connect(url, { gateConnections: 1, adminConnections: 1 });
  try {
    await untilCount(db, OPEN_RESERVATIONS, 0);
    expect(await ledgerViolations(db.admin, null, true)).toEqual([]);
  } finally {
    await db.close();
  }
}

async function untilMetric({ url }: TollgateProcess, name: string): Promise<void> {
  const isCounted = new RegExp(`^${name} [1-9]`, "mu");
  while (!isCounted.test((await probe(url, "/metrics")).text)) {
    await new Promise((done) => setTimeout(done, 100));
  }
}

describe("a change that is told", () => {
  test("is heard at once, and again after the database was away", async () => {
    const cluster = await startPostgres();
    const { user, host, port } = cluster.address;
    const address = { kind: "url", url: `postgres://${user}@${host}:${port}/postgres` } as const;
    await migrate(address);
    let db: Database | undefined;
    try {
      db = connect(address, { gateConnections: 1, adminConnections: 1 });
      let heard = 0;
      let next = Promise.withResolvers<void>();
      const listening = await listenForChanges(address, () => {
        heard += 1;
        next.resolve();
      });
      // The first call says that it listens, for something may have been told before.
      expect(heard).toBe(1);
      next = Promise.withResolvers();
      await changeRegister(db, async () => undefined);
      await next.promise;
      expect(heard).toBe(2);
      next = Promise.withResolvers();
      await cluster.halt("immediate");
      await new Promise((done) => setTimeout(done, 2 * REFRESH_MS));
      await cluster.start();
      // Nobody changed anything: it is told that it may have missed something.
      await next.promise;
      expect(heard).toBe(3);
      next = Promise.withResolvers();
      await changeRegister(db, async () => undefined);
      await next.promise;
      await listening.close();
    } finally {
      await db?.close();
      await cluster.stop();
    }
  });
});

describeOnPostgres("with two processes", (database) => {
  let upstream: ScriptedUpstream;
  let processes: TollgateProcess[] = [];
  const urlOfTest = () => {
    if (database.address.kind !== "url") throw new Error("a URL is needed");
    return database.address.url;
  };
  beforeEach(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "c", USAGE), bill: USAGE });
    const adminKey = randomUUID() + randomUUID();
    const options = { databaseUrl: urlOfTest(), upstream: upstream.url, adminKey };
    processes = await Promise.all([startTollgateProcess(options), startTollgateProcess(options)]);
  });
  afterEach(async () => {
    for (const each of processes) await each.close();
    await upstream.close();
  });

  /** Calls to both under load while `revoke` revokes; what was answered, by when it was begun. */
  async function callWhile(key: string, revoke: () => Promise<void>) {
    const answered: { readonly startedMs: number; readonly status: number }[] = [];
    const state = { isOver: false };
    const work = async (url: string): Promise<void> => {
      while (!state.isOver) {
        const startedMs = performance.now();
        const { status } = await ask(url, key);
        answered.push({ startedMs, status });
      }
    };
    const working = Promise.all(
      processes.flatMap(({ url }) => Array.from({ length: 4 }, () => work(url))),
    );
    while (answered.length < 20) await new Promise((done) => setTimeout(done, 20));
    await revoke();
    const revokedMs = performance.now();
    await new Promise((done) => setTimeout(done, 2 * REVOCATION_MS_MAX));
    state.isOver = true;
    await working;
    const late = answered.filter(({ startedMs }) => startedMs > revokedMs + REVOCATION_MS_MAX);
    const soon = answered.filter(({ startedMs }) => startedMs < revokedMs);
    return { late, soon, all: answered };
  }

  const revokeAt = async ({ url, adminKey }: TollgateProcess, tenant: Tenant): Promise<void> => {
    const response = await fetch(`${url}/api/keys/${tenant.keyId}?tenant=${tenant.id}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${adminKey}` },
    });
    expect(response.status).toBe(200);
  };

  test("a key that is revoked at one passes at neither two seconds later", async () => {
    const tenant = await processes[0]!.tenant();
    const { soon, late } = await callWhile(tenant.key, () => revokeAt(processes[0]!, tenant));
    expect(soon.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter(({ status }) => status !== 401)).toEqual([]);
  });

  test("neither does it where notices are never heard: what is known has an age", async () => {
    const tenant = await processes[0]!.tenant();
    // As a pooler in between would: the revocation is told to nobody.
    const { soon, late } = await callWhile(tenant.key, async () => {
      await database.db
        .admin`update keys set revoked_at = tollgate_now() where key_id = ${tenant.keyId}`;
      await database.db.admin`update installation set revision = revision + 1`;
    });
    expect(soon.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter(({ status }) => status !== 401)).toEqual([]);
  });

  test("one that cannot learn what holds admits nothing, and says 503 and not 401", async () => {
    const tenant = await processes[0]!.tenant();
    const locker = open(database.address, 1);
    const release = Promise.withResolvers<void>();
    let holding: Promise<unknown> = Promise.resolve();
    const working = callWhile(tenant.key, async () => {
      // Reads of the register wait; postings would go on.
      const locked = Promise.withResolvers<void>();
      holding = locker.begin(async (tx) => {
        await tx`lock table installation in access exclusive mode`;
        locked.resolve();
        await release.promise;
      });
      await locked.promise;
    });
    await untilMetric(processes[1]!, "tollgate_admission_unavailable_total");
    release.resolve();
    await holding;
    await locker.end();
    const { all } = await working;
    const statuses = new Set(all.map(({ status }) => status));
    expect(statuses).toEqual(new Set([200, 503]));
  });

  test("one that slept past the deadline of what it reserved dispatches nothing when it wakes", async () => {
    const [sleeper] = processes;
    const tenant = await sleeper!.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "1" });
    expect((await ask(sleeper!.url, tenant.key)).status).toBe(200);
    // Its settlement would wait for the lock below, and what it holds be counted with what the five reserve.
    const held = `select count(*)::int as count from reservations where tenant_id = '${tenant.id}'`;
    await untilCount(database.db, held, 0);
    const before = upstream.journal.length;
    const locker = open(database.address, 1);
    const locked = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const holding = locker.begin(async (tx) => {
      await tx`select from meters where tenant_id = ${tenant.id} for update`;
      locked.resolve();
      await release.promise;
    });
    await locked.promise;
    const calls = Array.from({ length: 5 }, () => ask(sleeper!.url, tenant.key));
    // Their posting waits for the meter; the process is stopped before it hears of its commit.
    await untilCount(
      database.db,
      "select least(count(*), 1)::int as count from pg_stat_activity where wait_event_type = 'Lock' and query like '%tollgate_post%' and datname = current_database()",
      1,
    );
    sleeper!.signal("SIGSTOP");
    release.resolve();
    await holding;
    await locker.end();
    await untilCount(database.db, held.replace("count(*)", "least(count(*), 1)"), 1);
    const [reserved] = await database.db.admin.unsafe<{ count: number }[]>(held);
    await shiftClock(database.db, 60_000 + RESERVATION_MARGIN_MS + 1_000);
    const gate = await gateOn(database.db);
    await gate.gateway.sweep();
    await untilCount(database.db, OPEN_RESERVATIONS, 0);
    // Its own clock, by which it must see that it slept, is nobody's to set.
    await new Promise((done) => setTimeout(done, 6_000));
    sleeper!.signal("SIGCONT");
    const answered = await Promise.all(calls);
    // Those that it had not read yet are asked for after it woke, like any other.
    const refused = answered.filter(({ status }) => status === 503);
    const later = answered.filter(({ status }) => status === 200);
    expect(refused.length + later.length).toBe(5);
    expect(refused.length).toBeGreaterThanOrEqual(Math.max(1, reserved?.count ?? 0));
    expect(refused.every(({ retryAfter }) => retryAfter !== null)).toBe(true);
    expect(upstream.journal.length).toBe(before + later.length);
    // It goes on as if nothing had been.
    while ((await ask(sleeper!.url, tenant.key)).status !== 200) {
      await new Promise((done) => setTimeout(done, 100));
    }
    expect(upstream.journal.length).toBe(before + later.length + 1);
    expect(await ledgerViolations(database.db.admin, tenant.id, true)).toEqual([]);
    await resetClock(database.db);
  });
});
