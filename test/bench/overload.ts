/**
 * Five times as many calls as one process can answer: how many it still answers, and how fast it turns
 * the others away. Each round first finds the peak, closed loop, and then offers five times of it, open
 * loop; the ratio is taken within the round.
 *
 * The connections bound what can wait in the gate. So there are more of them than its two postings of 256
 * calls hold; a call that falls due when all are busy is left out and counted (see `load.ts`).
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
const OVERLOAD_CONNECTIONS = 2_048;
const FACTOR = 5;

export type OverloadRound = {
  readonly round: number;
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
  readonly failed: number;
  readonly firstFailure: string | null;
};

export type Overload = {
  readonly factor: number;
  readonly connections: number;
  readonly rounds: readonly OverloadRound[];
  /** Goodput over peak, within a round, then the median. */
  readonly perPeak: number | null;
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
    const measured = roundOf(round, peaks, rate, await load(OVERLOAD_CONNECTIONS, rate));
    if (round === 0) continue;
    rounds.push(measured);
    progress(toldOf(measured));
  }
  await target.evidence();
  const ratios = rounds.map((each) =>
    each.peakPerSecond === 0 ? null : each.goodputPerSecond / each.peakPerSecond,
  );
  return { factor: FACTOR, connections: OVERLOAD_CONNECTIONS, rounds, perPeak: median(ratios) };
};

type Peak = { readonly connections: number; readonly measured: Measured };

const highestOf = (peaks: readonly Peak[]): Peak =>
  peaks.reduce((best, each) =>
    perSecondOf(each.measured) > perSecondOf(best.measured) ? each : best,
  );

const roundOf = (
  round: number,
  peaks: readonly Peak[],
  offeredPerSecond: number,
  measured: Measured,
): OverloadRound => {
  const { result } = measured;
  const peak = highestOf(peaks);
  const all = [...peaks.map((each) => each.measured.result), result];
  const perSecond = (calls: number): number => (calls * 1_000) / result.windowMs;
  return {
    round,
    peakPerSecond: perSecondOf(peak.measured),
    peakConnections: peak.connections,
    offeredPerSecond,
    goodputPerSecond: perSecondOf(measured),
    shedPerSecond: perSecond(result.shed),
    leftOutPerSecond: perSecond(result.leftOut),
    answeredMicros: result.latencyMicros,
    shedMicros: result.shedMicros,
    failed: all.reduce((sum, each) => sum + each.failed, 0),
    firstFailure: all.find((each) => each.firstFailure !== null)?.firstFailure ?? null,
  };
};

const toldOf = (each: OverloadRound): string => {
  const failure = each.failed === 0 ? "" : `, ${each.failed} FAILED: ${each.firstFailure}`;
  return (
    `round ${each.round} overload: peak ${each.peakPerSecond.toFixed(0)}/s, offered ` +
    `${each.offeredPerSecond}/s: ${each.goodputPerSecond.toFixed(0)}/s answered, ` +
    `${each.shedPerSecond.toFixed(0)}/s shed, ${each.leftOutPerSecond.toFixed(0)}/s left out${failure}`
  );
};
