import { expect, test } from "vitest";
import {
  LIMITS_PER_RUN_MAX,
  METERS_BESIDE_RUNS_MAX,
  METERS_PER_ASK_MAX,
  RUN_DEPTH_MAX,
} from "../../src/core/limits.ts";
import { longestPath, mostMeters, type LimitGroup } from "../../src/core/most-meters.ts";

const GROUP: LimitGroup = {
  scopeKind: "tenant",
  scopeId: "",
  resource: "",
  unit: "usd",
  window: "month",
  limits: 1,
};
const daily = { unit: "tokens", window: "day" } as const;
const key = (scopeId: string, more: Partial<LimitGroup> = {}) =>
  ({ scopeKind: "key", scopeId, ...more }) as const;
const model = (scopeId: string, more: Partial<LimitGroup> = {}) =>
  ({ scopeKind: "model", scopeId, ...more }) as const;
const retries = (resource: string, limits = 1) => ({ unit: "attempts", resource, limits }) as const;

const MEANT: Readonly<Record<string, string>> = { fast: "gpt-5", "openai/gpt-5": "gpt-5" };

test.each<[string, readonly Partial<LimitGroup>[], limits: number, dailyQuotas: number]>([
  ["no limits", [], 0, 0],
  ["all of a tenant's", [{ limits: 3 }, { unit: "requests" }], 4, 0],
  ["the most of any key", [key("a", { limits: 2 }), key("b"), key("b", { unit: "tokens" })], 2, 0],
  ["a share of each daily quota", [daily, { ...daily, unit: "requests", limits: 2 }], 3, 3],
  ["no share of what is no quota of the day", [{ window: "day" }, { unit: "tokens" }], 2, 0],
  ["no share of a model's quota", [model("m", daily)], 1, 0],
  [
    "the key with the most meters, not limits",
    [key("a", { limits: 3 }), key("b", { ...daily, limits: 2 })],
    2,
    2,
  ],
  [
    "a model by all of its names",
    [model("fast"), model("gpt-5"), model("openai/gpt-5"), model("o3")],
    3,
    0,
  ],
  [
    "kinds together",
    [{}, key("a"), model("m"), { scopeKind: "tool", scopeId: "t" }, { scopeKind: "each_run" }],
    5,
    0,
  ],
  [
    "retries of one tool, and of all",
    [retries(""), retries("*"), retries("t", 2), retries("u")],
    4,
    0,
  ],
  ["nothing of runs", [{ scopeKind: "run", scopeId: "r", limits: 9 }], 0, 0],
])("the longest path counts %s", (_, groups, limits, dailyQuotas) => {
  const path = longestPath(
    groups.map((group) => ({ ...GROUP, ...group })),
    (name) => MEANT[name] ?? name,
  );
  expect(path).toEqual({ limits, dailyQuotas });
});

test("an ask meets its path, the shares of its run, and the limits of every run above it", () => {
  expect(mostMeters({ limits: 5, dailyQuotas: 2, runsAbove: 0, limitsPerRun: 4 })).toBe(11);
  const most = { runsAbove: RUN_DEPTH_MAX, limitsPerRun: LIMITS_PER_RUN_MAX };
  for (const dailyQuotas of [0, METERS_BESIDE_RUNS_MAX / 2]) {
    const limits = METERS_BESIDE_RUNS_MAX - dailyQuotas;
    expect(mostMeters({ limits, dailyQuotas, ...most })).toBe(METERS_PER_ASK_MAX);
  }
});
