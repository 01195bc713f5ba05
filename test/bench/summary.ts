/** From single measurements to medians and ratios. */
import type { ScenarioName } from "./scenario.ts";
import { perSecondOf, type Measured } from "./stage.ts";
import type { TargetName } from "./targets.ts";

export type Measurement = Measured & {
  readonly scenario: ScenarioName;
  readonly connections: number;
  readonly target: TargetName;
  readonly round: number;
  /** Null: closed loop. Otherwise the even rate, and the gateway at half of whose load it is. */
  readonly halfLoad: { readonly of: TargetName; readonly ratePerSecond: number } | null;
};

export type Row = {
  readonly scenario: ScenarioName;
  readonly connections: number;
  readonly target: TargetName;
  readonly halfLoad: Measurement["halfLoad"];
  readonly rounds: number;
  readonly failed: number;
  readonly firstFailure: string | null;
  /** Connections closed by the target although they were to be kept, in all rounds. */
  readonly reopened: number;
  readonly perSecond: number | null;
  readonly perSecondLowest: number | null;
  readonly perSecondHighest: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly firstChunkP50Ms: number | null;
  readonly firstChunkP99Ms: number | null;
  /** Differences and ratios are taken within each round, then their median. */
  readonly addedP50Ms: number | null;
  readonly addedP99Ms: number | null;
  readonly addedFirstChunkP50Ms: number | null;
  readonly perPortkey: number | null;
  readonly perRaw: number | null;
  readonly cpuMicros: Measurement["cpuMicros"];
};

type Maybe = number | null;

export const median = (values: readonly Maybe[]): Maybe => {
  const known = values.filter((value) => value !== null).toSorted((a, b) => a - b);
  const [low, high] = [known[(known.length - 1) >> 1], known[known.length >> 1]];
  return low === undefined || high === undefined ? null : (low + high) / 2;
};

const minus = (a: Maybe, b: Maybe): Maybe => (a === null || b === null ? null : a - b);
const over = (a: Maybe, b: Maybe): Maybe => (a === null || b === null || b === 0 ? null : a / b);
const millis = (micros: Maybe): Maybe => (micros === null ? null : micros / 1_000);

const groupOf = (each: Measurement): string =>
  JSON.stringify([each.scenario, each.connections, each.halfLoad]);

/** One row per scenario, connections, load and target; targets in this order. */
export const summarise = (
  measurements: readonly Measurement[],
  targets: readonly TargetName[],
): readonly Row[] => {
  const points = Map.groupBy(measurements, groupOf);
  return [...points.values()].flatMap((point) =>
    targets.flatMap((target) => {
      const rounds = point.filter((each) => each.target === target);
      return rounds.length === 0 ? [] : [rowOf(rounds, point)];
    }),
  );
};

const rowOf = (rounds: readonly Measurement[], point: readonly Measurement[]): Row => {
  const first = rounds[0]!;
  const beside = (each: Measurement, target: TargetName): Measurement | undefined =>
    point.find((other) => other.target === target && other.round === each.round);
  const of = (figure: (each: Measurement) => Maybe): Maybe => median(rounds.map(figure));
  const added = (figure: (each: Measurement) => Maybe): Maybe => {
    if (first.target === "direct") return null;
    return of((each) => {
      const direct = beside(each, "direct");
      return millis(minus(figure(each), direct === undefined ? null : figure(direct)));
    });
  };
  const ratio = (target: TargetName): Maybe => {
    if (first.halfLoad !== null) return null;
    return of((each) => {
      const other = beside(each, target);
      return other === undefined ? null : over(perSecondOf(each), perSecondOf(other));
    });
  };
  const speeds = rounds.map(perSecondOf);
  return {
    scenario: first.scenario,
    connections: first.connections,
    target: first.target,
    halfLoad: first.halfLoad,
    rounds: rounds.length,
    failed: rounds.reduce((sum, each) => sum + each.result.failed, 0),
    reopened: rounds.reduce((sum, each) => sum + each.result.reopened, 0),
    firstFailure:
      rounds.find((each) => each.result.firstFailure !== null)?.result.firstFailure ?? null,
    perSecond: median(speeds),
    perSecondLowest: Math.min(...speeds),
    perSecondHighest: Math.max(...speeds),
    p50Ms: of((each) => millis(each.result.latencyMicros.p50)),
    p99Ms: of((each) => millis(each.result.latencyMicros.p99)),
    firstChunkP50Ms: of((each) => millis(each.result.firstChunkMicros.p50)),
    firstChunkP99Ms: of((each) => millis(each.result.firstChunkMicros.p99)),
    addedP50Ms: added((each) => each.result.latencyMicros.p50),
    addedP99Ms: added((each) => each.result.latencyMicros.p99),
    addedFirstChunkP50Ms: added((each) => each.result.firstChunkMicros.p50),
    perPortkey: ratio("portkey"),
    perRaw: ratio("raw"),
    cpuMicros: {
      gateway: of((each) => each.cpuMicros.gateway),
      database: of((each) => each.cpuMicros.database),
      upstream: of((each) => each.cpuMicros.upstream),
      generator: of((each) => each.cpuMicros.generator),
    },
  };
};
