import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { picousd } from "../../src/core/money.ts";
import { csvCell } from "../../src/ledger/report-sheets.ts";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { askOf, settlementOf, tell } from "../support/ledger-history.ts";
import {
  ADMIN_KEY,
  createTestManagement,
  type Json,
  type Management,
} from "../support/management.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { stepDoorOn } from "./step-door.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { priceOf } from "../support/prices.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tollgate } from "../support/tollgate.ts";

describeEachDatabase("what one outcome costs", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({
      kind: "json",
      body: chatAnswer(MODEL, "ok", { input: 3, output: 1_000 }),
    });
    // A thousand tokens out are three cents.
    const rates = { input: picousd(0n), output: picousd(30_000_000n) };
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      prices: [priceOf({ rates, outputTokensMax: 1_000 })],
    });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  test("is $0.09 after three calls and $0.21 after seven, while a call costs $0.03 in both", async () => {
    const tenant = await tollgate.tenant();
    const send = async (key: string, path: string, body: object) => {
      const answer = await fetch(`${tollgate.url}/api/${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      expect(answer.status, await answer.text()).toBe(201);
    };
    const type = { tenant: tenant.id, name: "ticket_resolved", value_usd: "0.20" };
    await send(tollgate.adminKey, "outcome-types", type);
    for (const [run, calls] of [
      ["good", 3],
      ["bad", 7],
    ] as const) {
      for (let call = 0; call < calls; call += 1) {
        await tenant.client.chat.completions.create(
          { model: MODEL, messages: [{ role: "user", content: `${run} ${call}` }] },
          { headers: { "tollgate-run": run } },
        );
      }
      await send(tenant.key, `runs/${run}/outcome`, { type: "ticket_resolved", status: "success" });
    }
    await tollgate.gateway.settled();
    await rollUpAll(tollgate.db.admin);
    const ask = async (path: string) => {
      const answer = await fetch(`${tollgate.url}/api/reports/${path}`, {
        headers: { authorization: `Bearer ${tenant.key}` },
      });
      expect(answer.status).toBe(200);
      return (await answer.json()) as Json;
    };
    const { rows, total } = await ask("cost-per-outcome?group_by=run");
    expect(rows).toMatchObject([
      {
        groups: { type: "ticket_resolved", run: "bad" },
        cost_per_success_usd: "0.21",
        attempts: 7,
        margin_usd: "-0.01",
      },
      {
        groups: { type: "ticket_resolved", run: "good" },
        cost_per_success_usd: "0.09",
        attempts: 3,
        margin_usd: "0.11",
      },
    ]);
    expect(total).toMatchObject({
      cost_usd: "0.30",
      cost_per_success_usd: "0.15",
      value_usd: "0.40",
      valued: 2,
      margin_usd: "0.10",
    });
    const spend = await ask("spend?group_by=run");
    for (const { cost_usd, attempts } of spend.rows) {
      expect(Number(cost_usd) / attempts).toBeCloseTo(0.03, 12);
    }
    const runs = await ask("runs?type=ticket_resolved&sort=cost");
    expect(runs.rows.map((row: Json) => [row.run, row.cost_usd, row.outcome[0].status])).toEqual([
      ["bad", "0.21", "success"],
      ["good", "0.09", "success"],
    ]);
  });
});

describeEachDatabase("reports", (database) => {
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

  const get = async (path: string, key = tenant.key) => {
    await rollUpAll(database.db.admin);
    return await api.call(key, "GET", `/api/reports/${path}`);
  };

  /** A call that cost so many pico-dollars, with what its caller said of it. */
  async function spent(cost: bigint, given: Parameters<typeof askOf>[1] = {}): Promise<void> {
    const ask = askOf(tenant.id, { keyId: tenant.keyId, ...given });
    const attemptId = await api.admit(ask);
    await api.settle(settlementOf({ ...ask, attemptId }, { costPicousd: cost }));
  }

  test("tell of each tool its calls, retries, refusals, failures, cost and waste", async () => {
    const door = await stepDoorOn(api);
    await door.declare("search", { effect: "pure", price_usd: "0.02" });
    await door.declare("mail", { effect: "idempotent", price_usd: "0" });
    const act = async (name: string, how: "complete" | "fail") => {
      const attempt = await door.granted({ kind: "tool", name, run: "r", step: name });
      const report = how === "fail" ? { error: "It broke.", executed: "yes" } : {};
      expect((await door.report(attempt, how, report)).status).toBe(200);
    };
    await act("search", "fail");
    await act("search", "complete");
    // Once more what had succeeded: that is waste.
    await act("search", "complete");
    await act("mail", "fail");
    const refused = await door.ask({ kind: "tool", name: "wire", run: "r" });
    expect(refused.status).toBe(403);
    const search = { attempts: 3, retries: 2, blocked: 0, failed: 1 };
    const money = { cost_usd: "0.06", failed_usd: "0.02", waste_usd: "0.02" };
    const free = { cost_usd: "0.00", failed_usd: "0.00", waste_usd: "0.00" };
    const { rows, total } = (await get("spend?group_by=tool", door.key)).body;
    expect(rows).toMatchObject([
      { groups: { tool: "search" }, ...search, ...money },
      { groups: { tool: "mail" }, attempts: 1, retries: 0, blocked: 0, failed: 1, ...free },
      { groups: { tool: "wire" }, attempts: 0, retries: 0, blocked: 1, failed: 0, ...free },
    ]);
    expect(total).toMatchObject({ attempts: 4, retries: 2, blocked: 1, failed: 2, ...money });
    const waste = (await get("waste", door.key)).body;
    expect(waste).toMatchObject({
      rows: [{ groups: { upstream: null, model: null, tool: "search" }, ...search, ...money }],
      waste_share: "0.3333",
      runs: [{ run: "r", waste_usd: "0.02" }],
    });
    const csv = await api.send("/api/reports/spend?group_by=tool", {
      headers: { authorization: `Bearer ${door.key}`, accept: "text/csv" },
    });
    expect(csv.body).toMatch(
      /^line,tool,attempts,blocked,repeated,retries,failed,[^\r]*\r\nrow,search,3,0,0,2,1,/,
    );
  });

  test("read their days in the zone, this month's where none is said", async () => {
    await setClock(database.db, new Date("2030-01-31T23:30:00Z"));
    await spent(1n);
    const utc = await get("spend?group_by=day");
    expect(utc.body).toMatchObject({
      from: "2030-01-01T00:00:00.000Z",
      to: "2030-02-01T00:00:00.000Z",
      rows: [{ groups: { day: "2030-01-31" } }],
    });
    const berlin = await get("spend?group_by=day,week,month&time_zone=Europe/Berlin");
    expect(berlin.body).toMatchObject({
      from: "2030-01-31T23:00:00.000Z",
      to: "2030-02-28T23:00:00.000Z",
      rows: [{ groups: { day: "2030-02-01", week: "2030-W05", month: "2030-02" } }],
    });
    const before = await get("spend?to=2030-01-31");
    expect(before.body).toMatchObject({ from: "2030-01-01T00:00:00.000Z", rows: [] });
  });

  test.each([
    ["2030-01-15", "this_month", "1", "2030-01-01", "2030-02-01"],
    ["2030-01-15", "last_month", "1", "2029-12-01", "2030-01-01"],
    ["2030-01-15", "this_quarter", "1", "2030-01-01", "2030-04-01"],
    ["2030-01-15", "last_quarter", "1", "2029-10-01", "2030-01-01"],
    ["2030-01-15", "this_quarter", "2", "2029-11-01", "2030-02-01"],
    ["2030-01-15", "last_quarter", "12", "2029-09-01", "2029-12-01"],
    ["2030-01-15", "this_year", "1", "2030-01-01", "2031-01-01"],
    ["2030-01-15", "this_year", "4", "2029-04-01", "2030-04-01"],
    ["2030-04-01", "this_year", "4", "2030-04-01", "2031-04-01"],
    ["2030-03-31", "last_year", "4", "2028-04-01", "2029-04-01"],
    ["2030-10-15", "last_year", "10", "2029-10-01", "2030-10-01"],
    ["2030-12-31", "last_quarter", "4", "2030-07-01", "2030-10-01"],
  ])("on %s take %s, where the fiscal year begins in month %s, for %s to %s", async (...row) => {
    const [today, period, start, from, to] = row;
    await setClock(database.db, new Date(`${today}T12:00:00Z`));
    const { body } = await get(`spend?period=${period}&fiscal_year_start=${start}`);
    expect([body.from, body.to]).toEqual([`${from}T00:00:00.000Z`, `${to}T00:00:00.000Z`]);
  });

  test("count named periods in the zone, and read their closing where there is one", async () => {
    await setClock(database.db, new Date("2030-03-31T22:30:00Z"));
    const { body } = await get("waste?period=last_month&time_zone=Europe/Berlin");
    expect([body.from, body.to]).toEqual(["2030-02-28T23:00:00.000Z", "2030-03-31T22:00:00.000Z"]);
    const closed = { from: "2030-02-01", to: "2030-03-01" };
    const { id } = (await api.call(tenant.key, "POST", "/api/closings", closed)).body;
    expect((await get("cost-per-outcome?period=last_month")).body.closed).toBe(id);
    expect((await get("runs?period=this_month")).body.closed).toBeNull();
  });

  test.each([
    ["spend?period=last_decade", "period"],
    ["spend?period=this_month&from=2030-01-01", "period"],
    ["spend?period=this_month&fiscal_year_start=13", "fiscal_year_start"],
    ["spend?fiscal_year_start=4", "fiscal_year_start"],
    ["spend?closing=cls_0&period=this_month", "closing"],
    ["budgets?at=noon", "at"],
    ["spend?from=2030-02-01&to=2030-01-01", "from"],
    ["spend?from=2010-01-01", "from"],
    ["spend?from=2030-01-01T00:07:00Z", "from"],
    ["spend?time_zone=Mars/Olympus", "time_zone"],
    // Known to the platform, and not to every database.
    ["spend?time_zone=US/Pacific-New", "time_zone"],
    ["spend?group_by=colour", "group_by"],
    ["cost-per-outcome?group_by=ending", "group_by"],
    ["spend?label=team", "label"],
    ["spend?label=team%3D%00", "label"],
    ["spend?customer=%00", "customer"],
    ["spend?group_by=label:%00", "group_by"],
    ["spend?from=2030-01-01T00:00:00%2B23:59&to=2030-02-01", "from"],
    ["budgets?at=2030-01-01T00:00:00-16:00", "at"],
    ["waste?format=focus", "format"],
    ["spend?format=focus&group_by=day", "group_by"],
    ["spend?closing=cls_0&from=2030-01-01", "closing"],
    ["runs?cursor=nothing", "cursor"],
  ])("refuse %s and name %s", async (path, param) => {
    const answer = await get(path);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
  });

  test("are of an older moment, and say so, where the database ends what they follow for its length", async () => {
    const { admin } = database.db;
    await spent(5n);
    const before = await get("spend");
    await spent(7n);
    await admin.unsafe(`
      alter function tollgate_roll_up(int) rename to tollgate_roll_up_kept;
      create function tollgate_roll_up(most int) returns table (lines int, is_behind boolean)
      language plpgsql as $$
      begin
        raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';
      end $$`);
    try {
      for (const path of ["spend", "cost-per-outcome", "waste", "runs", "spend?format=focus"]) {
        const answer = await api.call(tenant.key, "GET", `/api/reports/${path}`);
        expect([path, answer.status]).toEqual([path, 200]);
      }
      const older = await api.call(tenant.key, "GET", "/api/reports/spend");
      expect(older.body).toMatchObject({ as_of: before.body.as_of, total: { attempts: 1 } });
      const check = await api.call(tenant.key, "GET", "/api/ledger/check");
      expect(check.body).toMatchObject({ holds: true, behind_usd: "0.000000000007" });
    } finally {
      await admin.unsafe(`
        drop function tollgate_roll_up(int);
        alter function tollgate_roll_up_kept(int) rename to tollgate_roll_up`);
    }
    expect((await get("spend")).body.total.attempts).toBe(2);
  });

  test("are for keys with the scope; all tenants are for the installation's alone", async () => {
    const { key } = await api.newTenant(["invoke"]);
    expect((await get("spend", key)).status).toBe(403);
    expect((await get("spend?group_by=tenant", ADMIN_KEY)).body.tenant).toBeNull();
    expect((await get(`spend?tenant=${tenant.id}`, ADMIN_KEY)).body.tenant).toBe(tenant.id);
    expect((await get("spend")).body.tenant).toBe(tenant.id);
    expect((await get("waste", ADMIN_KEY)).status).toBe(400);
    const all = await get("cost-per-outcome?group_by=tenant", ADMIN_KEY);
    expect([all.status, all.body.error.param]).toEqual([400, "tenant"]);
    expect(all.body.error.message).toMatch(/once for each .* spend, grouped by tenant and type/);
    await spent(10n, { runId: "r" });
    await tell(database, tenant.id, { subject: "r" });
    for (const by of ["tenant", "tenant,day", "customer,tenant", "tenant,model"]) {
      const query = `cost-per-outcome?group_by=${by}&tenant=${tenant.id}`;
      const { rows, total } = (await get(query, ADMIN_KEY)).body;
      const row = {
        groups: { type: "ticket_resolved", tenant: tenant.id },
        cost_usd: "0.00000000001",
      };
      expect([by, rows]).toMatchObject([by, [row]]);
      expect(total).toMatchObject({ outcomes: { success: 1 }, cost_p50_usd: "0.00000000001" });
    }
    const typed = await get("spend?group_by=tenant,type", ADMIN_KEY);
    expect(typed.body.rows.map((one: Json) => one.groups)).toContainEqual({
      tenant: tenant.id,
      type: "ticket_resolved",
    });
    const other = await api.newTenant();
    expect((await get(`spend?tenant=${tenant.id}`, other.key)).status).toBe(404);
  });

  test("are asked for no ending and no basis that there is not: nothing spent would be the answer", async () => {
    for (const [param, wrong] of [
      ["ending", "fail"],
      ["basis", "guessed"],
    ] as const) {
      for (const report of ["spend", "waste", "runs"]) {
        const { status, body } = await get(`${report}?${param}=${wrong}`);
        expect([report, status, body.error.param]).toEqual([report, 400, param]);
      }
    }
    for (const query of ["ending=adjusted", "ending=blocked", "basis=adjustment", "basis=none"]) {
      expect((await get(`spend?${query}`)).status).toBe(200);
    }
  });

  test("are of no key, type or run that there is not, and say what there is; what only calls name may be nothing", async () => {
    const refused = async (path: string, key = tenant.key) => {
      const { status, body } = await get(path, key);
      return [status, body.error?.param, body.error?.message];
    };
    const none = `There is no outcome type 'refund'. None is declared: see \`tollgate outcome-types create\`.`;
    expect(await refused("cost-per-outcome?type=refund")).toEqual([404, "type", none]);
    await tell(database, tenant.id, { subject: "r", type: "refund_paid" });
    const type = "There is no outcome type 'refund_pad'. Did you mean refund_paid?";
    for (const report of ["cost-per-outcome", "spend", "waste", "runs"]) {
      const answer = [404, "type", `${type} There are refund_paid.`];
      expect([report, await refused(`${report}?type=refund_pad`)]).toEqual([report, answer]);
      expect((await get(`${report}?type=refund_paid`)).status).toBe(200);
      const named = `There is no key 'first'. The one that is named so is ${tenant.keyId}: a report is asked by its id.`;
      expect([report, await refused(`${report}?key=first`)]).toEqual([report, [404, "key", named]]);
      expect((await get(`${report}?key=${tenant.keyId}`)).status).toBe(200);
    }
    // A key of another tenant does not exist for this one; the installation sees all.
    const other = await api.newTenant();
    expect(await refused(`spend?key=${other.keyId}`)).toEqual([
      404,
      "key",
      `There is no key '${other.keyId}'. \`tollgate keys list\` says which there are.`,
    ]);
    expect((await get(`spend?key=${other.keyId}&type=refund_paid`, ADMIN_KEY)).status).toBe(200);
    expect((await get("spend?type=refund_pad", ADMIN_KEY)).status).toBe(404);

    expect(await refused("budgets?run=nightly")).toEqual([404, "run", expect.any(String)]);
    await spent(1n, { runId: "nightly" });
    expect((await get("budgets?run=nightly")).body.rows).toEqual([]);
    const scope = { kind: "run", id: "tomorrow" };
    const limit = { scope, unit: "usd", window: "none", limit: "1.00" };
    expect((await api.call(tenant.key, "POST", "/api/limits", limit)).status).toBe(201);
    expect((await get("budgets?run=tomorrow")).body.rows).toHaveLength(1);
    for (const query of ["customer=nobody", "workflow=none", "label=team=none", "model=none"]) {
      expect((await get(`spend?${query}`)).body).toMatchObject({
        rows: [],
        total: { attempts: 0 },
      });
    }
  });

  test("as CSV have stable headers, a line for what is not attributed, and no formula in a cell", async () => {
    const customer = '=HYPERLINK("http://x","y"), "Ltd"';
    await spent(7n, { runId: "r", context: { customer } });
    await spent(5n, { runId: "s" });
    await tell(database, tenant.id, { subject: "r" });
    await rollUpAll(database.db.admin);
    const csv = await api.send("/api/reports/cost-per-outcome?group_by=customer", {
      headers: { authorization: `Bearer ${tenant.key}`, accept: "text/csv" },
    });
    expect(csv.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    const [header, row, unattributed, end] = String(csv.body).split("\r\n");
    expect(header).toMatch(
      /^line,type,customer,outcomes_success,.*,cost_per_success_usd,.*,report_from,report_to,/,
    );
    expect(row).toContain(
      `row,ticket_resolved,"'=HYPERLINK(""http://x"",""y""), ""Ltd""",1,0,0,0,`,
    );
    expect(unattributed).toMatch(/^unattributed,,,,.*,0\.000000000005,/);
    expect(header).toMatch(/,report_runs_without_outcome$/);
    expect(unattributed).toMatch(/,outcome,1$/);
    expect(end).toBe("");
    const named = await get("cost-per-outcome?group_by=customer&format=csv");
    expect(named.body).toBe(csv.body);
  });

  test("as lines of JSON give each row, and last the report without them", async () => {
    await spent(7n, { model: "m" });
    await spent(5n, { model: "n" });
    const { body } = await get("spend?group_by=model&format=ndjson");
    const lines = String(body)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { line: "row", groups: { model: "m" }, cost_usd: "0.000000000007" },
      { line: "row", groups: { model: "n" } },
      { line: "report", total: { cost_usd: "0.000000000012" }, rows_left_off: 0 },
    ]);
  });

  test("as FOCUS have its columns, of what is known", async () => {
    await spent(1_500_000_000_000n, {
      context: { customer: "acme", labels: { team: "search", workflow: "support" } },
    });
    const { body } = await get("spend?format=focus");
    const [header, line, end] = String(body).split("\r\n");
    const names = header?.split(",") ?? [];
    const values = parsedCsv(line ?? "");
    const charge = Object.fromEntries(names.map((name, at) => [name, values[at]]));
    expect(charge).toMatchObject({
      BilledCost: "1.50",
      EffectiveCost: "1.50",
      BillingCurrency: "USD",
      BillingPeriodStart: "2030-01-01T00:00:00Z",
      BillingPeriodEnd: "2030-02-01T00:00:00Z",
      ChargePeriodStart: "2030-01-15T00:00:00Z",
      ChargePeriodEnd: "2030-01-16T00:00:00Z",
      ChargeCategory: "Usage",
      ConsumedQuantity: "5",
      ConsumedUnit: "Tokens",
      ProviderName: "up",
      ResourceId: "m",
      ServiceCategory: "AI and Machine Learning",
      SkuPriceId: "price",
      SubAccountId: tenant.id,
      x_Basis: "computed",
    });
    expect(JSON.parse(charge["Tags"] ?? "")).toEqual({
      team: "search",
      workflow: "support",
      "tollgate/key": tenant.keyId,
      "tollgate/customer": "acme",
      "tollgate/workflow": "support",
    });
    expect(end).toBe("");
    await tell(database, tenant.id, { subject: "r" });
    // Charges are whole: part of one is an outcome's, and a filter that were left unheard would sum up others.
    const typed = await get("spend?format=focus&type=ticket_resolved");
    expect([typed.status, typed.body.error.param]).toEqual([400, "type"]);
  });

  test("of waste name the model, the tool and the runs whose retries did not contribute", async () => {
    const step = { stepId: "s", stepDigest: `digest of ${tenant.id}` };
    for (const ending of ["failed", "failed", "succeeded"] as const) {
      const ask = askOf(tenant.id, { keyId: tenant.keyId, runId: "again", ...step });
      const attemptId = await api.admit(ask);
      await api.settle(settlementOf({ ...ask, attemptId }, { ending, costPicousd: 10n }));
    }
    await spent(10n, { runId: "once", model: "n" });
    const { body } = await get("waste");
    expect(body).toMatchObject({
      rows: [
        {
          groups: { upstream: "up", model: "m", tool: null },
          retries: 2,
          waste_usd: "0.00000000001",
        },
      ],
      runs: [{ run: "again", waste_usd: "0.00000000001" }],
      total: { cost_usd: "0.00000000004", waste_usd: "0.00000000001" },
      waste_share: "0.2500",
    });
    expect(body.rows).toHaveLength(1);
    expect(body.runs).toHaveLength(1);
    await tell(database, tenant.id, { subject: "again" });
    for (const [name, value] of [
      ["key", tenant.keyId],
      ["run", "again"],
      ["day", "2030-01-15"],
      ["type", "ticket_resolved"],
    ] as const) {
      const by = (await get(`waste?group_by=${name}`)).body;
      const waste = { groups: { [name]: value }, retries: 2, waste_usd: "0.00000000001" };
      expect(by).toMatchObject({ group_by: [name], rows: [waste], waste_share: "0.2500" });
      expect([name, by.rows.length, by.runs.length]).toEqual([name, 1, 1]);
    }
    expect((await get("waste?group_by=colour")).status).toBe(400);
  });

  test("of runs are chosen by what was said and used, and come page by page", async () => {
    for (const [at, runId] of ["r1", "r2", "r3"].entries()) {
      await spent(BigInt(10 * (at + 1)), { runId, model: at === 0 ? "n" : "m" });
    }
    await tell(database, tenant.id, { subject: "r2", status: "failure" });
    const first = await get("runs?limit=2");
    expect(first.body.rows.map((row: Json) => row.run)).toEqual(["r3", "r2"]);
    expect(first.body.total).toMatchObject({ runs: 3, cost_usd: "0.00000000006" });
    const rest = await get(`runs?limit=2&cursor=${encodeURIComponent(first.body.next)}`);
    expect(rest.body).toMatchObject({ rows: [{ run: "r1" }], next: null });
    expect((await get("runs?model=n")).body.rows).toMatchObject([{ run: "r1" }]);
    const failed = await get("runs?type=ticket_resolved&status=failure");
    expect(failed.body.rows).toMatchObject([{ run: "r2", outcomes: 1 }]);
    expect((await get("runs?status=success")).body).toMatchObject({ rows: [], total: { runs: 0 } });
    expect((await get("runs?sort=started&limit=1")).body.rows).toHaveLength(1);
  });

  test("of outcomes by model take each apart, with the prices that it was counted by", async () => {
    await spent(30n, { runId: "r", model: "m" });
    await spent(12n, { runId: "r", model: "n" });
    await tell(database, tenant.id, { subject: "r", key: "1" });
    await tell(database, tenant.id, { subject: "r", key: "2" });
    const { body } = await get("cost-per-outcome?group_by=model");
    expect(body.rows).toMatchObject([
      {
        groups: { type: "ticket_resolved", model: "m" },
        outcomes: { success: 2 },
        cost_usd: "0.00000000003",
        cost_per_success_usd: "0.000000000015",
        cost_p50_usd: "0.000000000015",
        price_versions: ["price"],
      },
      { groups: { model: "n" }, cost_usd: "0.000000000012" },
    ]);
    const total = { cost_usd: "0.000000000042", price_versions: ["price"] };
    expect(body.total).toMatchObject({ outcomes: { success: 2 }, ...total });
    // Whole outcomes do not hold theirs; what was posted in the period does.
    expect((await get("cost-per-outcome")).body.total.price_versions).toBeNull();
    expect((await get("spend")).body.total).toMatchObject(total);
    expect((await get("spend?group_by=type")).body.total).toMatchObject(total);
  });

  test("of budgets tell what is used and held, and when it is used up at this rate", async () => {
    const scope = { kind: "tenant" };
    const terms = { scope, unit: "usd", window: "month", limit: "1.00" };
    const limit = await api.call(tenant.key, "POST", "/api/limits", terms);
    expect(limit.status).toBe(201);
    const refs = [{ limitId: String(limit.body.id), subject: "", share: null }];
    const ask = askOf(tenant.id, { keyId: tenant.keyId, costPicousd: 600_000_000_000n });
    const given = { ...ask, refs };
    const attemptId = await api.admit(given);
    await api.settle(settlementOf({ ...ask, attemptId }, { costPicousd: 580_000_000_000n }));
    await api.admit({ ...given, attemptId: `${ask.attemptId}x`, costPicousd: 20_000_000_000n });
    const { body } = await get("budgets");
    expect(body.rows).toMatchObject([
      {
        limit_id: limit.body.id,
        unit: "usd",
        limit: "1.00",
        committed: "0.58",
        reserved: "0.02",
        remaining: "0.40",
        // 14.5 days of 31 are over.
        burn_per_day: "0.04",
        forecast: "1.24",
        exhausted_at: "2030-01-26T00:00:00.000Z",
        resets_at: "2030-02-01T00:00:00.000Z",
      },
    ]);
    const csv = await get("budgets?format=csv");
    expect(String(csv.body).split("\r\n")[0]).toMatch(/^line,limit_id,scope_kind,scope_id,/);
  });
});

test.each([
  ["=1+1", "'=1+1"],
  ["+1-1", "'+1-1"],
  ["-2+3", "'-2+3"],
  ["@SUM(A1)", "'@SUM(A1)"],
  ["\tx", "'\tx"],
  ["-0.50", "-0.50"],
  ["12", "12"],
  ["a=b", "a=b"],
  ["＝1+1", "'＝1+1"],
  ["a;=cmd|' /C calc'!A0;b", "a;'=cmd|' /C calc'!A0;b"],
  ['say "hi"', '"say ""hi"""'],
  ["a,b", '"a,b"'],
  ["a\nb", '"a\nb"'],
  [null, ""],
])("the cell of %j is %j", (value, cell) => {
  expect(csvCell(value)).toBe(cell);
});

/** The cells of one line of CSV that has no line break in a cell. */
function parsedCsv(line: string): readonly string[] {
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/gu)].map(([, cell = ""]) =>
    cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell,
  );
}
