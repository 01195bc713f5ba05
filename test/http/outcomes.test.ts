import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OUTCOME_AHEAD_MS_MAX } from "../../src/core/limits-finance.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { setClock, resetClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Answer,
  type Json,
  type Management,
} from "../support/management.ts";

const NOW = new Date("2030-05-01T12:00:00.000Z");

describeEachDatabase("an outcome", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    await setClock(database.db, NOW);
    tenant = await api.newTenant();
    await api.call(tenant.key, "POST", "/api/outcome-types", {
      name: "ticket_resolved",
      value_usd: "5",
    });
    await api.call(tenant.key, "PUT", "/api/runs/r", {});
  });
  afterAll(async () => {
    await resetClock(database.db);
    await api.close();
  });

  const SUCCESS = { type: "ticket_resolved", status: "success" };
  const tell = (body: object, path = "runs/r", key = tenant.key): Promise<Answer> =>
    api.call(key, "POST", `/api/${path}/outcome`, body);
  const list = async (query = ""): Promise<Json[]> =>
    (await api.call(tenant.key, "GET", `/api/outcomes${query}`)).body.data;
  const refusal = ({ status, body }: Answer): unknown => [status, body.error?.param];

  describe("of a run", () => {
    test("is recorded once, with all that was said of it", async () => {
      const said = {
        ...SUCCESS,
        key: "T-1",
        value_usd: "7.50",
        weight: 3,
        evidence: "closed by the customer",
        occurred_at: "2030-04-30T10:00:00+02:00",
      };
      const first = await tell(said);
      expect([first.status, first.body]).toEqual([
        201,
        {
          id: expect.stringMatching(/^out_/),
          tenant: tenant.id,
          run: "r",
          operation: null,
          ...said,
          occurred_at: "2030-04-30T08:00:00.000Z",
          recorded_at: NOW.toISOString(),
          recorded_by: tenant.keyId,
          root: first.body.id,
          supersedes: null,
          superseded_by: null,
          repeated: false,
        },
      ]);
      const again = await tell(said);
      expect([again.status, again.body]).toEqual([200, { ...first.body, repeated: true }]);
      expect(await list()).toHaveLength(1);
    });

    test("occurs now where nothing else is said, and later the same is still a repeat", async () => {
      const first = await tell(SUCCESS);
      expect(first.body).toMatchObject({
        key: "",
        value_usd: null,
        weight: 1,
        evidence: "",
        occurred_at: NOW.toISOString(),
      });
      await setClock(database.db, new Date(NOW.getTime() + 3_600_000));
      const again = await tell(SUCCESS);
      expect([again.status, again.body.id]).toEqual([200, first.body.id]);
    });

    test("is taken late and from the past, and not from the future beyond what clocks differ", async () => {
      const at = (ms: number) => new Date(NOW.getTime() + ms).toISOString();
      const late = { ...SUCCESS, key: "late", occurred_at: "2000-01-01T00:00:00Z" };
      expect((await tell(late)).status).toBe(201);
      const ahead = { ...SUCCESS, key: "ahead", occurred_at: at(OUTCOME_AHEAD_MS_MAX) };
      expect((await tell(ahead)).status).toBe(201);
      const beyond = { ...SUCCESS, key: "beyond", occurred_at: at(OUTCOME_AHEAD_MS_MAX + 1) };
      expect(refusal(await tell(beyond))).toEqual([400, "occurred_at"]);
      const before = { ...SUCCESS, key: "before", occurred_at: "1999-12-31T23:59:59Z" };
      expect(refusal(await tell(before))).toEqual([400, "occurred_at"]);
    });

    test("is of a run that a call named, and of one that had no name", async () => {
      const { id: tenantId, keyId } = tenant;
      await api.admit({ tenantId, keyId, runId: "called" });
      expect((await tell(SUCCESS, "runs/called")).status).toBe(201);
    });

    test("of a run that nobody named is refused", async () => {
      const answer = await tell(SUCCESS, "runs/nobody");
      expect(refusal(answer)).toEqual([404, "run"]);
      expect(answer.body.error.message).toContain("There is no run `nobody`");
    });

    test("of a type that is not declared, or not any more, is told how to declare it", async () => {
      const answer = await tell({ ...SUCCESS, type: "sale" });
      expect(refusal(answer)).toEqual([400, "type"]);
      expect(answer.body.error.message).toContain("tollgate outcome-types create sale");
      await tell(SUCCESS);
      await api.call(tenant.key, "DELETE", "/api/outcome-types/ticket_resolved");
      expect((await tell(SUCCESS)).status).toBe(200);
      expect(refusal(await tell({ ...SUCCESS, key: "other" }))).toEqual([400, "type"]);
    });
  });

  describe("of an operation", () => {
    const path = "operations/refund/order:7";

    test("is recorded for one whose effect was claimed", async () => {
      const claim = { kind: "step", name: "refund", operation: "refund:order:7" };
      expect((await api.call(tenant.key, "POST", "/api/gate", claim)).status).toBe(200);
      const answer = await tell(SUCCESS, path);
      expect([answer.status, answer.body.operation, answer.body.run]).toEqual([
        201,
        "refund:order:7",
        null,
      ]);
    });

    test.each(["in flight", "settled", "refused", "rolled up"])(
      "is recorded for one that a call named which is %s",
      async (state) => {
        const { id: tenantId, keyId } = tenant;
        const attemptId = await api.admit({
          tenantId,
          keyId,
          judgedReason: state === "refused" ? "policy_denied" : null,
          record: JSON.stringify({ context: { operation: "refund:order:7" } }),
        });
        if (state === "settled" || state === "rolled up") await api.settle({ tenantId, attemptId });
        if (state === "rolled up") await rollUpAll(database.db.admin, 500);
        expect((await tell(SUCCESS, path)).status).toBe(201);
        expect(refusal(await tell(SUCCESS, "operations/refund/order:8"))).toEqual([
          404,
          "operation",
        ]);
      },
    );

    test("of Tollgate's own type, or with a broken key, is refused", async () => {
      expect(refusal(await tell(SUCCESS, "operations/run/r"))).toEqual([400, "key"]);
      expect(refusal(await tell(SUCCESS, "operations/refund/%20"))).toEqual([400, "key"]);
    });
  });

  describe("that differs from what holds", () => {
    test("is told what holds, and is a correction where it names it", async () => {
      const first = await tell(SUCCESS);
      const clash = await tell({ ...SUCCESS, status: "failure" });
      expect(refusal(clash)).toEqual([409, "supersedes"]);
      expect(clash.body.error.message).toContain(`\`${first.body.id}\` holds, which says success`);
      const correction = { ...SUCCESS, status: "failure", supersedes: first.body.id };
      const second = await tell(correction);
      expect([second.status, second.body]).toEqual([
        201,
        { ...second.body, supersedes: first.body.id, root: first.body.id, status: "failure" },
      ]);
      expect((await tell(correction)).body).toEqual({ ...second.body, repeated: true });
      expect((await tell({ ...SUCCESS, status: "failure" })).body.id).toBe(second.body.id);
      // Ids of one millisecond have no order.
      expect(new Map((await list()).map((row) => [row.id, row.superseded_by]))).toEqual(
        new Map([
          [second.body.id, null],
          [first.body.id, second.body.id],
        ]),
      );
    });

    test("and corrects what was corrected before is told the latest", async () => {
      const first = await tell(SUCCESS);
      const second = await tell({ ...SUCCESS, weight: 2, supersedes: first.body.id });
      const stale = await tell({ ...SUCCESS, weight: 3, supersedes: first.body.id });
      expect(refusal(stale)).toEqual([409, "supersedes"]);
      expect(stale.body.error.message).toContain(`\`${second.body.id}\` holds`);
    });

    test.each([
      ["the value", { value_usd: "1" }],
      ["the weight", { weight: 0 }],
      ["the evidence", { evidence: "other" }],
      ["the time", { occurred_at: "2030-01-01T00:00:00Z" }],
    ])("in %s is no repeat", async (_, other) => {
      await tell(SUCCESS);
      expect((await tell({ ...SUCCESS, ...other })).status).toBe(409);
    });

    test("in key, type or subject is another outcome", async () => {
      await api.call(tenant.key, "POST", "/api/outcome-types", { name: "sale" });
      await api.call(tenant.key, "PUT", "/api/runs/s", {});
      await tell(SUCCESS);
      expect((await tell({ ...SUCCESS, status: "failure", key: "T-2" })).status).toBe(201);
      expect((await tell({ ...SUCCESS, status: "failure", type: "sale" })).status).toBe(201);
      expect((await tell({ ...SUCCESS, status: "failure" }, "runs/s")).status).toBe(201);
    });

    test("is refused where there is nothing to correct or to reverse", async () => {
      const nothing = { ...SUCCESS, supersedes: "out_0" };
      expect(refusal(await tell(nothing))).toEqual([409, "supersedes"]);
      expect(refusal(await tell({ ...SUCCESS, status: "reversed" }))).toEqual([409, "status"]);
      const { body } = await tell({ ...SUCCESS, status: "failure" });
      const reversed = { ...SUCCESS, status: "reversed", supersedes: body.id };
      expect(refusal(await tell(reversed))).toEqual([409, "status"]);
    });

    test("reverses a success", async () => {
      const { body } = await tell(SUCCESS);
      const reversed = await tell({ ...SUCCESS, status: "reversed", supersedes: body.id });
      expect([reversed.status, reversed.body.status]).toEqual([201, "reversed"]);
    });
  });

  test("of many who tell it at once is recorded once, and of two corrections one wins", async () => {
    const first = await Promise.all(Array.from({ length: 8 }, () => tell(SUCCESS)));
    expect(first.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200, 200, 200, 200, 200, 200, 200, 201,
    ]);
    const [{ id }] = await list();
    const corrections = await Promise.all(
      ["partial", "failure", "reversed"].map((status) =>
        tell({ ...SUCCESS, status, supersedes: id }),
      ),
    );
    expect(corrections.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      201, 409, 409,
    ]);
    const winner = corrections.find(({ status }) => status === 201)!.body;
    for (const { status, body } of corrections) {
      if (status === 409) expect(body.error.message).toContain(`\`${winner.id}\` holds`);
    }
  });

  test("bears the cost of its run", async () => {
    const { id: tenantId, keyId } = tenant;
    const attemptId = await api.admit({ tenantId, keyId, runId: "r", runNamed: true });
    await api.settle({ tenantId, attemptId, costPicousd: 90n });
    const { body } = await tell(SUCCESS);
    await rollUpAll(database.db.admin, 500);
    const [cost] = await database.db.admin`
      select status, cost_picousd::text as cost, value_picousd::text as value, attempts::int as attempts
      from outcome_costs where tenant_id = ${tenantId} and root_id = ${body.root}`;
    expect({ ...cost }).toEqual({
      status: "success",
      cost: "90",
      value: "5000000000000",
      attempts: 1,
    });
  });

  test("is listed by subject, type, status and time, page by page, newest first", async () => {
    await api.call(tenant.key, "POST", "/api/outcome-types", { name: "sale" });
    await api.call(tenant.key, "PUT", "/api/runs/s", {});
    const on = (day: string) => ({ occurred_at: `2030-04-${day}T00:00:00Z` });
    const told = [
      await tell({ ...SUCCESS, ...on("01") }),
      await tell({ ...SUCCESS, status: "failure", key: "2", ...on("02") }),
      await tell({ ...SUCCESS, type: "sale", ...on("03") }, "runs/s"),
    ];
    const ids = told.map(({ body }) => String(body.id));
    const listed = async (query: string) =>
      (await list(query)).map(({ id }) => ids.indexOf(id)).toSorted((a, b) => a - b);
    const newestFirst = ids.toSorted().toReversed();
    expect((await list()).map(({ id }) => id)).toEqual(newestFirst);
    expect(await listed("?run=r")).toEqual([0, 1]);
    expect(await listed("?type=sale")).toEqual([2]);
    expect(await listed("?status=failure")).toEqual([1]);
    expect(await listed("?from=2030-04-02&to=2030-04-03")).toEqual([1]);
    expect(await listed("?operation=refund:1")).toEqual([]);
    const page = await api.call(tenant.key, "GET", "/api/outcomes?limit=2");
    expect(page.body.next).toBe(newestFirst[1]);
    expect((await list(`?cursor=${page.body.next}`)).map(({ id }) => id)).toEqual([newestFirst[2]]);
    const both = await api.call(tenant.key, "GET", "/api/outcomes?run=r&operation=a:b");
    expect(refusal(both)).toEqual([400, "operation"]);
  });

  test("of one tenant says nothing of another's run, operation, type or outcome", async () => {
    const other = await api.newTenant();
    await api.call(other.key, "POST", "/api/outcome-types", { name: "ticket_resolved" });
    await tell(SUCCESS);
    const stolen = await tell(SUCCESS, "runs/r", other.key);
    const unknown = await tell(SUCCESS, "runs/none", other.key);
    expect(refusal(stolen)).toEqual([404, "run"]);
    expect(stolen.body.error.message.replace("`r`", "`none`")).toBe(unknown.body.error.message);
    expect((await api.call(other.key, "GET", "/api/outcomes")).body.data).toEqual([]);
    await api.call(other.key, "PUT", "/api/runs/r", {});
    expect((await tell(SUCCESS, "runs/r", other.key)).status).toBe(201);
  });

  test("is told with the scope `invoke` or `admin`, and by the installation for a tenant", async () => {
    const narrow = async (scope: string) => {
      const terms = { tenant: tenant.id, name: scope, scopes: [scope] };
      return (await api.call(ADMIN_KEY, "POST", "/api/keys", terms)).body.key;
    };
    expect((await tell(SUCCESS, "runs/r", await narrow("report"))).status).toBe(403);
    expect((await tell(SUCCESS, "runs/r", await narrow("invoke"))).status).toBe(201);
    const byAdmin = await tell({ ...SUCCESS, tenant: tenant.id, key: "2" }, "runs/r", ADMIN_KEY);
    expect(byAdmin.body.recorded_by).toBe("installation");
  });

  test.each([
    ["no type", { status: "success" }, "type"],
    ["no status", { type: "ticket_resolved" }, "status"],
    ["a status that is none", { ...SUCCESS, status: "won" }, "status"],
    ["a key that is too long", { ...SUCCESS, key: "k".repeat(257) }, "key"],
    ["a key with a line break", { ...SUCCESS, key: "a\nb" }, "key"],
    ["a negative value", { ...SUCCESS, value_usd: "-0.01" }, "value_usd"],
    ["a weight beyond 1000", { ...SUCCESS, weight: 1001 }, "weight"],
    ["half a weight", { ...SUCCESS, weight: 0.5 }, "weight"],
    ["evidence without end", { ...SUCCESS, evidence: "e".repeat(2_001) }, "evidence"],
    ["a day for a time", { ...SUCCESS, occurred_at: "2030-01-01" }, "occurred_at"],
    ["an unknown member", { ...SUCCESS, cost: "1" }, "cost"],
  ])("with %s is refused", async (_, body, param) => {
    expect(refusal(await tell(body))).toEqual([400, param]);
    expect(await list()).toEqual([]);
  });
});
