/**
 * The bench: direct, a raw Node proxy, Tollgate with everything on and Portkey with nothing on, side by
 * side in one run. Each round measures every target once, in rotating order, so that a noisy spell of
 * the machine falls on all of them; ratios are taken within a round.
 *
 *   npm run bench -- [--quick] [--only calls,admissions,memory] [--targets direct,raw,tollgate,portkey]
 *     [--scenarios json,sse] [--connections 1,64,256] [--seconds 5] [--rounds 3] [--name short-name]
 *     [--out folder]
 *
 * `--quick` is a smoke run of less than a minute, of calls only unless `--only` says otherwise; it
 * writes files only when `--out` is given.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { request } from "undici";
import { measureAdmissions } from "./admissions.ts";
import { messageOf, startModule, type Child } from "./child.ts";
import { ticksPerSecond } from "./cpu.ts";
import type { Job, LoadResult } from "./load.ts";
import { planOf, type Part, type Plan } from "./plan.ts";
import { machineHere, markdownOf, type Calls, type Report } from "./report.ts";
import { faultOf, jsonAnswer, scenarioNamed, sseEvents, type ScenarioName } from "./scenario.ts";
import { measureStreamMemory } from "./stream-memory.ts";
import { median, perSecondOf, summarise, type Measurement } from "./summary.ts";
import {
  servedBy,
  startTarget,
  startUpstream,
  type Defer,
  type Target,
  type TargetName,
} from "./targets.ts";

/** Beyond the window: warm-up, calls that drain, and a machine that stalls. */
const GRACE_MS = 60_000;
/** Half load is measured on this many connections, as SPEED's targets are. */
const HALF_LOAD_CONNECTIONS = 64;

const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** What the upstream answers to a scenario; what a gateway hands on is compared with it. */
const upstreamAnswer = (scenario: ScenarioName): Buffer =>
  scenario === "json" ? jsonAnswer() : Buffer.concat(sseEvents(false));

type Expected = { readonly bytes: number; readonly tail: string; readonly identical: boolean };

/**
 * One call, read whole: what each later answer's length and end are compared with. A raw proxy and
 * Tollgate must hand on the upstream's bytes; another gateway may write them anew.
 */
