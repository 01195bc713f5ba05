/** Reports that are sent: each period once, when all of it is summed up, whatever the replicas do. */
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  SCHEDULED_CONTENT_BYTES_MAX,
  SCHEDULED_LEASE_MS,
  SCHEDULED_MISSED_MAX,
} from "../../src/core/limits-finance.ts";
import { MESSAGE_KINDS } from "../../src/core/webhook.ts";
import { createWebhookPort, type NodeWebhookPort } from "../../src/entry/webhook-undici.ts";
import {
  createScheduleAdministration,
  type NewScheduleTerms,
} from "../../src/gate/administer-report-schedules.ts";
import { createWebhookAdministration } from "../../src/gate/administer-webhooks.ts";
import { createDeliverer } from "../../src/gate/deliver.ts";
import { tellReportsTurn } from "../../src/ledger/scheduled-reports.ts";
import { open, type Database } from "../../src/store/database.ts";
import { post } from "../../src/store/posting.ts";
import { claimReport, type DueReport, tellReport } from "../../src/store/report-schedules.ts";
import { rollUp } from "../../src/store/roll-up.ts";
import { settle } from "../../src/store/settlement.ts";
import { transaction } from "../../src/store/transaction.ts";
import { insertTenant, newId } from "../support/approvals.ts";
import { resetClock, setClock } from "../support/clock.ts";
import {
  describeEachDatabase,
  describeOnPostgres,
  type TestDatabase,
} from "../support/databases.ts";
import { askOf, settlementOf, tell } from "../support/ledger-history.ts";
import type { Json } from "../support/management.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { TEST_SEAL } from "../support/seal.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";

const INSTALLATION = { installation: true } as const;
const LEASE = { leaseMs: SCHEDULED_LEASE_MS, missedMax: SCHEDULED_MISSED_MAX };

function portsOn(db: Database) {
  return {
    db,
    newId,
    now: () => new Date(),
    seal: TEST_SEAL,
    webhook: { allowsPrivate: true },
    refresh: async () => undefined,
    configuration: NOTHING_CONFIGURED,
  };
}

/** Until all that was recorded before now is in the sums, also where another test's transaction holds them back. */
async function summedUp({ admin }: Database): Promise<void> {
  await rollUpAll(admin);
  const end = performance.now() + 30_000;
  while (performance.now() < end) {
    const [state] = await admin`select as_of >= tollgate_now() as done from roll_up_state`;
    if (state?.["done"] === true) return;
    await rollUp(admin, 100);
    await sleep(5);
  }
  throw new Error("the roll-ups never met the clock");
}

async function spend(
  db: Database,
  tenantId: string,
  spent: { readonly usd?: bigint; readonly customer?: string; readonly run?: string } = {},
): Promise<void> {
  const { usd = 1n, customer = "acme", run = "run_a" } = spent;
  const ask = askOf(tenantId, { runId: run, context: { customer } });
  await post(db.gate, "rep", [ask]);
  await settle(db.gate, [settlementOf(ask, { costPicousd: usd * 10n ** 12n })]);
}

const DAILY = { name: "spend of a day", report: "spend", query: {}, every: "day" } as const;
type Terms = Partial<Omit<NewScheduleTerms, "tenantId">>;

function schedule(db: Database, tenantId: string, terms: Terms = {}): Promise<string> {
  const given = { ...DAILY, timeZone: "UTC", format: "json" as const, ...terms };
  return createScheduleAdministration(portsOn(db)).create(INSTALLATION, { tenantId, ...given });
}

