import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { tell } from "../support/ledger-history.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";

describeEachDatabase("an adjustment", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  /** A tenant with one settled attempt of a run, under a limit of a dollar a day. */
  const newTenant = async () => {
    const tenant = await api.newTenant();
    const limit = { scope: { kind: "tenant" }, unit: "usd", window: "day", limit: "1.00" };
    const { body } = await api.call(tenant.key, "POST", "/api/limits", limit);
    const refs = [{ limitId: body.id, subject: "", share: null }];
    const ids = { tenantId: tenant.id, keyId: tenant.keyId };
    const attemptId = await api.admit({ ...ids, runId: "night", refs });
    await api.settle({ tenantId: tenant.id, attemptId });
    return { ...tenant, attemptId, limitId: String(body.id) };
  };
  const post = (key: string, body: object) => api.call(key, "POST", "/api/adjustments", body);
  const reported = async (key: string) => {
    const { body } = await api.call(key, "GET", "/api/usage");
    return [body.totals.cost_usd, body.adjustments];
  };

  test("of an attempt stands beside its cost, and moves no meter and no settlement", async () => {
    const { key, attemptId, limitId } = await newTenant();
    const limitBefore = (await api.call(key, "GET", `/api/limits/${limitId}`)).body;
    expect(limitBefore.committed).toBe("0.000250000001");
    const decision = attemptId.replace("att_", "dec_");
    const posted = await post(key, {
      amount_usd: "-0.0001",
      reason: "billed twice by the provider",
      attempt: decision,
    });
    expect(posted.status).toBe(201);
    expect(posted.body).toMatchObject({
      amount_usd: "-0.0001",
      reason: "billed twice by the provider",
      attempt: attemptId,
      run: "night",
    });
    await post(key, { amount_usd: "0.000000000001", reason: "and a bit", attempt: attemptId });
    const seen = (await api.call(key, "GET", `/api/decisions/${decision}`)).body;
    expect([seen.cost_usd, seen.adjusted_usd]).toEqual(["0.000250000001", "-0.000099999999"]);
    expect((await api.call(key, "GET", `/api/limits/${limitId}`)).body).toEqual(limitBefore);
    expect(await reported(key)).toEqual([
      "0.000250000001",
      {
        entries: 2,
        credits_usd: "-0.0001",
        debits_usd: "0.000000000001",
        net_usd: "-0.000099999999",
      },
    ]);
  });

  test("of a run or of the tenant alone is listed newest first, and with its event", async () => {
    const { key, keyId } = await newTenant();
    const ofRun = await post(key, { amount_usd: "2.50", reason: "support", run: "night" });
    const ofTenant = await post(key, { amount_usd: -1, reason: "goodwill" });
    const listed = async (query: string) =>
      (await api.call(key, "GET", `/api/adjustments${query}`)).body.data.map((row: Json) => row.id);
    expect(await listed("")).toEqual([ofTenant.body.id, ofRun.body.id]);
    expect(await listed("?run=night")).toEqual([ofRun.body.id]);
    expect(await listed(`?limit=1&cursor=${ofTenant.body.id}`)).toEqual([ofRun.body.id]);
    expect((await reported(key))[1]).toMatchObject({ entries: 2, net_usd: "1.50" });
    // Reports bear it with the run, so who looks into one finds it there.
    const run = (await api.call(key, "GET", "/api/runs/night")).body;
    expect(run.totals).toMatchObject({ cost_usd: "0.000250000001", adjusted_usd: "2.50" });
    const events = await api.call(key, "GET", "/api/events?limit=1");
    expect(events.body.data).toMatchObject([
      {
        kind: "adjustment.posted",
        actor: keyId,
        subject: ofTenant.body.id,
        body: { amount_usd: "-1.00", reason: "goodwill", attempt: null, run: null },
      },
    ]);
  });

  test("is posted once under one idempotency key", async () => {
    const { key } = await newTenant();
    const send = async () => {
      const answer = await api.send("/api/adjustments", {
        method: "POST",
        headers: {
          authorization: `Bearer ${key}`,
          "content-type": "application/json",
          "idempotency-key": "one",
        },
        body: JSON.stringify({ amount_usd: "0.10", reason: "once" }),
      });
      return answer.body.id;
    };
    expect(await send()).toBe(await send());
    expect((await reported(key))[1]).toMatchObject({ entries: 1, net_usd: "0.10" });
  });

  test("of a period that has ended is in the period in which it is posted", async () => {
    const { key } = await newTenant();
    await post(key, { amount_usd: "1.00", reason: "late" });
    const path = "/api/usage?from=2020-01-01&to=2020-02-01";
    const { body } = await api.call(key, "GET", path);
    expect(body.adjustments).toMatchObject({ entries: 0, net_usd: "0.00" });
  });

  test("stands in every report on a line of its own, as part of the outcome of the run that it names", async () => {
    const { key, keyId, id, attemptId } = await newTenant();
    await post(key, { amount_usd: "-0.00005", reason: "billed twice", attempt: attemptId });
    await post(key, { amount_usd: "0.10", reason: "support", run: "night" });
    const alone = await post(key, { amount_usd: "-3.00", reason: "goodwill" });
    await tell(database, id, { subject: "night" });
    await rollUpAll(database.db.admin);
    const report = async (path: string) => {
      const answer = await api.call(key, "GET", `/api/reports/${path}`);
      expect([path, answer.status]).toEqual([path, 200]);
      return answer.body;
    };
    const costs = (body: Json) => body.rows.map((row: Json) => [row.groups, row.cost_usd]);
    const [settled, all] = ["0.000250000001", "-2.899799999999"];
    const spend = await report("spend?group_by=basis,model,key,run");
    expect(spend.total).toMatchObject({ attempts: 1, cost_usd: all, failed_usd: "0.00" });
    const model = "gpt-4o";
    const one = { basis: "adjustment", key: keyId, run: "night" };
    expect(costs(spend)).toEqual([
      [{ ...one, model: null }, "0.10"],
      [{ ...one, basis: "computed", model }, settled],
      [{ ...one, model }, "-0.00005"],
      [{ basis: "adjustment", model: null, key: null, run: alone.body.id }, "-3.00"],
    ]);
    // Only what is adjusted of a call is of its door.
    expect(costs(await report("spend?group_by=door,basis"))).toEqual([
      [{ door: "model", basis: "computed" }, settled],
      [{ door: "model", basis: "adjustment" }, "-0.00005"],
      [{ door: null, basis: "adjustment" }, "-2.90"],
    ]);
    const outcomes = await report("cost-per-outcome?group_by=run");
    expect(outcomes).toMatchObject({
      total: { cost_usd: "0.100200000001", failed_usd: "0.00", attempts: 1 },
      unattributed_usd: "-3.00",
      runs_without_outcome: 0,
    });
    const apart = await report("cost-per-outcome?group_by=model");
    expect(costs(apart)).toEqual([
      [{ type: "ticket_resolved", model: null }, "0.10"],
      [{ type: "ticket_resolved", model }, "0.000200000001"],
    ]);
    expect(apart.total.failed_usd).toBe("0.00");
    const runs = await report("runs");
    expect(runs.rows.map((row: Json) => [row.run, row.cost_usd])).toEqual([
      ["night", "0.100200000001"],
      [alone.body.id, "-3.00"],
    ]);
    expect(runs.total.cost_usd).toBe(all);
    expect((await report("waste")).total.cost_usd).toBe(all);
    const focus = String(await report("spend?format=focus"));
    expect(focus.match(/,Adjustment,/gu)).toHaveLength(3);
    expect(focus.match(/,Generative AI,/gu)).toHaveLength(2);
    const check = await api.call(key, "GET", "/api/ledger/check");
    expect(check.body).toMatchObject({ holds: true, settled_usd: settled });
  });

  test("is refused where it is nothing, endless, without a reason, or of what is not there", async () => {
    const { key, attemptId } = await newTenant();
    const other = await newTenant();
    const { body: report } = await api.call(key, "POST", "/api/keys", {
      name: "reader",
      scopes: ["report"],
    });
    const sound = { amount_usd: "1.00", reason: "r" };
    const cases: readonly (readonly [object, number, string | null])[] = [
      [{ ...sound, amount_usd: "0.00" }, 400, "amount_usd"],
      [{ ...sound, amount_usd: "0.0000000000001" }, 400, "amount_usd"],
      [{ ...sound, amount_usd: "-1000000000.01" }, 400, "amount_usd"],
      [{ ...sound, reason: "" }, 400, "reason"],
      [{ ...sound, reason: "x".repeat(501) }, 400, "reason"],
      [{ ...sound, attempt: other.attemptId }, 404, "attempt"],
      [{ ...sound, attempt: attemptId, run: "day" }, 400, "run"],
      [{ ...sound, run: "day" }, 404, "run"],
    ];
    for (const [body, status, param] of cases) {
      const answer = await post(key, body);
      expect([answer.status, answer.body.error.param]).toEqual([status, param]);
    }
    expect((await post(report.key, sound)).status).toBe(403);
    expect((await api.call(report.key, "GET", "/api/adjustments")).body.data).toEqual([]);
  });
});
