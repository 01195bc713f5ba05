import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  changeText,
  decimalOf,
  durationText,
  picosOf,
  usd,
  usdText,
  when,
} from "../../src/console/figures.ts";
import { limitName } from "../../src/console/pages/budgets.ts";
import { periodOf, slotsOf, spanText } from "../../src/console/period.ts";
import { diffOf, prettyCall } from "../../src/console/diff.ts";

describe("money", () => {
  test.each([
    ["0.00", "$0.00"],
    ["0.0041847", "$0.00418"],
    ["0.000000000001", "$0.000000000001"],
    ["0.5", "$0.50"],
    ["0.0994", "$0.0994"],
    ["0.99999", "$1.00"],
    ["0.0999996", "$0.10"],
    ["1", "$1.00"],
    ["1.005", "$1.01"],
    ["1204.5", "$1,204.50"],
    ["1234567.891", "$1,234,567.89"],
    ["-0.25", "−$0.25"],
  ])("%s reads %s", (decimal, text) => {
    expect(usdText(picosOf(decimal))).toBe(text);
  });

  test("what was rounded says exactly what it is, and what was not says nothing", async () => {
    expect(String(await usd("0.0041847"))).toContain('title="$0.0041847"');
    expect(String(await usd("1204.50"))).not.toContain("title");
  });

  test("an exact amount is read and written without loss", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }), (picos) => {
        expect(picosOf(decimalOf(picos))).toBe(picos);
      }),
    );
  });

  test.each(["", "1e5", "NaN", "$1", "1.0000000000001"])("%j is no amount", (text) => {
    expect(() => picosOf(text)).toThrow("no amount of money");
  });
});

describe("the name of a limit", () => {
  const daily = { unit: "usd", window: "day" };
  test.each([
    ["Budget per day, whole tenant", { ...daily, scope: { kind: "tenant", id: null } }],
    ["Budget per day, share of run r-1", { ...daily, scope: { kind: "tenant", id: "run:r-1" } }],
    [
      "Budget per day in Asia/Tokyo, model m",
      { ...daily, scope: { kind: "model", id: "m" }, time_zone: "Asia/Tokyo" },
    ],
    [
      "Requests, each run",
      { unit: "requests", window: "none", scope: { kind: "each_run", id: null }, time_zone: "A/B" },
    ],
  ])("%s tells it from its neighbours", (name, limit) => {
    expect(limitName(limit)).toBe(name);
  });
});

describe("time", () => {
  const now = new Date("2026-11-28T12:00:00Z");
  test.each([
    ["2026-11-28T11:59:57Z", "now"],
    ["2026-11-28T11:57:00Z", "3 min ago"],
    ["2026-11-28T14:00:00Z", "in 2 h"],
    ["2026-11-25T12:00:00Z", "3 days ago"],
    ["2026-03-05T12:00:00Z", "5 Mar"],
    ["2025-03-05T12:00:00Z", "5 Mar 2025"],
  ])("%s is %s", async (iso, text) => {
    const shown = String(await when(iso, now));
    expect(shown).toContain(`>${text}</time>`);
    expect(shown).toContain(`datetime="${iso}"`);
  });

  test.each([
    [340, "340 ms"],
    [1_240, "1.2 s"],
    [59_000, "59 s"],
    [600_000, "10 min"],
  ])("%d ms is %s", (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });
});

