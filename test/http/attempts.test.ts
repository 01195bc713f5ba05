import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";
import { ledgerViolations } from "../store/violations.ts";
import { stepDoorOn, type StepDoor } from "./step-door.ts";

const START = Date.parse("2030-06-01T12:00:00Z");

describeEachDatabase("an attempt that its caller makes", (database) => {
  let api: Management;
  let door: StepDoor;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    await at(0);
    door = await stepDoorOn(api);
  });
  afterAll(async () => {
    expect(await ledgerViolations(database.db.admin, null)).toEqual([]);
    await api.close();
  });

  /** Sets the clock so many seconds after the start. */
  const at = (seconds: number) => setClock(database.db, new Date(START + 1_000 * seconds));
  const statusOf = async (attempt: string): Promise<Json> =>
    (await api.call(door.key, "GET", `/api/decisions/${attempt}`)).body;
  const held = async (): Promise<string> => {
    const limits = await api.call(door.key, "GET", "/api/limits");
    return limits.body.data[0].reserved;
  };
  const budget = () =>
    api.call(door.key, "POST", "/api/limits", {
      scope: { kind: "tenant" },
      unit: "usd",
      window: "none",
      limit: 10,
    });

  test("is completed once, and a second report of the same is answered the same", async () => {
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "1" });
    const first = await door.report(attempt, "complete", { cost_usd: "0.5", usage: { calls: 2 } });
    expect(first.body).toMatchObject({ status: "succeeded", cost_usd: "0.50", repeated: false });
    const second = await door.report(attempt, "complete", { cost_usd: "0.7" });
    expect(second.body).toEqual({ ...first.body, repeated: true });
    expect(await statusOf(attempt)).toMatchObject({ cost_usd: "0.50", usage: { calls: 2 } });
  });

  test("of two reports at once one counts, and both are told the same or the contradiction", async () => {
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "1" });
    const answers = await Promise.all([
      door.report(attempt, "complete", { cost_usd: "0.5" }),
      door.report(attempt, "complete", { cost_usd: "0.5" }),
      door.report(attempt, "fail", { error: "e", executed: "no" }),
    ]);
    const { status } = await statusOf(attempt);
    expect(["succeeded", "released"]).toContain(status);
    for (const [i, answer] of answers.entries()) {
      const says = i === 2 ? "released" : "succeeded";
      expect([i, answer.status]).toEqual([i, says === status ? 200 : 409]);
    }
  });

  test.each([
    ["no", "released", "0.00"],
    ["yes", "failed", "0.40"],
    ["unknown", "unknown", null],
  ])("that failed, executed: %s, is %s", async (executed, status, cost) => {
    await budget();
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "1" });
    expect(await held()).toBe("1.00");
    const body = { error: "boom", executed, ...(executed === "yes" ? { cost_usd: "0.4" } : {}) };
    const first = await door.report(attempt, "fail", body);
    expect(first.body).toMatchObject({ status, cost_usd: cost, repeated: false });
    expect(await held()).toBe(executed === "unknown" ? "1.00" : "0.00");
    const second = await door.report(attempt, "fail", body);
    expect(second.body).toMatchObject({ status, cost_usd: cost, repeated: true });
    await door.report(attempt, "complete");
  });

  test("that ended one way is not reported as another", async () => {
    const ends: readonly (readonly [string, object, string])[] = [
      ["complete", {}, "succeeded"],
      ["fail", { error: "e", executed: "no" }, "released"],
      ["fail", { error: "e", executed: "yes" }, "failed"],
    ];
    for (const [how, body, status] of ends) {
      const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "1" });
      expect((await door.report(attempt, how, body)).status).toBe(200);
      for (const [other, otherBody, otherStatus] of ends) {
        const answer = await door.report(attempt, other, otherBody);
        expect([status, otherStatus, answer.status]).toEqual([
          status,
          otherStatus,
          otherStatus === status ? 200 : 409,
        ]);
        if (answer.status === 409) expect(answer.body.error.message).toContain(status);
      }
      const unknown = await door.report(attempt, "fail", { error: "e", executed: "unknown" });
      expect(unknown.status).toBe(409);
      expect((await door.report(attempt, "heartbeat")).status).toBe(409);
      expect((await statusOf(attempt)).status).toBe(status);
    }
  });

  test("is reported by the key that asked for it or an administrator, and exists for nobody else", async () => {
    const attempt = await door.granted({ kind: "step", name: "s" });
    const stranger = await stepDoorOn(api);
    const keyOf = async (scopes: readonly string[]) => {
      const body = { tenant: door.id, name: "k", scopes };
      return (await api.call(ADMIN_KEY, "POST", "/api/keys", body)).body.key as string;
    };
    const colleague = await keyOf(["invoke"]);
    for (const key of [stranger.key, colleague]) {
      for (const [how, body] of [
        ["complete", {}],
        ["fail", { error: "e", executed: "no" }],
        ["heartbeat", {}],
      ] as const) {
        expect((await door.report(attempt, how, body, key)).status).toBe(404);
      }
    }
    const reconciled = { applied: true, evidence: "e" };
    expect((await door.report(attempt, "reconcile", reconciled, stranger.key)).status).toBe(404);
    expect((await door.report(attempt, "reconcile", reconciled, colleague)).status).toBe(403);
    expect((await statusOf(attempt)).status).toBe("admitted");
    expect((await door.report(attempt, "complete", {}, await keyOf(["admin"]))).status).toBe(200);
    expect((await door.report("att_none", "complete")).status).toBe(404);
  });

  test("of the model door, or one that was refused, is not reported", async () => {
    const model = await api.admit({ tenantId: door.id, keyId: door.keyId });
    const answer = await door.report(model, "complete");
    expect([answer.status, answer.body.error.code]).toEqual([409, "conflict"]);
    const refused = await door.ask({ kind: "tool", name: "t" });
    const attempt = `att_${refused.body.decision.slice(4)}`;
    expect((await door.report(attempt, "complete")).status).toBe(404);
    await api.settle({ tenantId: door.id, attemptId: model });
  });

  test("lives as long as it says so, and no longer than a day", async () => {
    const attempt = await door.granted({ kind: "step", name: "s", lease_seconds: 60 });
    const beat = async (body: object = {}) => {
      const answer = await door.report(attempt, "heartbeat", body);
      if (answer.status !== 200) return answer.status;
      return (Date.parse(answer.body.lease_expires_at) - START) / 1_000;
    };
    await at(50);
    expect(await beat()).toBe(110);
    expect(await beat({ lease_seconds: 600 })).toBe(650);
    // Extended, never shortened.
    expect(await beat({ lease_seconds: 5 })).toBe(650);
    for (let second = 600; second < 86_400; second += 3_500) {
      await at(second);
      await beat({ lease_seconds: 3_600 });
    }
    await at(86_000);
    expect(await beat({ lease_seconds: 3_600 })).toBe(86_400);
    await at(86_401);
    expect(await beat()).toBe(409);
    expect((await door.report(attempt, "complete")).body.status).toBe("succeeded");
  });

  test("that is silent past its lease becomes unknown, keeps its money, and is settled by its late report", async () => {
    await budget();
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "2" });
    await at(59);
    await api.gateway.sweep();
    expect((await statusOf(attempt)).status).toBe("admitted");
    await at(61);
    // Nobody has swept yet, and its lease is over all the same.
    expect((await door.report(attempt, "heartbeat")).status).toBe(409);
    await api.gateway.sweep();
    expect((await statusOf(attempt)).status).toBe("unknown");
    expect(await held()).toBe("2.00");
    const beat = await door.report(attempt, "heartbeat");
    expect([beat.status, beat.body.error.message]).toEqual([
      409,
      expect.stringContaining("its lease ran out"),
    ]);
    const done = await door.report(attempt, "complete", { cost_usd: "0.5" });
    expect(done.body).toMatchObject({ status: "succeeded", cost_usd: "0.50", repeated: false });
    expect(await held()).toBe("0.00");
  });

  test("that was presumed is corrected once by its late report", async () => {
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "2" });
    await at(61);
    await api.gateway.sweep();
    await at(61 + 16 * 60);
    await api.gateway.sweep();
    await api.gateway.settled();
    expect(await statusOf(attempt)).toMatchObject({
      status: "unknown",
      basis: "presumed",
      cost_usd: "2.00",
    });
    const done = await door.report(attempt, "complete", { cost_usd: "0.5" });
    expect(done.body).toMatchObject({ status: "succeeded", cost_usd: "0.50", repeated: false });
    expect(await statusOf(attempt)).toMatchObject({ corrected: true, cost_usd: "0.50" });
    const again = await door.report(attempt, "complete", { cost_usd: "0.1" });
    expect(again.body).toMatchObject({ cost_usd: "0.50", repeated: true });
    const failed = await door.report(attempt, "fail", { error: "e", executed: "no" });
    expect(failed.status).toBe(409);
  });

  test("keeps a result up to its size, and says why it has none", async () => {
    const ask = { kind: "step", name: "s", run: "r", include_result: true };
    const priorOf = async (step: string, report: object): Promise<Json> => {
      const attempt = await door.granted({ ...ask, step });
      expect((await door.report(attempt, "complete", report)).status).toBe(200);
      return (await door.ask({ ...ask, step })).body.retry_context.prior;
    };
    expect(await priorOf("a", { result: null })).toMatchObject({
      result_state: "kept",
      result: null,
    });
    expect(await priorOf("b", {})).toMatchObject({ result_state: "none" });
    expect(await priorOf("c", { result: "x".repeat(300 * 1024) })).toMatchObject({
      result_state: "too_large",
    });
    const kept = await priorOf("d", { result: "x".repeat(200 * 1024) });
    expect(kept.result).toHaveLength(200 * 1024);
    await at(31 * 86_400);
    const late = await door.ask({ ...ask, step: "d" });
    expect(late.body).toMatchObject({
      error: { code: "effect_applied" },
      retry_context: { prior: { status: "succeeded", result_state: "expired" } },
    });
    const rows = await database.db.admin`
      select sealed from answers where tenant_id = ${door.id}`;
    expect(rows.length).toBe(2);
    for (const row of rows) {
      expect(Buffer.from(row["sealed"] as Uint8Array).includes("xxxx")).toBe(false);
    }
  });

  test.each([
    ["complete", { cost_usd: "x" }, "cost_usd"],
    ["complete", { cost_usd: "1000000000.000000000001" }, "cost_usd"],
    ["complete", { cost_usd: 1e20 }, "cost_usd"],
    ["fail", { error: "e", executed: "yes", cost_usd: "1e10" }, "cost_usd"],
    ["reconcile", { applied: true, evidence: "e", cost_usd: "1e10" }, "cost_usd"],
    ["complete", { usage: { calls: -1 } }, "usage.calls"],
    ["complete", { usage: { calls: 0.5 } }, "usage.calls"],
    ["complete", { output: 1 }, "output"],
    ["fail", { executed: "no" }, "error"],
    ["fail", { error: "e" }, "executed"],
    ["fail", { error: "e", executed: "perhaps" }, "executed"],
    ["fail", { error: "e", executed: "no", cost_usd: 1 }, "cost_usd"],
    ["heartbeat", { lease_seconds: 4 }, "lease_seconds"],
    ["heartbeat", { lease_seconds: 3_601 }, "lease_seconds"],
    ["reconcile", { applied: true }, "evidence"],
    ["reconcile", { evidence: "e" }, "applied"],
  ])("a report is refused that is malformed: %s %j", async (how, body, param) => {
    const attempt = await door.granted({ kind: "step", name: "s" });
    const answer = await door.report(attempt, how, body);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
    expect((await statusOf(attempt)).status).toBe("admitted");
    await door.report(attempt, "complete");
  });
});
