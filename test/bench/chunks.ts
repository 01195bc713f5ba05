/**
 * What a gateway adds to each chunk of a stream that comes as a model writes it: one event every 20 ms.
 * The upstream writes into each event when it sent it, by the clock that all processes of the machine
 * share, and here it is read when the event has come; what direct takes is no gateway's.
 *
 * The streams begin spread over the time of one, so that their events do not fall together.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { newConnection, requestBytes, type Connection } from "./connection.ts";
import { cpuTicks, ticksPerSecond } from "./cpu.ts";
import { count, newHistogram, quantile, type Histogram } from "./histogram.ts";
import type { Plan } from "./plan.ts";
import {
  CHUNK_EVERY_MS,
  nowMicros,
  scenarioNamed,
  STAMP_DIGITS,
  STAMP_MARK,
  STAMPED_EVENTS,
} from "./scenario.ts";
import type { Surroundings } from "./stage.ts";
import { median } from "./summary.ts";
import { startTarget, startUpstream, type Target, type TargetName } from "./targets.ts";

const STREAMS = 32;
const STREAM_MS = STAMPED_EVENTS * CHUNK_EVERY_MS;
/** A stamp that two reads share is passed over; were they many, the others would tell nothing. */
const SEEN_SHARE_MIN = 0.9;
const MARK = Buffer.from(STAMP_MARK);
const TAIL_BYTES = 16;

export type ChunkRound = {
  readonly target: TargetName;
  readonly round: number;
  readonly chunks: number;
  /** Microseconds from the upstream's write of an event to its arrival here. */
  readonly p50Micros: number | null;
  readonly p99Micros: number | null;
  readonly gatewayCpuMicros: number | null;
};

export type Chunks = {
  readonly streams: number;
  readonly everyMs: number;
  readonly rounds: readonly ChunkRound[];
  /** Against direct, within a round, then the median. */
  readonly added: readonly {
    readonly target: TargetName;
    readonly p50Micros: number | null;
    readonly p99Micros: number | null;
  }[];
};

export const measureChunks = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Chunks> => {
  const upstream = await startUpstream(defer, "paced");
  const started: Started[] = [];
  for (const name of plan.targets) {
    const target = await startTarget(name, upstream.port, defer);
    started.push({ target, expected: await readWhole(target) });
  }
  const rounds: ChunkRound[] = [];
  // The zeroth only warms up, and another target begins in every round.
  for (let round = 0; round <= plan.rounds; round += 1) {
    const first = round % started.length;
    for (const each of [...started.slice(first), ...started.slice(0, first)]) {
      const measured = await measureOne(each, plan, round);
      if (round === 0) continue;
      rounds.push(measured);
      const p50 = measured.p50Micros?.toFixed(0) ?? "–";
      progress(`round ${round} chunks ${measured.target}: p50 ${p50} µs on the way`);
    }
  }
  const added = plan.targets
    .filter((target) => target !== "direct")
    .map((target) => ({
      target,
      p50Micros: addedOf(rounds, target, (each) => each.p50Micros),
      p99Micros: addedOf(rounds, target, (each) => each.p99Micros),
    }));
  return { streams: STREAMS, everyMs: CHUNK_EVERY_MS, rounds, added };
};

const addedOf = (
  rounds: readonly ChunkRound[],
  target: TargetName,
  figure: (each: ChunkRound) => number | null,
): number | null =>
  median(
    rounds
      .filter((each) => each.target === target)
      .map((each) => {
        const same = rounds.find(
          (other) => other.target === "direct" && other.round === each.round,
        );
        const [own, direct] = [figure(each), same === undefined ? null : figure(same)];
        return own === null || direct === null ? null : own - direct;
      }),
  );

type Started = { readonly target: Target; readonly expected: Buffer };

/** One stream: its length and end are what those of every later one must be. */
const readWhole = async (target: Target): Promise<Buffer> => {
  const response = await fetch(`${target.origin}${target.path}`, {
    method: "POST",
    headers: [...pairsOf(target.headers), ["content-type", "application/json"]],
    body: new Uint8Array(scenarioNamed("sse").body),
    signal: AbortSignal.timeout(30_000),
  });
  const body = Buffer.from(await response.arrayBuffer());
  const stamps = body.toString("latin1").split(STAMP_MARK).length - 1;
  if (response.status !== 200 || stamps !== STAMPED_EVENTS) {
    throw new Error(`${target.name}: status ${response.status}, ${stamps} stamped events`);
  }
  return body;
};

