import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import postgres from "postgres";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import type { Sql } from "../../src/store/database.ts";
import type { Random } from "../sim/random.ts";
import type { Cluster } from "../support/postgres.ts";
import type { FaultProxy } from "./fault-proxy.ts";
import type { Fleet, Slot } from "./fleet.ts";
import type { Fault, FaultKind } from "./history.ts";
import { persist } from "./persistence.ts";

/** Everything that a fault may lay hands on. */
export type Victims = {
  readonly fleet: Fleet;
  readonly cluster: Cluster;
  readonly database: string;
  /** Asks the database directly, behind no proxy; opens its connections again after a crash. */
  readonly sql: Sql;
  /** The tenant whose meter rows are held. */
  readonly heldTenant: string;
  /** Revokes the next key that is there to be revoked: its tenant and id, or null when there is none left. */
  readonly revoke: () => Promise<{ readonly tenant: string; readonly keyId: string } | null>;
  readonly clock: Clock;
  /** Whether the upstream bills for the call of that tag, by now. */
  readonly isBilled: (tag: string) => boolean;
};

/** How far the database's clock stands from the real one. */
export type Clock = { aheadMs: number };

type Played = Pick<Fault, "detail"> &
  Partial<Pick<Fault, "slot" | "incarnation" | "tenant" | "keyId">>;
type Act = (victims: Victims, random: Random) => Promise<Played>;

const CONNECTIONS_MAX = 200;
/** Agents call all the time: whoever finds none of their calls under way for so long has found a standstill. */
const UNDER_WAY_MS_MAX = 30_000;
const UNDER_WAY_LOOK_MS = 10;
/** Longer than the gate waits for any posting (5 s): whoever waits for such a lock is answered 503. */
const LOCK_MS = 6_000;
const run = promisify(execFile);

/** Plays one fault to its end and says what it was. */
export async function play(kind: FaultKind, victims: Victims, random: Random): Promise<Fault> {
  const fromMs = performance.now();
  const played = await ACTS[kind](victims, random);
  const nobody = { slot: null, incarnation: null, tenant: null, keyId: null };
  return { kind, ...nobody, ...played, fromMs, toMs: performance.now() };
}

const ACTS: Readonly<Record<FaultKind, Act>> = {
  kill: async ({ fleet }, random) => {
    const slot = random.pick(fleet.slots);
    const { incarnation, number } = slot;
    await fleet.killAndRestart(slot);
    return { detail: "SIGKILL, and another in its place", slot: number, incarnation };
  },
  replace: async ({ fleet }, random) => {
    const slot = random.pick(fleet.slots);
    const { incarnation, number } = slot;
    await fleet.replace(slot);
    return { detail: "SIGTERM behind another that took over", slot: number, incarnation };
  },
  pause: async (victims, random) => {
    const slot = random.pick(victims.fleet.slots);
    const { incarnation, number } = slot;
    slot.replica?.signal("SIGSTOP");
    await sleep(300 + random.below(900));
    // Others find its lease run out and its reservations past their deadline, while it knows nothing.
    const isLong = random.below(2) === 0;
    if (isLong) await jump(victims, LEASE_MS + 120_000);
    await sleep(500);
    slot.replica?.signal("SIGCONT");
    const detail = isLong ? "SIGSTOP past lease and deadlines, SIGCONT" : "SIGSTOP, SIGCONT";
    return { detail, slot: number, incarnation };
  },
  "crash-database": async ({ cluster, sql }) => {
    await cluster.restart("immediate");
    await persist(() => sql`select 1`);
    return { detail: "pg_ctl stop -m immediate, start" };
  },
  "freeze-database": async ({ sql }, random) => {
    const processes = await serverProcesses(sql);
    signalAll(processes, "SIGSTOP");
    await sleep(400 + random.below(1_600));
    signalAll(processes.toReversed(), "SIGCONT");
    await persist(() => sql`select 1`);
    return { detail: `SIGSTOP of ${processes.length} server processes, SIGCONT` };
  },
  "exhaust-connections": async ({ fleet, cluster, database, sql }) => {
    const taken = await takeConnections(cluster, database);
    // Whoever loses its connection now finds no other.
    for (const { database: link } of fleet.slots) link.reset();
    await sleep(800);
    await Promise.all(taken.map((each) => each.end({ timeout: 1 })));
    await persist(() => sql`select 1`);
    return { detail: `${taken.length} connections taken, every replica's reset` };
  },
  "lock-meter": async ({ cluster, database, heldTenant }, random) => {
    const holder = connectTo(cluster, database);
    const forMs = LOCK_MS + random.below(1_000);
    await holder.begin(async (tx) => {
      await tx`select meter_id from meters where tenant_id = ${heldTenant} order by meter_id for update`;
      await sleep(forMs);
    });
    await holder.end();
    return { detail: `meter rows of one tenant held for ${forMs} ms`, tenant: heldTenant };
  },
  "jump-clock": async (victims, random) => {
    const past = random.pick([LEASE_MS + 1_000, UNKNOWN_GRACE_MS + LEASE_MS, 13 * 3_600_000]);
    const calls = await expireUnderWay(victims, past);
    const ahead = `the database's clock ${Math.round(past / 1_000)} s ahead`;
    return { detail: `${ahead}, and a sweep before ${calls} billed calls had ended` };
  },
  "database-link": ({ fleet }, random) => breakLink(fleet.slots, "database", random),
  "client-link": ({ fleet }, random) => breakLink(fleet.slots, "door", random),
  "upstream-link": ({ fleet }, random) => breakLink(fleet.slots, "upstream", random),
  "revoke-key": async ({ revoke }) => {
    const revoked = await revoke();
    return revoked === null ? { detail: "no key was left" } : { detail: "revoked", ...revoked };
  },
  "change-limits": () => Promise.reject(new Error("limits change beside everything else")),
  stall: () => Promise.reject(new Error("a stall is observed, and not played")),
};

