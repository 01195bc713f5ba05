/** The counters by which an operator sees whether the gate's promises hold. Counts of this process. */
import type { Settled } from "../store/settlement.ts";
import type { Reason } from "../core/verdict.ts";

export type Trust = {
  readonly admitted: () => void;
  readonly refused: (reason: Reason) => void;
  readonly unavailable: () => void;
  readonly unknown: (attempts: number) => void;
  readonly settled: (basis: string, settled: Settled, by: Told) => void;
  readonly read: () => TrustFigures;
};

/** Who says what an attempt cost: the gate, which measured it, or the caller that made it. */
export type Told = "measured" | "reported";

export type TrustFigures = {
  readonly admitted: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly unavailable: number;
  readonly unknown: number;
  readonly settledByBasis: Readonly<Record<string, number>>;
  /** Of what the gate measured: what a caller reports above its reservation breaks no promise of ours. */
  readonly overages: number;
};

export function createTrust(): Trust {
  let admitted = 0;
  let unavailable = 0;
  let unknown = 0;
  let overages = 0;
  const refused: Record<string, number> = {};
  const settledByBasis: Record<string, number> = {};
  return {
    admitted: () => {
      admitted += 1;
    },
    refused: (reason) => {
      refused[reason] = (refused[reason] ?? 0) + 1;
    },
    unavailable: () => {
      unavailable += 1;
    },
    unknown: (attempts) => {
      unknown += attempts;
    },
    settled: (basis, settled, by) => {
      if (settled.outcome !== "settled" && settled.outcome !== "corrected") return;
      settledByBasis[basis] = (settledByBasis[basis] ?? 0) + 1;
      if (by === "measured" && settled.overagePicousd > 0n) overages += 1;
    },
    read: () => ({
      admitted,
      refused: { ...refused },
      unavailable,
      unknown,
      settledByBasis: { ...settledByBasis },
      overages,
    }),
  };
}