describeEachDatabase("a scheduled report", (database: TestDatabase) => {
  let receiver: Receiver;
  let port: NodeWebhookPort;
  let tenantId = "";
  let secret = "";
  const at = (moment: string) => setClock(database.db, new Date(moment));
  const acts = () => createScheduleAdministration(portsOn(database.db));
  const hook = async (kinds: readonly (typeof MESSAGE_KINDS)[number][]) => {
    const terms = { tenantId, url: `${receiver.url}/hook`, kinds };
    return await createWebhookAdministration(portsOn(database.db)).create(INSTALLATION, terms);
  };
  beforeEach(async () => {
    await database.db.admin`delete from deliveries`;
    await database.db.admin`update report_schedules set removed_at = tollgate_now()`;
    await at("2030-01-10T12:00:00Z");
    receiver = await startReceiver();
    port = createWebhookPort({ allowsPrivate: true });
    ({ tenantId } = await insertTenant(database.db.admin));
    ({ secret } = await hook(MESSAGE_KINDS));
  });
  afterEach(async () => {
    await resetClock(database.db);
    await port.close();
    await receiver.close();
  });

  /** What a turn tells now, by the end of its period. */
  const turn = async (): Promise<Json[]> => {
    await tellReportsTurn(database.db, newId);
    const rows = await database.db.admin`
      select body from deliveries where tenant_id = ${tenantId} and kind = 'report.ready'`;
    await database.db.admin`delete from deliveries`;
    const told: Json[] = rows.map(({ body }) => JSON.parse(String(body)).data);
    return told.toSorted((a, b) => (a.to < b.to ? -1 : 1));
  };
  const days = (told: readonly Json[]) => told.map(({ from }) => String(from).slice(0, 10));
  const begins = async (moment: string) => {
    await at(moment);
    await summedUp(database.db);
  };

  test("is told once, when its period has ended and all of it is summed up", async () => {
    await schedule(database.db, tenantId);
    await spend(database.db, tenantId, { usd: 3n });
    await begins("2030-01-10T23:59:59Z");
    expect(await turn()).toEqual([]);
    await at("2030-01-11T00:00:05Z");
    expect(await turn()).toEqual([]);
    await summedUp(database.db);
    const [told, ...more] = await turn();
    expect(more).toEqual([]);
    expect(told).toMatchObject({
      tenant: tenantId,
      name: "spend of a day",
      report: "spend",
      every: "day",
      from: "2030-01-10T00:00:00.000Z",
      to: "2030-01-11T00:00:00.000Z",
      time_zone: "UTC",
      skipped_from: null,
      total: { attempts: 1, cost_usd: "3.00" },
      rows: 1,
      problem: null,
    });
    expect(told.content.total).toEqual(told.total);
    expect(await turn()).toEqual([]);
    await begins("2030-01-12T00:00:05Z");
    expect(days(await turn())).toEqual(["2030-01-11"]);
  });

  test("leaves signed by the outbox", async () => {
    await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    expect(await tellReportsTurn(database.db, newId)).toBe(1);
    const deliverer = createDeliverer({
      db: database.db,
      webhook: port,
      seal: TEST_SEAL,
      now: () => new Date(),
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
    expect(await deliverer.turn()).toBe(1);
    await deliverer.drained();
    const [message] = receiver.messages;
    expect(new Webhook(secret).verify(message?.body ?? "", message?.headers ?? {})).toMatchObject({
      type: "report.ready",
      timestamp: "2030-01-11T00:00:05.000Z",
      data: { report: "spend", total: { cost_usd: "0.00" } },
    });
  });

  test("has the text of its format, and where the same report is had again", async () => {
    const query = { group_by: "customer", model: "m" };
    await schedule(database.db, tenantId, { query, format: "csv", timeZone: "Europe/Berlin" });
    await spend(database.db, tenantId, { customer: "umbrella" });
    await begins("2030-01-10T23:00:05Z");
    const [told] = await turn();
    expect(told.path).toBe(
      "/api/reports/spend?from=2030-01-09T23%3A00%3A00.000Z&to=2030-01-10T23%3A00%3A00.000Z" +
        "&time_zone=Europe%2FBerlin&group_by=customer&model=m&format=csv",
    );
    expect(told.content).toMatch(/^line,customer,attempts,.*\r\nrow,umbrella,1,/u);
  });

  test("says of cost per outcome what no outcome bears, and of waste its share", async () => {
    await schedule(database.db, tenantId, { name: "b", report: "waste" });
    await schedule(database.db, tenantId, { name: "a", report: "cost-per-outcome" });
    await spend(database.db, tenantId, { usd: 2n, run: "run_told" });
    await spend(database.db, tenantId, { usd: 5n, run: "run_silent" });
    await tell(database, tenantId, { subject: "run_told" });
    await begins("2030-01-11T00:00:05Z");
    const told = await turn();
    expect(told.map(({ name, total }) => ({ name, total }))).toEqual(
      expect.arrayContaining([
        {
          name: "a",
          total: expect.objectContaining({
            cost_per_success_usd: "2.00",
            runs_without_outcome: 1,
            unattributed_usd: "5.00",
          }),
        },
        { name: "b", total: expect.objectContaining({ cost_usd: "7.00", waste_share: "0.0000" }) },
      ]),
    );
  });

  test("of budgets shows the windows that ended, and not those that begin", async () => {
    const { admin } = database.db;
    await admin`
      insert into limits (tenant_id, limit_id, scope_kind, scope_id, unit, window_kind, amount, mode, on_exceed)
      values (${tenantId}, 'lim_day', 'tenant', '', 'usd', 'day', 10, 'enforce', 'refuse'),
             (${tenantId}, 'lim_month', 'tenant', '', 'usd', 'month', 1000, 'enforce', 'refuse')`;
    await admin`
      insert into meters (tenant_id, limit_id, subject, window_start, reserved, committed)
      values (${tenantId}, 'lim_day', '', timestamptz '2030-01-10T00:00:00Z', 0, 10),
             (${tenantId}, 'lim_month', '', timestamptz '2030-01-01T00:00:00Z', 0, 900)`;
    await schedule(database.db, tenantId, { report: "budgets" });
    await begins("2030-01-11T00:00:05Z");
    const [told] = await turn();
    expect(told.total).toEqual({ budgets: 2, used_up: 1, running_out: 1 });
    expect(told.path).toBe("/api/reports/budgets?at=2030-01-10T23%3A59%3A59.999Z&format=json");
    expect(told.content.rows).toMatchObject([
      { limit_id: "lim_day", forecast: "0.00000000001", resets_at: "2030-01-11T00:00:00.000Z" },
      { limit_id: "lim_month", resets_at: "2030-02-01T00:00:00.000Z" },
    ]);
  });

  test("that is too large for a message goes without its rows", async () => {
    await schedule(database.db, tenantId, { query: { group_by: "customer" } });
    const longName = "x".repeat(200);
    for (let n = 0; n < 160; n += 1) {
      await spend(database.db, tenantId, { customer: `${longName}${n}` });
    }
    await begins("2030-01-11T00:00:05Z");
    const [told] = await turn();
    expect(told).toMatchObject({ content: null, rows: 160, total: { cost_usd: "160.00" } });
    expect(JSON.stringify(told).length).toBeLessThan(SCHEDULED_CONTENT_BYTES_MAX);
  });

  test("that cannot be made says why, and holds up no other", async () => {
    // Of a closed period, spend is not told apart by type.
    await database.db.admin`
      insert into period_closings (tenant_id, closing_id, begins_at, ends_at, closed_by)
      values (${tenantId}, 'cls_1', timestamptz '2030-01-10T00:00:00Z', timestamptz '2030-01-11T00:00:00Z', 'test')`;
    await schedule(database.db, tenantId, { query: { group_by: "type" } });
    await schedule(database.db, tenantId, { name: "waste", report: "waste" });
    await begins("2030-01-11T00:00:05Z");
    const told = await turn();
    expect(told.map(({ name, problem }) => [name, problem])).toEqual(
      expect.arrayContaining([
        ["spend of a day", expect.stringMatching(/^Of a closed period/u)],
        ["waste", null],
      ]),
    );
    expect(await turn()).toEqual([]);
  });

  test("that the database fails at holds up no other, and comes after those that were not tried", async () => {
    const { admin } = database.db;
    // The store holds no NUL. The door refuses it; what is in a schedule already may fail for any reason.
    const failing = { query: { customer: "\0" }, timeZone: "Asia/Tokyo" };
    for (let n = 0; n < 3; n += 1) await schedule(database.db, tenantId, failing);
    await schedule(database.db, tenantId, { name: "sound" });
    await begins("2030-01-11T00:00:05Z");
    await expect(tellReportsTurn(database.db, newId)).rejects.toThrow("reports by schedule failed");
    const told = await admin`select body::json -> 'data' ->> 'name' as name from deliveries`;
    expect(told).toMatchObject([{ name: "sound" }]);
    await begins("2030-01-12T00:02:06Z");
    expect(await claimReport(admin, LEASE)).toMatchObject({ name: "sound" });
  });

  test("does not tell the past: a schedule begins with the period that runs", async () => {
    await begins("2030-01-10T12:00:00Z");
    await schedule(database.db, tenantId, { every: "month" });
    expect(await turn()).toEqual([]);
    await begins("2030-02-01T00:00:05Z");
    expect(await turn()).toMatchObject([
      { from: "2030-01-01T00:00:00.000Z", to: "2030-02-01T00:00:00.000Z" },
    ]);
  });

  test("counts days and weeks in its own time zone, also where a clock is put forward", async () => {
    await at("2030-03-31T12:00:00Z");
    await schedule(database.db, tenantId, { timeZone: "Europe/Berlin" });
    await schedule(database.db, tenantId, { every: "week", timeZone: "Europe/Berlin" });
    await begins("2030-03-31T22:00:00Z");
    const told = await turn();
    expect(told.map(({ every, from, to }) => `${every} ${from} ${to}`).toSorted()).toEqual([
      "day 2030-03-30T23:00:00.000Z 2030-03-31T22:00:00.000Z",
      "week 2030-03-24T23:00:00.000Z 2030-03-31T22:00:00.000Z",
    ]);
  });

  test("that was missed is told later, the last seven of them, and says what was left out", async () => {
    await schedule(database.db, tenantId);
    await begins("2030-01-13T00:00:05Z");
    expect(days(await turn())).toEqual(["2030-01-10", "2030-01-11", "2030-01-12"]);
    await begins("2030-01-30T00:00:05Z");
    const told = await turn();
    expect(days(told)).toEqual(
      ["23", "24", "25", "26", "27", "28", "29"].map((day) => `2030-01-${day}`),
    );
    expect(told.map(({ skipped_from: from }) => from)).toEqual([
      "2030-01-13T00:00:00.000Z",
      ...Array.from({ length: 6 }, () => null),
    ]);
  });

  test("goes to the webhooks that want it, and not later to one that came too late", async () => {
    await database.db
      .admin`update webhooks set removed_at = tollgate_now() where tenant_id = ${tenantId}`;
    await hook(["budget.forecast"]);
    await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    expect(await turn()).toEqual([]);
    await hook(["report.ready"]);
    expect(await turn()).toEqual([]);
    await begins("2030-01-12T00:00:05Z");
    expect(days(await turn())).toEqual(["2030-01-11"]);
  });

  test("is told as it was changed, begins anew with other periods, and ends when it is removed", async () => {
    const scheduleId = await schedule(database.db, tenantId);
    const ref = { tenantId, scheduleId };
    await begins("2030-01-11T00:00:05Z");
    await acts().change(INSTALLATION, ref, { name: "renamed", format: "csv" });
    expect(await turn()).toMatchObject([{ name: "renamed", format: "csv" }]);
    await acts().change(INSTALLATION, ref, { every: "week" });
    await begins("2030-01-14T00:00:05Z");
    expect(await turn()).toMatchObject([{ every: "week", from: "2030-01-07T00:00:00.000Z" }]);
    await acts().remove(INSTALLATION, ref);
    await acts().remove(INSTALLATION, ref);
    await begins("2030-02-01T00:00:05Z");
    expect(await turn()).toEqual([]);
  });

  test("is told by another replica where one died over it, once, however late the first comes back", async () => {
    const { admin } = database.db;
    await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    const dead = await claimReport(admin, LEASE);
    expect(dead).not.toBeNull();
    expect(await turn()).toEqual([]);
    await begins("2030-01-11T00:02:06Z");
    expect(days(await turn())).toEqual(["2030-01-10"]);
    const late = { messageId: "dlv_late", body: "{}", keptDays: 90 };
    expect(await tellReport(admin, dead as DueReport, late)).toBe(false);
    expect(await admin`select 1 from deliveries`).toHaveLength(0);
  });

  test("that was changed while a replica made it is told as it is now, and only so", async () => {
    const { admin } = database.db;
    const scheduleId = await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    const before = (await claimReport(admin, LEASE)) as DueReport;
    await acts().change(INSTALLATION, { tenantId, scheduleId }, { name: "as it is now" });
    const message = { messageId: "dlv_before", body: "{}", keptDays: 90 };
    expect(await tellReport(admin, before, message)).toBe(false);
    expect(await turn()).toMatchObject([{ name: "as it is now" }]);
  });

  test("waits for what its tenant's outcomes cost, and for no other tenant's", async () => {
    const { admin } = database.db;
    const waits = (whose: string) => admin`
      insert into stale_outcomes (tenant_id, root_id, since, due_at)
      values (${whose}, 'out_1', timestamptz '2030-01-10T23:00:00Z', timestamptz '2030-02-01T00:00:00Z')`;
    await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    await waits(tenantId);
    expect(await turn()).toEqual([]);
    await admin`delete from stale_outcomes`;
    await waits("ten_other");
    expect(days(await turn())).toEqual(["2030-01-10"]);
    await admin`delete from stale_outcomes`;
  });

  test("whose transaction does not commit was not told, and is told after all", async () => {
    const { admin } = database.db;
    const scheduleId = await schedule(database.db, tenantId);
    await begins("2030-01-11T00:00:05Z");
    const due = (await claimReport(admin, LEASE)) as DueReport;
    const message = { messageId: "dlv_lost", body: "{}", keptDays: 90 };
    const lost = transaction(admin, async (tx) => {
      expect(await tellReport(tx, due, message)).toBe(true);
      throw new Error("the connection is gone");
    });
    await expect(lost).rejects.toThrow("the connection is gone");
    expect(await admin`select 1 from deliveries`).toHaveLength(0);
    expect(await admin`select 1 from reports_told where schedule_id = ${scheduleId}`).toHaveLength(
      0,
    );
    await begins("2030-01-11T00:02:06Z");
    expect(days(await turn())).toEqual(["2030-01-10"]);
  });

  test("is remembered as told for 90 days", async () => {
    const scheduleId = await schedule(database.db, tenantId);
    const remembered = async () => {
      const rows = await database.db.admin`
        select begins_at as day from reports_told where schedule_id = ${scheduleId} order by begins_at`;
      return rows.map(({ day }) => (day as Date).toISOString().slice(0, 10));
    };
    await begins("2030-01-11T00:00:05Z");
    await turn();
    expect(await remembered()).toEqual(["2030-01-10"]);
    await begins("2030-04-12T00:00:05Z");
    await turn();
    expect(await remembered()).not.toContain("2030-01-10");
  });
});

describeOnPostgres("scheduled reports by several replicas", (database) => {
  test("are told once, though all look at once", async () => {
    const { db } = database;
    await setClock(db, new Date("2030-01-10T12:00:00Z"));
    const { tenantId } = await insertTenant(db.admin);
    await db.admin`
      insert into webhooks (tenant_id, webhook_id, url, kinds, sealed_secret, created_by)
      values (${tenantId}, 'whk_1', 'https://example.com', '{report.ready}', '', 'test')`;
    for (let n = 0; n < 8; n += 1) await schedule(db, tenantId, { name: `schedule ${n}` });
    await setClock(db, new Date("2030-01-13T00:00:05Z"));
    await summedUp(db);
    const replicas = Array.from({ length: 4 }, () => open(db.address, 2));
    const told = await Promise.all(
      replicas.map((admin) => tellReportsTurn({ ...db, admin }, newId)),
    );
    told.push(await tellReportsTurn(db, newId));
    await Promise.all(replicas.map((admin) => admin.end()));
    const [row] = await db.admin`
      select count(*)::int as messages,
             count(distinct (body::json -> 'data' ->> 'schedule_id') || (body::json -> 'data' ->> 'from'))::int as periods
      from deliveries where tenant_id = ${tenantId}`;
    expect(row).toEqual({ messages: 24, periods: 24 });
    expect(told.reduce((sum, count) => sum + count, 0)).toBe(24);
    await resetClock(db);
  });
});
