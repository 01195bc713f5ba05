/** The periods that a page of reports may be of, each beside the one before it; days are UTC's. */
import { DAY_MS, dayText } from "./figures.ts";

export type Span = {
  /** The first day, as the API reads it. */
  readonly from: string;
  /** The day after the last. */
  readonly to: string;
};

export type Period = Span & {
  readonly before: Span;
  /** What the period before is called: `than last month`. */
  readonly beforeName: string;
};

export const PERIODS = ["this_month", "last_month", "90_days"] as const;
export type PeriodName = (typeof PERIODS)[number];

const DAYS = 90;

export function periodOf(name: PeriodName, now: Date): Period {
  switch (name) {
    case "this_month":
      return {
        from: monthDay(now, 0),
        to: dayAfter(now, 1),
        before: { from: monthDay(now, -1), to: monthDay(now, 0) },
        beforeName: "last month",
      };
    case "last_month":
      return {
        from: monthDay(now, -1),
        to: monthDay(now, 0),
        before: { from: monthDay(now, -2), to: monthDay(now, -1) },
        beforeName: "the month before",
      };
    case "90_days":
      return {
        from: dayAfter(now, 1 - DAYS),
        to: dayAfter(now, 1),
        before: { from: dayAfter(now, 1 - 2 * DAYS), to: dayAfter(now, 1 - DAYS) },
        beforeName: `the ${DAYS} days before`,
      };
  }
}

function monthDay(now: Date, months: number): string {
  return dayOf(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months, 1));
}

function dayAfter(now: Date, days: number): string {
  return dayOf(now.getTime() + days * DAY_MS);
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** `1 Nov to 28 Nov`: with its last day, not the day after it. */
export function spanText({ from, to }: Span): string {
  return `${dayText(new Date(from))} to ${dayText(new Date(Date.parse(to) - DAY_MS))}`;
}

export type Slot = {
  /** As a report names it: `2026-11-28`, `2026-W48`. */
  readonly key: string;
  /** Its first day. */
  readonly label: string;
};

/** Each day or week that a period touches, also those in which nothing was. */
export function slotsOf({ from, to }: Span, by: "day" | "week"): readonly Slot[] {
  const [first, end] = [Date.parse(from), Date.parse(to)];
  const begin = by === "day" ? first : mondayOf(first);
  const step = by === "day" ? DAY_MS : 7 * DAY_MS;
  return Array.from({ length: Math.ceil((end - begin) / step) }, (_, index) => {
    const at = begin + index * step;
    return { key: by === "day" ? dayOf(at) : weekOf(at), label: dayText(new Date(at)) };
  });
}

function mondayOf(ms: number): number {
  return ms - ((new Date(ms).getUTCDay() + 6) % 7) * DAY_MS;
}

/** The week of ISO 8601 that begins on this Monday: its Thursday says of which year it is. */
function weekOf(monday: number): string {
  const thursday = monday + 3 * DAY_MS;
  const year = new Date(thursday).getUTCFullYear();
  const week = Math.floor((thursday - Date.UTC(year, 0, 1)) / (7 * DAY_MS)) + 1;
  return `${year}-W${String(week).padStart(2, "0")}`;
}
