import { afterAll, beforeAll, expect, test } from "vitest";
import { createRandomId } from "../../src/lib/random-id.ts";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

type Tenant = Awaited<ReturnType<Management["newTenant"]>>;

describeEachDatabase("looking back", (database) => {
  let api: Management;
  let tenant: Tenant;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  const get = (path: string) => api.call(tenant.key, "GET", path);
  const ask = () => ({ tenantId: tenant.id, keyId: tenant.keyId });

  test("a timeline holds every attempt in order, with its ending, and exact totals", async () => {
    tenant = await api.newTenant();
    const { id: tenantId } = tenant;
    await setClock(database.db, new Date("2026-03-10T10:00:00Z"));
    const run = { ...ask(), runId: "told", runNamed: true };
    const succeeded = await api.admit(run);
    await setClock(database.db, new Date("2026-03-10T10:00:01Z"));
    const failed = await api.admit(run);
    await setClock(database.db, new Date("2026-03-10T10:00:02Z"));
    const released = await api.admit(run);
    const unpriced = await api.admit({ ...run, costPicousd: null });
    const blocked = await api.admit({
      ...run,
      judgedReason: "price_unknown",
      record: record("No price."),
    });
    const presumed = await api.admit(run);
    await setClock(database.db, new Date("2026-03-10T10:00:03Z"));
    const open = await api.admit(run);
    const unknown = await api.admit({ ...run, deadlineMs: 1 });
    await api.settle({ tenantId, attemptId: succeeded, costPicousd: 1n, tokens: 7 });
    await api.settle({
      tenantId,
      attemptId: failed,
      ending: "failed",
      basis: "estimated",
      costPicousd: 2n,
    });
    await api.settle({
      tenantId,
      attemptId: released,
      ending: "released",
      basis: "none",
      costPicousd: 0n,
      tokens: 0,
      requests: 0,
      usage: "{}",
    });
    await api.settle({ tenantId, attemptId: unpriced, basis: "unpriced", costPicousd: null });
    await api.settle({
      tenantId,
      attemptId: presumed,
      ending: "unknown",
      basis: "presumed",
      costPicousd: 1_000_000_000n,
    });
    await api.settle({ tenantId, attemptId: presumed, costPicousd: 300n, tokens: 100 });
    await setClock(database.db, new Date("2026-03-10T10:01:00Z"));
    await database.db.admin`select tollgate_expire(interval '1 hour', 100)`;

    const { body } = await get("/api/runs/told");
    const told = new Map(body.attempts.map((attempt: Json) => [attempt.id, attempt]));
    expect([...told.keys()].slice(0, 2)).toEqual([succeeded, failed]);
    expect(told.size).toBe(8);
    expect(told.get(succeeded)).toMatchObject({
      status: "succeeded",
      cost_usd: "0.000000000001",
      reserved_usd: "0.00",
      tokens: 7,
      basis: "computed",
      usage: { input: 100, output: 20 },
      decided_at: "2026-03-10T10:00:00.000Z",
      ended_at: "2026-03-10T10:00:03.000Z",
    });
    expect(told.get(failed)).toMatchObject({ status: "failed", basis: "estimated" });
    expect(told.get(released)).toMatchObject({ status: "released", cost_usd: "0.00" });
    expect(told.get(unpriced)).toMatchObject({
      status: "succeeded",
      cost_usd: null,
      basis: "unpriced",
    });
    expect(told.get(blocked)).toMatchObject({
      status: "blocked",
      reason: "price_unknown",
      cost_usd: null,
    });
    expect(told.get(presumed)).toMatchObject({
      status: "succeeded",
      corrected: true,
      cost_usd: "0.0000000003",
      tokens: 100,
    });
    expect(told.get(open)).toMatchObject({
      status: "admitted",
      reserved_usd: "0.001",
      cost_usd: null,
    });
    expect(told.get(unknown)).toMatchObject({
      status: "unknown",
      reserved_usd: "0.001",
      unknown_at: "2026-03-10T10:01:00.000Z",
    });
    expect(body.totals).toEqual({
      attempts: 7,
      blocked: 1,
      repeated: 0,
      in_flight: 1,
      unknown: 1,
      unpriced: 1,
      cost_usd: "0.000000000303",
      adjusted_usd: null,
      reserved_usd: "0.002",
      tokens: 7 + 120 + 120 + 100,
    });

    const seen: string[] = [];
    let next: string | null = "";
    while (next !== null) {
      const page = await get(`/api/runs/told?limit=3${next === "" ? "" : `&cursor=${next}`}`);
      seen.push(...page.body.attempts.map((attempt: Json) => attempt.id));
      next = page.body.next;
    }
    expect(seen).toEqual([...told.keys()]);
  });

  test("a call without a run is found under its own", async () => {
    tenant = await api.newTenant();
    const attempt = await api.admit({ ...ask(), runId: "run_own" });
    const { body } = await get("/api/runs/run_own");
    expect(body).toMatchObject({
      state: "implicit",
      parent: null,
      labels: {},
      attempts: [{ id: attempt }],
    });
    expect((await get("/api/runs")).body.data).toEqual([]);
    expect((await get("/api/runs/run_none")).status).toBe(404);
  });

  test("a decision is told by either id, with the meters it met and why in sentences", async () => {
    tenant = await api.newTenant();
    const limit = await api.call(tenant.key, "POST", "/api/limits", {
      scope: { kind: "tenant" },
      unit: "usd",
      window: "day",
      limit: "0.0015",
    });
    const refs = [{ limitId: limit.body.id, subject: "", share: null }];
    const first = await api.admit({ ...ask(), refs });
    await api.settle({ tenantId: tenant.id, attemptId: first, costPicousd: 900_000_000n });
    const second = await api.admit({ ...ask(), refs });

    const allowed = await get(`/api/decisions/dec_${first.slice(4)}`);
    expect(allowed.body).toMatchObject({ attempt_id: first, verdict: "allow", tenant: tenant.id });
    expect(allowed.body.explanation.join("\n")).toMatch(
      /admitted: it could cost at most \$0\.001 .*\n.*\n.*cost \$0\.0009 for 120 tokens/,
    );
    const blocked = await get(`/api/decisions/${second}`);
    expect(blocked.body).toMatchObject({
      id: `dec_${second.slice(4)}`,
      status: "blocked",
      reason: "budget_exceeded",
      meters: [
        {
          limit_id: limit.body.id,
          subject: null,
          limit: "0.0015",
          committed: "0.0009",
          reserved: "0.00",
          asked: "0.001",
        },
      ],
    });
    expect(blocked.body.explanation.join("\n")).toContain("$0.0006 left where $0.001 was asked");
    expect(blocked.body.record).toMatchObject({ estimate: { basis: "bound" } });

    const listed = await get("/api/decisions");
    expect(listed.body.data.map((row: Json) => row.decision).toSorted()).toEqual(
      [first, second].map((id) => `dec_${id.slice(4)}`).toSorted(),
    );
    const now = await get("/api/limits");
    expect(now.body.data).toMatchObject([
      { committed: "0.0009", reserved: "0.00", remaining: "0.0006" },
    ]);
    expect((await get("/api/decisions/dec_none")).status).toBe(404);
  });

  test("a limit on each run shows the run that is named, and a new window starts at nothing", async () => {
    tenant = await api.newTenant();
    await setClock(database.db, new Date("2026-10-25T00:30:00Z"));
    const made = await api.call(tenant.key, "POST", "/api/limits", {
      scope: { kind: "each_run" },
      unit: "tokens",
      window: "day",
      limit: 5_000,
      time_zone: "Europe/Berlin",
    });
    // The night of 25 hours: local midnights at 22:00 and, after the change of clocks, at 23:00.
    expect(made.body).toMatchObject({
      subject: null,
      committed: null,
      resets_at: "2026-10-25T23:00:00.000Z",
    });
    await api.admit({
      ...ask(),
      runId: "counted",
      refs: [{ limitId: made.body.id, subject: "counted", share: null }],
    });
    const path = `/api/limits/${made.body.id}`;
    expect((await get(`${path}?subject=counted`)).body).toMatchObject({
      limit: 5_000,
      committed: 0,
      reserved: 1_000,
      remaining: 4_000,
    });
    expect((await get(`${path}?subject=other`)).body).toMatchObject({
      reserved: 0,
      remaining: 5_000,
    });
    await setClock(database.db, new Date("2026-10-25T23:00:00Z"));
    expect((await get(`${path}?subject=counted`)).body).toMatchObject({
      reserved: 0,
      resets_at: "2026-10-26T23:00:00.000Z",
    });
  });

  test("use is summed exactly, in all, by model and by day of the decision", async () => {
    tenant = await api.newTenant();
    const idsAt = createRandomId();
    const idAt = (at: string, aheadMs = 0) => `att_${idsAt(Date.parse(at) + aheadMs)}`;
    const spend = async (at: string, model: string, costPicousd: bigint, aheadMs = 0) => {
      await setClock(database.db, new Date(at));
      // Whoever made the id has a clock of its own.
      const attemptId = await api.admit({ ...ask(), model, attemptId: idAt(at, aheadMs) });
      // Settled two days later: the day of the decision is where it counts.
      await setClock(database.db, new Date(Date.parse(at) + 2 * 86_400_000));
      await api.settle({ tenantId: tenant.id, attemptId, costPicousd });
    };
    await spend("2026-05-31T23:59:59Z", "before", 5n, 10_000);
    await spend("2026-06-01T00:00:00Z", "gpt-4o", 100_000_000_000_000_001n, -3_600_000);
    await spend("2026-06-01T23:59:59Z", "gpt-4o-mini", 1n);
    await spend("2026-06-02T00:00:00Z", "gpt-4o-mini", 2n);
    const refusedAt = "2026-06-04T00:00:00Z";
    await api.admit({ ...ask(), judgedReason: "price_unknown", attemptId: idAt(refusedAt) });
    await setClock(database.db, new Date("2026-06-30T00:00:00Z"));
    const last = idAt("2026-06-30T00:00:00Z", 3_599_000);
    await api.admit({ ...ask(), model: "gpt-4o", attemptId: last });

    const { body } = await get("/api/usage?from=2026-06-01&to=2026-07-01");
    expect(body.totals).toMatchObject({
      attempts: 4,
      blocked: 1,
      repeated: 0,
      cost_usd: "100000.000000000004",
      reserved_usd: "0.001",
      tokens: 360,
      usage: { input: 300, output: 60 },
    });
    expect(body.by_model).toMatchObject([
      {
        upstream: "openai",
        model: "gpt-4o",
        attempts: 2,
        blocked: 1,
        cost_usd: "100000.000000000001",
        usage: { input: 100 },
      },
      {
        upstream: "openai",
        model: "gpt-4o-mini",
        attempts: 2,
        cost_usd: "0.000000000003",
        usage: { output: 40 },
      },
    ]);
    expect(body.by_day.map((row: Json) => [row.day, row.cost_usd])).toEqual([
      ["2026-06-01", "100000.000000000002"],
      ["2026-06-02", "0.000000000002"],
      ["2026-06-04", "0.00"],
      ["2026-06-30", "0.00"],
    ]);
    const empty = await get("/api/usage?from=2020-01-01&to=2020-01-02");
    expect(empty.body).toMatchObject({
      totals: { attempts: 0, cost_usd: "0.00" },
      by_model: [],
      by_day: [],
    });
    const month = await get("/api/usage");
    expect(month.body).toMatchObject({
      from: "2026-06-01T00:00:00.000Z",
      to: "2026-06-30T00:00:00.000Z",
    });
  });

  function record(message: string): string {
    return JSON.stringify({ message, estimate: { basis: null, clamped_to: null } });
  }
});
