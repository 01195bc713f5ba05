import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { picousd, usdFromPicousd } from "../../src/core/money.ts";
import type { Sql } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { createRandom, type Random } from "../sim/random.ts";
import type { Cluster } from "../support/postgres.ts";
import { call } from "./caller.ts";
import { startFleet, type Fleet } from "./fleet.ts";
import type { Fault, FaultKind, History, Observation } from "./history.ts";
import { readLedger } from "./ledger-reading.ts";
import { connectTo, jump, play, type Clock, type Victims } from "./nemesis.ts";
import { persist } from "./persistence.ts";
import { manageOn, planner, populate, type Planner, type Population } from "./population.ts";
import { startPulse, type Pulse } from "./pulse.ts";
import { untilNothingIsHeld, untilWritten } from "./quiet.ts";
import { startTruthUpstream, type TruthUpstream } from "./truth-upstream.ts";

export type ScenarioOptions = {
  readonly seed: number;
  /** A PostgreSQL that nobody else uses: it is crashed and frozen. */
  readonly cluster: Cluster;
  readonly replicas: number;
  /** How long calls and faults go on; starting and ending come on top. */
  readonly forMs: number;
  readonly agents: number;
  /** Played in shuffled order, again and again. */
  readonly deck: readonly FaultKind[];
  /** The source tree to run. */
  readonly root: string;
  /** How long the end is waited for, when it does not come; the checker says what is missing then. */
  readonly patienceMs?: number;
  /** Changes the migrated database before anything runs: how a mutant is planted. */
  readonly plant?: (sql: Sql) => Promise<void>;
  readonly say?: (line: string) => void;
};

export const EVERY_FAULT: readonly FaultKind[] = [
  "kill",
  "pause",
  "replace",
  "crash-database",
  "freeze-database",
  "exhaust-connections",
  "lock-meter",
  "jump-clock",
  "database-link",
  "client-link",
  "upstream-link",
  "revoke-key",
];

const THINK_MS = 90;
const BETWEEN_FAULTS_MS = 700;
const CHANGE_EVERY_MS = 150;

type World = {
  readonly options: ScenarioOptions;
  readonly random: Random;
  readonly fleet: Fleet;
  readonly upstream: TruthUpstream;
  readonly people: Population;
  readonly plan: Planner;
  readonly sql: Sql;
  readonly clock: Clock;
  readonly database: string;
  readonly pulse: Pulse;
  readonly observations: Observation[];
  readonly faults: Fault[];
};

/** Plays one scenario from an empty database to its end, and gives back all that can be said of it. */
export async function playScenario(options: ScenarioOptions): Promise<History> {
  const { cluster, seed } = options;
  const database = `faults_${seed}_${randomBytes(4).toString("hex")}`;
  const keeper = connectTo(cluster, "postgres");
  await keeper.unsafe(`create database ${database}`);
  await keeper.end();
  const urlOn = (port: number) =>
    `postgres://${cluster.address.user}@127.0.0.1:${port}/${database}`;
  await migrate({ kind: "url", url: urlOn(cluster.address.port) });
  const sql = watcher(urlOn(cluster.address.port));
  await sql`create index decisions_by_tag on decisions ((record #>> '{context,customer}'))`;
  await options.plant?.(sql);
  const random = createRandom(seed);
  let plan: Planner | null = null;
  const upstream = await startTruthUpstream(
    (tag) => plan?.modeOf(tag) ?? "usual",
    (tag) => verdictOf(sql, tag),
  );
  const adminKey = randomBytes(24).toString("hex");
  const pulse = await startPulse(() => connectTo(cluster, database), {
    waitsForDisk: options.plant === undefined,
  });
  let people: Population | null = null;
  const fleet = await startFleet({
    replicas: options.replicas,
    databasePort: cluster.address.port,
    databaseUrl: urlOn,
    upstreamPort: upstream.port,
    adminKey,
    root: options.root,
    prepare: async (port) => {
      people = await populate(manageOn(port, adminKey));
    },
  });
  try {
    if (people === null) throw new Error("nobody lives here");
    plan = planner(seed, people, random);
    const world: World = {
      options,
      random,
      fleet,
      upstream,
      people,
      plan,
      sql,
      clock: { aheadMs: 0 },
      database,
      pulse,
      observations: [],
      faults: [],
    };
    return await playOut(world);
  } finally {
    await fleet.close();
    await pulse.stop();
    await upstream.close();
    await sql.end({ timeout: 5 });
  }
}

