/**
 * Five times as many calls as one process can answer: how many it still answers, and how fast it turns
 * the others away. Each round first finds the peak, closed loop, and then offers five times of it, open
 * loop; the ratio is taken within the round.
 *
 * The connections bound what can wait in the gate: on 512 of them its two postings of 256 calls hold all
 * that can come, so that it has little to turn away; on 2,048 it has. A call that falls due when all are
 * busy is left out and counted (see `load.ts`).
 */
import type { Plan } from "./plan.ts";
import {
  expectedFrom,
  measureLoad,
  perSecondOf,
  startStage,
  type Measured,
  type Surroundings,
} from "./stage.ts";
import { median } from "./summary.ts";
import { startTollgate } from "./targets.ts";

const PEAK_CONNECTIONS = [64, 256] as const;
export const OVERLOAD_CONNECTIONS = [512, 2_048] as const;
const FACTOR = 5;

export type OverloadRound = {
  readonly round: number;
  readonly connections: number;
  /** Answers a second of the closed loop, on the number of connections that gave the most. */
  readonly peakPerSecond: number;
  readonly peakConnections: number;
  readonly offeredPerSecond: number;
  readonly goodputPerSecond: number;
  readonly shedPerSecond: number;
  readonly leftOutPerSecond: number;
  /** Microseconds from falling due to the last byte, of the calls that were answered and of those shed. */
  readonly answeredMicros: { readonly p50: number | null; readonly p99: number | null };
  readonly shedMicros: { readonly p50: number | null; readonly p99: number | null };
  /** Microseconds of the gateway per answer at the peak, and what is left of the overload's per shed. */
  readonly answeredCpuMicros: number | null;
  readonly shedCpuMicros: number | null;
  readonly failed: number;
  readonly firstFailure: string | null;
};

export type Overload = {
  readonly factor: number;
  readonly rounds: readonly OverloadRound[];
  /** Goodput over peak, within a round, then the median. */
  readonly perPeak: readonly { readonly connections: number; readonly ratio: number | null }[];
};

export const measureOverload = async (
  plan: Plan,
  { defer, progress }: Surroundings,
): Promise<Overload> => {
  const stage = await startStage(defer);
  const target = await startTollgate(stage.upstream.port, defer, 1);
  const expected = await expectedFrom(target, "json");
  const load = (connections: number, ratePerSecond: number | null): Promise<Measured> =>
    measureLoad(stage, target, expected, {
      scenario: "json",
      connections,
      warmupMs: plan.warmupSeconds * 1_000,
      measureMs: plan.seconds * 1_000,
      ratePerSecond,
      isOverload: ratePerSecond !== null,
    });
  const rounds: OverloadRound[] = [];
  // The zeroth only warms up.
  for (let round = 0; round <= plan.rounds; round += 1) {
    const peaks: Peak[] = [];
    for (const connections of PEAK_CONNECTIONS) {
      peaks.push({ connections, measured: await load(connections, null) });
    }
    const peak = highestOf(peaks);
    const rate = Math.max(1, Math.round(FACTOR * perSecondOf(peak.measured)));
    const order = round % 2 === 0 ? OVERLOAD_CONNECTIONS : OVERLOAD_CONNECTIONS.toReversed();
    for (const connections of order) {
      const measured = await load(connections, rate);
      if (round === 0) continue;
      const told = roundOf({ round, connections, offeredPerSecond: rate }, peaks, measured);
      rounds.push(told);
      progress(toldOf(told));
    }
  }
  await target.evidence();
  const perPeak = OVERLOAD_CONNECTIONS.map((connections) => {
    const same = rounds.filter((each) => each.connections === connections);
    return { connections, ratio: median(same.map(ratioOf)) };
  });
  return { factor: FACTOR, rounds, perPeak };
};

/** Goodput over peak; null when the peak was nothing. */
export const ratioOf = (each: OverloadRound): number | null =>
  each.peakPerSecond === 0 ? null : each.goodputPerSecond / each.peakPerSecond;

type Peak = { readonly connections: number; readonly measured: Measured };

const highestOf = (peaks: readonly Peak[]): Peak =>
  peaks.reduce((best, each) =>
    perSecondOf(each.measured) > perSecondOf(best.measured) ? each : best,
  );

const roundOf = (
  point: Pick<OverloadRound, "round" | "connections" | "offeredPerSecond">,
  peaks: readonly Peak[],
  measured: Measured,
): OverloadRound => {
  const { result } = measured;
  const peak = highestOf(peaks);
  const all = [...peaks.map((each) => each.measured.result), result];
  const perSecond = (calls: number): number => (calls * 1_000) / result.windowMs;
  return {
    ...point,
    peakPerSecond: perSecondOf(peak.measured),
    peakConnections: peak.connections,
    goodputPerSecond: perSecondOf(measured),
    shedPerSecond: perSecond(result.shed),
    leftOutPerSecond: perSecond(result.leftOut),
    answeredMicros: result.latencyMicros,
    shedMicros: result.shedMicros,
    answeredCpuMicros: peak.measured.cpuMicros.gateway,
    shedCpuMicros: shedCpuOf(peak.measured, measured),
    failed: all.reduce((sum, each) => sum + each.failed, 0),
    firstFailure: all.find((each) => each.firstFailure !== null)?.firstFailure ?? null,
  };
};

/**
 * Supposing that an answer costs what it did at the peak. With c for that and s for this, a process whose
 * core is full answers (1 - 5 s/c) / (1 - s/c) of its peak at five times of it: it is sheds that cost.
 */
const shedCpuOf = (peak: Measured, { result, cpuMicros }: Measured): number | null => {
  const perAnswer = peak.cpuMicros.gateway;
  if (perAnswer === null || cpuMicros.gateway === null || result.shed === 0) return null;
  return ((cpuMicros.gateway - perAnswer) * result.completed) / result.shed;
};

const toldOf = (each: OverloadRound): string => {
  const failure = each.failed === 0 ? "" : `, ${each.failed} FAILED: ${each.firstFailure}`;
  return (
    `round ${each.round} overload ${each.connections}: peak ${each.peakPerSecond.toFixed(0)}/s, offered ` +
    `${each.offeredPerSecond}/s: ${each.goodputPerSecond.toFixed(0)}/s answered, ` +
    `${each.shedPerSecond.toFixed(0)}/s shed, ${each.leftOutPerSecond.toFixed(0)}/s left out${failure}`
  );
};
