import { expect, test } from "vitest";
import { aimLines, aimsOf, verdictOn, type Aim } from "./aims.ts";
import { planOf } from "./plan.ts";
import { machineHere, reportOf } from "./report.ts";
import { failedIn, type Results } from "./results.ts";
import type { Row } from "./summary.ts";

const NOTHING: Results = {
  calls: null,
  scaling: null,
  overload: null,
  admissions: null,
  chunks: null,
  memory: null,
  start: null,
  tools: null,
};

const rowWith = (some: Partial<Row>): Row => ({
  scenario: "json",
  connections: 64,
  target: "tollgate",
  halfLoad: null,
  rounds: 3,
  failed: 0,
  firstFailure: null,
  reopened: 0,
  perSecond: 1,
  perSecondLowest: 1,
  perSecondHighest: 1,
  p50Ms: 1,
  p99Ms: 1,
  firstChunkP50Ms: 1,
  firstChunkP99Ms: 1,
  addedP50Ms: null,
  addedP99Ms: null,
  addedFirstChunkP50Ms: null,
  perPortkey: null,
  perRaw: null,
  cpuMicros: { gateway: null, database: null, upstream: null, generator: null },
  ...some,
});

const withRows = (...rows: readonly Row[]): Results => ({
  ...NOTHING,
  calls: { versions: {}, notes: {}, identical: {}, evidence: {}, rows, measurements: [] },
});

const reachedBy = (results: Results): readonly [string, number | null][] =>
  aimsOf(results).flatMap((aim) => (aim.reached === null ? [] : [[aim.what, aim.reached]]));

test("a run that measured nothing has reached nothing, and says so of every target", () => {
  expect(reachedBy(NOTHING)).toEqual([]);
  expect(aimsOf(NOTHING).map(verdictOn)).toEqual(aimsOf(NOTHING).map(() => "not measured"));
  expect(aimLines(NOTHING).join("\n")).not.toMatch(/yes|null|NaN|undefined/u);
});

test("each target reads the row that it is told of, and no other", () => {
  const others = [
    rowWith({ connections: 256, perPortkey: 20, perRaw: 1 }),
    rowWith({ target: "raw", perPortkey: 20, perRaw: 1 }),
    rowWith({ halfLoad: { of: "raw", ratePerSecond: 9 }, addedP50Ms: 1, addedP99Ms: 1 }),
  ];
  expect(reachedBy(withRows(...others))).toEqual([]);
  const half = { of: "tollgate", ratePerSecond: 9 } as const;
  const own = [
    rowWith({ perPortkey: 1, perRaw: 2 }),
    rowWith({ scenario: "sse", perPortkey: 3, perRaw: 4 }),
    rowWith({ halfLoad: half, addedP50Ms: 5, addedP99Ms: 6 }),
    rowWith({ scenario: "sse", halfLoad: half, addedP50Ms: 7, addedP99Ms: 8 }),
  ];
  const reached = reachedBy(withRows(...others, ...own)).map(([, value]) => value);
  expect(reached).toEqual([1, 2, 3, 4, 5, 6]);
});

test("a target is met from its aim on, and never by calls that failed", () => {
  const least: Aim = { what: "", unit: "×", kind: "at least", aim: 2, reached: 2, failed: 0 };
  const cases: readonly [Partial<Aim>, string][] = [
    [{}, "yes"],
    [{ reached: 1.99 }, "no"],
    [{ kind: "at most" }, "yes"],
    [{ kind: "at most", reached: 2.01 }, "no"],
    [{ failed: 3 }, "no: 3 calls failed"],
    [{ reached: null }, "not measured"],
    [{ aim: null }, "not measured"],
  ];
  for (const [some, verdict] of cases) expect(verdictOn({ ...least, ...some })).toBe(verdict);
});

test("calls that failed in any part are counted", () => {
  expect(failedIn(NOTHING)).toBe(0);
  expect(failedIn(withRows(rowWith({ failed: 2 }), rowWith({ failed: 1 })))).toBe(3);
});

test("the data of a run hold no path of the machine", () => {
  const plan = planOf([]);
  expect(JSON.stringify(plan)).toContain(import.meta.dirname);
  const report = reportOf("2026-01-01T00:00:00Z", machineHere(), { plan, results: NOTHING });
  expect(JSON.stringify(report)).not.toContain(import.meta.dirname);
});