async function verdictOf(sql: Sql, tag: string): Promise<"allow" | "none"> {
  const rows = await sql`
    select verdict from decisions where record #>> '{context,customer}' = ${tag}`;
  return rows.some((row) => row["verdict"] === "allow") ? "allow" : "none";
}

/** Connections of the test's own, that come back after a crash. */
function watcher(url: string): Sql {
  return postgres(url, {
    max: 4,
    connect_timeout: 5,
    backoff: () => 0.05,
    // Asking for the types of arrays on each new connection is a promise that nobody holds: a crash ends us.
    fetch_types: false,
    onnotice: () => undefined,
    types: { bigint: postgres.BigInt },
  });
}

async function playOut(world: World): Promise<History> {
  const { options, people, observations, fleet, upstream, sql, faults } = world;
  const { say = () => undefined } = options;
  // Before any fault: agents with large contexts on a budget of three times their need.
  await workHonestly(world);
  say(`${observations.length} honest calls made`);
  // A meter's row comes with the first call under it: from here on there is one to lock.
  await callOnce(world, () => world.plan.plain("held"));
  const untilMs = performance.now() + options.forMs;
  // As long as faults are played there are calls for them to hit.
  const tormenting = { isOver: false };
  const isOver = () => tormenting.isOver && performance.now() >= untilMs;
  const agents = Array.from({ length: options.agents }, () => agent(world, isOver));
  const changes = changeLimits(world, untilMs);
  await torment(world, untilMs, say);
  tormenting.isOver = true;
  await Promise.all([...agents, changes]);
  faults.push(...(await world.pulse.stop()));
  fleet.heal();
  for (const slot of fleet.slots.filter(({ replica }) => replica?.hasEnded() !== false)) {
    say(`replica ${slot.number} is gone: ${fleet.exits.at(-1)?.says}`);
    await fleet.killAndRestart(slot);
  }
  say(`${observations.length} calls made, ${faults.length} faults played; waiting for the end`);
  await upstream.quiet();
  await untilWritten(world);
  for (const role of ["ample", "held", "changing", "guest"] as const) {
    for (const slot of fleet.slots) {
      observations.push(await call(world.plan.plain(role), fleet.doorOf(slot), true));
    }
  }
  // Chance may have spared them until now: each key that was revoked opens no door.
  const revoked = new Set(faults.map(({ keyId }) => keyId));
  for (const key of people.revocable.filter(({ id }) => revoked.has(id))) {
    for (const slot of fleet.slots) {
      observations.push(await call(world.plan.byRevocable(key), fleet.doorOf(slot)));
    }
  }
  await untilWritten(world);
  // What is left has no owner: it turns unknown, and after the grace is charged in full.
  await jump(world, LEASE_MS + 1_000);
  await persist(() => sql`select tollgate_expire(${LEASE_MS} * interval '1 millisecond', 100000)`);
  await jump(world, UNKNOWN_GRACE_MS + 1_000);
  await untilNothingIsHeld(world);
  const { limitId, amounts } = people.changing;
  return {
    seed: options.seed,
    observations,
    journal: upstream.journal,
    ledger: await persist(() => readLedger(sql)),
    faults,
    exits: fleet.exits,
    boots: [],
    amounts: new Map([[limitId, amounts]]),
    honestTenants: [people.honest.id],
  };
}

/**
 * All agents at once. What is refused for want of room or time is asked once more when those that had it
 * have ended: how long they take is up to the machine, and whether there is room then is up to the gate.
 */
