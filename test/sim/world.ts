/** One installation with two gateways, an upstream and clients, all of them driven step by step. */
import { createAdministration, type Administration } from "../../src/gate/administration.ts";
import type { Caller } from "../../src/core/caller.ts";
import type { Charge } from "../../src/core/charge.ts";
import type { Permit } from "../../src/gate/admit.ts";
import type { Ending } from "../../src/gate/ending.ts";
import { LEASE_MS } from "../../src/core/limits.ts";
import type { Database } from "../../src/store/database.ts";
import { settle } from "../../src/store/settlement.ts";
import { renewLease } from "../../src/store/installation.ts";
import { gateOn, intentOf, newId, type Gate } from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { setClock } from "../support/clock.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { TEST_SEAL } from "../support/seal.ts";
import type { Random } from "./random.ts";
import {
  ANSWERS,
  createSimulatedReply,
  createSimulatedUpstream,
  type Exchange,
} from "./upstream.ts";

const INSTALLATION = { installation: true } as const;
export const RUNS = ["run_a", "run_b", "run_c"] as const;

/** A gateway, and the switch by which it dies: what it had not written is never written. */
type Replica = { readonly gate: Gate; readonly crash: () => void; readonly isAlive: () => boolean };

/** An attempt between its permit and its ending. */
type Flying = {
  readonly replica: Replica;
  readonly exchange: Exchange;
  readonly leave: () => void;
  readonly done: Promise<void>;
};

type Ended = { readonly permit: Permit; readonly ending: Ending; readonly charge: Charge };

export type World = {
  readonly db: Database;
  readonly random: Random;
  readonly tenantId: string;
  readonly administration: Administration;
  readonly journal: Exchange[];
  readonly ended: Ended[];
  readonly counts: Map<string, number>;
  readonly keys: { readonly id: string; readonly text: string; isRevoked: boolean }[];
  readonly limits: { readonly id: string; amount: bigint; readonly unit: "usd" | "count" }[];
  /** Attempts admitted of a run, or by a key, at the moment from which there may be no more. */
  readonly frozen: Map<string, number>;
  replicas: Replica[];
  flying: Flying[];
  neverLowered: boolean;
  nowMs: number;
};

export async function createWorld(db: Database, random: Random): Promise<World> {
  const nowMs = Date.UTC(2030, 0, 1);
  await setClock(db, new Date(nowMs));
  const journal: Exchange[] = [];
  const replicas = [await startReplica(db, journal), await startReplica(db, journal)];
  const administration = createAdministration({
    db,
    newId,
    now: () => new Date(),
    seal: TEST_SEAL,
    webhook: { allowsPrivate: false },
    refresh: async () => undefined,
    configuration: NOTHING_CONFIGURED,
  });
  const { tenantId } = await administration.createTenant(INSTALLATION, {
    name: `sim ${newId()}`,
    mode: "strict",
  });
  const world: World = {
    db,
    random,
    tenantId,
    administration,
    journal,
    ended: [],
    counts: new Map(),
    keys: [],
    limits: [],
    frozen: new Map(),
    replicas,
    flying: [],
    neverLowered: true,
    nowMs,
  };
  await addKey(world);
  await addKey(world);
  await addLimits(world);
  await refreshAll(world);
  return world;
}

async function addLimits({ administration, tenantId, limits }: World): Promise<void> {
  const terms = [
    { kind: "tenant", unit: "usd", window: "none", amount: 9_000n },
    { kind: "each_run", unit: "usd", window: "day", amount: 5_000n },
    { kind: "tenant", unit: "tokens", window: "day", amount: 400n },
    { kind: "tenant", unit: "requests", window: "minute", amount: 12n },
    { kind: "tenant", unit: "in_flight", window: "none", amount: 4n },
  ] as const;
  for (const { kind, unit, window, amount } of terms) {
    const { limitId } = await administration.createLimit(INSTALLATION, {
      tenantId,
      scope: { kind, id: null },
      resource: null,
      unit,
      window,
      amount: unit === "usd" ? usd(amount) : String(amount),
      mode: "enforce",
      onExceed: unit === "usd" && kind === "tenant" ? "clamp" : "refuse",
      timeZone: "UTC",
    });
    limits.push({ id: limitId, amount, unit: unit === "usd" ? "usd" : "count" });
  }
  await administration.putRun(INSTALLATION, {
    tenantId,
    runId: RUNS[0],
    budgetUsd: usd(4_000n),
    labels: null,
    parent: null,
    derivedFrom: null,
  });
  await administration.putRun(INSTALLATION, {
    tenantId,
    runId: RUNS[1],
    budgetUsd: usd(2_500n),
    labels: null,
    parent: RUNS[0],
    derivedFrom: null,
  });
}

function usd(amount: bigint): string {
  return `0.${String(amount).padStart(12, "0")}`;
}

