import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { open, type Sql } from "../../src/store/database.ts";
import { startFaultProxy } from "../faults/fault-proxy.ts";
import { gateOn, type Gate } from "../gate/gate-on.ts";
import { call, type Called } from "../http/http-call.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import type { TestDatabase } from "../support/databases.ts";
import type { ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";

/** A gateway that will be killed at a chosen point. */
export type Doomed = {
  readonly url: string;
  /**
   * Asks, and lets the posting commit while it hears of nothing any more. It is held back meanwhile: only
   * then is it known to have been sent.
   */
  readonly decidesUnheard: (ask: () => void) => Promise<void>;
  readonly kill: () => Promise<void>;
};

/** Several gateways on one database: one of them survives. */
export type Fleet = {
  readonly survivor: TollgateProcess;
  readonly doomed: () => Promise<Doomed>;
  /** Holds back whatever writes to this table, until it is let go: no writer is left waiting by then. */
  readonly holdBack: (table: Table) => Promise<HeldBack>;
  /** The time of every lease and deadline that is open passes, and somebody sweeps. */
  readonly lapse: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export type Table = "decisions" | "answers" | "settlements";

export type HeldBack = {
  /** Resolves when somebody waits. */
  readonly reached: () => Promise<void>;
  readonly letGo: () => Promise<void>;
};

/** Longer than the lease of a gateway, and than those that a test asks for its tools. */
const LAPSE_MS = 61_000;

export async function startFleet(
  database: TestDatabase,
  upstream: ScriptedUpstream,
): Promise<Fleet> {
  const { address, db } = database;
  if (address.kind !== "url") throw new Error("crashes are played on PostgreSQL");
  const adminKey = randomUUID() + randomUUID();
  const options = { upstream: upstream.url, adminKey };
  const survivor = await startTollgateProcess({ ...options, databaseUrl: address.url });
  const gate: Gate = await gateOn(db);
  const closings = [survivor.close];
  let aheadMs = 0;
  return {
    survivor,
    doomed: async () => {
      const at = new URL(address.url);
      const proxy = await startFaultProxy(Number(at.port));
      closings.push(proxy.close);
      at.port = String(proxy.port);
      const doomed = await startTollgateProcess({ ...options, databaseUrl: at.href });
      closings.push(doomed.close);
      return {
        url: doomed.url,
        decidesUnheard: async (ask) => {
          const held = await holdBack(address.url, db.admin, "decisions");
          const before = await allowed(db.admin);
          ask();
          await held.reached();
          proxy.mute();
          await held.letGo();
          while ((await allowed(db.admin)) === before) await sleep(10);
        },
        kill: async () => {
          await doomed.kill("SIGKILL");
          // What its connections still do belongs to the time before its death.
          proxy.reset();
          await untilNobodyWaits(db.admin);
        },
      };
    },
    holdBack: (table) => holdBack(address.url, db.admin, table),
    lapse: async () => {
      aheadMs += LAPSE_MS;
      await shiftClock(db, aheadMs);
      await gate.gateway.sweep();
    },
    close: async () => {
      await resetClock(db);
      for (const close of closings.toReversed()) await close();
    },
  };
}

export function chat(
  url: string,
  key: string,
  given: { readonly text?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Called> {
  const { text = randomUUID(), headers = {} } = given;
  return call(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: text }] }),
  });
}

async function allowed(admin: Sql): Promise<number> {
  const [row] = await admin`select count(*)::int as count from decisions where verdict = 'allow'`;
  return Number(row?.["count"]);
}

async function holdBack(url: string, admin: Sql, table: Table): Promise<HeldBack> {
  const sql = open({ kind: "url", url }, 1);
  const release = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const holding = sql.begin(async (tx) => {
    await tx.unsafe(`lock table ${table} in share row exclusive mode`);
    held.resolve();
    await release.promise;
  });
  await Promise.race([held.promise, holding]);
  return {
    reached: async () => {
      while ((await waiting(admin, table)) === 0) await sleep(10);
    },
    letGo: async () => {
      release.resolve();
      await holding;
      await sql.end();
    },
  };
}

async function untilNobodyWaits(admin: Sql): Promise<void> {
  while ((await waiting(admin, null)) > 0) await sleep(10);
}

/** How many in this database wait for a lock on the table, or on any. */
async function waiting(admin: Sql, table: string | null): Promise<number> {
  const [row] = await admin`
    select count(*)::int as count from pg_locks l
    left join pg_class c on c.oid = l.relation
    where not l.granted and l.database = (select oid from pg_database where datname = current_database())
      and (${table}::text is null or c.relname = ${table})`;
  return Number(row?.["count"]);
}
