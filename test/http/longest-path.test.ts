import { afterAll, beforeAll, expect, test } from "vitest";
import {
  LIMITS_PER_RUN_MAX,
  METERS_BESIDE_RUNS_MAX,
  METERS_PER_ASK_MAX,
  RUN_DEPTH_MAX,
} from "../../src/core/limits.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Management } from "../support/management.ts";
import { stepDoorOn, type StepDoor } from "./step-door.ts";

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "Asia/Tokyo",
  "Asia/Kolkata",
  "Africa/Cairo",
  "America/Lima",
];
const OF_A_RUN = [
  { unit: "tokens", window: "day" },
  { unit: "requests", window: "minute" },
  { unit: "in_flight", window: "none" },
  { unit: "requests", window: "hour" },
  { unit: "tokens", window: "hour" },
];

describeEachDatabase("a path", (database) => {
  let api: Management;
  let door: StepDoor;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  const limit = (terms: object) =>
    api.call(door.key, "POST", "/api/limits", { limit: 1_000_000, ...terms });
  const put = (run: string, terms: object) => api.call(door.key, "PUT", `/api/runs/${run}`, terms);
  const ofRun = async (run: string, count: number) => {
    for (const terms of OF_A_RUN.slice(0, count)) {
      const { status } = await limit({ scope: { kind: "run", id: run }, ...terms });
      expect([run, terms, status]).toEqual([run, terms, 201]);
    }
  };

  test("of the most meters that can be made is METERS_PER_ASK_MAX, and none more is taken", async () => {
    door = await stepDoorOn(api);
    // Of each quota of a day the run has a share, which is a meter of its own.
    const quotas = ZONES.flatMap((time_zone) =>
      ["tokens", "requests"].map((unit) => ({ unit, window: "day", time_zone })),
    );
    expect(2 * quotas.length).toBe(METERS_BESIDE_RUNS_MAX);
    for (const quota of quotas) {
      expect((await limit({ scope: { kind: "tenant" }, ...quota })).status).toBe(201);
    }
    const further = await limit({ scope: { kind: "each_run" }, unit: "requests", window: "hour" });
    expect([further.status, further.body.error.param]).toEqual([409, "scope"]);
    expect(further.body.error.message).toContain("13 limits, and its run's share of 12");

    let parent: string | undefined;
    for (let depth = 0; depth <= RUN_DEPTH_MAX; depth += 1) {
      const run = `run-${depth}`;
      expect((await put(run, { budget_usd: 1, parent })).status).toBe(200);
      await ofRun(run, LIMITS_PER_RUN_MAX - 1);
      parent = run;
    }
    const { body } = await door.ask({ kind: "step", name: "s", run: parent });
    const decision = await api.call(door.key, "GET", `/api/decisions/${body.decision}`);
    expect(decision.body.meters).toHaveLength(METERS_PER_ASK_MAX);
  });

  test("has no budget of a run that has all its limits already, and no fifth beside a budget", async () => {
    door = await stepDoorOn(api);
    await ofRun("full", LIMITS_PER_RUN_MAX);
    const budget = await put("full", { budget_usd: 1 });
    expect([budget.status, budget.body.error.param]).toEqual([409, "budget_usd"]);
    expect((await api.call(door.key, "GET", "/api/runs/full")).status).toBe(404);

    expect((await put("paid", { budget_usd: 2 })).status).toBe(200);
    await ofRun("paid", LIMITS_PER_RUN_MAX - 1);
    const fifth = await limit({ scope: { kind: "run", id: "paid" }, ...OF_A_RUN.at(-1) });
    expect([fifth.status, fifth.body.error.param]).toEqual([409, "scope"]);
    // A budget that it has already can be changed.
    expect((await put("paid", { budget_usd: 1 })).status).toBe(200);
  });
});
