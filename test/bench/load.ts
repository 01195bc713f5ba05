/**
 * The load generator, a process of its own: so many keep-alive connections, each with one call at a
 * time, for so long. Every answer is checked for status, framing, length and end. It shares the cores
 * with what it measures, so it speaks HTTP on bare sockets (`connection.ts`): a request leaves in one
 * write of a buffer made beforehand, and of an answer nothing is kept.
 *
 * Closed loop (`ratePerSecond` null): each connection asks again when it was answered. Open loop: calls
 * fall due at an even rate whatever the answers do, and latency counts from when a call fell due, so
 * that a stalled gateway cannot hide the calls which it kept from being sent.
 *
 * Overload is an open loop at more than the target can do. A call that falls due while every connection
 * is busy is then left out and counted: to let it wait would only measure the generator's own queue. An
 * answer 503 with Retry-After is a shed there, counted apart; anywhere else it is a failure.
 *
 * Started by fork; takes one `Job` message at a time and answers with one `LoadResult`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { newConnection, requestBytes, type Connection, type Exchange } from "./connection.ts";
import { cpuTicks } from "./cpu.ts";
import { count, newHistogram, quantile, type Histogram } from "./histogram.ts";
import { scenarioNamed, type ScenarioName } from "./scenario.ts";

export type Job = {
  readonly origin: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly scenario: ScenarioName;
  readonly connections: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly ratePerSecond: number | null;
  readonly isOverload: boolean;
  /** What every answer's body must be: its length, and the text that it ends with. */
  readonly expectedBytes: number;
  readonly expectedTail: string;
  /** Roots of the process trees whose CPU time is counted over the measured window. */
  readonly pids: readonly number[];
};

export type LoadResult = {
  readonly completed: number;
  readonly failed: number;
  readonly firstFailure: string | null;
  /** Calls turned away, and calls that fell due while every connection was busy: of overload only. */
  readonly shed: number;
  readonly leftOut: number;
  readonly shedMicros: { readonly p50: number | null; readonly p99: number | null };
  readonly windowMs: number;
  /** Microseconds from sending (open loop: from falling due) to the last byte, and to the first. */
  readonly latencyMicros: { readonly p50: number | null; readonly p99: number | null };
  readonly firstChunkMicros: { readonly p50: number | null; readonly p99: number | null };
  /** Clock ticks per root of `pids`, or null where `/proc` is not available. */
  readonly ticks: readonly number[] | null;
  readonly generatorCpuMicros: number;
  /** Connections that the server closed after or between answers, and that were opened once more. */
  readonly reopened: number;
};

/** A target that fails this often is broken; going on would only measure how fast it fails. */
const FAILURES_MAX = 100;
/** How long calls in flight at the end may take to finish before they count as failed. */
const DRAIN_MS_MAX = 15_000;
const TICK_MS = 1;
/** Longer than any call that is not stuck; beyond it the call fails and its connection is closed. */
const CALL_MS_MAX = 30_000;
const CALLS_CHECKED_EVERY_MS = 1_000;
const OPENED_AT_ONCE = 64;
const OPENED_EVERY_MS = 10;

type Load = {
  readonly job: Job;
  readonly exchange: Exchange;
  readonly latency: Histogram;
  readonly firstChunk: Histogram;
  readonly shedLatency: Histogram;
  measuring: boolean;
  stopping: boolean;
  inFlight: number;
  completed: number;
  failed: number;
  firstFailure: string | null;
  shed: number;
  leftOut: number;
  /** Slots without a call, for the open loop; the one that waits longest goes first. */
  readonly idle: Slot[];
  onIdle: () => void;
};

type Slot = {
  readonly connection: Connection;
  readonly start: (dueAt: number) => void;
  readonly expire: (now: number) => void;
};

const fail = (load: Load, failure: string): void => {
  load.failed += 1;
  load.firstFailure ??= failure;
  if (load.failed >= FAILURES_MAX) load.stopping = true;
};

const newSlot = (load: Load): Slot => {
  let dueAt = 0;
  let sentAt = 0;
  let firstAt = 0;

  const finish = (failure: string | null): void => {
    const now = performance.now();
    if (failure !== null) fail(load, failure);
    else if (load.measuring) {
      load.completed += 1;
      count(load.latency, (now - dueAt) * 1_000);
      count(load.firstChunk, (firstAt - dueAt) * 1_000);
    }
    goOn(now);
  };

  const finishShed = (): void => {
    const now = performance.now();
    if (load.measuring) {
      load.shed += 1;
      count(load.shedLatency, (now - dueAt) * 1_000);
    }
    goOn(now);
  };

  const goOn = (now: number): void => {
    load.inFlight -= 1;
    if (!load.stopping && load.job.ratePerSecond === null) slot.start(now);
    else load.idle.push(slot);
    if (load.inFlight === 0) load.onIdle();
  };

  const connection = newConnection(load.exchange, {
    onFirstByte: () => {
      firstAt = performance.now();
    },
    onEnd: finish,
    onUnasked: () => fail(load, "bytes that nobody asked for"),
    ...(load.job.isOverload ? { onShed: finishShed } : {}),
  });

  const slot: Slot = {
    connection,
    start: (at) => {
      dueAt = at;
      // Calls of the open loop may start late; what they wait for here is not the server's answer.
      sentAt = load.job.ratePerSecond === null ? at : performance.now();
      load.inFlight += 1;
      connection.send();
    },
    expire: (now) => {
      if (connection.isBusy() && now - sentAt > CALL_MS_MAX) {
        connection.abandon(`no whole answer within ${CALL_MS_MAX} ms`);
      }
    },
  };
  return slot;
};

