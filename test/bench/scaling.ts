/**
 * What more processes bring: Tollgate in 1, 2 and 4 of them, each number on a PostgreSQL of its own,
 * measured in turn within a round; those whose turn it is not stand idle. Load generator, upstream and
 * PostgreSQL share the cores with them, so where there are no free cores there is nothing to gain.
 */
import type { Plan } from "./plan.ts";
import {
  expectedFrom,
  measureLoad,
  perSecondOf,
  startStage,
  type CpuMicros,
  type Expected,
  type Stage,
  type Surroundings,
} from "./stage.ts";
import { median } from "./summary.ts";
import { startTollgate, type Target } from "./targets.ts";

const PROCESSES = [1, 2, 4] as const;
const CONNECTIONS = 256;

export type ScalingRound = {
  readonly processes: number;
  readonly round: number;
  readonly perSecond: number;
  readonly p50Micros: number | null;
  readonly p99Micros: number | null;
  readonly cpuMicros: CpuMicros;
  readonly failed: number;
  readonly firstFailure: string | null;
};

export type Scaling = {
  readonly connections: number;
  readonly rounds: readonly ScalingRound[];
  /** Over one process, within a round, then the median. */
  readonly perOne: readonly { readonly processes: number; readonly ratio: number | null }[];
};

type Installed = {
  readonly processes: number;
  readonly target: Target;
  readonly expected: Expected;
};

export const measureScaling = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Scaling> => {
  const stage = await startStage(defer);
  const installed: Installed[] = [];
  for (const processes of PROCESSES) {
    const target = await startTollgate(stage.upstream.port, defer, processes);
    installed.push({ processes, target, expected: await expectedFrom(target, "json") });
  }
  const rounds: ScalingRound[] = [];
  // The zeroth only warms up, and another number begins in every round.
  for (let round = 0; round <= plan.rounds; round += 1) {
    const first = round % installed.length;
    for (const each of [...installed.slice(first), ...installed.slice(0, first)]) {
      const measured = await measureOne(stage, each, plan, round);
      if (round === 0) continue;
      rounds.push(measured);
      const failure = measured.failed === 0 ? "" : `, FAILED: ${measured.firstFailure}`;
      progress(
        `round ${round} scaling ${each.processes}: ${measured.perSecond.toFixed(0)}/s${failure}`,
      );
    }
  }
  for (const { target } of installed) await target.evidence();
  const perOne = PROCESSES.map((processes) => ({ processes, ratio: ratioOf(rounds, processes) }));
  return { connections: CONNECTIONS, rounds, perOne };
};

const measureOne = async (
  stage: Stage,
  { processes, target, expected }: Installed,
  plan: Plan,
  round: number,
): Promise<ScalingRound> => {
  const measured = await measureLoad(stage, target, expected, {
    scenario: "json",
    connections: CONNECTIONS,
    warmupMs: plan.warmupSeconds * 1_000,
    measureMs: plan.seconds * 1_000,
    ratePerSecond: null,
    isOverload: false,
  });
  const { latencyMicros, failed, firstFailure } = measured.result;
  return {
    processes,
    round,
    perSecond: perSecondOf(measured),
    p50Micros: latencyMicros.p50,
    p99Micros: latencyMicros.p99,
    cpuMicros: measured.cpuMicros,
    failed,
    firstFailure,
  };
};

const ratioOf = (rounds: readonly ScalingRound[], processes: number): number | null => {
  const ratios = rounds
    .filter((each) => each.processes === processes)
    .map((each) => {
      const one = rounds.find((other) => other.processes === 1 && other.round === each.round);
      return one === undefined || one.perSecond === 0 ? null : each.perSecond / one.perSecond;
    });
  return median(ratios);
};
