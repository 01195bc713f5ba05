/** Where a limit will be when its window ends, if it goes on as it did in the window so far. */
import type { Limit } from "./answers.ts";
import { unitsOf, decimalOf, DAY_MS, type Amount } from "./figures.ts";

export type Forecast = {
  /** What will have been committed at the end of the window. */
  readonly total: Amount;
  /** Within the window; null: there is enough. */
  readonly runsOutAt: Date | null;
};

const HOUR_MS = 3_600_000;

/** Before a fiftieth of a window is over, its pace is chance. */
const SHARE_MIN = 50;

/** Only for what is summed in a window of at least an hour: a forecast of a minute is over when it is read. */
export function forecastOf(limit: Limit, now: Date): Forecast | null {
  const { committed, resets_at: resets, unit } = limit;
  if (committed === null || resets === null || unit === "in_flight") return null;
  const end = Date.parse(resets);
  const begin = beginOf(limit.window, new Date(end));
  if (begin === null) return null;
  const [gone, whole] = [now.getTime() - begin, end - begin];
  const spent = unitsOf(committed);
  if (gone * SHARE_MIN < whole || spent === 0n || gone > whole) return null;
  const most = unitsOf(limit.limit);
  const total = (spent * BigInt(whole)) / BigInt(gone);
  const runsOut = begin + Number((most * BigInt(gone)) / spent);
  return {
    total: typeof committed === "string" ? decimalOf(total) : Number(total),
    runsOutAt: total > most ? new Date(Math.max(runsOut, now.getTime())) : null,
  };
}

/** The window's first moment; a day of 23 or 25 hours shifts it by one, which a forecast bears. */
function beginOf(window: string, end: Date): number | null {
  switch (window) {
    case "hour":
      return end.getTime() - HOUR_MS;
    case "day":
      return end.getTime() - DAY_MS;
    case "week":
      return end.getTime() - 7 * DAY_MS;
    case "month": {
      // A day within it, in any zone: then as many days as that month has.
      const within = new Date(end.getTime() - 2 * DAY_MS);
      const days = new Date(Date.UTC(within.getUTCFullYear(), within.getUTCMonth() + 1, 0));
      return end.getTime() - days.getUTCDate() * DAY_MS;
    }
    default:
      return null;
  }
}