async function startReplica(db: Database, journal: Exchange[]): Promise<Replica> {
  let isAlive = true;
  // A process that has died writes nothing more, whatever it was about to write.
  const gateSql = new Proxy(db.gate, {
    get: (target, name) => {
      if (name === "unsafe" && !isAlive)
        return () => Promise.reject(new Error("this process died"));
      return Reflect.get(target, name) as unknown;
    },
  });
  // An ask that must wait for others gives up at its first look: time is passed, never slept.
  let aheadMs = 0;
  const gate = await gateOn(db, {
    db: { ...db, gate: gateSql },
    upstream: createSimulatedUpstream(journal),
    isClosing: () => !isAlive,
    monotonicMs: () => (aheadMs += 400),
  });
  return {
    gate,
    isAlive: () => isAlive,
    crash: () => {
      isAlive = false;
    },
  };
}

async function refreshAll({ replicas }: World): Promise<void> {
  await Promise.all(replicas.map(({ gate }) => gate.gateway.authority.refresh()));
}

async function addKey(world: World): Promise<void> {
  const { keyId: id, text } = await world.administration.createKey(INSTALLATION, {
    tenantId: world.tenantId,
    name: "sim",
    scopes: ["invoke"],
    labels: {},
    tools: null,
    expiresAt: null,
  });
  world.keys.push({ id, text, isRevoked: false });
}