async function workHonestly(world: World): Promise<void> {
  const { people, observations, plan } = world;
  const ask = () => callOnce(world, () => plan.plain("honest"));
  const first = await Promise.all(Array.from({ length: people.honestCalls }, ask));
  const refused = first.filter(({ status }) => status === 429 || status === 503);
  // What a client has read to its end may yet have to be settled.
  if (refused.length > 0) await untilWritten(world);
  await Promise.all(
    refused.map(async ({ tag }) => {
      const seen = await ask();
      observations.splice(observations.indexOf(seen), 1, { ...seen, again: tag });
    }),
  );
}

async function callOnce({ fleet, random, observations }: World, plan: Planner["next"]) {
  const slot = random.pick(fleet.slots);
  const seen = await call(plan(), fleet.doorOf(slot));
  observations.push(seen);
  return seen;
}

async function agent(world: World, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await callOnce(world, world.plan.next);
    await sleep(world.random.below(2 * THINK_MS));
  }
}

/** One fault after the other, so that what follows can be told to be its doing. */
async function torment(world: World, untilMs: number, say: (line: string) => void): Promise<void> {
  const { options, fleet, database, sql, people, clock, random, faults, upstream } = world;
  const left = [...people.revocable];
  const victims: Victims = {
    fleet,
    cluster: options.cluster,
    database,
    sql,
    heldTenant: people.held.id,
    clock,
    isBilled: (tag) => upstream.journal.some((entry) => entry.tag === tag && entry.billed > 0n),
    revoke: async () => {
      const key = left.shift();
      if (key === undefined) return null;
      const { id: tenant } = people.ample;
      const manage = manageOn(random.pick(fleet.slots).door.port, fleet.adminKey);
      await persist(() => manage("DELETE", `/keys/${key.id}?tenant=${tenant}`));
      return { tenant, keyId: key.id };
    },
  };
  let deck: FaultKind[] = [];
  while (options.deck.length > 0 && performance.now() < untilMs) {
    if (deck.length === 0) deck = dealt(options.deck, faults.length === 0, random);
    const kind = deck.shift();
    if (kind === undefined) return;
    const fault = await play(kind, victims, random);
    faults.push(fault);
    say(`${kind}${fault.slot === null ? "" : ` of replica ${fault.slot}`}: ${fault.detail}`);
    await sleep(random.below(2 * BETWEEN_FAULTS_MS));
  }
}

/**
 * Shuffled; but first of all a locked tenant, before any other trouble could be its cause, and a revoked
 * key, so that there is time in which it must not open anything.
 */
function dealt(deck: readonly FaultKind[], isFirst: boolean, random: Random): FaultKind[] {
  const order = shuffled(deck, random);
  if (!isFirst) return order;
  const opening = OPENING.filter((kind) => deck.includes(kind));
  return [...opening, ...order.filter((kind) => !opening.includes(kind))];
}

const OPENING: readonly FaultKind[] = ["lock-meter", "revoke-key"];

function shuffled<Value>(values: readonly Value[], random: Random): Value[] {
  const left = [...values];
  return values.flatMap(() => left.splice(random.below(left.length), 1));
}

/** Moves one tenant's budget to and fro while it is drawn on; a change that fails is a fault's doing. */
async function changeLimits({ fleet, people, random, faults }: World, untilMs: number) {
  const fromMs = performance.now();
  const { id: tenant, limitId, amounts } = people.changing;
  let changes = 0;
  while (performance.now() < untilMs) {
    const amount = random.pick(amounts);
    const manage = manageOn(random.pick(fleet.slots).door.port, fleet.adminKey);
    const body = { tenant, limit: usdFromPicousd(picousd(amount)) };
    const [done] = await Promise.allSettled([manage("PATCH", `/limits/${limitId}`, body)]);
    if (done.status === "fulfilled") changes += 1;
    await sleep(CHANGE_EVERY_MS);
  }
  faults.push({
    kind: "change-limits",
    detail: `${changes} changes of one budget`,
    slot: null,
    incarnation: null,
    tenant,
    keyId: null,
    fromMs,
    toMs: performance.now(),
  });
}
