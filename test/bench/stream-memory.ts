/**
 * What a thousand open streams weigh in each gateway: its resident memory while they stand after their
 * first event, less what it was before they came. A fresh process for each round; at its end every stream
 * is let go and must be whole, or it was not open.
 *
 * A heap that has grown has room to spare, and streams that fit into it seem to weigh nothing. So there
 * are two figures: from the process as it was when ready (code and first buffers count as streams), and
 * from when it had served some (its spare room hides streams). The truth lies between them.
 */
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { newConnection, requestBytes } from "./connection.ts";
import type { Plan } from "./plan.ts";
import { scenarioNamed, sseEvents } from "./scenario.ts";
import type { Surroundings } from "./stage.ts";
import { median } from "./summary.ts";
import {
  releaseStreams,
  startTarget,
  startUpstream,
  type Defer,
  type Target,
  type TargetName,
} from "./targets.ts";

const STREAMS = 1_000;
/** Opened at a time: what is measured is open streams, not the crowd at the door. */
const WAVE = 50;
/** Opened and ended before the second figure begins. */
const WARM_STREAMS = 100;
const WARM_ROUNDS = 3;
const OPEN_MS_MAX = 60_000;
const POLL_MS = 10;
/** For garbage of the opening to be collected; short of the 15 s after which a gateway may write. */
const SETTLE_MS = 2_000;
const TAIL_BYTES = 16;

export type StreamMemory = {
  readonly target: TargetName;
  readonly streams: number;
  /** Mebibytes resident, one weighing per round. */
  readonly rounds: readonly Weight[];
  /** Medians of the differences, per 1,000 streams. */
  readonly fromReadyMib: number | null;
  readonly fromWarmMib: number | null;
};

type Weight = { readonly readyMib: number; readonly warmMib: number; readonly openMib: number };

/** Null, told, where the system does not say how much memory a process holds. */
export const measureStreamMemory = async (
  { targets, rounds }: Plan,
  { defer, progress }: Surroundings,
): Promise<readonly StreamMemory[] | null> => {
  if (!existsSync("/proc/self/status")) {
    progress("memory: not available without /proc");
    return null;
  }
  const gateways = targets.filter((name) => name !== "direct");
  const weighed = new Map<TargetName, Weight[]>(gateways.map((name) => [name, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const name of gateways) {
      const weight = await withEnds(defer, (each) => weigh(name, each));
      weighed.get(name)?.push(weight);
      progress(
        `round ${round} memory ${name}: ${weight.openMib.toFixed(0)} MiB with the streams open`,
      );
    }
  }
  return [...weighed].map(([target, weights]) => {
    const from = (start: (weight: Weight) => number): number | null =>
      median(weights.map((each) => ((each.openMib - start(each)) * 1_000) / STREAMS));
    return {
      target,
      streams: STREAMS,
      rounds: weights,
      fromReadyMib: from((each) => each.readyMib),
      fromWarmMib: from((each) => each.warmMib),
    };
  });
};

/** Ends what the work started when it is over; `defer` ends it when the bench is interrupted before. */
const withEnds = async <Result>(
  defer: Defer,
  work: (defer: Defer) => Promise<Result>,
): Promise<Result> => {
  const ends: (() => Promise<void>)[] = [];
  try {
    return await work((end) => {
      ends.push(end);
      defer(end);
    });
  } finally {
    for (const end of ends.toReversed()) await end();
  }
};

const weigh = async (name: TargetName, defer: Defer): Promise<Weight> => {
  const upstream = await startUpstream(defer, "hold");
  const target = await startTarget(name, upstream.port, defer);
  const readyMib = residentMib(target.gatewayPid);
  for (let round = 0; round < WARM_ROUNDS; round += 1) {
    const warm = await openStreams(target, WARM_STREAMS, defer);
    await warm.end(upstream.port);
  }
  await sleep(SETTLE_MS);
  const warmMib = residentMib(target.gatewayPid);
  const streams = await openStreams(target, STREAMS, defer);
  await sleep(SETTLE_MS);
  const openMib = residentMib(target.gatewayPid);
  await streams.end(upstream.port);
  return { readyMib, warmMib, openMib };
};

type Streams = {
  /** Lets them go and waits until each has ended whole; throws when one has not. */
  readonly end: (upstreamPort: number) => Promise<void>;
};

const openStreams = async (target: Target, streams: number, defer: Defer): Promise<Streams> => {
  const { hostname, port } = new URL(target.origin);
  const body = Buffer.concat(sseEvents(false));
  const exchange = {
    host: hostname,
    port: Number(port),
    request: requestBytes(target.origin, target.path, target.headers, scenarioNamed("sse").body),
    expectedBytes: body.length,
    expectedTail: body.subarray(-TAIL_BYTES),
  };
  let begun = 0;
  const ended: (string | null)[] = [];
  const connections = Array.from({ length: streams }, () =>
    newConnection(exchange, {
      onFirstByte: () => (begun += 1),
      onEnd: (fault) => ended.push(fault),
      onUnasked: () => ended.push("bytes that nobody asked for"),
    }),
  );
  defer(async () => {
    for (const connection of connections) connection.abandon("the measurement is over");
  });
  const check = (): void => {
    const fault = ended.find((each) => each !== null);
    if (fault !== undefined) throw new Error(`${target.name}: a stream failed: ${fault}`);
  };
  for (let at = 0; at < streams; at += WAVE) {
    for (const connection of connections.slice(at, at + WAVE)) connection.send();
    await until(() => {
      check();
      return begun >= Math.min(streams, at + WAVE);
    });
  }
  return {
    end: async (upstreamPort) => {
      check();
      const early = ended.length;
      const released = await releaseStreams(upstreamPort);
      if (early > 0 || released !== streams) {
        throw new Error(
          `${target.name}: ${streams} streams, ${released} open, ${early} ended early`,
        );
      }
      await until(() => {
        check();
        return ended.length === streams;
      });
      for (const connection of connections) connection.abandon("the measurement is over");
    },
  };
};

const until = async (isSo: () => boolean): Promise<void> => {
  const deadline = performance.now() + OPEN_MS_MAX;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`streams stood still for ${OPEN_MS_MAX} ms`);
    await sleep(POLL_MS);
  }
};

/** Resident memory of one process (proc(5), VmRSS). Throws where the system does not tell. */
const residentMib = (pid: number | null): number => {
  if (pid === null) throw new Error("no process to weigh");
  const kib = /^VmRSS:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
  if (kib === undefined) throw new Error(`no resident memory in /proc/${pid}/status`);
  return Number(kib) / 1_024;
};
