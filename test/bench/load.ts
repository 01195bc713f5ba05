/**
 * The load generator, a process of its own: so many keep-alive connections, each with one call at a
 * time, for so long. Every answer is checked for status, length and end; nothing is allocated per call
 * but what the HTTP client needs.
 *
 * Closed loop (`ratePerSecond` null): each connection asks again when it was answered. Open loop: calls
 * fall due at an even rate whatever the answers do, and latency counts from when a call fell due, so
 * that a stalled gateway cannot hide the calls which it kept from being sent.
 *
 * Started by fork; takes one `Job` message at a time and answers with one `LoadResult`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Client, type Dispatcher } from "undici";
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
  readonly windowMs: number;
  /** Microseconds from sending (open loop: from falling due) to the last byte, and to the first. */
  readonly latencyMicros: { readonly p50: number | null; readonly p99: number | null };
  readonly firstChunkMicros: { readonly p50: number | null; readonly p99: number | null };
  /** Clock ticks per root of `pids`, or null where `/proc` is not available. */
  readonly ticks: readonly number[] | null;
  readonly generatorCpuMicros: number;
};

/** A target that fails this often is broken; going on would only measure how fast it fails. */
const FAILURES_MAX = 100;
/** How long calls in flight at the end may take to finish before they count as failed. */
const DRAIN_MS_MAX = 15_000;
const TICK_MS = 1;

type Load = {
  readonly job: Job;
  readonly request: Dispatcher.DispatchOptions;
  readonly tail: Buffer;
  readonly latency: Histogram;
  readonly firstChunk: Histogram;
  measuring: boolean;
  stopping: boolean;
  inFlight: number;
  completed: number;
  failed: number;
  firstFailure: string | null;
  /** Slots without a call, for the open loop. */
  readonly idle: Slot[];
  onIdle: () => void;
};

type Slot = { readonly start: (dueAt: number) => void };

const isWhole = (load: Load, bytes: number, last: Buffer | null): boolean => {
  if (bytes !== load.job.expectedBytes || last === null) return false;
  const length = Math.min(last.length, load.tail.length);
  return (
    last.compare(load.tail, load.tail.length - length, load.tail.length, last.length - length) === 0
  );
};

const newSlot = (load: Load, client: Client): Slot => {
  let dueAt = 0;
  let firstAt = 0;
  let status = 0;
  let bytes = 0;
  let last: Buffer | null = null;

  const finish = (failure: string | null): void => {
    const now = performance.now();
    load.inFlight -= 1;
    if (failure !== null) {
      load.failed += 1;
      load.firstFailure ??= failure;
      if (load.failed >= FAILURES_MAX) load.stopping = true;
    } else if (load.measuring) {
      load.completed += 1;
      count(load.latency, (now - dueAt) * 1_000);
      count(load.firstChunk, (firstAt - dueAt) * 1_000);
    }
    if (!load.stopping && load.job.ratePerSecond === null) slot.start(now);
    else load.idle.push(slot);
    if (load.inFlight === 0) load.onIdle();
  };

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {},
    onResponseStart(_controller, code) {
      status = code;
    },
    onResponseData(_controller, chunk) {
      if (bytes === 0) firstAt = performance.now();
      bytes += chunk.length;
      last = chunk;
    },
    onResponseEnd() {
      if (status === 200 && isWhole(load, bytes, last)) finish(null);
      else
        finish(`status ${status}, ${bytes} bytes, ending in ${last?.toString("utf8").slice(-200)}`);
    },
    onResponseError(_controller, error) {
      finish(`${error.name}: ${error.message}`);
    },
  };

  const slot: Slot = {
    start: (at) => {
      dueAt = at;
      status = 0;
      bytes = 0;
      last = null;
      load.inFlight += 1;
      client.dispatch(load.request, handler);
    },
  };
  return slot;
};

const newLoad = (job: Job): Load => ({
  job,
  request: {
    path: job.path,
    method: "POST",
    headers: [...job.headers, "content-type", "application/json"],
    body: scenarioNamed(job.scenario).body,
  },
  tail: Buffer.from(job.expectedTail),
  latency: newHistogram(),
  firstChunk: newHistogram(),
  measuring: false,
  stopping: false,
  inFlight: 0,
  completed: 0,
  failed: 0,
  firstFailure: null,
  idle: [],
  onIdle: () => undefined,
});

/** Starts what falls due; calls that find no idle connection wait, their clock running. */
const startPacing = (load: Load, ratePerSecond: number): NodeJS.Timeout => {
  const stepMs = 1_000 / ratePerSecond;
  let dueAt = performance.now();
  return setInterval(() => {
    const now = performance.now();
    while (!load.stopping && dueAt <= now) {
      const slot = load.idle.pop();
      if (slot === undefined) return;
      slot.start(dueAt);
      dueAt += stepMs;
    }
  }, TICK_MS);
};

/** Waits for the calls in flight; those that never end fail when their connection is destroyed. */
const drain = async (load: Load, clients: readonly Client[]): Promise<void> => {
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
  await Promise.all(clients.map((client) => client.destroy()));
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
  const clients = Array.from(
    { length: job.connections },
    () => new Client(job.origin, { headersTimeout: 30_000, bodyTimeout: 30_000, pipelining: 1 }),
  );
  const slots = clients.map((client) => newSlot(load, client));
  load.idle.push(...slots);
  let pacing: NodeJS.Timeout | null = null;
  if (job.ratePerSecond === null)
    for (const slot of load.idle.splice(0)) slot.start(performance.now());
  else pacing = startPacing(load, job.ratePerSecond);
  await sleep(job.warmupMs);
  const window = await measured(load);
  if (pacing !== null) clearInterval(pacing);
  await drain(load, clients);
  const of = (histogram: Histogram): { p50: number | null; p99: number | null } => ({
    p50: quantile(histogram, 0.5),
    p99: quantile(histogram, 0.99),
  });
  return {
    ...window,
    completed: load.completed,
    failed: load.failed,
    firstFailure: load.firstFailure,
    latencyMicros: of(load.latency),
    firstChunkMicros: of(load.firstChunk),
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
