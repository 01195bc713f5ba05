/**
 * The whole truth: whatever a report is grouped by and in whatever format, its sum is the ledger's, and when what was
 * presumed, has no price or was charged to nobody is adjusted as it was invoiced, the provider's to the pico-dollar.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import type { Tenant } from "../support/tollgate.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { claimsOf, csvLines, period, type Claim } from "./report-sums.ts";
import { adjustToInvoice, callsOf, playTruth, type Truth } from "./truth-calls.ts";

/** One that reads the cells of time, one those of runs, one that splits them, and one of both. */
const FEW = ["type", "run", "model", "day"];

describeEachDatabase("the whole truth", (database) => {
  let truth: Truth;
  beforeAll(async () => {
    truth = await playTruth(database);
  });
  afterAll(() => truth?.close());

  /** What was settled and adjusted, by a query that shares nothing with the roll-ups. */
  async function ledgerOf(tenant: Tenant | null): Promise<bigint> {
    const own = tenant === null ? "true" : "tenant_id = $1";
    const [row] = await truth.tollgate.rows<{ readonly sum: string }>(
      `select ((select coalesce(sum(cost_picousd), 0) from settlements where ${own})
               + (select coalesce(sum(amount_picousd), 0) from adjustments where ${own}))::text as sum`,
      tenant === null ? [] : [tenant.id],
    );
    return BigInt(row?.sum ?? "");
  }

  /** Of each tenant, and of all together; those whose sum is not the truth. */
  async function untrue(by: readonly string[] | null): Promise<readonly Claim[]> {
    await rollUpAll(database.db.admin);
    const claims: Claim[] = [];
    for (const tenant of truth.tenants) {
      const ledger = await ledgerOf(tenant);
      claims.push(...(await claimsOf(truth.tollgate, { tenant, ledger }, by)));
    }
    const all = { tenant: null, ledger: await ledgerOf(null) };
    claims.push(...(await claimsOf(truth.tollgate, all, ["tenant", "ending"])));
    return claims.filter(({ sum, truth: is }) => sum !== is);
  }

  const invoiced = (tenant: Tenant) =>
    truth.invoice(tenant).reduce((sum, { billed }) => sum + billed, 0n);

  /** The lines of spend by ending and basis, from the CSV that a person opens. */
  async function lines(tenant: Tenant): Promise<readonly string[]> {
    const path = `spend?group_by=ending,basis&format=csv&${period()}`;
    const answer = await fetch(`${truth.tollgate.url}/api/reports/${path}`, {
      headers: { authorization: `Bearer ${tenant.key}` },
    });
    const rows = csvLines(await answer.text()).filter(([line]) => line === "row");
    return rows.map(([, ending, basis]) => `${ending} ${basis}`).toSorted();
  }

  test("is in the sums before anything is adjusted, each ending on a line of its own", async () => {
    const calls = await callsOf(truth);
    // What is known is charged as it is billed; what differs is said to be presumed, unpriced or not charged.
    const differing = calls.filter(({ charged, billed }) => charged !== billed);
    expect(differing.filter(({ basis }) => basis === "computed")).toEqual([]);
    expect(differing.length).toBeGreaterThan(3);
    const [strict, tolerant] = truth.tenants;
    if (strict === undefined || tolerant === undefined) throw new Error("two tenants have called");
    expect(await untrue(FEW)).toEqual([]);
    expect(await lines(strict)).toEqual([
      "blocked none",
      "succeeded computed",
      "succeeded estimated",
      "unknown presumed",
    ]);
    expect(await lines(tolerant)).toEqual([
      "aborted estimated",
      "failed none",
      "succeeded computed",
      "succeeded unpriced",
      "unknown presumed",
    ]);
  });

  test("is what the provider bills once that is adjusted, by every grouping and in every format", async () => {
    await adjustToInvoice(truth, await callsOf(truth));
    for (const tenant of truth.tenants) expect(await ledgerOf(tenant)).toBe(invoiced(tenant));
    expect(await untrue(null)).toEqual([]);
    for (const tenant of truth.tenants) {
      expect(await lines(tenant)).toContain("adjusted adjustment");
      const answer = await fetch(`${truth.tollgate.url}/api/ledger/check`, {
        headers: { authorization: `Bearer ${tenant.key}` },
      });
      expect(await answer.json()).toMatchObject({ holds: true, sentences: [] });
    }
  });

  test.each([
    ["cost_cells", "spend?group_by=model total"],
    ["run_cells", "spend?group_by=run rows"],
    ["run_costs", "runs csv"],
    ["outcome_costs", "cost-per-outcome?group_by=type ndjson"],
  ])("is missed by one pico-dollar that somebody adds to %s", async (table, of) => {
    const { admin } = database.db;
    const [added] = await admin`
      update ${admin(table)} c set cost_picousd = c.cost_picousd + 1
      where c.ctid = (select min(o.ctid) from ${admin(table)} o where o.tenant_id = ${truth.tenants[0]?.id ?? ""})
      returning c.ctid::text as place`;
    const found = await untrue(FEW);
    await admin`
      update ${admin(table)} c set cost_picousd = c.cost_picousd - 1
      where c.ctid = ${String(added?.["place"])}::text::tid`;
    expect(found.map((claim) => claim.of)).toContain(of);
    for (const claim of found) expect(claim.sum - claim.truth).toBe(1n);
  });
});
