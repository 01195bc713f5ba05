/** What every part that sends calls needs: an upstream, a load generator, and one measurement with them. */
import { request } from "undici";
import { messageOf, startModule, type Child } from "./child.ts";
import { ticksPerSecond } from "./cpu.ts";
import type { Job, LoadResult } from "./load.ts";
import { faultOf, jsonAnswer, scenarioNamed, sseEvents, type ScenarioName } from "./scenario.ts";
import { servedBy, startUpstream, type Defer, type Target } from "./targets.ts";

/** Beyond the window: warm-up, calls that drain, and a machine that stalls. */
const GRACE_MS = 60_000;

/** How a part registers what must be ended, and tells how far it is. */
export type Surroundings = {
  readonly defer: Defer;
  readonly progress: (text: string) => void;
};

export type Stage = {
  readonly generator: Child;
  readonly upstream: { readonly port: number; readonly pid: number };
  readonly ticksPerSecond: number;
};

export const startStage = async (defer: Defer): Promise<Stage> => {
  const upstream = await startUpstream(defer);
  const generator = startModule("./load.ts", []);
  defer(generator.stop);
  return { upstream, generator, ticksPerSecond: ticksPerSecond() };
};

/** What the upstream answers to a scenario; what a gateway hands on is compared with it. */
const upstreamAnswer = (scenario: ScenarioName): Buffer =>
  scenario === "json" ? jsonAnswer() : Buffer.concat(sseEvents(false));

export type Expected = {
  readonly bytes: number;
  readonly tail: string;
  readonly identical: boolean;
};

/**
 * One call, read whole: what each later answer's length and end are compared with. A raw proxy and
 * Tollgate must hand on the upstream's bytes; another gateway may write them anew.
 */
export const expectedFrom = async (target: Target, scenario: ScenarioName): Promise<Expected> => {
  const answer = await request(`${target.origin}${target.path}`, {
    method: "POST",
    headers: [...target.headers, "content-type", "application/json"],
    body: scenarioNamed(scenario).body,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
  });
  const body = Buffer.from(await answer.body.arrayBuffer());
  const fault = faultOf(scenario, answer.statusCode, body);
  if (fault !== null) throw new Error(`${target.name}, ${scenario}: ${fault}`);
  const identical = body.equals(upstreamAnswer(scenario));
  if (!identical && target.name !== "portkey") {
    throw new Error(
      `${target.name}, ${scenario}: not the upstream's bytes: ${body.toString("utf8")}`,
    );
  }
  return { bytes: body.length, tail: body.subarray(-16).toString("latin1"), identical };
};

export type Load = Pick<
  Job,
  "scenario" | "connections" | "warmupMs" | "measureMs" | "ratePerSecond" | "isOverload"
>;

/** CPU of each part over the window, in microseconds per completed call; null where unknown. */
export type CpuMicros = {
  readonly gateway: number | null;
  readonly database: number | null;
  readonly upstream: number | null;
  readonly generator: number | null;
};

export type Measured = { readonly result: LoadResult; readonly cpuMicros: CpuMicros };

/** Throws when the generator ends or falls silent, or tells of more answers than the upstream gave. */
export const measureLoad = async (
  stage: Stage,
  target: Target,
  expected: Expected,
  load: Load,
): Promise<Measured> => {
  const roots = [stage.upstream.pid, target.gatewayPid, target.databasePid];
  const job: Job = {
    ...load,
    origin: target.origin,
    path: target.path,
    headers: target.headers,
    expectedBytes: expected.bytes,
    expectedTail: expected.tail,
    pids: roots.filter((pid) => pid !== null),
  };
  const servedBefore = await servedBy(stage.upstream.port);
  stage.generator.process.send(job);
  const message = await messageOf(stage.generator, job.warmupMs + job.measureMs + GRACE_MS);
  const result = message as LoadResult;
  const served = (await servedBy(stage.upstream.port)) - servedBefore;
  if (served < result.completed) {
    throw new Error(`${target.name}: ${result.completed} answers, only ${served} of the upstream`);
  }
  const ticks = [...(result.ticks ?? [])];
  const per = (micros: number): number | null =>
    result.completed === 0 ? null : micros / result.completed;
  const cpuOf = (pid: number | null): number | null => {
    const used = pid === null ? undefined : ticks.shift();
    return used === undefined ? null : per((used * 1e6) / stage.ticksPerSecond);
  };
  const [upstream = null, gateway = null, database = null] = roots.map(cpuOf);
  const generator = per(result.generatorCpuMicros);
  return { result, cpuMicros: { gateway, database, upstream, generator } };
};

export const perSecondOf = ({ result }: { readonly result: LoadResult }): number =>
  (result.completed * 1_000) / result.windowMs;
