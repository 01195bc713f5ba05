import { describe, expect, test } from "vitest";
import { isTimeZone } from "../../src/core/time-zone.ts";

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
});
