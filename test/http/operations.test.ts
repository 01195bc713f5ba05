import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";
import { ledgerViolations } from "../store/violations.ts";
import { stepDoorOn, type StepDoor } from "./step-door.ts";

describeEachDatabase("an operation", (database) => {
  let api: Management;
  let door: StepDoor;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    door = await stepDoorOn(api);
  });
  afterAll(async () => {
    expect(await ledgerViolations(database.db.admin, null)).toEqual([]);
    await api.close();
  });

  const wire = (run: string, more: object = {}) => ({
    kind: "tool",
    name: "wire",
    run,
    operation: "refund:order-123",
    arguments: { order_id: "order-123", amount: 5 },
    estimate_usd: 0,
    include_result: true,
    ...more,
  });
  const fate = (answer: Json) => [
    answer.status,
    answer.body.error?.code ?? answer.body.verdict,
    answer.body.disposition,
  ];

  test("has each effect once, whatever run asks, and tells a new run what is already applied", async () => {
    const first = await door.granted(wire("run-1"));
    expect(await door.effects("refund", "order-123")).toMatchObject([
      { effect: "wire", state: "claimed", attempt: first, run: "run-1" },
    ]);
    expect(fate(await door.ask(wire("run-2")))).toEqual([409, "effect_in_flight", "wait"]);
    await door.report(first, "complete", { result: { wire: "w-1" } });
    const second = await door.ask(wire("run-2"));
    expect(fate(second)).toEqual([409, "effect_applied", "return_prior"]);
    expect(second.body).toMatchObject({
      retry_context: { prior: { attempt_id: first, run: "run-1", result: { wire: "w-1" } } },
      operation: {
        type: "refund",
        key: "order-123",
        effects: [{ effect: "wire", state: "applied", run: "run-1" }],
      },
    });
    // Another effect of the same operation was never tried: it passes, and is told of the first.
    const notify = await door.ask({ ...wire("run-2"), name: "notify" });
    expect(fate(notify)).toEqual([200, "allow", "execute"]);
    expect(notify.body.operation.effects).toMatchObject([
      { effect: "notify", state: "claimed", run: "run-2" },
      { effect: "wire", state: "applied", run: "run-1" },
    ]);
    await door.report(notify.body.attempt_id, "complete");
  });

  test("lets one of twenty runs at once have an effect, and one of twenty askers under one key", async () => {
    const runs = Array.from({ length: 20 }, (_, i) => door.ask(wire(`run-${i}`)));
    const keyed = { ...wire("r"), operation: undefined, idempotency_key: "k" };
    const keys = Array.from({ length: 20 }, () => door.ask(keyed));
    for (const [answers, reason] of [
      [await Promise.all(runs), "effect_in_flight"],
      [await Promise.all(keys), "idempotency_in_progress"],
    ] as const) {
      const codes = answers.map(({ body }) => body.error?.code ?? body.verdict);
      expect(codes.filter((code) => code === "allow")).toHaveLength(1);
      expect(codes.filter((code) => code === reason)).toHaveLength(19);
      const allowed = answers.find(({ status }) => status === 200);
      await door.report(allowed?.body.attempt_id, "complete");
    }
  });

  test("is in conflict with the same effect of other content", async () => {
    const first = await door.granted(wire("run-1"));
    await door.report(first, "complete");
    const other = wire("run-2", { arguments: { order_id: "order-123", amount: 6 } });
    expect(fate(await door.ask(other))).toEqual([409, "operation_conflict", "stop"]);
    // A number written differently is the same content.
    const same = JSON.stringify(wire("run-2")).replace('"amount":5', '"amount":5.0');
    const headers = { authorization: `Bearer ${door.key}`, "content-type": "application/json" };
    const answer = await api.send("/api/gate", { method: "POST", headers, body: same });
    expect(fate(answer)).toEqual([409, "effect_applied", "return_prior"]);
  });

  test("is repeated by who names what is repeated, once, and by nobody else", async () => {
    const first = await door.granted(wire("run-1"));
    await door.report(first, "complete");
    expect(fate(await door.ask(wire("run-2", { repeats: "att_other" })))[0]).toBe(409);
    const second = await door.granted(wire("run-2", { repeats: first }));
    await door.report(second, "complete");
    expect(fate(await door.ask(wire("run-3", { repeats: first })))).toEqual([
      409,
      "effect_applied",
      "return_prior",
    ]);
    expect(await door.effects("refund", "order-123")).toMatchObject([{ attempt: second }]);
  });

  test("lets an effect that did not happen be tried again", async () => {
    for (const executed of ["no", "yes"]) {
      const attempt = await door.granted(wire("run-1"));
      await door.report(attempt, "fail", { error: "e", executed });
      expect(await door.effects("refund", "order-123")).toMatchObject([{ state: "not_applied" }]);
    }
    await door.report(await door.granted(wire("run-2")), "complete");
  });

  test.each([
    ["effectful", false],
    ["keyed", true],
    ["idempotent", true],
    ["pure", true],
  ])("whose effect is uncertain: a tool that is %s runs again: %s", async (effect, again) => {
    await door.declare("wire", { effect, price_usd: 0 });
    const first = await door.granted(wire("run-1"));
    await door.report(first, "fail", { error: "timeout", executed: "unknown" });
    for (const run of ["run-1", "run-2"]) {
      const answer = await door.ask(wire(run));
      expect(fate(answer)).toEqual(
        again ? [200, "allow", "execute"] : [409, "effect_uncertain", "reconcile"],
      );
      if (!again) continue;
      const failed = { error: "timeout", executed: "unknown" };
      await door.report(answer.body.attempt_id, "fail", failed);
    }
  });

  test.each(["effectful", "keyed", "idempotent", "pure"])(
    "the same holds under an idempotency key: %s",
    async (effect) => {
      await door.declare("wire", { effect, price_usd: 0 });
      const { operation: _, run: __, ...rest } = wire("");
      const ask = { ...rest, idempotency_key: "k" };
      const first = await door.granted(ask);
      await door.report(first, "fail", { error: "timeout", executed: "unknown" });
      const answer = await door.ask(ask);
      expect(fate(answer)).toEqual(
        effect === "effectful" ? [409, "outcome_unknown", "reconcile"] : [200, "allow", "execute"],
      );
      const advice = effect === "effectful" ? `(${first}). Find out, and reconcile` : "attempt_id";
      expect(JSON.stringify(answer.body)).toContain(advice);
      if (answer.status === 200) await door.report(answer.body.attempt_id, "complete");
    },
  );

  test("that is uncertain is reconciled by evidence, once, and the act is an event", async () => {
    const first = await door.granted(wire("run-1"));
    await door.report(first, "fail", { error: "timeout", executed: "unknown" });
    const evidence = "The bank's journal of 3 May has no such transfer.";
    const body = { applied: false, evidence };
    const done = await door.report(first, "reconcile", body);
    expect(done.body).toMatchObject({ status: "released", cost_usd: "0.00", repeated: false });
    expect((await door.report(first, "reconcile", body)).body).toMatchObject({ repeated: true });
    const opposite = await door.report(first, "reconcile", { ...body, applied: true });
    expect(opposite.status).toBe(409);
    const events = await api.call(door.key, "GET", "/api/events");
    const ours = events.body.data.filter((event: Json) => event.subject === first);
    expect(ours).toMatchObject([
      {
        kind: "attempt.reconciled",
        actor: door.keyId,
        body: { applied: false, evidence, cost_usd: null },
      },
    ]);

    const second = await door.granted(wire("run-2"));
    await door.report(second, "fail", { error: "timeout", executed: "unknown" });
    const applied = { applied: true, evidence: "It has.", result: { wire: "w-2" } };
    expect((await door.report(second, "reconcile", applied)).body.status).toBe("succeeded");
    const prior = (await door.ask(wire("run-3"))).body.retry_context.prior;
    expect(prior).toMatchObject({ attempt_id: second, result: { wire: "w-2" } });
  });

  test("reconciles only what nobody knows of", async () => {
    const attempt = await door.granted(wire("run-1"));
    const body = { applied: false, evidence: "e" };
    const running = await door.report(attempt, "reconcile", body);
    expect([running.status, running.body.error.message]).toEqual([
      409,
      expect.stringContaining("running"),
    ]);
    await door.report(attempt, "complete");
    expect((await door.report(attempt, "reconcile", body)).status).toBe(409);
    const events = await api.call(door.key, "GET", "/api/events");
    expect(events.body.data.filter((event: Json) => event.subject === attempt)).toEqual([]);
  });

  test("of a run is each of its named steps: a crash between two of them loses and repeats none", async () => {
    const step = (name: string) => ({
      kind: "step",
      name,
      run: "payout-7",
      step: name,
      include_result: true,
    });
    await door.report(await door.granted(step("wire")), "complete", { result: { id: "w" } });
    // The orchestrator dies here, starts again, and goes through its steps from the beginning.
    const again = await door.ask(step("wire"));
    expect(fate(again)).toEqual([409, "effect_applied", "return_prior"]);
    expect(again.body.retry_context.prior).toMatchObject({
      status: "succeeded",
      result: { id: "w" },
    });
    expect(await door.effects("run", "payout-7")).toMatchObject([
      { effect: "wire", state: "applied" },
    ]);
    expect(fate(await door.ask(step("notify")))).toEqual([200, "allow", "execute"]);
  });

  test("is found in the arguments where the operator says so: observed first, then enforced", async () => {
    const extractor = { type: "refund", pointers: ["/order_id"] };
    const declare = (mode: string) =>
      door.declare("wire", {
        effect: "effectful",
        price_usd: 0,
        operation: { ...extractor, mode },
      });
    const { operation: _, ...unnamed } = wire("run-1");
    await declare("observe");
    const observed = await door.ask(unnamed);
    expect(observed.body.operation).toBeNull();
    const { body } = await api.call(door.key, "GET", `/api/decisions/${observed.body.decision}`);
    expect(body.record.act).not.toHaveProperty("effect");
    expect(body.record.act).toMatchObject({
      extracted: { mode: "observe", operation: "refund:order-123", why: null },
    });
    await door.report(observed.body.attempt_id, "complete");
    const keyless = await door.ask({ ...unnamed, arguments: {} });
    const unfound = await api.call(door.key, "GET", `/api/decisions/${keyless.body.decision}`);
    expect(unfound.body.record.act.extracted).toMatchObject({
      operation: null,
      why: expect.stringContaining("/order_id"),
    });
    await door.report(keyless.body.attempt_id, "complete");

    await declare("enforce");
    const enforced = await door.ask(unnamed);
    expect(enforced.body.operation).toMatchObject({ type: "refund", key: "order-123" });
    await door.report(enforced.body.attempt_id, "complete");
    expect(fate(await door.ask({ ...unnamed, run: "run-2" }))).toEqual([
      409,
      "effect_applied",
      "return_prior",
    ]);
    const without = await door.ask({ ...unnamed, arguments: {} });
    expect([without.status, without.body.error.param]).toEqual([400, "arguments"]);
    const talked = await door.ask({ ...unnamed, operation: "refund:other" });
    expect([talked.status, talked.body.error.param]).toEqual([409, "operation"]);
    // Nor does another name for the effect: it would be the same refund, once more.
    const renamed = await door.ask({ ...unnamed, effect: "second" });
    expect(fate(renamed)).toEqual([409, "effect_applied", "return_prior"]);
    expect(await door.effects("refund", "order-123")).toMatchObject([
      { effect: "wire", state: "applied" },
    ]);
  });

  test("of another tenant is another one", async () => {
    const stranger = await stepDoorOn(api);
    await door.report(await door.granted(wire("run-1")), "complete");
    const theirs = await stranger.granted(wire("run-1"));
    await stranger.report(theirs, "complete");
    expect(await stranger.effects("refund", "order-123")).toMatchObject([{ attempt: theirs }]);
  });

  test("has a key of any characters, and answers 404 while nothing claimed it", async () => {
    const key = "order/1 ä:2";
    const path = `/api/operations/refund/${encodeURIComponent(key)}`;
    expect((await api.call(door.key, "GET", path)).status).toBe(404);
    await door.report(await door.granted(wire("r", { operation: `refund:${key}` })), "complete");
    expect((await api.call(door.key, "GET", path)).body).toMatchObject({ key, more: false });
    const bad = await api.call(door.key, "GET", "/api/operations/1st/x");
    expect([bad.status, bad.body.error.param]).toEqual([400, "type"]);
  });
});
