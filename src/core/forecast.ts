/** Where a limit is going: what was used so far in its window, carried on at the same rate. */
import { roundedQuotient } from "./report.ts";

const DAY_MS = 86_400_000n;

/** Exhaustion later than this is told as none: at that rate it does not matter, and it fits a date. */
const AHEAD_MS_MAX = 100n * 366n * DAY_MS;

export type Burn = {
  /** In the limit's own unit, rounded to the nearest whole one. */
  readonly perDay: bigint;
  /** Committed at the window's end; null where it has none. */
  readonly atEnd: bigint | null;
  /** When the limit is used up, in ms since 1970; null where that is not before the window's end. */
  readonly exhaustedAtMs: number | null;
};

/** Null at the very beginning of a window, where nothing can be told of a rate. */
export function burnOf(meter: {
  readonly limit: bigint;
  readonly committed: bigint;
  readonly startsAtMs: number;
  readonly endsAtMs: number | null;
  readonly nowMs: number;
}): Burn | null {
  const { limit, committed, startsAtMs, endsAtMs, nowMs } = meter;
  const elapsedMs = BigInt(Math.floor(nowMs - startsAtMs));
  if (elapsedMs <= 0n) return null;
  const wholeMs = endsAtMs === null ? null : BigInt(Math.floor(endsAtMs - startsAtMs));
  return {
    perDay: roundedQuotient(committed * DAY_MS, elapsedMs),
    atEnd: wholeMs === null ? null : roundedQuotient(committed * wholeMs, elapsedMs),
    exhaustedAtMs: exhausted({ limit, committed, elapsedMs, wholeMs }, nowMs),
  };
}

function exhausted(
  used: {
    readonly limit: bigint;
    readonly committed: bigint;
    readonly elapsedMs: bigint;
    readonly wholeMs: bigint | null;
  },
  nowMs: number,
): number | null {
  const { limit, committed, elapsedMs, wholeMs } = used;
  if (committed >= limit) return nowMs;
  if (committed <= 0n) return null;
  const aheadMs = roundedQuotient((limit - committed) * elapsedMs, committed);
  if (aheadMs > AHEAD_MS_MAX || (wholeMs !== null && elapsedMs + aheadMs >= wholeMs)) return null;
  return nowMs + Number(aheadMs);
}