/** Ahead only, as time goes: what was decided before stays before. */
export async function jump({ sql, clock }: Pick<Victims, "sql" | "clock">, byMs: number) {
  clock.aheadMs += byMs;
  await persist(() => sql.unsafe(clockAhead(clock.aheadMs)));
}

function clockAhead(byMs: number): string {
  return `create or replace function tollgate_now() returns timestamptz
     language sql stable parallel safe
     as $clock$ select clock_timestamp() + interval '${byMs} milliseconds' $clock$`;
}

/**
 * Moves the clock past the deadlines of calls that the upstream bills and that have not ended, and sweeps before
 * they do. A replica's own sweep may come when they have ended: how long calls and its pauses take is up to the
 * machine. Answers how many calls that were.
 */
async function expireUnderWay({ sql, clock, isBilled }: Victims, byMs: number): Promise<number> {
  const aheadMs = clock.aheadMs + byMs;
  const giveUpMs = performance.now() + UNDER_WAY_MS_MAX;
  const once = () =>
    sql.begin(async (tx) => {
      // Whoever would settle them waits until the sweep is done.
      const open = await tx`
        select d.record #>> '{context,customer}' as tag
        from reservations r join decisions d using (tenant_id, attempt_id)
        where r.state = 'open'
        order by r.tenant_id, r.attempt_id for update of r`;
      const billed = open.filter(({ tag }) => isBilled(String(tag))).length;
      if (billed === 0) return 0;
      await tx.unsafe(clockAhead(aheadMs));
      await tx`select tollgate_expire(${LEASE_MS} * interval '1 millisecond', ${open.length})`;
      return billed;
    });
  while (performance.now() < giveUpMs) {
    const calls = await persist(once);
    if (calls > 0) {
      clock.aheadMs = aheadMs;
      return calls;
    }
    await sleep(UNDER_WAY_LOOK_MS);
  }
  throw new Error("no call that the upstream bills was under way");
}

async function breakLink(
  slots: readonly Slot[],
  link: "door" | "database" | "upstream",
  random: Random,
): Promise<Played> {
  const slot = random.pick(slots);
  const proxy = slot[link];
  const { number, incarnation } = slot;
  const way = random.pick(["slow", "reset", "half-open", "swallow"] as const);
  const detail = await breakIn(proxy, way, random);
  proxy.heal();
  return { detail, slot: number, incarnation };
}

async function breakIn(
  proxy: FaultProxy,
  way: "slow" | "reset" | "half-open" | "swallow",
  random: Random,
): Promise<string> {
  const forMs = 300 + random.below(1_200);
  switch (way) {
    case "slow": {
      const byMs = 20 + random.below(180);
      proxy.slow(byMs);
      await sleep(forMs);
      return `${byMs} ms later each way, for ${forMs} ms`;
    }
    case "reset":
      proxy.reset();
      return "every connection reset";
    case "half-open":
      proxy.freeze();
      await sleep(forMs);
      return `half-open for ${forMs} ms, then reset`;
    case "swallow": {
      const swallowing = proxy.swallow();
      await sleep(Math.min(forMs, 500));
      return `the answer swallowed on ${swallowing.end()} connections`;
    }
  }
}

export function connectTo({ address }: Cluster, database: string): Sql {
  const { host, port, user } = address;
  const settings = { host, port, user, database, max: 1, connect_timeout: 5, fetch_types: false };
  return postgres({ ...settings, onnotice: () => undefined, types: { bigint: postgres.BigInt } });
}

/** As many as the server gives, those kept for superusers included. */
async function takeConnections(cluster: Cluster, database: string): Promise<Sql[]> {
  const taken: Sql[] = [];
  while (taken.length < CONNECTIONS_MAX) {
    const more = Array.from({ length: 20 }, () => connectTo(cluster, database));
    const answers = await Promise.allSettled(more.map((each) => each`select 1`));
    taken.push(...more);
    if (answers.some(({ status }) => status === "rejected")) break;
  }
  return taken;
}

/** The postmaster first, then its children. */
async function serverProcesses(sql: Sql): Promise<number[]> {
  const [row] = await persist(() => sql`select pg_backend_pid() as pid`);
  const { stdout } = await run("ps", ["-A", "-o", "pid=,ppid="]);
  const processes = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/u).map(Number));
  const postmaster = processes.find(([pid]) => pid === Number(row?.["pid"]))?.[1];
  if (postmaster === undefined || postmaster <= 1) throw new Error("the postmaster was not found");
  const children = processes.filter(([, parent]) => parent === postmaster).map(([pid]) => pid ?? 0);
  return [postmaster, ...children];
}

function signalAll(processes: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of processes) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // A backend may have ended since it was listed.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}
