/**
 * The durable decision alone: admissions a second through the posting function, all of them on one hot
 * meter or spread over a hundred tenants, beside bare rows of the same size in the same batches on the
 * same PostgreSQL. The rows are the floor: the ratio is what the locks, the meter, the reservation and
 * the judgement leave of it. Under the rows lies the disk, whose fsync is measured in the same rounds.
 *
 * All go through the gate's own group commit with its own limits, from one process and 64 callers, each
 * asking again when it was answered. Nothing settles, so the reservations pile up: the harder case.
 */
import {
  ASK_WAIT_MS_MAX,
  ASKS_CROWDED_MS,
  ASKS_STANDING_MS,
  ASKS_WAITING_MAX,
  BATCH_ASKS_MAX,
  BATCHES_IN_FLIGHT_MAX,
  COMPANY_ASKS_MIN,
  COMPANY_MS_MAX,
} from "../../src/core/limits.ts";
import { createBatcher, type Batcher } from "../../src/gate/batch.ts";
import { createRandomId } from "../../src/lib/random-id.ts";
import { connect, type Database } from "../../src/store/database.ts";
import { insertLimit } from "../../src/store/limits.ts";
import { migrate } from "../../src/store/migrate.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { insertTenant } from "../../src/store/tenants.ts";
import { startPostgres } from "../support/postgres.ts";
import { aboutPostgres } from "./about-postgres.ts";
import { createBareRows, insertBareRows } from "./bare-rows.ts";
import { cpuTicks, ticksPerSecond } from "./cpu.ts";
import { measureFsync, type FsyncFigures } from "./fsync.ts";
import { count, newHistogram, quantile } from "./histogram.ts";
import { MODEL } from "./scenario.ts";
import type { Plan } from "./plan.ts";
import type { Surroundings } from "./stage.ts";
import { median } from "./summary.ts";

const CALLERS = 64;
const TENANTS = 100;
const LIMIT = "lim_bench";
/** Pico-dollars; and a limit that no run of the bench reaches. */
const COST = 1_000_000n;
const LIMIT_PICOUSD = "1000000000000000000000000";
const DEADLINE_MS = 600_000;
/** With its meter and columns a decision is about 1.3 KB: a little less than one of a call on four meters. */
const RECORD = JSON.stringify({ disposition: "execute", policies: [], context: "x".repeat(700) });
const GATE_CONNECTIONS = 4;
const STRATEGIES = ["hot", "tenants", "rows"] as const;
/** One process writes to the disk and waits, so a part of the time tells as much. */
const FSYNC_SHARE = 1 / 5;

export type Strategy = (typeof STRATEGIES)[number];

export type AdmissionRound = {
  readonly strategy: Strategy;
  readonly round: number;
  readonly perSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Microseconds per admission (or row). */
  readonly nodeCpuMicros: number;
  readonly databaseCpuMicros: number | null;
};

export type Admissions = {
  readonly callers: number;
  readonly tenants: number;
  readonly database: string;
  readonly rounds: readonly AdmissionRound[];
  /** One per round: the file system of PostgreSQL's data directory. */
  readonly fsync: readonly FsyncFigures[];
  /** Posting over bare rows, within a round, then the median: on one meter, and spread over the tenants. */
  readonly hotPerRows: number | null;
  readonly tenantsPerRows: number | null;
};

export const measureAdmissions = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Admissions> => {
  const cluster = await startPostgres();
  defer(cluster.stop);
  const { host, port, user } = cluster.address;
  const url = `postgres://${user}@${host}:${port}/postgres`;
  const about = await aboutPostgres(url);
  await migrate({ kind: "url", url });
  const db = connect(
    { kind: "url", url },
    { gateConnections: GATE_CONNECTIONS, adminConnections: 1 },
  );
  defer(db.close);
  await provision(db);
  const batchers = {
    hot: batcherOf((asks) => postAll(db, asks)),
    tenants: batcherOf((asks) => postAll(db, asks)),
    rows: batcherOf((asks) => insertBareRows(db, asks)),
  };
  const rounds: AdmissionRound[] = [];
  const fsync: FsyncFigures[] = [];
  let posted = 0;
  for (let round = 0; round <= plan.rounds; round += 1) {
    // The zeroth only warms up, and the order changes from round to round.
    const seconds = round === 0 ? plan.warmupSeconds : plan.seconds;
    for (const strategy of round % 2 === 0 ? STRATEGIES : STRATEGIES.toReversed()) {
      const newAsk = newAsks(strategy === "tenants" ? TENANTS : 1);
      const measured = await measure(batchers[strategy], newAsk, seconds, about.pid);
      if (strategy !== "rows") posted += measured.done;
      if (round === 0) continue;
      rounds.push({ strategy, round, ...measured.figures });
      progress(`round ${round} admissions ${strategy}: ${measured.figures.perSecond.toFixed(0)}/s`);
    }
    if (round === 0) continue;
    const synced = await measureFsync(about.directory, seconds * FSYNC_SHARE);
    fsync.push(synced);
    progress(`round ${round} fsync: ${synced.perSecond.toFixed(0)}/s`);
  }
  await verify(db, posted);
  const of = (strategy: Strategy): readonly number[] =>
    rounds.filter((each) => each.strategy === strategy).map((each) => each.perSecond);
  const rows = of("rows");
  const perRows = (strategy: Strategy): number | null =>
    median(of(strategy).map((perSecond, at) => perSecond / (rows[at] ?? Number.NaN)));
  return {
    callers: CALLERS,
    tenants: TENANTS,
    database: `PostgreSQL ${about.version}, ${about.durability}`,
    rounds,
    fsync,
    hotPerRows: perRows("hot"),
    tenantsPerRows: perRows("tenants"),
  };
};