const expectedFrom = async (target: Target, scenario: ScenarioName): Promise<Expected> => {
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

type Bench = {
  readonly plan: Plan;
  readonly generator: Child;
  readonly upstream: { readonly port: number; readonly pid: number };
  readonly targets: readonly Target[];
  readonly expected: ReadonlyMap<string, Expected>;
  readonly ticksPerSecond: number;
  readonly measurements: Measurement[];
};

type Point = Pick<Measurement, "scenario" | "connections" | "round" | "halfLoad">;

const measure = async (bench: Bench, target: Target, point: Point): Promise<Measurement> => {
  const { plan } = bench;
  const expected = bench.expected.get(`${target.name} ${point.scenario}`);
  if (expected === undefined) throw new Error(`nothing is expected of ${target.name}`);
  const roots = [bench.upstream.pid, target.gatewayPid, target.databasePid];
  const job: Job = {
    origin: target.origin,
    path: target.path,
    headers: target.headers,
    scenario: point.scenario,
    connections: point.connections,
    warmupMs: plan.warmupSeconds * 1_000,
    measureMs: plan.seconds * 1_000,
    ratePerSecond: point.halfLoad?.ratePerSecond ?? null,
    expectedBytes: expected.bytes,
    expectedTail: expected.tail,
    pids: roots.filter((pid) => pid !== null),
  };
  const servedBefore = await servedBy(bench.upstream.port);
  bench.generator.process.send(job);
  const message = await messageOf(bench.generator, job.warmupMs + job.measureMs + GRACE_MS);
  const result = message as LoadResult;
  const served = (await servedBy(bench.upstream.port)) - servedBefore;
  if (served < result.completed) {
    throw new Error(`${target.name}: ${result.completed} answers, only ${served} of the upstream`);
  }
  const ticks = [...(result.ticks ?? [])];
  const per = (micros: number): number | null =>
    result.completed === 0 ? null : micros / result.completed;
  const cpuOf = (pid: number | null): number | null => {
    const used = pid === null ? undefined : ticks.shift();
    return used === undefined ? null : per((used * 1e6) / bench.ticksPerSecond);
  };
  const [upstream = null, gateway = null, database = null] = roots.map(cpuOf);
  const generator = per(result.generatorCpuMicros);
  const made = { ...point, target: target.name, result };
  return { ...made, cpuMicros: { gateway, database, upstream, generator } };
};

const tell = (each: Measurement): void => {
  const { latencyMicros, failed, firstFailure } = each.result;
  const ms = (micros: number | null): string =>
    micros === null ? "–" : (micros / 1_000).toFixed(2);
  const load = each.halfLoad === null ? "" : ` at ${each.halfLoad.ratePerSecond.toFixed(0)}/s`;
  const { gateway, database } = each.cpuMicros;
  const cpu = `${gateway?.toFixed(0) ?? "–"} + ${database?.toFixed(0) ?? "–"}`;
  progress(
    `round ${each.round} ${each.scenario} ${each.connections}${load} ${each.target}: ` +
      `${perSecondOf(each).toFixed(0)}/s p50 ${ms(latencyMicros.p50)} ms p99 ${ms(latencyMicros.p99)} ms ` +
      `cpu ${cpu} µs (gateway + database)${failed === 0 ? "" : `, ${failed} FAILED: ${firstFailure}`}`,
  );
};

/** Measures these targets once each at this point, beginning with another one in every round. */
const measureAll = async (
  bench: Bench,
  targets: readonly Target[],
  point: Point,
): Promise<void> => {
  const first = point.round % targets.length;
  for (const target of [...targets.slice(first), ...targets.slice(0, first)]) {
    const measurement = await measure(bench, target, point);
    tell(measurement);
    bench.measurements.push(measurement);
  }
};

/** Lets every program compile its hot paths before anything counts; fails early when one is broken. */
const warmUp = async (bench: Bench): Promise<void> => {
  for (const scenario of bench.plan.scenarios) {
    for (const target of bench.targets) {
      const connections = Math.max(...bench.plan.connections);
      const point = { scenario, connections, round: 0, halfLoad: null };
      const { failed, firstFailure } = (await measure(bench, target, point)).result;
      const failure = failed === 0 ? "" : `, ${failed} FAILED: ${firstFailure}`;
      progress(`warm: ${target.name} ${scenario}${failure}`);
    }
  }
};

const measureFullLoad = async (bench: Bench): Promise<void> => {
  for (let round = 1; round <= bench.plan.rounds; round += 1) {
    for (const scenario of bench.plan.scenarios) {
      for (const connections of bench.plan.connections) {
        await measureAll(bench, bench.targets, { scenario, connections, round, halfLoad: null });
      }
    }
  }
};

/** Each gateway at half of its own throughput, and direct at the same rate beside it. */
const measureHalfLoad = async (bench: Bench): Promise<void> => {
  const connections = HALF_LOAD_CONNECTIONS;
  const direct = bench.targets.filter((target) => target.name === "direct");
  const rateOf = (of: TargetName, scenario: ScenarioName): number | null => {
    const same = bench.measurements.filter(
      (each) =>
        each.target === of && each.scenario === scenario && each.connections === connections,
    );
    const perSecond = median(same.filter((each) => each.halfLoad === null).map(perSecondOf));
    return perSecond === null || perSecond === 0 ? null : Math.round(perSecond / 2);
  };
  const gateways = bench.targets.filter((target) => target.name !== "direct");
  const rates = bench.plan.scenarios.flatMap((scenario) =>
    gateways.map((target) => ({ scenario, target, rate: rateOf(target.name, scenario) })),
  );
  for (let round = 1; round <= bench.plan.rounds; round += 1) {
    for (const { scenario, target, rate: ratePerSecond } of rates) {
      if (ratePerSecond === null) continue;
      const halfLoad = { of: target.name, ratePerSecond };
      await measureAll(bench, [...direct, target], { scenario, connections, round, halfLoad });
    }
  }
};

const startBench = async (plan: Plan, defer: Defer): Promise<Bench> => {
  const upstream = await startUpstream(defer);
  const generator = startModule("./load.ts", []);
  defer(generator.stop);
  const targets: Target[] = [];
  const expected = new Map<string, Expected>();
  for (const name of plan.targets) {
    const target = await startTarget(name, upstream.port, defer);
    for (const scenario of plan.scenarios) {
      expected.set(`${name} ${scenario}`, await expectedFrom(target, scenario));
    }
    targets.push(target);
    progress(`${name} is ready: ${target.version ?? "no gateway"}`);
  }
  const ticks = ticksPerSecond();
  return { plan, generator, upstream, targets, expected, ticksPerSecond: ticks, measurements: [] };
};

const callsOf = async (bench: Bench): Promise<Calls> => {
  const { plan, targets } = bench;
  const evidence = await Promise.all(
    targets.map(async (target) => [target.name, await target.evidence()] as const),
  );
  const identical = targets.map(({ name }) => {
    const told = plan.scenarios.map((scenario) => bench.expected.get(`${name} ${scenario}`));
    return [name, told.every((each) => each?.identical === true)] as const;
  });
  return {
    versions: Object.fromEntries(
      targets.flatMap(({ name, version }) => (version === null ? [] : [[name, version]])),
    ),
    notes: Object.fromEntries(
      targets.flatMap(({ name, note }) => (note === null ? [] : [[name, note]])),
    ),
    identical: Object.fromEntries(identical),
    evidence: Object.fromEntries(evidence),
    rows: summarise(bench.measurements, plan.targets),
    measurements: bench.measurements,
  };
};

const write = async (report: Report, plan: Plan): Promise<void> => {
  const markdown = markdownOf(report);
  process.stdout.write(markdown);
  if (plan.out === null) return;
  await mkdir(plan.out, { recursive: true });
  const name = `${report.startedAt.slice(0, 10)}-${plan.name ?? report.machine.commit}`;
  await writeFile(join(plan.out, `${name}.md`), markdown);
  await writeFile(join(plan.out, `${name}.json`), `${JSON.stringify(report, null, 1)}\n`);
  progress(`written: ${join(plan.out, name)}.{md,json}`);
};

/** Ends what was started, last first; one that cannot be ended does not keep the others alive. */
const endAll = async (ends: (() => Promise<void>)[]): Promise<void> => {
  for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
    await end().catch((error: unknown) => progress(`could not end a process: ${String(error)}`));
  }
};

