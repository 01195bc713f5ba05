/** Reports against the ledger: whatever a report is grouped by, its rows sum up to what was settled. */
import { expect, test } from "vitest";
import { parseGroupings } from "../../src/core/report.ts";
import { createReports } from "../../src/ledger/reports.ts";
import { picousdFromUsd } from "../../src/core/money.ts";
import { post } from "../../src/store/posting.ts";
import { sumOutcomes } from "../../src/store/reports-outcomes.ts";
import { sumSpend } from "../../src/store/reports-spend.ts";
import { settle } from "../../src/store/settlement.ts";
import { createRandom } from "../sim/random.ts";
import { describeEachDatabase, type TestDatabase } from "../support/databases.ts";
import {
  adjust,
  askOf,
  createHistory,
  newTenant,
  settlementOf,
  tell,
} from "../support/ledger-history.ts";
import { ALL_GROUPINGS, NO_FILTERS } from "../support/report-terms.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { seedOf } from "../store/seed.ts";

const SPEND_GROUPS = [
  "",
  ...ALL_GROUPINGS.map((kind) => (kind === "label" ? "label:workflow" : kind)),
];
const PAIRS = ["model,ending", "type,run", "customer,label:workflow,day,basis", "step,type,model"];
const OUTCOME_GROUPS = [
  "",
  "key",
  "customer",
  "workflow",
  "label:workflow",
  "run",
  "day",
  "week",
  "month",
];
const APART_GROUPS = ["model", "upstream", "tool", "step", "model,customer", "day,step,run"];

function termsOf(tenantId: string, groupBy: string) {
  return {
    tenantId,
    from: null,
    to: null,
    timeZone: "Asia/Kathmandu",
    named: null,
    closing: null,
    groupings: parseGroupings(groupBy, ALL_GROUPINGS),
    filters: NO_FILTERS,
  };
}

const sumOf = (amounts: readonly string[]) =>
  amounts.reduce((sum, amount) => sum + picousdFromUsd(amount), 0n);

/** With what was adjusted beside it. */
async function settledOf({ db }: TestDatabase, tenantId: string): Promise<bigint> {
  const [row] = await db.admin`
    select ((select coalesce(sum(cost_picousd), 0) from settlements where tenant_id = ${tenantId})
            + (select coalesce(sum(amount_picousd), 0) from adjustments where tenant_id = ${tenantId}))::text as cost`;
  return BigInt(String(row?.["cost"]));
}

