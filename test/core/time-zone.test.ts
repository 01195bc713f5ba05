import { PGlite } from "@electric-sql/pglite";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import { isTimeZone, windowOf, type ZoneCache } from "../../src/core/period.ts";
import type { Window } from "../../src/core/verdict.ts";

const WINDOWS: readonly Window[] = ["minute", "hour", "day", "week", "month"];

/** Both directions of change, at midnight and not, by half an hour, and offsets of every kind. */
const ZONES = [
  "UTC",
  "Europe/Berlin",
  "Europe/Dublin",
  "America/New_York",
  "America/Sao_Paulo",
  "America/Havana",
  "America/St_Johns",
  "Atlantic/Azores",
  "Asia/Beirut",
  "Asia/Kathmandu",
  "Asia/Kolkata",
  "Australia/Lord_Howe",
  "Africa/Casablanca",
  "Pacific/Apia",
  "Pacific/Chatham",
];

function check(window: Window, at: string, zone: string, [start, end]: [string, string]): void {
  const period = windowOf(window, new Date(at), zone);
  const text = [period.start.toISOString(), period.end?.toISOString()];
  expect(text).toEqual([new Date(start).toISOString(), new Date(end).toISOString()]);
}

describe("a window", () => {
  const CASES: readonly [Window, string, string, [string, string]][] = [
    ["minute", "2026-03-01T10:20:30.4Z", "UTC", ["2026-03-01T10:20Z", "2026-03-01T10:21Z"]],
    ["hour", "2026-03-01T10:20Z", "Asia/Kathmandu", ["2026-03-01T10:15Z", "2026-03-01T11:15Z"]],
    ["day", "2026-03-01T20:00Z", "Asia/Kolkata", ["2026-03-01T18:30Z", "2026-03-02T18:30Z"]],
    // A spring day of 23 hours and an autumn day of 25.
    ["day", "2026-03-29T12:00Z", "Europe/Berlin", ["2026-03-28T23:00Z", "2026-03-29T22:00Z"]],
    ["day", "2026-10-25T12:00Z", "Europe/Berlin", ["2026-10-24T22:00Z", "2026-10-25T23:00Z"]],
    // Clocks that skip midnight: the day begins with the change.
    ["day", "2018-11-04T12:00Z", "America/Sao_Paulo", ["2018-11-04T03:00Z", "2018-11-05T02:00Z"]],
    ["week", "2026-03-01T23:30Z", "UTC", ["2026-02-23", "2026-03-02"]],
    ["week", "2026-03-02T00:00Z", "UTC", ["2026-03-02", "2026-03-09"]],
    ["week", "2027-01-01T00:00Z", "UTC", ["2026-12-28", "2027-01-04"]],
    ["month", "2028-02-29T23:59Z", "UTC", ["2028-02-01", "2028-03-01"]],
    ["month", "2026-12-31T23:00Z", "Europe/Berlin", ["2026-12-31T23:00Z", "2027-01-31T23:00Z"]],
    ["month", "2026-03-31T12:00Z", "Europe/Berlin", ["2026-02-28T23:00Z", "2026-03-31T22:00Z"]],
  ];
  test.each(CASES)("of one %s around %s in %s", check);

  test("without an end is one and the same at any time", () => {
    expect(windowOf("none", new Date(1), "UTC")).toEqual({ start: new Date(0), end: null });
    expect(windowOf("none", new Date(), "Asia/Tokyo")).toEqual({ start: new Date(0), end: null });
  });

  test("begins where PostgreSQL's date_trunc says, in every zone, and ends where the next begins", async () => {
    const database = new PGlite();
    const moments = [...aroundChanges(), ...fc.sample(anyMoment, { numRuns: 100, seed: 7 })];
    const cache: ZoneCache = new Map();
    let compared = 0;
    for (const zone of ZONES) {
      for (const window of WINDOWS) {
        const { rows } = await database.query<{ start: string }>(
          `select (extract(epoch from date_trunc($1, to_timestamp(ms / 1000.0), $2)) * 1000)::bigint::text start
             from unnest($3::float8[]) with ordinality as at(ms, n) order by n`,
          [window, zone, moments],
        );
        for (const [index, ms] of moments.entries()) {
          const period = windowOf(window, new Date(ms), zone, cache);
          const label = `${window} in ${zone} at ${new Date(ms).toISOString()}`;
          expect(period.start.getTime(), label).toBe(Number(rows[index]?.start));
          const end = period.end?.getTime() ?? 0;
          expect(end, label).toBeGreaterThan(ms);
          compared += 1;
        }
      }
    }
    expect(compared).toBe(ZONES.length * WINDOWS.length * moments.length);
    await database.close();
  }, 60_000);
});

describe("a time zone", () => {
  test.each([
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "US/Eastern",
    "America/Argentina/Buenos_Aires",
  ])("%s is known", (zone) => expect(isTimeZone(zone)).toBe(true));
  test.each([
    "",
    "+02:00",
    "EST5EDT4",
    "Mars/Olympus",
    "Europe/Berlin; drop",
    "CET-1",
    "a/".repeat(99),
  ])("%j is not one", (zone) => expect(isTimeZone(zone)).toBe(false));
  test("unknown is bad input, not another zone", () => {
    expect(() => windowOf("day", new Date(), "Mars/Olympus")).toThrow(InputError);
  });
});

const anyMoment = fc.integer({ min: Date.UTC(2005, 0), max: Date.UTC(2036, 0) });

/** Every quarter of an hour about the days on which clocks change in some of the zones. */
function aroundChanges(): number[] {
  const days = ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2018-11-04"];
  const more = ["2018-02-18", "2026-10-04", "2011-12-30", "2017-03-26", "2016-10-30", "2026-03-28"];
  return [...days, ...more].flatMap((day) => {
    const noon = Date.parse(`${day}T00:00Z`);
    return Array.from(
      { length: 192 },
      (_, quarter) => noon - 43_200_000 + quarter * 900_000 + 61_001,
    );
  });
}