const exchangeOf = (job: Job): Exchange => {
  const { hostname, port } = new URL(job.origin);
  return {
    host: hostname,
    port: Number(port),
    request: requestBytes(job.origin, job.path, job.headers, scenarioNamed(job.scenario).body),
    expectedBytes: job.expectedBytes,
    expectedTail: Buffer.from(job.expectedTail, "latin1"),
  };
};

const newLoad = (job: Job): Load => ({
  job,
  exchange: exchangeOf(job),
  latency: newHistogram(),
  firstChunk: newHistogram(),
  shedLatency: newHistogram(),
  measuring: false,
  stopping: false,
  inFlight: 0,
  completed: 0,
  failed: 0,
  firstFailure: null,
  shed: 0,
  leftOut: 0,
  idle: [],
  onIdle: () => undefined,
});

/**
 * A server's queue of connections that it has not accepted yet is short (511 in Node), and the system lets
 * those beyond it wait for seconds: of many that are opened at once, some would see nothing of the load.
 */
const openAll = async (slots: readonly Slot[]): Promise<void> => {
  for (let at = 0; at < slots.length; at += OPENED_AT_ONCE) {
    const wave = slots.slice(at, at + OPENED_AT_ONCE);
    await Promise.all(wave.map(({ connection }) => connection.open()));
    await sleep(OPENED_EVERY_MS);
  }
};

/** Starts what falls due; calls that find no idle connection wait, their clock running, or are left out. */
const startPacing = (load: Load, ratePerSecond: number): NodeJS.Timeout => {
  const stepMs = 1_000 / ratePerSecond;
  let dueAt = performance.now();
  return setInterval(() => {
    const now = performance.now();
    while (!load.stopping && dueAt <= now) {
      const slot = load.idle.shift();
      if (slot !== undefined) slot.start(dueAt);
      else if (!load.job.isOverload) return;
      else if (load.measuring) load.leftOut += 1;
      dueAt += stepMs;
    }
  }, TICK_MS);
};

/** Waits for the calls in flight; those that do not end in time fail with their connection. */
const drain = async (load: Load, slots: readonly Slot[]): Promise<void> => {
  load.stopping = true;
  if (load.inFlight > 0) {
    const idle = new Promise<void>((resolve) => {
      load.onIdle = resolve;
    });
    const timeout = new AbortController();
    const late = sleep(DRAIN_MS_MAX, undefined, { signal: timeout.signal }).catch(() => undefined);
    await Promise.race([idle, late]);
    timeout.abort();
  }
  for (const { connection } of slots)
    connection.abandon(`not over ${DRAIN_MS_MAX} ms after the end`);
};

const measured = async (
  load: Load,
): Promise<Pick<LoadResult, "windowMs" | "ticks" | "generatorCpuMicros">> => {
  const ticksBefore = cpuTicks(load.job.pids);
  const ownBefore = process.cpuUsage();
  const from = performance.now();
  load.measuring = true;
  await sleep(load.job.measureMs);
  load.measuring = false;
  const windowMs = performance.now() - from;
  const own = process.cpuUsage(ownBefore);
  const ticksAfter = cpuTicks(load.job.pids);
  const ticks =
    ticksBefore === null || ticksAfter === null
      ? null
      : ticksAfter.map((after, at) => after - (ticksBefore[at] ?? 0));
  return { windowMs, ticks, generatorCpuMicros: own.user + own.system };
};

const run = async (job: Job): Promise<LoadResult> => {
  const load = newLoad(job);
  const slots = Array.from({ length: job.connections }, () => newSlot(load));
  if (job.isOverload) await openAll(slots);
  load.idle.push(...slots);
  const expiring = setInterval(() => {
    const now = performance.now();
    for (const slot of slots) slot.expire(now);
  }, CALLS_CHECKED_EVERY_MS);
  let pacing: NodeJS.Timeout | null = null;
  if (job.ratePerSecond === null)
    for (const slot of load.idle.splice(0)) slot.start(performance.now());
  else pacing = startPacing(load, job.ratePerSecond);
  await sleep(job.warmupMs);
  const window = await measured(load);
  if (pacing !== null) clearInterval(pacing);
  await drain(load, slots);
  clearInterval(expiring);
  const of = (histogram: Histogram): { p50: number | null; p99: number | null } => ({
    p50: quantile(histogram, 0.5),
    p99: quantile(histogram, 0.99),
  });
  return {
    ...window,
    completed: load.completed,
    failed: load.failed,
    firstFailure: load.firstFailure,
    shed: load.shed,
    leftOut: load.leftOut,
    shedMicros: of(load.shedLatency),
    latencyMicros: of(load.latency),
    firstChunkMicros: of(load.firstChunk),
    reopened: slots.reduce((sum, { connection }) => sum + connection.reopened(), 0),
  };
};

process.on("disconnect", () => process.exit(0));
process.on("message", (job: Job) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
