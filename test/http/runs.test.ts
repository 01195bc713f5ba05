import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase, describeOnPostgres } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";

type Tenant = Awaited<ReturnType<Management["newTenant"]>>;

describeEachDatabase("runs", (database) => {
  let api: Management;
  let tenant: Tenant;
  let worker: string;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
    tenant = await api.newTenant();
    worker = await keyWith(["invoke"]);
  });
  afterAll(() => api.close());

  async function keyWith(scopes: readonly string[]): Promise<string> {
    const body = { tenant: tenant.id, name: "k", scopes };
    return (await api.call(ADMIN_KEY, "POST", "/api/keys", body)).body.key;
  }

  const put = (key: string, run: string, body: object) =>
    api.call(key, "PUT", `/api/runs/${encodeURIComponent(run)}`, body);

  test("putting a run twice makes it once, and tells it once", async () => {
    const body = { budget_usd: "1.25", labels: { team: "search" } };
    const first = await put(worker, "twice", body);
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({
      id: "twice",
      state: "open",
      labels: { team: "search" },
      created: true,
      budget: { limit_usd: "1.25", remaining_usd: "1.25" },
      totals: { cost_usd: "0.00" },
    });
    const second = await put(worker, "twice", body);
    expect({ ...second.body, created: true }).toEqual(first.body);
    const events = await api.call(tenant.key, "GET", "/api/events");
    const kinds = events.body.data.filter((event: Json) => event.subject === "twice");
    expect(kinds.map((event: Json) => event.kind)).toEqual(["run.budget_set", "run.created"]);
  });

  test("invoke sets a budget and lowers it; only admin raises it", async () => {
    expect((await put(worker, "lowered", {})).body.budget).toBeNull();
    expect((await put(worker, "lowered", { budget_usd: 2 })).status).toBe(200);
    expect((await put(worker, "lowered", { budget_usd: "1.5" })).status).toBe(200);
    const raised = await put(worker, "lowered", { budget_usd: "1.500000000001" });
    expect([raised.status, raised.body.error.param]).toEqual([403, "budget_usd"]);
    const byAdmin = await put(tenant.key, "lowered", { budget_usd: 7 });
    expect(byAdmin.body.budget.limit_usd).toBe("7.00");
  });

  test("a budget lowered below what is held admits nothing more, and says so", async () => {
    await put(worker, "spent", { budget_usd: 2 });
    const ask = { tenantId: tenant.id, keyId: tenant.keyId, runId: "spent", runNamed: true };
    const held = await api.admit(ask);
    const lowered = await put(worker, "spent", { budget_usd: "0.0005" });
    expect(lowered.status).toBe(200);
    expect(lowered.body.notice).toContain("nothing more is admitted");
    expect(lowered.body.budget).toMatchObject({ reserved_usd: "0.001", remaining_usd: "0.00" });
    await api.admit({ ...ask, costPicousd: 1n });
    await api.settle({ tenantId: tenant.id, attemptId: held, costPicousd: 600_000_000n });
    await api.admit({ ...ask, costPicousd: 1n });
    const run = await api.call(tenant.key, "GET", "/api/runs/spent");
    expect(run.body.attempts.slice(1)).toMatchObject([
      { status: "blocked", reason: "budget_contended" },
      { status: "blocked", reason: "run_budget_exceeded" },
    ]);
    expect((await put(worker, "spent", { budget_usd: "0.0004" })).body.notice).toMatch(
      /admitted\.$/,
    );
  });

  test("a parent is fixed once the run has a row, and its budget is drawn on", async () => {
    await put(worker, "above", { budget_usd: "0.0015" });
    expect((await put(worker, "below", { parent: "above" })).body.parent).toBe("above");
    expect((await put(worker, "below", { parent: "above" })).status).toBe(200);
    await put(worker, "elsewhere", {});
    const moved = await put(worker, "below", { parent: "elsewhere" });
    expect([moved.status, moved.body.error.param]).toEqual([409, "parent"]);
    const late = await put(worker, "elsewhere", { parent: "above" });
    expect(late.status).toBe(409);
    const ask = { tenantId: tenant.id, keyId: tenant.keyId, runId: "below", runNamed: true };
    await api.admit(ask);
    const above = await api.call(tenant.key, "GET", "/api/runs/above");
    expect(above.body.budget).toMatchObject({ reserved_usd: "0.001", remaining_usd: "0.0005" });
  });

  test("a run that executes another anew says so, and that is fixed once it has a row", async () => {
    await put(worker, "first try", {});
    const again = await put(worker, "second try", { derived_from: "first try" });
    expect([again.status, again.body.derived_from]).toEqual([200, "first try"]);
    expect((await put(worker, "second try", { derived_from: "first try" })).status).toBe(200);
    const moved = await put(worker, "second try", { derived_from: "second try" });
    expect([moved.status, moved.body.error.param]).toEqual([409, "derived_from"]);
    const unknown = await put(worker, "third try", { derived_from: "nobody's" });
    expect([unknown.status, unknown.body.error.param]).toEqual([404, "derived_from"]);
  });

  test("a chain of parents has an end", async () => {
    await put(worker, "depth 0", {});
    for (let depth = 1; depth <= 8; depth += 1) {
      const answer = await put(worker, `depth ${depth}`, { parent: `depth ${depth - 1}` });
      expect([depth, answer.status]).toEqual([depth, 200]);
    }
    const deeper = await put(worker, "depth 9", { parent: "depth 8" });
    expect([deeper.status, deeper.body.error.param]).toEqual([400, "parent"]);
  });

  test("a stopped run, and the runs below it, admit nothing; the answer lists what is in flight", async () => {
    await put(worker, "ending", {});
    await put(worker, "ending child", { parent: "ending" });
    const ask = { tenantId: tenant.id, keyId: tenant.keyId, runNamed: true };
    const inFlight = await api.admit({ ...ask, runId: "ending child" });
    const ended = await api.admit({ ...ask, runId: "ending" });
    await api.settle({ tenantId: tenant.id, attemptId: ended });
    const stopped = await api.call(tenant.key, "POST", "/api/runs/ending/stop");
    expect(stopped.body).toMatchObject({ id: "ending", state: "stopping", in_flight_more: false });
    expect(stopped.body.in_flight).toMatchObject([
      { id: inFlight, run: "ending child", status: "admitted", reserved_usd: "0.001" },
    ]);
    for (const runId of ["ending", "ending child"]) {
      const after = await api.admit({ ...ask, runId });
      const decision = await api.call(tenant.key, "GET", `/api/decisions/${after}`);
      expect(decision.body).toMatchObject({ status: "blocked", reason: "run_stopped" });
    }
    expect((await api.call(tenant.key, "POST", "/api/runs/ending/stop")).status).toBe(200);
    const late = await put(worker, "too late", { parent: "ending" });
    expect(late.status).toBe(409);
    const events = await api.call(tenant.key, "GET", "/api/events");
    const stops = events.body.data.filter((event: Json) => event.kind === "run.stopped");
    expect(stops).toHaveLength(1);
    expect((await api.call(tenant.key, "POST", "/api/runs/unheard-of/stop")).status).toBe(404);
    const stateOf = async () => (await api.call(tenant.key, "GET", "/api/runs/ending")).body.state;
    expect(await stateOf()).toBe("stopping");
    await api.settle({ tenantId: tenant.id, attemptId: inFlight });
    expect(await stateOf()).toBe("stopped");
    const { data } = (await api.call(tenant.key, "GET", "/api/runs?search=ending")).body;
    expect(data.map((run: Json) => [run.id, run.state])).toEqual([
      ["ending child", "open"],
      ["ending", "stopped"],
    ]);
  });

  test("a run that is stopped with nothing in flight is stopped at once", async () => {
    await put(worker, "idle", {});
    const { body } = await api.call(tenant.key, "POST", "/api/runs/idle/stop");
    expect(body).toMatchObject({ state: "stopped", in_flight: [] });
    expect((await put(worker, "idle below", { parent: "idle" })).status).toBe(409);
  });

  test("of every run what was admitted, refused and repeated are three counts", async () => {
    const mine = await api.newTenant();
    const ask = { tenantId: mine.id, keyId: mine.keyId, runId: "counted", runNamed: true };
    await api.admit(ask);
    for (let refused = 0; refused < 3; refused += 1) {
      await api.admit({ ...ask, judgedReason: "policy_denied" });
    }
    const counts = { attempts: 1, blocked: 3, repeated: 0 };
    const run = await api.call(mine.key, "GET", "/api/runs/counted");
    expect(run.body.totals).toMatchObject(counts);
    const usage = (await api.call(mine.key, "GET", "/api/usage")).body;
    expect([usage.totals, usage.by_model[0], usage.by_day[0]]).toMatchObject([
      counts,
      counts,
      counts,
    ]);
  });

  test("a call's own run that was stopped is not carried on by naming it", async () => {
    const ask = { tenantId: tenant.id, keyId: tenant.keyId, runId: "run_of-one-call" };
    await api.admit(ask);
    const stopped = await api.call(tenant.key, "POST", "/api/runs/run_of-one-call/stop");
    expect(stopped.body).toMatchObject({ state: "stopping", in_flight: [{ status: "admitted" }] });
    const again = await api.admit({ ...ask, runNamed: true });
    const decision = await api.call(tenant.key, "GET", `/api/decisions/${again}`);
    expect(decision.body.reason).toBe("run_stopped");
  });

  test("a run's limits are listed with its name", async () => {
    await put(worker, "listed", { budget_usd: 4 });
    const limits = await api.call(tenant.key, "GET", "/api/limits?run=listed");
    expect(limits.body.data).toMatchObject([
      { scope: { kind: "run", id: "listed" }, unit: "usd", window: "none", limit: "4.00" },
    ]);
  });
});

describeOnPostgres("runs in a race", (database) => {
  test("twenty that put a budget on one run make one run with one budget", async () => {
    const api = await createTestManagement(database.db);
    const tenant = await api.newTenant();
    const race = () =>
      Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          api.call(tenant.key, "PUT", "/api/runs/raced", i < 10 ? {} : { budget_usd: i }),
        ),
      );
    const answers = await race();
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200));
    expect(answers.filter((answer) => answer.body.created)).toHaveLength(1);
    // A run that has its row already gives the budgets nothing else to wait for than our lock.
    for (let round = 0; round < 10; round += 1) {
      await api.call(tenant.key, "PUT", `/api/runs/round ${round}`, {});
      await Promise.all(
        [1, 2, 3, 4].map((usd) =>
          api.call(tenant.key, "PUT", `/api/runs/round ${round}`, { budget_usd: usd }),
        ),
      );
      const own = await api.call(tenant.key, "GET", `/api/limits?run=round%20${round}`);
      expect(own.body.data).toHaveLength(1);
    }
    const limits = await api.call(tenant.key, "GET", "/api/limits?run=raced");
    expect(limits.body.data).toHaveLength(1);
    await api.close();
  });
});