function count({ counts }: World, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** Every step that a history may take, as often as it is listed. */
export const STEPS: readonly (readonly [number, string, (world: World) => Promise<void>])[] = [
  [30, "ask", ask],
  [26, "answer", answer],
  [4, "cut", cut],
  [3, "crash", crash],
  [6, "settle twice", settleTwice],
  [4, "late evidence", correct],
  [3, "raise", (world) => changeLimit(world, true)],
  [1, "lower", (world) => changeLimit(world, false)],
  [1, "revoke", revoke],
  [1, "stop", stop],
  [5, "clock", moveClock],
  [6, "sweep", sweep],
];

async function ask(world: World): Promise<void> {
  const { random } = world;
  const replica = random.pick(world.replicas);
  const { gateway } = replica.gate;
  const key = random.pick(world.keys);
  let caller: Caller;
  try {
    const identified = gateway.identify(key.text);
    if ("installation" in identified) throw new Error("a tenant's key is the tenant's");
    caller = identified;
  } catch (error) {
    if (!key.isRevoked) throw error;
    return count(world, "revoked key refused");
  }
  if (key.isRevoked) throw new Error("a revoked key was let in");
  const run = random.pick([null, ...RUNS]);
  const output = 1 + random.below(20);
  const intent = intentOf({
    demand: { inputBytes: 3 + random.below(20), outputTokensMax: output },
    context: { run, step: random.pick([null, "s"]) },
  });
  const admission = await gateway.admit(caller, intent, () => false);
  if (admission.kind !== "admitted") {
    return count(world, admission.kind === "refused" ? admission.refusal.reason : "gone");
  }
  count(world, "admitted");
  launch(world, replica, admission.permit);
}

function launch(world: World, replica: Replica, permit: Permit): void {
  const { gateway } = replica.gate;
  const reply = createSimulatedReply();
  const before = world.journal.length;
  const dispatched = gateway.dispatch(
    {
      permit,
      route: {
        operation: "chat",
        billing: "metered",
        path: "/chat/completions",
        body: "json",
        pathModel: null,
      },
      method: "POST",
      path: "/v1/chat/completions",
      headers: ["x-attempt", permit.attemptId],
      body: () => null,
      hideUsage: false,
      ours: { early: () => [], whole: async () => [] },
      requestId: "req_sim",
    },
    reply,
  );
  const finish = async (): Promise<void> => {
    const { ending } = await dispatched;
    const charge = await gateway.charge(permit, ending, () => ({ texts: ["abc"], overhead: 0 }));
    count(world, `ended ${ending.kind}`);
    void gateway.settle(permit, ending, charge);
    // Also what a dead gateway knew: it may turn up later as evidence.
    if (ending.kind !== "unknown") world.ended.push({ permit, ending, charge });
    await replica.gate.idle();
  };
  const exchange = world.journal[before];
  const done = finish();
  if (exchange === undefined) throw new Error("a permit was not dispatched");
  world.flying.push({ replica, exchange, leave: reply.leave, done });
}

/** Takes one of the attempts in the air; null when there is none. */
function take(world: World): Flying | null {
  const flying = world.flying.filter(({ replica }) => replica.isAlive());
  if (flying.length === 0) return null;
  const taken = world.random.pick(flying);
  world.flying = world.flying.filter((each) => each !== taken);
  return taken;
}

async function answer(world: World): Promise<void> {
  const flying = take(world);
  if (flying === null) return;
  const kind = world.random.pick(ANSWERS);
  flying.exchange.answer(kind, 1);
  count(world, kind);
  await flying.done;
}

async function cut(world: World): Promise<void> {
  const flying = take(world);
  if (flying === null) return;
  flying.leave();
  // A client that leaves before a stream began leaves an answer that is still waited for.
  flying.exchange.answer(world.random.pick(ANSWERS), 1);
  count(world, "cut");
  await flying.done;
}

/** One gateway dies, at times in the moment between an answer and its settlement; another takes its place. */
async function crash(world: World): Promise<void> {
  const victim = world.random.pick(world.replicas);
  const own = world.flying.filter(({ replica }) => replica === victim);
  const isBetween = own.length > 0 && world.random.below(2) === 0;
  if (isBetween) own[0]!.exchange.answer("whole", 1);
  victim.crash();
  if (isBetween) await own[0]!.done;
  world.flying = world.flying.filter(({ replica }) => replica !== victim);
  const started = await startReplica(world.db, world.journal);
  world.replicas = world.replicas.map((each) => (each === victim ? started : each));
  count(world, isBetween ? "crash before settle" : "crash");
}

/** The same ending again, or another one, from any gateway: nothing may change. */
async function settleTwice(world: World): Promise<void> {
  if (world.ended.length === 0) return;
  const { permit, ending, charge } = world.random.pick(world.ended);
  const { gate } = world.random.pick(world.replicas);
  await gate.end(permit, ending, charge);
  count(world, "settle twice");
}

/** Somebody learns what a presumed attempt really cost: less than was presumed. */
async function correct(world: World): Promise<void> {
  const { db, tenantId } = world;
  const presumed = await db.admin`
    select attempt_id from settlements
    where tenant_id = ${tenantId} and ending = 'unknown' order by attempt_id`;
  if (presumed.length === 0) return;
  const [settled] = await settle(db.gate, [
    {
      tenantId,
      attemptId: String(world.random.pick([...presumed])["attempt_id"]),
      ending: "succeeded",
      basis: "computed",
      costPicousd: BigInt(world.random.below(30)),
      tokens: 3,
      requests: 1,
      priceVersion: null,
      usage: "{}",
      record: "{}",
    },
  ]);
  count(world, `evidence ${settled?.outcome}`);
}

async function changeLimit(world: World, up: boolean): Promise<void> {
  const limit = world.random.pick(world.limits);
  limit.amount = up ? limit.amount + limit.amount / 4n + 1n : limit.amount / 2n;
  if (!up) world.neverLowered = false;
  await world.administration.changeLimit(INSTALLATION, {
    tenantId: world.tenantId,
    limitId: limit.id,
    amount: limit.unit === "usd" ? usd(limit.amount) : String(limit.amount),
    mode: null,
    onExceed: null,
  });
  count(world, up ? "raise" : "lower");
}

async function revoke(world: World): Promise<void> {
  const key = world.random.pick(world.keys);
  if (key.isRevoked) return;
  await world.administration.revokeKey(INSTALLATION, world.tenantId, key.id);
  key.isRevoked = true;
  await addKey(world);
  await refreshAll(world);
  world.frozen.set(`key_id ${key.id}`, await allowed(world, "key_id", key.id));
  count(world, "revoke");
}

async function stop(world: World): Promise<void> {
  const runId = world.random.pick(RUNS.slice(0, 2));
  if (world.frozen.has(`run_id ${runId}`)) return;
  await world.administration.stopRun(INSTALLATION, world.tenantId, runId);
  const stopped = runId === RUNS[0] ? [RUNS[0], RUNS[1]] : [runId];
  for (const each of stopped) {
    world.frozen.set(`run_id ${each}`, await allowed(world, "run_id", each));
  }
  count(world, "stop");
}

async function allowed(world: World, column: string, value: string): Promise<number> {
  const [row] = await world.db.admin.unsafe(
    `select count(*)::int as count from decisions
     where tenant_id = $1 and ${column} = $2 and verdict = 'allow'`,
    [world.tenantId, value],
  );
  return Number(row?.["count"]);
}

async function moveClock(world: World): Promise<void> {
  world.nowMs += world.random.pick([1_000, LEASE_MS + 1_000, 130_000, 16 * 60_000, 86_400_000]);
  await setClock(world.db, new Date(world.nowMs));
  // Most of the time the living have renewed their leases by the time somebody sweeps.
  if (world.random.below(4) === 0) return;
  for (const { gate } of world.replicas) {
    await renewLease(world.db.admin, gate.gateway.replicaId);
  }
}

async function sweep(world: World): Promise<void> {
  const { unknown, presumed } = await world.random.pick(world.replicas).gate.gateway.sweep();
  if (unknown > 0) count(world, "swept to unknown");
  if (presumed > 0) count(world, "presumed");
}

/** All that must hold after every step. One sentence per violation. */
export async function worldViolations(world: World): Promise<string[]> {
  const { db, tenantId, journal, frozen, neverLowered } = world;
  const found = await ledgerViolations(db.admin, tenantId, neverLowered);
  const rows = await db.admin`
    select attempt_id from decisions where tenant_id = ${tenantId} and verdict = 'allow'`;
  const allows = new Set(rows.map((row) => String(row["attempt_id"])));
  const dispatched = new Set<string>();
  for (const { attemptId } of journal) {
    if (!allows.has(attemptId)) found.push(`${attemptId} was dispatched without an allow`);
    if (dispatched.has(attemptId)) found.push(`${attemptId} was dispatched twice`);
    dispatched.add(attemptId);
  }
  for (const [name, before] of frozen) {
    const [column = "", value = ""] = name.split(" ");
    const now = await allowed(world, column, value);
    if (now !== before) found.push(`${name} was admitted after it had ended`);
  }
  return found;
}
