/** What reports read: days, cells, runs and outcomes by their indexes, and never the ledger itself. */
import { expect, test } from "vitest";
import { parseGroupings } from "../../src/core/report.ts";
import { createReports } from "../../src/ledger/reports.ts";
import { open, type Sql } from "../../src/store/database.ts";
import { generateHistory } from "../history/generate.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { newTenant } from "../support/ledger-history.ts";
import { ALL_GROUPINGS, NO_FILTERS } from "../support/report-terms.ts";

type Reads = Readonly<Record<string, { readonly scans: number; readonly rows: number }>>;

/** Scans of whole tables, and rows read in any way, since the database was made. */
async function readsOf(sql: Sql): Promise<Reads> {
  await sql`select pg_stat_force_next_flush()`;
  await sql`select pg_stat_clear_snapshot()`;
  const rows = await sql`
    select relname as name, seq_scan::int as scans, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows
    from pg_stat_user_tables`;
  return Object.fromEntries(
    rows.map((row) => [
      String(row["name"]),
      { scans: Number(row["scans"]), rows: Number(row["rows"]) },
    ]),
  );
}

describeOnPostgres("a report of a day", (database) => {
  test("reads no settlement and no decision, and scans no table of many rows", async () => {
    const sql = open(database.address, 1);
    const tenants = [];
    for (let made = 0; made < 8; made += 1) {
      tenants.push({ tenantId: await newTenant(database), keyIds: ["key_a"] });
    }
    // Made in one long statement; the reports themselves stay under the limit of every statement.
    const maker = open(database.address, 1, { settings: { statement_timeout: "0" } });
    await generateHistory(maker, {
      tenants,
      attempts: 30_000,
      from: new Date("2030-01-01"),
      to: new Date("2030-03-01"),
      seed: 7,
      progress: () => undefined,
    });
    await maker.end();
    await rollUpAll(sql, 5_000);
    await sql`analyze`;
    const tenantId = tenants[3]?.tenantId ?? "";
    const reports = createReports({ ...database.db, admin: sql });
    const terms = (groupBy: string) => ({
      tenantId,
      from: "2030-02-01",
      to: "2030-02-02",
      timeZone: "UTC",
      named: null,
      closing: null,
      groupings: parseGroupings(groupBy, ALL_GROUPINGS),
      filters: NO_FILTERS,
    });
    const before = await readsOf(sql);
    for (const groupBy of ["", "model,day", "run", "customer", "type"]) {
      expect((await reports.spend(terms(groupBy))).total.attempts).toBeGreaterThan(0);
    }
    for (const groupBy of ["", "customer,day", "model"]) {
      for (const cohort of ["outcome", "run_start"] as const) {
        await reports.costPerOutcome({ ...terms(groupBy), cohort });
      }
    }
    await reports.waste(terms(""));
    await reports.runs({ ...terms(""), sort: "cost", page: { after: null, rows: 100 } });
    await reports.focus(terms(""));
    const after = await readsOf(sql);
    const since = (table: string) => {
      const [then, now] = [before[table], after[table]];
      if (then === undefined || now === undefined) throw new Error(`no figures of ${table}`);
      return { scans: now.scans - then.scans, rows: now.rows - then.rows };
    };
    for (const table of ["settlements", "decisions", "cost_cells"]) {
      expect([table, since(table)]).toEqual([table, { scans: 0, rows: 0 }]);
    }
    const read = [
      "cost_days",
      "run_cells",
      "run_costs",
      "outcome_costs",
      "outcome_days",
      "outcome_runs",
    ];
    for (const table of read) {
      expect([table, since(table).scans]).toEqual([table, 0]);
      expect(since(table).rows).toBeGreaterThan(0);
    }
    // Of a day of a tenant it has two rows: so few that it is read whole.
    expect(since("run_days").rows).toBeGreaterThan(0);
    await sql.end();
  });
});
