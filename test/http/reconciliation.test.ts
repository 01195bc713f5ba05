/** Reconciliation over the API: the ledger as calls left it, beside what a provider says. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createRandomId } from "../../src/lib/random-id.ts";
import { rolledUpAsOf } from "../../src/store/roll-up.ts";
import type { Ask } from "../../src/store/posting.ts";
import type { Settlement } from "../../src/store/settlement.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { tell } from "../support/ledger-history.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";

const STATES = ["requests", "input_tokens", "cached_tokens", "output_tokens", "cost_usd"];

/** What one call of the tests uses and costs. */
const USAGE = { input: 1_976, cache_read: 1_024, output: 450 };
const COST = 10_720_000_001n;
const LINE = {
  day: "2030-01-01",
  model: "gpt-4o-2024-08-06",
  requests: 1,
  input_tokens: 3_000,
  cached_tokens: 1_024,
  output_tokens: 450,
  // A float cannot hold it beside a million dollars.
  cost_usd: "0.010720000001",
};

const randomId = createRandomId();

describeEachDatabase("a reconciliation", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    await resetClock(database.db);
    tenant = await api.newTenant();
  });
  afterAll(() => api.close());

  const at = (moment: string) => setClock(database.db, new Date(moment));
  /** One call, admitted and settled at these moments. */
  const call = async (
    given: Partial<Settlement> = {},
    [begun, ended]: readonly [string, string] = ["2030-01-01T10:00:00Z", "2030-01-01T10:00:01Z"],
    of: Partial<Ask> = {},
  ) => {
    await at(begun);
    const { id: tenantId, keyId } = tenant;
    const attemptId = `att_${randomId(Date.parse(begun))}`;
    await api.admit({ tenantId, keyId, attemptId, costPicousd: COST, tokens: 3_450, ...of });
    await at(ended);
    const usage = JSON.stringify(USAGE);
    await api.settle({ tenantId, attemptId, costPicousd: COST, tokens: 3_450, usage, ...given });
    return attemptId;
  };
  /** The ledger is summed up to this moment, which a transaction of another test may hold back for a while. */
  const later = async (moment = "2030-01-05T00:00:00Z") => {
    const { admin } = database.db;
    await at(moment);
    for (let turn = 0; turn < 1_000; turn += 1) {
      await rollUpAll(admin);
      if ((await rolledUpAsOf(admin, null)).getTime() === Date.parse(moment)) return;
    }
    throw new Error("the roll-ups never met this moment");
  };
  const bodyOf = (lines: readonly object[], more: object = {}) => ({
    upstream: "openai",
    provider: "openai",
    from: "2030-01-01",
    to: "2030-01-02",
    states: STATES,
    lines,
    ...more,
  });
  const reconcile = async (lines: readonly object[], more: object = {}): Promise<Json> => {
    const body = bodyOf(lines, more);
    const answer = await api.call(tenant.key, "POST", "/api/reports/reconciliation", body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body;
  };
  const told = ({ state, lines }: Json) => [
    state,
    ...lines.map(({ day, verdict, reasons }: Json) =>
      [day, verdict, ...reasons.map(({ code }: Json) => code)].join(" "),
    ),
  ];

  test("finds equal what is equal to the pico-dollar, the cached tokens among the input", async () => {
    await call();
    await later();
    const body = await reconcile([LINE]);
    expect(told(body)).toEqual(["reconciled", "2030-01-01 equal"]);
    expect(body.totals).toMatchObject({
      ours: { requests: 1, input_tokens: 3_000, cached_tokens: 1_024, cost_usd: "0.010720000001" },
      difference: { requests: 0, cost_usd: "0.00" },
      equal: 1,
    });
    const cheaper = await reconcile([{ ...LINE, cost_usd: "0.01072" }]);
    expect(cheaper.totals.difference.cost_usd).toBe("-0.000000000001");
    expect(told(cheaper)[0]).toBe("differs");
  });

  test("names a call beside the gate, which a tolerance lets pass", async () => {
    await call();
    await later();
    const two = { ...LINE, requests: 2, input_tokens: 3_100, cost_usd: "0.012" };
    const body = await reconcile([two]);
    expect(told(body)).toEqual(["differs", "2030-01-01 unexplained beside_the_gate model_names"]);
    expect(body.lines[0].unexplained).toMatchObject({ requests: 1, cost_usd: "0.001279999999" });
    expect((await reconcile([two], { tolerance_usd: "0.0013" })).state).toBe("reconciled");
    expect((await reconcile([two], { tolerance_usd: "0.0012" })).state).toBe("differs");
  });

  test("explains a presumed charge that the provider never made, and its correction on a later day", async () => {
    await call();
    const presumed = { ending: "unknown", basis: "presumed", costPicousd: 5_000n } as const;
    const attemptId = await call(presumed, ["2030-01-01T11:00:00Z", "2030-01-01T11:10:00Z"]);
    await later();
    expect(told(await reconcile([LINE]))).toEqual(["reconciled", "2030-01-01 explained presumed"]);
    await at("2030-01-05T09:00:00Z");
    const tenantId = tenant.id;
    await api.settle({ tenantId, attemptId, costPicousd: 3_000n, usage: '{"input":1}', tokens: 1 });
    await later("2030-01-06T00:00:00Z");
    const days = { from: "2030-01-05", to: "2030-01-06" };
    expect(told(await reconcile([], days))).toEqual([
      "reconciled",
      "2030-01-05 explained presumed",
    ]);
  });

  test("explains what began before midnight and was posted behind it, on both days", async () => {
    await call({}, ["2030-01-01T23:59:59Z", "2030-01-02T00:00:09Z"]);
    await later();
    const days = { from: "2030-01-01", to: "2030-01-03" };
    expect(told(await reconcile([LINE], days))).toEqual([
      "reconciled",
      "2030-01-01 explained day_boundary",
      "2030-01-02 explained day_boundary",
    ]);
    // A call within the day crosses nothing.
    await call({}, ["2030-01-04T12:00:00Z", "2030-01-04T12:00:09Z"]);
    await later();
    const within = await reconcile([], { from: "2030-01-04", to: "2030-01-05" });
    expect(told(within)[1]).toBe("2030-01-04 unexplained absent_there");
  });

  test("compares other upstreams, refusals and what was never sent with nothing", async () => {
    await call();
    await call({ ending: "released", basis: "none", costPicousd: 0n, tokens: 0, usage: "{}" });
    await at("2030-01-01T10:00:00Z");
    const { id: tenantId, keyId } = tenant;
    await api.admit({ tenantId, keyId, judgedReason: "budget_exceeded" });
    await later();
    expect(told(await reconcile([LINE]))).toEqual(["reconciled", "2030-01-01 equal"]);
    expect(told(await reconcile([], { upstream: "another" }))).toEqual(["reconciled"]);
  });

  test("is kept, and a period is told how far it agrees, by the newest word", async () => {
    await call();
    await later();
    const state = async () => {
      const path = "/api/reports/reconciliation/state?from=2030-01-01&to=2030-01-02";
      return (await api.call(tenant.key, "GET", path)).body.upstreams;
    };
    await reconcile([]);
    expect(await state()).toMatchObject([{ upstream: "openai", state: "differs", days: 1 }]);
    // One day of two differs: nobody has to look at both.
    await reconcile([LINE, { ...LINE, day: "2030-01-02" }], { to: "2030-01-03" });
    const path = "/api/reports/reconciliation/state?from=2030-01-01&to=2030-01-03";
    expect((await api.call(tenant.key, "GET", path)).body.upstreams).toMatchObject([
      { upstream: "openai", state: "differs", reconciled_days: 1, differing_days: 1 },
    ]);
    const { id } = await reconcile([LINE]);
    expect(await state()).toMatchObject([{ upstream: "openai", state: "reconciled" }]);
    const { body } = await api.call(tenant.key, "GET", "/api/reports/reconciliation");
    expect(body.data).toHaveLength(3);
    expect(body.data[0]).toMatchObject({
      id,
      state: "reconciled",
      from: "2030-01-01",
      to: "2030-01-02",
      recorded_by: tenant.keyId,
      totals: { ours: { cost_usd: "0.010720000001" } },
    });
    await expect(
      database.db
        .admin`update reconciliations set state = 'reconciled' where tenant_id = ${tenant.id}`,
    ).rejects.toThrow(/part of the ledger/);
  });

  test("of the whole installation adds up all tenants, and only the installation's key is told", async () => {
    const day = { from: "2030-01-03", to: "2030-01-04" };
    const moments = ["2030-01-03T10:00:00Z", "2030-01-03T10:00:01Z"] as const;
    await call({}, moments);
    const first = tenant;
    tenant = await api.newTenant();
    await call({}, moments);
    await later();
    const both = { ...LINE, day: "2030-01-03", requests: 2, input_tokens: 6_000 };
    const lines = [
      { ...both, cached_tokens: 2_048, output_tokens: 900, cost_usd: "0.021440000002" },
    ];
    const path = "/api/installation/reconciliation";
    const answer = await api.call(ADMIN_KEY, "POST", path, bodyOf(lines, day));
    expect(told(answer.body)).toEqual(["reconciled", "2030-01-03 equal"]);
    for (const key of [tenant.key, first.key]) {
      expect((await api.call(key, "POST", path, bodyOf(lines, day))).status).toBe(403);
      expect((await api.call(key, "GET", path)).status).toBe(403);
      const own = "/api/reports/reconciliation";
      expect((await api.call(key, "GET", own)).body.data).toEqual([]);
      const states = await api.call(key, "GET", `${own}/state?from=2030-01-03&to=2030-01-04`);
      expect(states.body.upstreams).toMatchObject([{ state: "reconciled" }]);
    }
    expect((await api.call(ADMIN_KEY, "GET", path)).body.data[0].id).toBe(answer.body.id);
  });

  test("is said by each row of cost per outcome: of its days, and of its upstream or all that were used", async () => {
    // One outcome each day, of a run of its own.
    for (const day of ["2030-01-01", "2030-01-02"]) {
      const moments = [`${day}T10:00:00Z`, `${day}T10:00:01Z`] as const;
      await call({}, moments, { runId: day, upstream: "openai" });
      await tell(database, tenant.id, { subject: day });
    }
    await later();
    const days = "from=2030-01-01&to=2030-01-03";
    const ask = async (query: string) => {
      const path = `/api/reports/cost-per-outcome?${query}`;
      const answer = await api.call(tenant.key, "GET", path);
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return answer.body;
    };
    const states = async (query = days): Promise<readonly unknown[]> => {
      const { rows, total } = await ask(query);
      return [...rows, total].map((row: Json) => row.reconciliation_state);
    };
    expect(await states()).toEqual(["not_reconciled", "not_reconciled"]);

    await reconcile([LINE]);
    expect(await states(`${days}&group_by=day`)).toEqual([
      "reconciled",
      "not_reconciled",
      "not_reconciled",
    ]);
    expect(await states("from=2030-01-01&to=2030-01-02")).toEqual(["reconciled", "reconciled"]);
    await reconcile([], { from: "2030-01-02", to: "2030-01-03" });
    expect(await states()).toEqual(["differs", "differs"]);
    expect(await states(`${days}&group_by=day`)).toEqual(["reconciled", "differs", "differs"]);
    await reconcile([LINE, { ...LINE, day: "2030-01-02" }], { to: "2030-01-03" });
    expect(await states()).toEqual(["reconciled", "reconciled"]);
    for (const time of ["week", "month", "upstream", "customer,week,upstream"]) {
      expect([time, await states(`${days}&group_by=${time}`)]).toEqual([
        time,
        ["reconciled", "reconciled"],
      ]);
    }
    expect((await ask(`${days}&format=csv`)).split("\r\n")).toEqual([
      expect.stringContaining(",reconciliation_state,"),
      expect.stringContaining(",reconciled,"),
      expect.stringMatching(/^unattributed,/u),
      "",
    ]);
    expect(await ask(`${days}&format=ndjson`)).toContain('"reconciliation_state":"reconciled"');

    // Where an upstream was used that nobody compared, the period is not reconciled; its own rows are.
    await call({ costPicousd: 7n }, ["2030-01-02T12:00:00Z", "2030-01-02T12:00:01Z"], {
      runId: "2030-01-02",
      upstream: "another",
    });
    await later();
    expect(await states()).toEqual(["not_reconciled", "not_reconciled"]);
    const { rows, total } = await ask(`${days}&group_by=upstream`);
    expect(
      rows.map(({ groups, reconciliation_state: state }: Json) => [groups.upstream, state]),
    ).toEqual([
      ["openai", "reconciled"],
      ["another", "not_reconciled"],
    ]);
    expect(total.reconciliation_state).toBe("not_reconciled");

    // Of other days than UTC's an invoice says nothing.
    expect(await states(`${days}&time_zone=Europe/Berlin`)).toEqual([null, null]);
    expect(await states("from=2030-01-01T06:00:00Z&to=2030-01-03")).toEqual([null, null]);
    const moments = "from=2030-01-01T00:00:00Z&to=2030-01-03T00:00:00Z&time_zone=Europe/Berlin";
    expect(await states(`${moments}&group_by=day`)).toEqual([null, null, "not_reconciled"]);
  });

  test("refuses what it cannot compare, and says what instead", async () => {
    await later();
    const refused = async (body: object) => {
      const answer = await api.call(tenant.key, "POST", "/api/reports/reconciliation", body);
      return [answer.status, answer.body.error?.param, answer.body.error?.message];
    };
    expect(await refused(bodyOf([], { to: "2030-01-06" }))).toEqual([
      400,
      "to",
      expect.stringMatching(/not over/),
    ]);
    expect(await refused(bodyOf([], { to: "2030-01-01" }))).toEqual([
      400,
      "to",
      expect.stringMatching(/after `from`/),
    ]);
    expect(await refused(bodyOf([], { from: "2029-01-01" }))).toEqual([
      400,
      "to",
      expect.stringMatching(/92 days/),
    ]);
    expect(await refused(bodyOf([{ ...LINE, day: "2030-01-02" }]))).toEqual([
      400,
      "lines.0.day",
      expect.stringMatching(/./),
    ]);
    expect(await refused(bodyOf([{ ...LINE, cost_usd: "1e30" }]))).toEqual([
      400,
      "lines.0.cost_usd",
      expect.stringMatching(/./),
    ]);
    expect(await refused(bodyOf([{ ...LINE, input_tokens: 0.5 }]))).toEqual([
      400,
      "lines.0.input_tokens",
      expect.stringMatching(/./),
    ]);
    const many = Array.from({ length: 1_001 }, (_, n) => ({ day: "2030-01-01", model: `m-${n}` }));
    expect(await refused(bodyOf(many))).toEqual([400, "lines", expect.stringMatching(/./)]);
    const invoke = await api.newTenant(["invoke"]);
    const without = await api.call(invoke.key, "POST", "/api/reports/reconciliation", bodyOf([]));
    expect(without.status).toBe(403);
  });
});
