import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { setClock } from "../support/clock.ts";
import { open } from "../../src/store/database.ts";
import { describeEachDatabase, describeOnPostgres } from "../support/databases.ts";
import { askOf, settlementOf, tell } from "../support/ledger-history.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

const JANUARY = "from=2030-01-01&to=2030-02-01";
const LATE =
  "Not all that was recorded by now is rolled up and told, and would be missing: try again in a minute.";
const READ = [
  `cost-per-outcome?${JANUARY}`,
  `cost-per-outcome?${JANUARY}&cohort=run_start&group_by=customer,day`,
  `cost-per-outcome?${JANUARY}&format=csv`,
  `runs?${JANUARY}&sort=waste`,
  `runs?${JANUARY}&type=ticket_resolved&status=success&format=ndjson`,
  `spend?${JANUARY}&group_by=model,ending,run`,
  `spend?${JANUARY}&format=focus`,
  `waste?${JANUARY}`,
];
/** January as a whole, agreed with an invoice that nobody was sent. */
const AGREED = {
  upstream: "up",
  provider: "openai",
  from: "2030-01-01",
  to: "2030-02-01",
  states: ["cost_usd"],
  lines: [{ day: "2030-01-15", model: "m", cost_usd: "0.000000001058" }],
};

describeEachDatabase("a closed period", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    await setClock(database.db, new Date("2030-01-15T12:00:00Z"));
    tenant = await api.newTenant();
  });
  afterAll(() => api.close());

  const get = (path: string) => api.call(tenant.key, "GET", `/api/reports/${path}`);
  /** A transaction in the database of another test may hold the roll-ups back: asked again until it has ended. */
  const close = async (body: object = { from: "2030-01-01", to: "2030-02-01" }) => {
    for (;;) {
      await rollUpAll(database.db.admin);
      const answer = await api.call(tenant.key, "POST", "/api/closings", body);
      if (answer.body.error?.message.includes("try again") !== true) return answer;
    }
  };
  const reconcile = async (body: object) => {
    for (;;) {
      await rollUpAll(database.db.admin);
      const answer = await api.call(tenant.key, "POST", "/api/reports/reconciliation", body);
      if (answer.body.error?.message.includes("is summed up to") === true) continue;
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return answer;
    }
  };
  const clock = (at: string) => setClock(database.db, new Date(at));

  async function ask(runId: string) {
    const given = askOf(tenant.id, { keyId: tenant.keyId, runId });
    return { ...given, attemptId: await api.admit(given) };
  }

  async function bytesOf(paths: readonly string[]): Promise<readonly string[]> {
    const texts: string[] = [];
    for (const path of paths) {
      const { status, body } = await get(path);
      expect([path, status]).toEqual([path, 200]);
      texts.push(typeof body === "string" ? body : JSON.stringify(body));
    }
    return texts;
  }

  test("is the same to the byte, whatever comes later, and its drift says what came", async () => {
    const presumed = await ask("r1");
    await api.settle(
      settlementOf(presumed, { ending: "unknown", basis: "presumed", costPicousd: 1_000n }),
    );
    await api.settle(settlementOf(await ask("r2"), { costPicousd: 50n }));
    await api.settle(settlementOf(await ask("r3"), { costPicousd: 8n }));
    const first = await tell(database, tenant.id, { subject: "r1" });
    const second = await tell(database, tenant.id, { subject: "r2" });
    await clock("2030-02-02T00:00:00Z");
    await reconcile(AGREED);
    await clock("2030-02-02T01:00:00Z");
    const closed = await close();
    expect(closed.status).toBe(201);
    expect(closed.body).toMatchObject({
      from: "2030-01-01T00:00:00.000Z",
      closed_by: tenant.keyId,
    });
    const before = await bytesOf(READ);
    expect(JSON.parse(before[0] ?? "")).toMatchObject({
      closed: closed.body.id,
      as_of: "2030-02-02T01:00:00.000Z",
      rows: [{ reconciliation_state: "reconciled" }],
      total: {
        outcomes: { success: 2 },
        cost_usd: "0.00000000105",
        reconciliation_state: "reconciled",
      },
      unattributed_usd: "0.000000000008",
    });

    // It is found not to agree; evidence corrects what was presumed; an outcome comes late, one is taken back, a run goes on.
    await clock("2030-02-10T00:00:00Z");
    expect((await reconcile({ ...AGREED, lines: [] })).body.state).toBe("differs");
    await api.settle(settlementOf(presumed, { costPicousd: 400n }));
    await api.settle(settlementOf(await ask("r2"), { costPicousd: 5n }));
    await clock("2030-01-20T00:00:00Z");
    await tell(database, tenant.id, { subject: "r3" });
    await tell(database, tenant.id, { subject: "r2", status: "reversed", supersedes: second });
    await tell(database, tenant.id, { subject: "r1", status: "failure", supersedes: first });
    await clock("2030-03-01T00:00:00Z");
    await rollUpAll(database.db.admin);

    expect(await bytesOf(READ)).toEqual(before);
    const byId = READ.map((path) => path.replace(JANUARY, `closing=${closed.body.id}`));
    expect(await bytesOf(byId)).toEqual(before);

    const drift = await api.call(tenant.key, "GET", `/api/closings/${closed.body.id}/drift`);
    expect(drift.body).toMatchObject({
      has_drifted: true,
      rows: [
        {
          type: null,
          closed: { cost_usd: "0.000000000008" },
          now: { cost_usd: "0.00" },
          difference: { cost_usd: "-0.000000000008" },
        },
        {
          type: "ticket_resolved",
          closed: { outcomes: 2, successes: 2, cost_usd: "0.00000000105" },
          now: { outcomes: 3, successes: 1, cost_usd: "0.000000000463" },
          difference: { outcomes: 1, successes: -1, cost_usd: "-0.000000000587" },
        },
      ],
    });
  });

  test("has not drifted while nothing came, and is listed with its event", async () => {
    await api.settle(settlementOf(await ask("r1"), { costPicousd: 5n }));
    await tell(database, tenant.id, { subject: "r1" });
    await clock("2030-02-02T00:00:00Z");
    const { body } = await close({ from: "2030-01-01", to: "2030-02-01", time_zone: "Asia/Tokyo" });
    expect(body.from).toBe("2029-12-31T15:00:00.000Z");
    const drift = await api.call(tenant.key, "GET", `/api/closings/${body.id}/drift`);
    expect(drift.body.has_drifted).toBe(false);
    const listed = await api.call(tenant.key, "GET", "/api/closings");
    expect(listed.body).toEqual({ data: [body], next: null });
    const events = await api.call(tenant.key, "GET", "/api/events");
    expect(events.body.data.filter((event: Json) => event.subject === body.id)).toMatchObject([
      { kind: "period.closed", actor: tenant.keyId, body: { runs: 1, outcomes: 1 } },
    ]);
  });

  test("is closed once, an hour after its end, and not before all that it decided has ended", async () => {
    const open = await ask("r1");
    await clock("2030-02-01T00:59:59Z");
    const early = await close();
    expect([early.status, early.body.error.param]).toEqual([400, "to"]);
    await clock("2030-02-01T01:00:00Z");
    const held = await close();
    expect([held.status, held.body.error.message]).toEqual([
      409,
      expect.stringMatching(/^1 attempts/),
    ]);
    await api.settle(settlementOf(open));
    const closed = await close();
    expect(closed.status).toBe(201);
    const again = await close();
    expect([again.status, again.body.error.message]).toEqual([
      409,
      expect.stringContaining(closed.body.id),
    ]);
  });

  test("is copied when its outcomes are told, and else not at all", async () => {
    const { admin } = database.db;
    await api.settle(settlementOf(await ask("r1"), { costPicousd: 5n }));
    await tell(database, tenant.id, { subject: "r1" });
    await clock("2030-02-02T00:00:00Z");
    await rollUpAll(admin);
    // As it is while an outcome of very many runs waits for its tenant's turn.
    await admin`
      update outcome_costs set cost_picousd = 1 where tenant_id = ${tenant.id} and closing_id = ''`;
    await admin`
      insert into stale_outcomes (tenant_id, root_id, due_at)
      select tenant_id, root_id, tollgate_now() + interval '1 hour' from outcomes
      where tenant_id = ${tenant.id}`;
    const body = { from: "2030-01-01", to: "2030-02-01" };
    const waits = await api.call(tenant.key, "POST", "/api/closings", body);
    expect([waits.status, waits.body.error.message]).toEqual([409, LATE]);
    expect((await api.call(tenant.key, "GET", "/api/closings")).body.data).toEqual([]);
    await admin`update stale_outcomes set due_at = tollgate_now() where tenant_id = ${tenant.id}`;
    expect((await close()).status).toBe(201);
    const report = await get(`cost-per-outcome?${JANUARY}`);
    expect(report.body).toMatchObject({
      closed: expect.any(String),
      total: { cost_usd: "0.000000000005" },
    });
  });

  test("is told apart by nothing that its copies do not hold", async () => {
    await tell(database, tenant.id, { subject: "r1", type: "refund_paid" });
    await clock("2030-02-02T00:00:00Z");
    expect((await close()).status).toBe(201);
    for (const path of [
      "cost-per-outcome?group_by=model",
      "spend?group_by=type",
      "spend?type=refund_paid",
      "waste?type=refund_paid",
      "runs?model=m",
    ]) {
      const answer = await get(`${path}&${JANUARY}`);
      expect([path, answer.status]).toEqual([path, 400]);
      expect(answer.body.error.message).toMatch(/^Of a closed period/);
    }
  });

  test("is closed by admin, and belongs to its tenant", async () => {
    await clock("2030-02-02T00:00:00Z");
    const { body } = await close();
    const reader = await api.newTenant(["report"]);
    const asked = { from: "2030-01-01", to: "2030-02-01" };
    expect((await api.call(reader.key, "POST", "/api/closings", asked)).status).toBe(403);
    for (const path of [`closings/${body.id}/drift`, `reports/spend?closing=${body.id}`]) {
      expect([path, (await api.call(reader.key, "GET", `/api/${path}`)).status]).toEqual([
        path,
        404,
      ]);
    }
  });
});

