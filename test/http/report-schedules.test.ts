import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { REPORT_SCHEDULES_MAX } from "../../src/core/limits-finance.ts";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";

const PATH = "/api/report-schedules";
const DAILY = { name: "spend of a day", report: "spend", every: "day" };

describeEachDatabase("a report schedule", (database) => {
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

  const create = (body: object, key = tenant.key) => api.call(key, "POST", PATH, body);
  const change = (id: string, body: object) => api.call(tenant.key, "PATCH", `${PATH}/${id}`, body);

  test("is created, shown, listed, changed and removed, each by an event", async () => {
    const query = { group_by: "customer,label:team", label: "team=search", model: "m" };
    const terms = { ...DAILY, query, every: "week", time_zone: "Europe/Berlin", format: "csv" };
    const created = await create(terms);
    expect(created).toMatchObject({
      status: 201,
      body: {
        ...terms,
        tenant: tenant.id,
        next_from: "2030-01-13T23:00:00.000Z",
        next_to: "2030-01-20T23:00:00.000Z",
        created_by: tenant.keyId,
        removed_at: null,
      },
    });
    const { id } = created.body;
    expect((await api.call(tenant.key, "GET", `${PATH}/${id}`)).body).toEqual(created.body);
    const listed = await api.call(tenant.key, "GET", PATH);
    expect(listed.body).toEqual({ data: [created.body], next: null });
    const changed = await change(id, { name: "renamed", query: { customer: "acme" } });
    expect(changed).toMatchObject({
      status: 200,
      body: { ...created.body, name: "renamed", query: { customer: "acme" } },
    });
    expect((await change(id, { name: "renamed" })).status).toBe(200);
    const monthly = await change(id, { every: "month", time_zone: "UTC" });
    expect(monthly.body).toMatchObject({
      next_from: "2030-01-01T00:00:00.000Z",
      next_to: "2030-02-01T00:00:00.000Z",
    });
    const removed = await api.call(tenant.key, "DELETE", `${PATH}/${id}`);
    expect(removed.body.removed_at).not.toBeNull();
    expect((await api.call(tenant.key, "GET", PATH)).body.data).toEqual([]);
    expect((await change(id, { name: "again" })).status).toBe(404);
    const events = await api.call(tenant.key, "GET", "/api/events");
    const told = events.body.data.filter((event: Json) => event.subject === id);
    expect(told.map((event: Json) => [event.kind, event.actor])).toEqual([
      ["report_schedule.removed", tenant.keyId],
      ["report_schedule.changed", tenant.keyId],
      ["report_schedule.changed", tenant.keyId],
      ["report_schedule.created", tenant.keyId],
    ]);
    expect(told[2].body).toMatchObject({
      before: { name: "spend of a day", query },
      after: { name: "renamed", query: { customer: "acme" } },
    });
  });

  test("is UTC's and JSON where nothing is said", async () => {
    expect((await create(DAILY)).body).toMatchObject({
      query: {},
      time_zone: "UTC",
      format: "json",
      next_from: "2030-01-15T00:00:00.000Z",
    });
  });

  test.each([
    [{ ...DAILY, report: "runs" }, "report"],
    [{ ...DAILY, every: "quarter" }, "every"],
    [{ ...DAILY, format: "focus" }, "format"],
    [{ ...DAILY, time_zone: "Mars/Olympus" }, "time_zone"],
    [{ ...DAILY, name: "" }, "name"],
    [{ ...DAILY, query: { from: "2030-01-01" } }, "from"],
    [{ ...DAILY, query: { cohort: "outcome" } }, "query.cohort"],
    [{ ...DAILY, query: { group_by: "colour" } }, "group_by"],
    [{ ...DAILY, query: { label: "team" } }, "label"],
    [{ ...DAILY, query: { label: "team=\0" } }, "query.label"],
    [{ ...DAILY, query: { customer: "\0" } }, "query.customer"],
    [{ ...DAILY, query: { group_by: "label:\0" } }, "query.group_by"],
    [{ ...DAILY, report: "waste", query: { group_by: "colour" } }, "group_by"],
    [{ ...DAILY, report: "budgets", query: { group_by: "day" } }, "query.group_by"],
    [{ ...DAILY, report: "cost-per-outcome", query: { model: "m" } }, "query.model"],
    [{ ...DAILY, report: "cost-per-outcome", query: { group_by: "ending" } }, "group_by"],
    [{ ...DAILY, report: "budgets", query: { customer: "acme" } }, "query.customer"],
  ])("%j is refused, which names %s", async (body, param) => {
    const answer = await create(body);
    expect([answer.status, answer.body.error.param]).toEqual([400, expect.stringMatching(param)]);
  });

  test("is no more than one of fifty", async () => {
    await database.db.admin`
      insert into report_schedules (tenant_id, schedule_id, name, report, query, every, time_zone, format, begins_at,
                                    ends_at, created_by)
      select ${tenant.id}, 'rsc_' || n, 'n', 'spend', '{}', 'day', 'UTC', 'json', tollgate_now(),
             tollgate_now() + interval '1 day', 'test'
      from generate_series(1, ${REPORT_SCHEDULES_MAX - 1}::int) as n`;
    expect((await create(DAILY)).status).toBe(201);
    const answer = await create(DAILY);
    expect([answer.status, answer.body.error.message]).toEqual([
      409,
      expect.stringContaining("at most 50 report schedules"),
    ]);
  });

  test("is made by admin, read with report, and belongs to its tenant", async () => {
    const { id } = (await create({ ...DAILY, tenant: tenant.id }, ADMIN_KEY)).body;
    const reader = await api.newTenant(["report"]);
    expect((await create(DAILY, reader.key)).status).toBe(403);
    expect((await api.call(reader.key, "GET", PATH)).body.data).toEqual([]);
    expect((await api.call(reader.key, "GET", `${PATH}/${id}`)).status).toBe(404);
    const other = await api.newTenant();
    for (const method of ["GET", "DELETE"]) {
      expect((await api.call(other.key, method, `${PATH}/${id}`)).status).toBe(404);
    }
    expect((await api.call(other.key, "PATCH", `${PATH}/${id}`, { name: "mine" })).status).toBe(
      404,
    );
    expect((await create(DAILY, ADMIN_KEY)).body.error.param).toBe("tenant");
    expect((await api.call(tenant.key, "GET", `${PATH}/${id}`)).body.removed_at).toBeNull();
  });
});
