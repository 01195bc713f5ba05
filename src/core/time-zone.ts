import { zoneFormatter } from "../lib/time-zone.ts";
import { InputError } from "./errors.ts";
import type { Window } from "./verdict.ts";

/**
 * The window of a meter that holds a moment, equal to PostgreSQL's `date_trunc(window, at, zone)` to
 * the millisecond, so that the row named here is the row the store would name. The rules for a
 * midnight that a change of clocks skips or repeats are those of its `DetermineTimeZoneOffset`.
 */
export type Period = {
  readonly start: Date;
  /** The first moment of the next window; null for `none`. */
  readonly end: Date | null;
};

/** Zones by name: making a formatter costs 50 times using one. Owned by the caller, bounded here. */
export type ZoneCache = Map<string, Intl.DateTimeFormat>;

/** There are about 600 zone names, aliases included; more can only be spellings of them. */
const ZONES_MAX = 1_024;

/** The longest IANA name has 32 characters. */
const ZONE_LENGTH_MAX = 64;

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Every zone is within a day of UTC, so the offsets around a local midnight are found within this. */
const AROUND_MS = DAY_MS;

/** The start of a window that never ends: one row, whatever the time. */
const NONE_START_MS = 0;

export function windowOf(
  window: Window,
  at: Date,
  timeZone: string,
  cache: ZoneCache = new Map(),
): Period {
  switch (window) {
    case "none":
      return { start: new Date(NONE_START_MS), end: null };
    case "minute":
      return fixedPeriod(at, MINUTE_MS, offsetAt(at.getTime(), timeZone, cache));
    case "hour":
      return fixedPeriod(at, HOUR_MS, offsetAt(at.getTime(), timeZone, cache));
    case "day":
    case "week":
    case "month": {
      const local = at.getTime() + offsetAt(at.getTime(), timeZone, cache);
      const [first, next] = localBounds(window, local);
      return {
        start: new Date(instantOf(first, timeZone, cache)),
        end: new Date(instantOf(next, timeZone, cache)),
      };
    }
  }
}

/**
 * Whether both this program and PostgreSQL know a zone by this name and mean the same: `UTC` or an
 * `Area/Location`. A plain offset is refused, since PostgreSQL reads the sign of `+02:00` the other way.
 */
export function isTimeZone(name: string): boolean {
  if (name === "UTC") return true;
  if (name.length > ZONE_LENGTH_MAX || !/^[A-Za-z_]+(\/[A-Za-z0-9_+-]+)+$/.test(name)) return false;
  return zoneFormatter(name) !== null;
}

/** Minutes and hours keep the offset that holds at the moment, also where it changes within them. */
function fixedPeriod(at: Date, lengthMs: number, offsetMs: number): Period {
  const local = at.getTime() + offsetMs;
  const start = local - modulo(local, lengthMs) - offsetMs;
  return { start: new Date(start), end: new Date(start + lengthMs) };
}

/** First local midnights of this window and the next, as if local time were UTC. */
function localBounds(window: "day" | "week" | "month", local: number): [number, number] {
  const midnight = local - modulo(local, DAY_MS);
  if (window === "day") return [midnight, midnight + DAY_MS];
  const date = new Date(midnight);
  if (window === "week") {
    const sinceMonday = (date.getUTCDay() + 6) % 7;
    const monday = midnight - sinceMonday * DAY_MS;
    return [monday, monday + 7 * DAY_MS];
  }
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  return [Date.UTC(year, month, 1), Date.UTC(year, month + 1, 1)];
}

/**
 * The instant of a local time. One that a spring skips is read by the offset before the change, one
 * that an autumn repeats by the offset after it.
 */
function instantOf(local: number, timeZone: string, cache: ZoneCache): number {
  const before = offsetAt(local - AROUND_MS, timeZone, cache);
  const after = offsetAt(local + AROUND_MS, timeZone, cache);
  if (before === after) return local - before;
  const byBefore = local - before;
  const byAfter = local - after;
  const beforeHolds = offsetAt(byBefore, timeZone, cache) === before;
  const afterHolds = offsetAt(byAfter, timeZone, cache) === after;
  if (beforeHolds !== afterHolds) return beforeHolds ? byBefore : byAfter;
  return before < after ? byBefore : byAfter;
}

/** Local time minus UTC at an instant, in milliseconds. */
function offsetAt(instant: number, timeZone: string, cache: ZoneCache): number {
  if (timeZone === "UTC") return 0;
  const parts = formatterOf(timeZone, cache).formatToParts(instant);
  const field = (type: Intl.DateTimeFormatPartTypes): number =>
    Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(
    field("year"),
    field("month") - 1,
    field("day"),
    field("hour"),
    field("minute"),
    field("second"),
  );
  return local - (instant - modulo(instant, SECOND_MS));
}

function formatterOf(timeZone: string, cache: ZoneCache): Intl.DateTimeFormat {
  const cached = cache.get(timeZone);
  if (cached !== undefined) return cached;
  const formatter = zoneFormatter(timeZone);
  if (formatter === null) {
    throw new InputError("invalid_value", "time_zone", `No such time zone: ${timeZone}.`);
  }
  if (cache.size >= ZONES_MAX) cache.clear();
  cache.set(timeZone, formatter);
  return formatter;
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