describeOnPostgres("a period that is closed while the roll-ups are held back", (database) => {
  test("waits for what was recorded before, and holds it", async () => {
    const api = await createTestManagement(database.db);
    const clock = (at: string) => setClock(database.db, new Date(at));
    await clock("2030-01-15T12:00:00Z");
    const tenant = await api.newTenant();
    const ask = askOf(tenant.id, { keyId: tenant.keyId, runId: "r1" });
    const attemptId = await api.admit(ask);
    await api.settle(settlementOf({ ...ask, attemptId }));
    await clock("2030-02-02T00:00:00Z");
    await rollUpAll(database.db.admin);
    const close = () =>
      api.call(tenant.key, "POST", "/api/closings", { from: "2030-01-01", to: "2030-02-01" });
    const slow = open(database.address, 1);
    const { refused, closing } = await slow.begin(async (tx) => {
      await tx`select pg_current_xact_id()`;
      await clock("2030-02-03T00:00:00Z");
      await tell(database, tenant.id, { subject: "r1" });
      await clock("2030-02-04T00:00:00Z");
      return { refused: await close(), closing: close() };
    });
    expect([refused.status, refused.body.error.message]).toEqual([409, LATE]);
    const { status, body: closed } = await closing;
    await slow.end();
    expect([status, closed.closed_at]).toEqual([201, "2030-02-04T00:00:00.000Z"]);
    const path = `/api/reports/cost-per-outcome?closing=${closed.id}`;
    const { body } = await api.call(tenant.key, "GET", path);
    expect(body).toMatchObject({ runs_without_outcome: 0, as_of: closed.closed_at });
    await api.close();
  });
});
