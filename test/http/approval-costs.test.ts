import { afterAll, beforeAll, expect, test } from "vitest";
import { backtestOf } from "../../src/ledger/backtest.ts";
import { rollUpAll, rollUpViolations } from "../store/roll-up-violations.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";
import { stepDoorOn, type StepDoor } from "./step-door.ts";

const POLICIES = `
policies:
  - id: large-refunds
    when: resource.name == "refund"
    effect: require_approval
    reason: "A refund."
`;

describeEachDatabase("people's answers", (database) => {
  let api: Management;
  let door: StepDoor;
  let approver: { readonly id: string; readonly key: string };
  beforeAll(async () => {
    api = await createTestManagement(database.db);
    door = await stepDoorOn(api);
    const installation = { installation: true } as const;
    const { version } = await api.administration.applyPolicies(installation, {
      tenantId: door.id,
      source: POLICIES,
    });
    await api.administration.activatePolicies(installation, { tenantId: door.id, version });
    const terms = { tenant: door.id, name: "approver", scopes: ["approve"] };
    approver = (await api.call(ADMIN_KEY, "POST", "/api/keys", terms)).body;
    const type = { tenant: door.id, name: "refund_paid" };
    expect((await api.call(ADMIN_KEY, "POST", "/api/outcome-types", type)).status).toBe(201);
    const budget = { unit: "usd", window: "none", limit: "1.00" };
    const limit = { tenant: door.id, scope: { kind: "tenant" }, ...budget };
    expect((await api.call(ADMIN_KEY, "POST", "/api/limits", limit)).status).toBe(201);
  });
  afterAll(() => api.close());

  const price = (usd: string | null) =>
    api.call(ADMIN_KEY, "PATCH", `/api/tenants/${door.id}`, { usd_per_approval: usd });
  let amount = 0;
  /** Asks for a refund in a run, for a customer, which a person answers. */
  const answered = async (run: string, what: "approve" | "deny") => {
    amount += 1;
    const ask = { kind: "tool", name: "refund", arguments: { amount }, estimate_usd: "0.10", run };
    const headers = { "tollgate-run": run, "tollgate-customer": "acme" };
    const held = await door.ask(ask, headers);
    expect(held.body.verdict, JSON.stringify(held.body)).toBe("require_approval");
    const path = `/api/approvals/${held.body.approval.id}`;
    const { digest } = (await api.call(approver.key, "GET", path)).body;
    const body = { digest, ...(what === "deny" ? { reason: "no" } : {}) };
    for (const _ of ["once", "again, which is the same answer"]) {
      expect((await api.call(approver.key, "POST", `${path}/${what}`, body)).status).toBe(200);
    }
    if (what === "deny") return;
    await door.report(await door.granted(ask, headers), "complete", { cost_usd: "0.03" });
  };
  const tell = (run: string) =>
    api.call(door.key, "POST", `/api/runs/${run}/outcome`, {
      type: "refund_paid",
      status: "success",
    });
  const report = async (path: string): Promise<Json> => {
    await rollUpAll(database.db.admin);
    const answer = await api.call(door.key, "GET", `/api/reports/${path}`);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body;
  };
  const byDoor = ({ rows }: Json) =>
    rows.map((row: Json) => [row.groups.door, row.cost_usd, row.attempts]).toSorted();
  const addsUp = async () => {
    const { body } = await api.call(door.key, "GET", "/api/ledger/check");
    expect([body.holds, body.sentences]).toEqual([true, []]);
    expect(await ledgerViolations(database.db.admin, door.id, true)).toEqual([]);
    expect(await rollUpViolations(database.db.admin, door.id)).toEqual([]);
    return body.settled_usd;
  };

  test("cost nothing where nobody has said what they cost", async () => {
    await answered("free", "approve");
    const { rows } = await report("spend?group_by=door");
    expect(rows.map((row: Json) => row.groups.door)).not.toContain("approval");
    expect(await addsUp()).toBe("0.03");
  });

  test("cost what the tenant says, once, approved or denied, in the run that asked", async () => {
    expect((await price("1.50")).body.usd_per_approval).toBe("1.50");
    await answered("paid", "approve");
    await answered("paid", "deny");
    await tell("paid");
    const { rows } = await report("cost-per-outcome");
    expect(rows).toMatchObject([{ cost_usd: "3.03", cost_per_success_usd: "3.03" }]);
    expect(byDoor(await report("cost-per-outcome?group_by=door"))).toEqual([
      ["approval", "3.00", 2],
      ["step", "0.03", 1],
    ]);
    const spend = await report(`spend?group_by=door,key&customer=acme`);
    const approvals = spend.rows.filter((row: Json) => row.groups.door === "approval");
    expect(approvals).toMatchObject([{ groups: { key: approver.id }, cost_usd: "3.00" }]);
    expect(await addsUp()).toBe("3.06");
  });

  test("are counted after an outcome that was told before them", async () => {
    await answered("late", "deny");
    expect((await tell("late")).status).toBe(201);
    await rollUpAll(database.db.admin);
    await answered("late", "deny");
    const { rows } = await report("cost-per-outcome?group_by=run");
    expect(rows.find((row: Json) => row.groups.run === "late")).toMatchObject({ cost_usd: "3.00" });
    await addsUp();
  });

  test("draw on no budget, and are refused by none", async () => {
    // A dollar is the whole budget of the tenant, and more than that was answered for.
    const [meter] = await database.db.admin`
      select committed::text as committed from meters where tenant_id = ${door.id}`;
    expect(meter).toEqual({ committed: "60000000000" });
  });

  test("are lines of the run's timeline and explained, and are not judged again", async () => {
    const { body } = await api.call(door.key, "GET", "/api/runs/late");
    const line = body.attempts.find((each: Json) => each.door === "approval");
    expect(line).toMatchObject({
      operation: "approval",
      cost_usd: "1.50",
      basis: "computed",
      key: approver.id,
    });
    const shown = await api.call(door.key, "GET", `/api/decisions/${line.decision}`);
    expect(shown.body.explanation).toEqual([
      expect.stringMatching(/answered the question apr_\w+ of run late, which costs \$1\.50/u),
    ]);
    const part = {
      from: new Date(0),
      to: new Date("9000-01-01"),
      run: null,
      after: null,
      rows: null,
    };
    const again = await backtestOf(database.db, door.id, { part, candidate: null });
    expect([again.changes, again.unknowable_because]).toEqual([[], {}]);
  });

  test("leave out of their records what there is none of, as every record does", async () => {
    const records = await database.db.admin`
      select d.record::text as record, s.record::text as ending
      from decisions d join settlements s using (tenant_id, attempt_id)
      where d.tenant_id = ${door.id} and d.door = 'approval'
      order by d.decided_at`;
    expect(records.length).toBeGreaterThan(1);
    for (const { record, ending } of records) {
      expect(Object.keys(JSON.parse(String(record)))).toEqual(["billing", "context", "answered"]);
      expect(String(record)).not.toContain("null");
      expect(JSON.parse(String(ending))).toEqual({
        state: expect.stringMatching(/approved|denied/u),
      });
    }
  });

  test("cost what is said at their moment; a price of nothing or below is refused", async () => {
    expect((await price("2")).status).toBe(200);
    await answered("dearer", "deny");
    expect((await price(null)).body.usd_per_approval).toBeNull();
    await answered("dearer", "deny");
    const { rows } = await report("spend?group_by=run");
    expect(rows.find((row: Json) => row.groups.run === "dearer")).toMatchObject({
      cost_usd: "2.00",
    });
    for (const usd of ["0", "-1", "0.0000000000001"]) {
      const refused = await price(usd);
      expect([refused.status, refused.body.error.param]).toEqual([400, "usd_per_approval"]);
    }
    await addsUp();
  });
});
