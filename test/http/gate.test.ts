import { afterAll, beforeAll, expect, test } from "vitest";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";
import { ledgerViolations } from "../store/violations.ts";
import { stepDoorOn } from "./step-door.ts";

describeEachDatabase("the step door", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(async () => {
    expect(await ledgerViolations(database.db.admin, null)).toEqual([]);
    await api.close();
  });

  test("refuses a header that begins as ours and is none of ours", async () => {
    const door = await stepDoorOn(api);
    const refused = await door.ask({ kind: "step", name: "s" }, { "tollgate-runn": "r" });
    expect([refused.status, refused.body.error]).toMatchObject([400, { param: "Tollgate-Runn" }]);
    expect(refused.body.error.message).toContain("Did you mean `Tollgate-Run`?");
  });

  test("grants a tool its lease, settles what it reports, and explains the decision", async () => {
    const door = await stepDoorOn(api);
    await door.declare("search", { effect: "pure", price_usd: "0.02" });
    const asked = await door.ask({
      kind: "tool",
      name: "search",
      run: "r",
      step: "s",
      arguments: { q: "weather" },
      customer: "acme",
      labels: { team: "a" },
    });
    expect([asked.status, asked.body]).toMatchObject([
      200,
      {
        verdict: "allow",
        disposition: "execute",
        run: "r",
        step: "s",
        attempt: 1,
        reserved_usd: "0.02",
        lease_seconds: 60,
        operation: null,
        retry_context: { attempt: 1, because: null, prior: null, first_at: null },
      },
    ]);
    expect(asked.headers.get("tollgate-decision")).toBe(asked.body.decision);
    const done = await door.report(asked.body.attempt_id, "complete", { result: { hits: 3 } });
    expect(done.body).toMatchObject({ status: "succeeded", cost_usd: "0.02", repeated: false });
    const decision = await api.call(door.key, "GET", `/api/decisions/${asked.body.decision}`);
    expect(decision.body).toMatchObject({
      door: "step",
      operation: "execute_tool",
      resource: "search",
      run: "r",
      step: "s",
      status: "succeeded",
      cost_usd: "0.02",
      record: {
        act: { effect_class: "pure" },
        context: { tool: "search", customer: "acme", labels: { team: "a" } },
      },
    });
  });

  test("costs what is reported, never less than nothing, and more than reserved as overage", async () => {
    const door = await stepDoorOn(api);
    const costs = async (estimate: string, report: object) => {
      const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: estimate });
      const { body } = await door.report(attempt, "complete", report);
      const decision = await api.call(door.key, "GET", `/api/decisions/${attempt}`);
      return [body.cost_usd, decision.body.overage_usd];
    };
    expect(await costs("1", { cost_usd: "0.25" })).toEqual(["0.25", "0.00"]);
    expect(await costs("1", { cost_usd: 0 })).toEqual(["0.00", "0.00"]);
    expect(await costs("1", {})).toEqual(["1.00", "0.00"]);
    expect(await costs("0", {})).toEqual(["0.00", "0.00"]);
    expect(await costs("1", { cost_usd: "1.5" })).toEqual(["1.50", "0.50"]);
    const attempt = await door.granted({ kind: "tool", name: "t", estimate_usd: "1" });
    const negative = await door.report(attempt, "complete", { cost_usd: "-1" });
    expect([negative.status, negative.body.error.param]).toEqual([400, "cost_usd"]);
    await door.report(attempt, "complete", {});
  });

  test("refuses a strict tenant's tool of which nobody says what it may cost, and no step", async () => {
    const door = await stepDoorOn(api);
    const tool = await door.ask({ kind: "tool", name: "t" });
    expect([tool.status, tool.body.error.code, tool.body.verdict]).toEqual([
      403,
      "price_unknown",
      "block",
    ]);
    const step = await door.ask({ kind: "step", name: "t" });
    expect([step.status, step.body.reserved_usd]).toEqual([200, "0.00"]);
    await door.report(step.body.attempt_id, "complete");
    await api.call(door.key, "PATCH", `/api/tenants/${door.id}`, { mode: "tolerant" });
    const tolerated = await door.ask({ kind: "tool", name: "t" });
    expect([tolerated.status, tolerated.body.reserved_usd]).toEqual([200, null]);
    const done = await door.report(tolerated.body.attempt_id, "complete");
    expect(done.body).toMatchObject({ status: "succeeded", cost_usd: null });
  });

  test("holds a declared price though the caller states less", async () => {
    const door = await stepDoorOn(api);
    await door.declare("t", { effect: "pure", price_usd: "0.5" });
    const less = await door.ask({ kind: "tool", name: "t", estimate_usd: "0.1" });
    expect(less.body.reserved_usd).toBe("0.50");
    await door.report(less.body.attempt_id, "complete");
    const more = await door.ask({ kind: "tool", name: "t", estimate_usd: "0.9" });
    expect(more.body.reserved_usd).toBe("0.90");
    const done = await door.report(more.body.attempt_id, "complete");
    expect(done.body.cost_usd).toBe("0.50");
  });

  test("a budget stops a tool as it stops a model call", async () => {
    const door = await stepDoorOn(api);
    await api.call(door.key, "PUT", "/api/runs/poor", { budget_usd: "0.05" });
    const ask = { kind: "tool", name: "t", run: "poor", estimate_usd: "0.03" };
    const first = await door.ask(ask);
    expect(first.body.budget_remaining).toBe("0.02; scope=run");
    await door.report(first.body.attempt_id, "complete");
    const second = await door.ask(ask);
    expect([second.status, second.body]).toMatchObject([
      402,
      {
        error: { code: "run_budget_exceeded", tollgate: { remaining: "0.02" } },
        verdict: "block",
        disposition: "stop",
      },
    ]);
    expect(second.headers.get("x-should-retry")).toBe("false");
  });

  test("a tool's own budget, in dollars or requests, stops that tool and says its figures", async () => {
    const door = await stepDoorOn(api);
    await door.declare("pay/wire", { effect: "pure", price_usd: "0.03" });
    for (const tool of ["search", "mail/send"]) {
      await door.declare(tool, { effect: "pure", price_usd: "0" });
    }
    const limit = async (unit: string, window: string, amount: string, id: string) => {
      const scope = { kind: "tool", id };
      const body = { scope, unit, window, limit: amount };
      const made = await api.call(door.key, "POST", "/api/limits", body);
      expect(made.body).toMatchObject({ scope, committed: unit === "usd" ? "0.00" : 0 });
      return made.body.id as string;
    };
    const usd = await limit("usd", "none", "0.05", "pay/wire");
    const ask = (name: string) => door.ask({ kind: "tool", name, run: "r" });
    const first = await ask("pay/wire");
    expect(first.body.budget_remaining).toBe("0.02; scope=tool");
    await door.report(first.body.attempt_id, "complete");
    const poor = await ask("pay/wire");
    expect([poor.status, poor.body.error.code]).toEqual([402, "budget_exceeded"]);
    expect(poor.body.error.message).toContain(
      "The tool budget of $0.05 for `pay/wire` has no room: $0.03 is settled, $0.00 is reserved by calls in " +
        "flight, $0.02 is left, and this call could take $0.03. It does not reset. Raise the limit.",
    );
    await limit("requests", "day", "1", "search");
    const only = await ask("search");
    expect(only.status).toBe(200);
    await door.report(only.body.attempt_id, "complete");
    const second = await ask("search");
    expect(second.status).toBe(402);
    expect(second.body.error.message).toContain(
      "The daily tool request quota of 1 for `search` has no room: 1 is settled, 0 is reserved by calls in " +
        "flight, 0 is left, and this call could take 1. It resets at ",
    );
    // Another tool, and a model call that names no tool, are not counted there.
    expect((await ask("mail/send")).status).toBe(200);
    const limits = await api.call(door.key, "GET", "/api/limits");
    expect(limits.body.data.find((each: Json) => each.id === usd)).toMatchObject({
      scope: { kind: "tool", id: "pay/wire" },
      committed: "0.03",
      remaining: "0.02",
    });
    const report = await api.call(door.key, "GET", "/api/reports/budgets");
    expect(report.body.rows).toEqual([
      expect.objectContaining({
        scope: { kind: "tool", id: "pay/wire" },
        subject: "pay/wire",
        committed: "0.03",
        reserved: "0.00",
        remaining: "0.02",
      }),
    ]);
  });

  test("a limit on one tool names it", async () => {
    const door = await stepDoorOn(api);
    const body = { scope: { kind: "tool" }, unit: "requests", window: "none", limit: "1" };
    const made = await api.call(door.key, "POST", "/api/limits", body);
    expect([made.status, made.body.error.param]).toEqual([400, "scope.id"]);
  });

  test("reads its context from headers first", async () => {
    const door = await stepDoorOn(api);
    const answer = await door.ask(
      { kind: "step", name: "s", run: "body", step: "body", labels: { a: "1" } },
      { "tollgate-run": "header", "tollgate-labels": "b=2", "tollgate-parent-step": "above" },
    );
    expect(answer.body).toMatchObject({ run: "header", step: "body" });
    const { body } = await api.call(door.key, "GET", `/api/decisions/${answer.body.decision}`);
    expect(body.record.context).toMatchObject({ parent_step: "above", labels: { b: "2" } });
    await door.report(answer.body.attempt_id, "complete");
  });

  test("a dry run grants and records nothing", async () => {
    const door = await stepDoorOn(api);
    const answer = await door.ask({ kind: "step", name: "s" }, { "tollgate-dry-run": "true" });
    expect(answer.body).toMatchObject({ object: "tollgate.dry_run", verdict: "allow" });
    expect((await api.call(door.key, "GET", "/api/decisions")).body.data).toEqual([]);
  });

  test("a key without the scope is refused, and that is recorded", async () => {
    const door = await stepDoorOn(api, ["report"]);
    const answer = await door.ask({ kind: "step", name: "s" });
    expect([answer.status, answer.body.error.code]).toEqual([403, "scope_missing"]);
    const { body } = await api.call(door.key, "GET", `/api/decisions/${answer.body.decision}`);
    expect(body).toMatchObject({ verdict: "block", reason: "scope_missing" });
  });

  test.each<[string, object, string | null]>([
    ["no kind", { name: "s" }, "kind"],
    ["a kind that is none", { kind: "model", name: "s" }, "kind"],
    ["no name", { kind: "step" }, "name"],
    ["a name with a line break", { kind: "step", name: "a\nb" }, "name"],
    ["an effect class", { kind: "step", name: "s", effect_class: "pure" }, "effect_class"],
    ["a tenant", { kind: "step", name: "s", tenant: "ten_x" }, "tenant"],
    ["an operation without a key", { kind: "step", name: "s", operation: "refund" }, null],
    ["a run's own operation", { kind: "step", name: "s", operation: "run:r" }, null],
    ["a negative estimate", { kind: "step", name: "s", estimate_usd: -1 }, "estimate_usd"],
    [
      "an estimate beyond any",
      { kind: "step", name: "s", estimate_usd: "1000000000.01" },
      "estimate_usd",
    ],
    ["too short a lease", { kind: "step", name: "s", lease_seconds: 4 }, "lease_seconds"],
    ["too long a lease", { kind: "step", name: "s", lease_seconds: 3_601 }, "lease_seconds"],
    ["too long a wait", { kind: "step", name: "s", wait: 61 }, "wait"],
    ["a key with a space", { kind: "step", name: "s", idempotency_key: "a b" }, "idempotency_key"],
  ])("an ask with %s is refused and recorded nowhere", async (_, body, param) => {
    const door = await stepDoorOn(api);
    const answer = await door.ask(body);
    expect(answer.status).toBe(400);
    if (param !== null) expect(answer.body.error.param).toBe(param);
    expect((await api.call(door.key, "GET", "/api/decisions")).body.data).toEqual([]);
  });

  test("JSON that could be read in two ways, or is too long, is refused", async () => {
    const door = await stepDoorOn(api);
    const send = async (body: string) => {
      const headers = {
        authorization: `Bearer ${door.key}`,
        "content-type": "application/json",
      };
      const answer = await api.send("/api/gate", { method: "POST", headers, body });
      return [answer.status, answer.body.error.code];
    };
    const twice = '{"kind":"step","name":"s","arguments":{"to":"a","to":"b"}}';
    expect(await send(twice)).toEqual([400, "invalid_json"]);
    expect(await send(String.raw`{"kind":"step","name":"s","arguments":"\ud800"}`)).toEqual([
      400,
      "invalid_json",
    ]);
    const long = (bytes: number) =>
      JSON.stringify({ kind: "step", name: "s", arguments: "x".repeat(bytes) });
    expect(await send(long(1024 * 1024))).toEqual([413, "body_too_large"]);
    expect(await send(long(2 * 1024 * 1024))).toEqual([413, "body_too_large"]);
  });

  test("the installation's key passes it as little as any other door", async () => {
    const headers = {
      authorization: "Bearer installation-key-of-the-tests-0123456789",
      "content-type": "application/json",
    };
    const body = JSON.stringify({ kind: "step", name: "s" });
    expect((await api.send("/api/gate", { method: "POST", headers, body })).status).toBe(403);
  });

  test("an idempotency key executes the same content once, and gives its result again", async () => {
    const door = await stepDoorOn(api);
    const ask = {
      kind: "step",
      name: "mail",
      arguments: { to: "a", n: 1 },
      idempotency_key: "k-1",
      include_result: true,
    };
    const attempt = await door.granted(ask);
    const running = await door.ask(ask);
    expect([running.status, running.body]).toMatchObject([
      409,
      {
        error: { code: "idempotency_in_progress" },
        disposition: "wait",
        retry_context: { prior: { attempt_id: attempt, status: "running" } },
      },
    ]);
    expect(running.headers.get("retry-after-ms")).toBe("1000");
    await door.report(attempt, "complete", {
      result: { sent: [1.5, 12345678901234567890n.toString()] },
    });
    // The same content in another order of members; a header says the key as well as a member.
    const { idempotency_key: key, ...rest } = ask;
    const again = await door.ask(
      { ...rest, arguments: { n: 1, to: "a" } },
      { "idempotency-key": key },
    );
    expect([again.status, again.body]).toMatchObject([
      409,
      {
        error: { code: "duplicate_request" },
        disposition: "return_prior",
        retry_context: {
          prior: {
            attempt_id: attempt,
            status: "succeeded",
            result_state: "kept",
            result: { sent: [1.5, "12345678901234567890"] },
          },
        },
      },
    ]);
    const unasked = await door.ask({ ...ask, include_result: false });
    expect(unasked.body.retry_context.prior).toMatchObject({ result_state: "not_asked" });
    expect(unasked.body.retry_context.prior).not.toHaveProperty("result");
    const other = await door.ask({ ...ask, arguments: { to: "b", n: 1 } });
    expect([other.status, other.body]).toMatchObject([
      422,
      { error: { code: "idempotency_key_reused" }, retry_context: { prior: null } },
    ]);
  });

  test("who waits for another attempt that does the same is answered when it has ended", async () => {
    const door = await stepDoorOn(api);
    const ask = { kind: "step", name: "mail", run: "r", step: "s", include_result: true };
    const attempt = await door.granted(ask);
    const waiting = door.ask({ ...ask, wait: 30 });
    const preferring = door.ask(ask, { prefer: "wait=30" });
    const both = door.ask({ ...ask, wait: 0 }, { prefer: "wait=30" });
    await door.report(attempt, "complete", { result: "sent" });
    for (const answer of await Promise.all([waiting, preferring, both])) {
      expect([answer.status, answer.body.retry_context.prior]).toMatchObject([
        409,
        { status: "succeeded", result: "sent" },
      ]);
    }
  });

  test("a named step that may have run says so to its retry, which budgets count", async () => {
    const door = await stepDoorOn(api);
    await api.call(door.key, "POST", "/api/limits", {
      scope: { kind: "each_run" },
      unit: "attempts",
      window: "none",
      limit: 1,
    });
    await door.declare("search", { effect: "pure", price_usd: 0 });
    const ask = { kind: "tool", name: "search", run: "r", step: "s", arguments: { q: 1 } };
    const first = await door.granted(ask);
    await door.report(first, "fail", { error: "timeout", executed: "unknown" });
    const second = await door.ask(ask);
    expect([second.status, second.body.retry_context]).toMatchObject([
      200,
      {
        attempt: 2,
        because: "step",
        disposition: "execute",
        prior: { attempt_id: first, status: "unknown" },
        budgets: [{ limit: 1, used: 0, asked: 1, scope: "each_run" }],
      },
    ]);
    await door.report(second.body.attempt_id, "fail", { error: "no route", executed: "no" });
    const third = await door.ask(ask);
    expect([third.status, third.body]).toMatchObject([
      402,
      {
        error: { code: "retry_budget_exceeded" },
        disposition: "stop",
        retry_context: {
          attempt: 3,
          first_at: second.body.retry_context.first_at,
          prior: {
            attempt_id: second.body.attempt_id,
            status: "released",
            error: "no route",
          },
        },
      },
    ]);
  });

  test("a prior result is told to who did the same, and to nobody else", async () => {
    const door = await stepDoorOn(api);
    const keyOf = async (name: string, scopes: readonly string[]) => {
      const made = await api.call(door.key, "POST", "/api/keys", { name, scopes });
      return { authorization: `Bearer ${made.body.key as string}` };
    };
    const other = await keyOf("other", ["invoke"]);
    const priorOf = (answer: { readonly body: Json }): Json => answer.body.retry_context.prior;
    const wire = {
      kind: "tool",
      name: "wire",
      operation: "refund:o-1",
      estimate_usd: 0,
      arguments: { usd: 5 },
      include_result: true,
    };
    const first = await door.granted(wire);
    await door.report(first, "complete", { result: "secret" });
    // The same content is the same act, whoever asks: its result is what an agent that took over needs.
    expect(priorOf(await door.ask(wire, other))).toMatchObject({ result: "secret" });
    const conflict = await door.ask({ ...wire, arguments: { usd: 6 } }, other);
    expect([conflict.body.error.code, priorOf(conflict)]).toMatchObject([
      "operation_conflict",
      { attempt_id: first, status: "succeeded", result_state: "withheld" },
    ]);
    expect(priorOf(conflict)).not.toHaveProperty("result");

    await door.declare("search", { effect: "pure", price_usd: 0 });
    const search = { kind: "tool", name: "search", run: "r", step: "s", include_result: true };
    await door.report(await door.granted(search), "complete", { result: "found" });
    const theirs = await door.ask({ ...search, arguments: { q: 1 } }, other);
    expect([theirs.status, priorOf(theirs)]).toMatchObject([200, { result_state: "withheld" }]);
    expect(priorOf(theirs)).not.toHaveProperty("result");
    await door.report(theirs.body.attempt_id, "complete", { result: "theirs" });
    const again = await door.ask({ ...search, arguments: { q: 2 } }, other);
    expect(priorOf(again)).toMatchObject({ result_state: "kept", result: "theirs" });
    await door.report(again.body.attempt_id, "complete");
  });

  test("a key that may not ask is told nothing of what came before", async () => {
    const door = await stepDoorOn(api);
    const wire = { kind: "step", name: "wire", operation: "refund:o-1", include_result: true };
    await door.report(await door.granted(wire), "complete", { result: "secret" });
    await door.report(await door.granted({ ...wire, operation: undefined, run: "r" }), "complete");
    const stopped = await api.call(door.key, "POST", "/api/runs/r/stop", {});
    expect(stopped.body.state).toBe("stopped");
    const made = await api.call(door.key, "POST", "/api/keys", { name: "n", scopes: ["report"] });
    const mute = { authorization: `Bearer ${made.body.key as string}` };
    for (const run of ["r", "q"]) {
      const answer = await door.ask({ ...wire, run }, mute);
      expect(answer.status).toBe(403);
      expect(answer.body).toMatchObject({
        operation: null,
        retry_context: { because: null, first_at: null, last_at: null, prior: null },
      });
      expect(JSON.stringify(answer.body)).not.toContain("secret");
    }
  });

  test("JSON of too many values, or of a number that nobody writes, is refused before it is read", async () => {
    const door = await stepDoorOn(api);
    const send = async (args: string) => {
      const headers = { authorization: `Bearer ${door.key}`, "content-type": "application/json" };
      const body = `{"kind":"step","name":"s","arguments":${args}}`;
      const answer = await api.send("/api/gate", { method: "POST", headers, body });
      return [answer.status, answer.body.error?.code, answer.body.error?.message];
    };
    const many = [400, "invalid_json", expect.stringContaining("10000")];
    expect(await send(`[${"0.1,".repeat(200_000)}0]`)).toEqual(many);
    const members = Array.from({ length: 90_000 }, (_, i) => `"m${i}":1`).join(",");
    expect(await send(`{${members}}`)).toEqual(many);
    const long = [400, "invalid_json", expect.stringContaining("64")];
    expect(await send(`1e${"9".repeat(1_000_000)}`)).toEqual(long);
    expect((await send(`[${"0.1,".repeat(9_000)}0]`))[0]).toBe(200);
    // In a string they are characters.
    expect((await send(`"${"0.1,".repeat(200_000)}"`))[0]).toBe(200);
    await api.gateway.sweep();
  });

  test("leases are of the database's clock", async () => {
    await setClock(database.db, new Date("2030-01-01T00:00:00Z"));
    const door = await stepDoorOn(api);
    const answer = await door.ask({ kind: "step", name: "s", lease_seconds: 30 });
    expect(answer.body.lease_expires_at).toBe("2030-01-01T00:00:30.000Z");
    await setClock(database.db, new Date("2030-01-01T00:00:31Z"));
    expect((await api.gateway.sweep()).unknown).toBeGreaterThan(0);
    const { body } = await api.call(door.key, "GET", `/api/decisions/${answer.body.decision}`);
    expect(body.status).toBe("unknown");
    await door.report(answer.body.attempt_id, "complete");
    const ended: Json = await api.call(door.key, "GET", `/api/decisions/${answer.body.decision}`);
    expect(ended.body).toMatchObject({ status: "succeeded", corrected: false });
    await resetClock(database.db);
  });
});
