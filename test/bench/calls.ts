/**
 * Calls through every target. Each round measures each of them once, in rotating order, so that a noisy
 * spell of the machine falls on all; ratios are taken within a round.
 */
import type { Plan } from "./plan.ts";
import type { ScenarioName } from "./scenario.ts";
import {
  expectedFrom,
  measureLoad,
  perSecondOf,
  startStage,
  type Expected,
  type Stage,
  type Surroundings,
} from "./stage.ts";
import { median, summarise, type Measurement, type Row } from "./summary.ts";
import { startTarget, type Evidence, type Target, type TargetName } from "./targets.ts";

export type Calls = {
  readonly versions: Readonly<Partial<Record<TargetName, string>>>;
  readonly notes: Readonly<Partial<Record<TargetName, string>>>;
  /** Whether each target's answers were, byte for byte, the upstream's. */
  readonly identical: Readonly<Partial<Record<TargetName, boolean>>>;
  readonly evidence: Readonly<Partial<Record<TargetName, Evidence>>>;
  readonly rows: readonly Row[];
  readonly measurements: readonly Measurement[];
};

/** Half load is measured on this many connections, as SPEED's targets are. */
const HALF_LOAD_CONNECTIONS = 64;

type Bench = {
  readonly plan: Plan;
  readonly stage: Stage;
  readonly progress: (text: string) => void;
  readonly targets: readonly Target[];
  readonly expected: ReadonlyMap<string, Expected>;
  readonly measurements: Measurement[];
};

type Point = Pick<Measurement, "scenario" | "connections" | "round" | "halfLoad">;

const measure = async (bench: Bench, target: Target, point: Point): Promise<Measurement> => {
  const expected = bench.expected.get(`${target.name} ${point.scenario}`);
  if (expected === undefined) throw new Error(`nothing is expected of ${target.name}`);
  const measured = await measureLoad(bench.stage, target, expected, {
    scenario: point.scenario,
    connections: point.connections,
    warmupMs: bench.plan.warmupSeconds * 1_000,
    measureMs: bench.plan.seconds * 1_000,
    ratePerSecond: point.halfLoad?.ratePerSecond ?? null,
    isOverload: false,
  });
  return { ...point, target: target.name, ...measured };
};

const tell = (bench: Bench, each: Measurement): void => {
  const { latencyMicros, failed, firstFailure } = each.result;
  const ms = (micros: number | null): string =>
    micros === null ? "–" : (micros / 1_000).toFixed(2);
  const load = each.halfLoad === null ? "" : ` at ${each.halfLoad.ratePerSecond.toFixed(0)}/s`;
  const { gateway, database } = each.cpuMicros;
  const cpu = `${gateway?.toFixed(0) ?? "–"} + ${database?.toFixed(0) ?? "–"}`;
  bench.progress(
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
    tell(bench, measurement);
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
      bench.progress(`warm: ${target.name} ${scenario}${failure}`);
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

const startBench = async (plan: Plan, { defer, progress }: Surroundings): Promise<Bench> => {
  const stage = await startStage(defer);
  const targets: Target[] = [];
  const expected = new Map<string, Expected>();
  for (const name of plan.targets) {
    const target = await startTarget(name, stage.upstream.port, defer);
    for (const scenario of plan.scenarios) {
      expected.set(`${name} ${scenario}`, await expectedFrom(target, scenario));
    }
    targets.push(target);
    progress(`${name} is ready: ${target.version ?? "no gateway"}`);
  }
  return { plan, stage, progress, targets, expected, measurements: [] };
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

export const measureCalls = async (plan: Plan, surroundings: Surroundings): Promise<Calls> => {
  const bench = await startBench(plan, surroundings);
  await warmUp(bench);
  await measureFullLoad(bench);
  if (plan.halfLoad) await measureHalfLoad(bench);
  return callsOf(bench);
};