const tenantAt = (at: number): string => `ten_bench_${at}`;

const provision = async (db: Database): Promise<void> => {
  for (let at = 0; at < TENANTS; at += 1) {
    const tenantId = tenantAt(at);
    await insertTenant(db.admin, { tenantId, name: tenantId, mode: "strict" });
    await insertLimit(db.admin, {
      tenantId,
      limitId: LIMIT,
      scopeKind: "tenant",
      scopeId: "",
      resource: "",
      unit: "usd",
      window: "none",
      amount: LIMIT_PICOUSD,
      mode: "enforce",
      onExceed: "refuse",
      timeZone: "UTC",
    });
  }
  await createBareRows(db);
};

const batcherOf = (
  commit: (asks: readonly Ask[]) => Promise<readonly boolean[]>,
): Batcher<Ask, boolean> =>
  createBatcher<Ask, boolean>({
    commit,
    itemsMax: BATCH_ASKS_MAX,
    inFlightMax: BATCHES_IN_FLIGHT_MAX,
    waitingMax: ASKS_WAITING_MAX,
    waitMsMax: ASK_WAIT_MS_MAX,
    standingMs: ASKS_STANDING_MS,
    crowdedMs: ASKS_CROWDED_MS,
    gatherMs: 0,
    companyMin: COMPANY_ASKS_MIN,
    companyMs: COMPANY_MS_MAX,
    tenantOf: (ask) => ask.tenantId,
    isContentError: () => false,
    monotonicMs: () => performance.now(),
  });

const postAll = async (db: Database, asks: readonly Ask[]): Promise<readonly boolean[]> => {
  const posted = await post(db.gate, "rep_bench", asks);
  return posted.map(({ outcome }) => outcome === "allow");
};

/** Asks of so many tenants in turn. */
const newAsks = (tenants: number): (() => Ask) => {
  const newId = createRandomId();
  const refs = [{ limitId: LIMIT, subject: "", share: null }];
  let next = 0;
  return () => {
    const id = newId(Date.now());
    const tenantId = tenantAt(next % tenants);
    next += 1;
    return {
      attemptId: `att_${id}`,
      tenantId,
      keyId: "key_bench",
      runId: `run_${id}`,
      runNamed: false,
      stepId: null,
      stepDigest: null,
      contentDigest: null,
      retryResource: "model:m",
      door: "model",
      operation: "chat",
      resource: MODEL,
      upstream: "openai",
      model: MODEL,
      judgedReason: null,
      costPicousd: COST,
      tokens: 1_000,
      priceVersion: "prc_bench",
      final: true,
      deadlineMs: DEADLINE_MS,
      record: RECORD,
      refs,
      extra: null,
    };
  };
};

type Measured = {
  readonly done: number;
  readonly figures: Omit<AdmissionRound, "strategy" | "round">;
};

/** Each caller asks, waits and asks again; the last answers are waited for and count. */
const measure = async (
  batcher: Batcher<Ask, boolean>,
  newAsk: () => Ask,
  seconds: number,
  pid: number,
): Promise<Measured> => {
  const latency = newHistogram();
  let done = 0;
  const ticksBefore = cpuTicks([pid])?.[0];
  const ownBefore = process.cpuUsage();
  const from = performance.now();
  const until = from + seconds * 1_000;
  const caller = async (): Promise<void> => {
    for (let now = performance.now(); now < until;) {
      if (!(await batcher.submit(newAsk())))
        throw new Error("an ask of the bench was not admitted");
      const answeredAt = performance.now();
      count(latency, (answeredAt - now) * 1_000);
      done += 1;
      now = answeredAt;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const elapsedMs = performance.now() - from;
  const own = process.cpuUsage(ownBefore);
  const ticksAfter = cpuTicks([pid])?.[0];
  const ms = (micros: number | null): number | null => (micros === null ? null : micros / 1_000);
  const ticks =
    ticksBefore === undefined || ticksAfter === undefined ? null : ticksAfter - ticksBefore;
  return {
    done,
    figures: {
      perSecond: (done * 1_000) / elapsedMs,
      p50Ms: ms(quantile(latency, 0.5)),
      p99Ms: ms(quantile(latency, 0.99)),
      nodeCpuMicros: (own.user + own.system) / done,
      databaseCpuMicros: ticks === null ? null : (ticks * 1e6) / ticksPerSecond() / done,
    },
  };
};

/** Every admission must be a decision, and the meters must hold the sum, or nothing was measured. */
const verify = async (db: Database, posted: number): Promise<void> => {
  const [told] = await db.admin`
    select (select count(*) from decisions)::text as decisions,
           (select sum(reserved) from meters)::text as reserved`;
  if (
    told?.["decisions"] !== String(posted) ||
    told["reserved"] !== String(BigInt(posted) * COST)
  ) {
    throw new Error(`${posted} admissions, but the database holds ${JSON.stringify(told)}`);
  }
};