const pairsOf = (headers: readonly string[]): [string, string][] =>
  Array.from({ length: headers.length / 2 }, (_, at) => [
    headers[2 * at] ?? "",
    headers[2 * at + 1] ?? "",
  ]);

type Watch = {
  readonly latency: Histogram;
  measuring: boolean;
  stopping: boolean;
  chunks: number;
  whole: number;
  stamps: number;
  fault: string | null;
};

const measureOne = async (started: Started, plan: Plan, round: number): Promise<ChunkRound> => {
  const { target } = started;
  const watch: Watch = {
    latency: newHistogram(),
    measuring: false,
    stopping: false,
    chunks: 0,
    whole: 0,
    stamps: 0,
    fault: null,
  };
  const connections = Array.from({ length: STREAMS }, () => newStream(started, watch));
  const pids = target.gatewayPid === null ? [] : [target.gatewayPid];
  try {
    for (const connection of connections) {
      connection.send();
      await sleep(STREAM_MS / STREAMS);
    }
    const ticksBefore = cpuTicks(pids)?.[0];
    watch.measuring = true;
    await sleep(plan.seconds * 1_000);
    watch.measuring = false;
    const ticksAfter = cpuTicks(pids)?.[0];
    watch.stopping = true;
    await untilIdle(connections);
    check(target, watch);
    const ticks =
      ticksBefore === undefined || ticksAfter === undefined ? null : ticksAfter - ticksBefore;
    return {
      target: target.name,
      round,
      chunks: watch.chunks,
      p50Micros: quantile(watch.latency, 0.5),
      p99Micros: quantile(watch.latency, 0.99),
      gatewayCpuMicros: ticks === null ? null : (ticks * 1e6) / ticksPerSecond() / watch.chunks,
    };
  } finally {
    for (const connection of connections) connection.abandon("the measurement is over");
  }
};

/** Streams one after the other on one connection, until the measurement stops. */
const newStream = ({ target, expected }: Started, watch: Watch): Connection => {
  const { hostname, port } = new URL(target.origin);
  const exchange = {
    host: hostname,
    port: Number(port),
    request: requestBytes(target.origin, target.path, target.headers, scenarioNamed("sse").body),
    expectedBytes: expected.length,
    expectedTail: expected.subarray(-TAIL_BYTES),
  };
  const connection = newConnection(exchange, {
    onFirstByte: () => undefined,
    onBytes: (buffer, length) => readStamps(buffer, length, watch),
    onEnd: (fault) => {
      if (fault === null) watch.whole += 1;
      else if (!watch.stopping) watch.fault ??= fault;
      if (!watch.stopping && fault === null) connection.send();
    },
    onUnasked: () => (watch.fault ??= "bytes that nobody asked for"),
  });
  return connection;
};

const readStamps = (buffer: Buffer, length: number, watch: Watch): void => {
  const now = nowMicros();
  const size = MARK.length + STAMP_DIGITS;
  for (let at = buffer.indexOf(MARK); at !== -1 && at + size <= length;) {
    watch.stamps += 1;
    if (watch.measuring) {
      const sentAt = Number(buffer.toString("latin1", at + MARK.length, at + size));
      count(watch.latency, now - sentAt);
      watch.chunks += 1;
    }
    at = buffer.indexOf(MARK, at + size);
  }
};

const untilIdle = async (connections: readonly Connection[]): Promise<void> => {
  const until = performance.now() + 10 * STREAM_MS;
  while (connections.some((connection) => connection.isBusy())) {
    if (performance.now() > until) throw new Error("a stream of the bench did not end");
    await sleep(CHUNK_EVERY_MS);
  }
};

const check = (target: Target, { fault, whole, stamps, chunks }: Watch): void => {
  if (fault !== null) throw new Error(`${target.name}: a stream failed: ${fault}`);
  if (chunks === 0 || stamps < whole * STAMPED_EVENTS * SEEN_SHARE_MIN) {
    throw new Error(`${target.name}: ${whole} streams, but only ${stamps} stamps were read`);
  }
};