describeEachDatabase("a report", (database) => {
  test("sums up to what was settled, by whatever it is grouped, after any history", async () => {
    const random = createRandom(seedOf("reports"));
    const tenantId = await newTenant(database);
    const history = createHistory(database, tenantId, random);
    for (let step = 0; step < 60; step += 1) await history();
    await rollUpAll(database.db.admin);
    const settled = await settledOf(database, tenantId);
    const reports = createReports(database.db);
    const now = new Date();
    const period = {
      from: `${now.getUTCFullYear() - 1}-01-01`,
      to: `${now.getUTCFullYear() + 1}-01-01`,
    };
    for (const groupBy of [...SPEND_GROUPS, ...PAIRS]) {
      const { rows, total } = await reports.spend({ ...termsOf(tenantId, groupBy), ...period });
      const sums = [sumOf(rows.map((row) => row.cost_usd)), sumOf([total.cost_usd])];
      expect([groupBy, ...sums]).toEqual([groupBy, settled, settled]);
    }
    for (const groupBy of [...OUTCOME_GROUPS, ...APART_GROUPS]) {
      for (const cohort of ["outcome", "run_start"] as const) {
        const terms = { ...termsOf(tenantId, groupBy), ...period, cohort };
        const { rows, total, unattributed_usd } = await reports.costPerOutcome(terms);
        const sums = [rows.map((row) => row.cost_usd), [total.cost_usd]].map(
          (amounts) => sumOf(amounts) + sumOf([unattributed_usd]),
        );
        expect([groupBy, ...sums]).toEqual([groupBy, settled, settled]);
      }
    }
    const { total } = await reports.runs({
      ...termsOf(tenantId, ""),
      ...period,
      sort: "cost",
      page: { after: null, rows: 10 },
    });
    expect(sumOf([total?.cost_usd ?? ""])).toBe(settled);
  });

  test("sums all tenants where none is named, and tells them apart", async () => {
    const tenants = [await newTenant(database), await newTenant(database)];
    for (const [at, tenantId] of tenants.entries()) {
      const ask = askOf(tenantId);
      await post(database.db.gate, "rep", [ask]);
      await settle(database.db.gate, [settlementOf(ask, { costPicousd: BigInt(at + 1) })]);
    }
    await rollUpAll(database.db.admin);
    const reports = createReports(database.db);
    const terms = { ...termsOf("", "tenant"), tenantId: null };
    const { rows, total } = await reports.spend(terms);
    expect(sumOf(rows.map((row) => row.cost_usd))).toBe(sumOf([total.cost_usd]));
    for (const [at, tenantId] of tenants.entries()) {
      const own = rows.find(({ groups }) => groups["tenant"] === tenantId);
      expect(own).toMatchObject({ attempts: 1, cost_usd: `0.00000000000${at + 1}` });
    }
  });

  test("divides by successes alone, and says null where there are none", async () => {
    const tenantId = await newTenant(database);
    const { gate } = database.db;
    for (const runId of ["run_a", "run_b", "run_c"]) {
      const ask = askOf(tenantId, { runId });
      await post(gate, "rep", [ask]);
      await settle(gate, [settlementOf(ask, { costPicousd: 5n })]);
    }
    await tell(database, tenantId, { subject: "run_a" });
    await tell(database, tenantId, { subject: "run_b", status: "failure" });
    await tell(database, tenantId, { subject: "run_c", type: "refund_paid", status: "reversed" });
    await rollUpAll(database.db.admin);
    const terms = { ...termsOf(tenantId, ""), cohort: "outcome" } as const;
    const { rows } = await createReports(database.db).costPerOutcome(terms);
    expect(rows).toMatchObject([
      {
        groups: { type: "ticket_resolved" },
        outcomes: { success: 1, failure: 1 },
        cost_usd: "0.00000000001",
        cost_per_success_usd: "0.00000000001",
        cost_of_failures_usd: "0.000000000005",
      },
      { groups: { type: "refund_paid" }, outcomes: { reversed: 1 }, cost_per_success_usd: null },
    ]);
  });

  test("counts no run where something is adjusted of none, also where some runs are chosen", async () => {
    const tenantId = await newTenant(database);
    const ask = askOf(tenantId);
    await post(database.db.gate, "rep", [ask]);
    await settle(database.db.gate, [settlementOf(ask)]);
    await adjust(database, tenantId, { attempt: null, run: "run_a" }, -30n);
    await adjust(database, tenantId, { attempt: null, run: null }, 7n);
    await rollUpAll(database.db.admin);
    for (const basis of [null, "adjustment"] as const) {
      const terms = { ...termsOf(tenantId, ""), filters: { ...NO_FILTERS, basis } };
      const page = { after: null, rows: 10 };
      const { rows, total } = await createReports(database.db).runs({
        ...terms,
        sort: "cost",
        page,
      });
      expect([rows.length, total?.runs, total?.cost_usd]).toEqual([2, 1, "0.000000000077"]);
    }
  });

  test("is a floor while something has no price, or has not ended", async () => {
    const tenantId = await newTenant(database);
    const { gate } = database.db;
    const ask = askOf(tenantId);
    const open = askOf(tenantId, { runId: "run_b" });
    await post(gate, "rep", [ask, open]);
    await settle(gate, [settlementOf(ask, { basis: "unpriced", costPicousd: null })]);
    await tell(database, tenantId, { subject: "run_a" });
    await tell(database, tenantId, { subject: "run_b" });
    await rollUpAll(database.db.admin);
    const reports = createReports(database.db);
    const terms = { ...termsOf(tenantId, "run"), cohort: "outcome" } as const;
    const before = await reports.costPerOutcome(terms);
    const floorOf = (run: string, { rows }: typeof before) => {
      const row = rows.find(({ groups }) => groups["run"] === run);
      return [row?.unpriced, row?.open, row?.is_floor];
    };
    expect(floorOf("run_a", before)).toEqual([1, 0, true]);
    expect(floorOf("run_b", before)).toEqual([0, 1, true]);
    await settle(gate, [settlementOf(open)]);
    await rollUpAll(database.db.admin);
    expect(floorOf("run_b", await reports.costPerOutcome(terms))).toEqual([0, 0, false]);
  });

  test("is a floor while the first attempt of a run that joins it has not ended", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    const ended = askOf(tenantId, { context: { operation: "refund:1" } });
    await post(gate, "rep", [ended]);
    await settle(gate, [settlementOf(ended)]);
    await tell(database, tenantId, { subject: "refund:1" });
    await tell(database, tenantId, { subject: "run_a" });
    await rollUpAll(admin);
    const below = askOf(tenantId, { runId: "run_below" });
    const working = askOf(tenantId, { runId: "run_b", context: { operation: "refund:1" } });
    await post(gate, "rep", [below, working]);
    await admin`
      update runs set ancestors = '{run_a}' where tenant_id = ${tenantId} and run_id = 'run_below'`;
    await rollUpAll(admin);
    const reports = createReports(database.db);
    for (const groups of ["", "day", "customer", "model"]) {
      const terms = { ...termsOf(tenantId, groups), cohort: "outcome" } as const;
      const { total } = await reports.costPerOutcome(terms);
      expect([groups, total.open, total.is_floor]).toEqual([groups, 2, true]);
    }
  });

  test("counts an outcome that is open once, whatever it is grouped by and however many attempts go on", async () => {
    const tenantId = await newTenant(database);
    const asks = [1, 2, 3].map(() => askOf(tenantId));
    await post(database.db.gate, "rep", asks);
    await tell(database, tenantId, { subject: "run_a" });
    await rollUpAll(database.db.admin);
    const reports = createReports(database.db);
    for (const groups of ["", "day", "run", "customer", "model"]) {
      const terms = { ...termsOf(tenantId, groups), cohort: "outcome" } as const;
      const { total } = await reports.costPerOutcome(terms);
      expect([groups, total.open]).toEqual([groups, 1]);
    }
  });

  test("shows what failed, was presumed, refused or had no price as lines of their own", async () => {
    const tenantId = await newTenant(database);
    const { gate } = database.db;
    const asks = ["failed", "aborted", "succeeded", "unknown"].map(() => askOf(tenantId));
    await post(gate, "rep", [...asks, askOf(tenantId, { judgedReason: "policy_denied" })]);
    const [failed, aborted, unpriced, presumed] = asks;
    if (!failed || !aborted || !unpriced || !presumed) throw new Error("four were asked");
    await settle(gate, [
      settlementOf(failed, { ending: "failed", costPicousd: 1n }),
      settlementOf(aborted, { ending: "aborted", basis: "estimated", costPicousd: 2n }),
      settlementOf(unpriced, { basis: "unpriced", costPicousd: null }),
    ]);
    await settle(gate, [
      settlementOf(presumed, { ending: "unknown", basis: "presumed", costPicousd: 3n }),
    ]);
    await rollUpAll(database.db.admin);
    const terms = { ...termsOf(tenantId, "ending,basis,reason") };
    const { rows, total } = await createReports(database.db).spend(terms);
    const lines = rows.map(({ groups, attempts, blocked, cost_usd }) => [
      ...Object.values(groups),
      attempts,
      blocked,
      cost_usd,
    ]);
    expect(lines).toEqual([
      ["unknown", "presumed", null, 1, 0, "0.000000000003"],
      ["aborted", "estimated", null, 1, 0, "0.000000000002"],
      ["failed", "computed", null, 1, 0, "0.000000000001"],
      ["blocked", "none", "policy_denied", 0, 1, "0.00"],
      ["succeeded", "unpriced", null, 1, 0, "0.00"],
    ]);
    expect(total).toMatchObject({
      attempts: 4,
      blocked: 1,
      unpriced: 1,
      failed_usd: "0.000000000006",
      estimated_usd: "0.000000000002",
      presumed_usd: "0.000000000003",
    });
  });

  test("is its total with what it leaves off, row for row", async () => {
    const tenantId = await newTenant(database);
    const history = createHistory(database, tenantId, createRandom(seedOf("left off")));
    for (let step = 0; step < 40; step += 1) await history();
    await rollUpAll(database.db.admin);
    const now = new Date();
    const shared = {
      ...termsOf(tenantId, "run"),
      closingId: "",
      from: new Date(now.getTime() - 86_400_000),
      to: new Date(now.getTime() + 86_400_000),
      rows: 1,
    };
    const spend = await sumSpend(database.db.admin, { ...shared, order: "cost" });
    const outcomes = await sumOutcomes(database.db.admin, { ...shared, cohort: "outcome" });
    for (const lines of [spend, outcomes]) {
      expect(lines.map(({ line }) => line).toSorted()).toEqual(["left_off", "row", "total"]);
      const of = (name: string) => lines.find(({ line }) => line === name);
      for (const figure of [
        "cost",
        "wasted",
        "attempts",
        "retries",
        "unpriced",
        "tokens",
      ] as const) {
        const [row, leftOff, total] = ["row", "left_off", "total"].map((line) =>
          BigInt(of(line)?.[figure] ?? -1),
        );
        expect([figure, (row ?? 0n) + (leftOff ?? 0n)]).toEqual([figure, total]);
      }
    }
  });
});