const measureCalls = async (plan: Plan, defer: Defer): Promise<Calls> => {
  const bench = await startBench(plan, defer);
  await warmUp(bench);
  await measureFullLoad(bench);
  if (plan.halfLoad) await measureHalfLoad(bench);
  return callsOf(bench);
};

/** One part after the other; what one has started is ended before the next begins. */
const measureParts = async (plan: Plan, ends: (() => Promise<void>)[]): Promise<Report> => {
  const startedAt = new Date().toISOString();
  const defer: Defer = (end) => ends.push(end);
  const part = async <Result>(name: Part, work: () => Promise<Result>): Promise<Result | null> => {
    if (!plan.only.includes(name)) return null;
    const result = await work();
    await endAll(ends);
    return result;
  };
  // The short parts first: should one of them fail, the hours of the calls are not lost with it.
  const memory = await part("memory", () =>
    measureStreamMemory(plan.targets, plan.rounds, { defer, progress }),
  );
  const admissions = await part("admissions", () => measureAdmissions(plan, { defer, progress }));
  const calls = await part("calls", () => measureCalls(plan, defer));
  return { startedAt, machine: machineHere(), plan, calls, admissions, memory };
};

const main = async (): Promise<void> => {
  const plan = planOf(process.argv.slice(2));
  const ends: (() => Promise<void>)[] = [];
  let interrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted = true;
      void endAll(ends).finally(() => process.exit(130));
    });
  }
  try {
    const report = await measureParts(plan, ends);
    await write(report, plan);
    // A figure from calls that failed is no figure; the report says which, and so does the exit code.
    if (report.calls?.rows.some((row) => row.failed > 0)) process.exitCode = 1;
  } catch (error) {
    // What is measured fails because its process was ended just now: that is no news.
    if (!interrupted) throw error;
    process.exitCode = 130;
  } finally {
    await endAll(ends);
  }
};

await main();