describe("a call that is shown", () => {
  test("is indented, and nothing of it is read and written anew", () => {
    const call = '{"a":1e2,"a":"x, y: {}","b":[],"c":{},"d":[1,{"e":null}]}';
    expect(prettyCall(call)).toBe(
      '{\n  "a": 1e2,\n  "a": "x, y: {}",\n  "b": [],\n  "c": {},\n  "d": [\n    1,\n    {\n      "e": null\n    }\n  ]\n}',
    );
  });

  test("keeps every character but white space between its parts", () => {
    const bare = (text: string) =>
      text.replaceAll(/"[^"\\]*(?:\\.[^"\\]*)*"|\s+/gu, (part) =>
        part.startsWith('"') ? part : "",
      );
    fc.assert(
      fc.property(fc.json(), (text) => {
        const visible = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "");
        expect(bare(prettyCall(visible))).toBe(bare(visible));
      }),
    );
  });

  test("says what would hide something", () => {
    expect(prettyCall('{"to":"ab\u202Ecd\u200B"}')).toContain('"ab⟨U+202E⟩cd⟨U+200B⟩"');
    expect(prettyCall("no { json\u0007")).toBe("no { json⟨U+0007⟩");
  });

  test("is compared line by line", () => {
    expect(diffOf("a\nb\nc", "a\nx\nc\nd")).toEqual([
      { kind: "same", text: "a" },
      { kind: "removed", text: "b" },
      { kind: "added", text: "x" },
      { kind: "same", text: "c" },
      { kind: "added", text: "d" },
    ]);
    expect(diffOf("a\n".repeat(700), "a")).toBeNull();
  });

  test("differs in what was removed and added, and in nothing else", () => {
    const line = fc.constantFrom("a", "b", "c");
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1, maxLength: 12 }),
        fc.array(line, { minLength: 1, maxLength: 12 }),
        (before, after) => {
          const lines = diffOf(before.join("\n"), after.join("\n")) ?? [];
          const without = (kind: string) =>
            lines.filter((one) => one.kind !== kind).map(({ text }) => text);
          expect(without("added")).toEqual(before);
          expect(without("removed")).toEqual(after);
        },
      ),
    );
  });
});

describe("a change", () => {
  test.each([
    [123n, 100n, "23 % up"],
    [100n, 123n, "19 % down"],
    [1_005n, 1_000n, "1 % up"],
    [1_004n, 1_000n, "the same"],
    [996n, 1_000n, "the same"],
    [995n, 1_000n, "1 % down"],
    [0n, 7n, "100 % down"],
    [12_346n, 1n, "1,234,500 % up"],
    [7n, 0n, null],
  ])("of %s from %s reads %s", (now, before, text) => {
    expect(changeText(now, before)).toBe(text);
  });
});

describe("a period", () => {
  const now = new Date("2027-01-31T23:59:59Z");

  test("is beside the one before it, without a day between them", () => {
    expect(periodOf("this_month", now)).toMatchObject({
      from: "2027-01-01",
      to: "2027-02-01",
      before: { from: "2026-12-01", to: "2027-01-01" },
    });
    expect(periodOf("last_month", now)).toMatchObject({
      from: "2026-12-01",
      to: "2027-01-01",
      before: { from: "2026-11-01", to: "2026-12-01" },
    });
    expect(periodOf("90_days", now)).toMatchObject({
      from: "2026-11-03",
      to: "2027-02-01",
      before: { from: "2026-08-05", to: "2026-11-03" },
    });
    expect(spanText(periodOf("last_month", now))).toBe("1 Dec to 31 Dec");
  });

  test("has each of its days once", () => {
    const days = slotsOf({ from: "2028-02-27", to: "2028-03-02" }, "day");
    expect(days.map(({ key }) => key)).toEqual([
      "2028-02-27",
      "2028-02-28",
      "2028-02-29",
      "2028-03-01",
    ]);
    expect(days[0]?.label).toBe("27 Feb");
  });

  test("has each week that it touches, by the year of its Thursday", () => {
    const keys = (from: string, to: string) => slotsOf({ from, to }, "week").map(({ key }) => key);
    expect(keys("2026-12-27", "2027-01-05")).toEqual(["2026-W52", "2026-W53", "2027-W01"]);
    expect(keys("2024-12-30", "2024-12-31")).toEqual(["2025-W01"]);
    expect(keys("2023-01-01", "2023-01-02")).toEqual(["2022-W52"]);
  });
});
