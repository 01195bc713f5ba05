/** What the embedded database knows of its tables, where no server looks after it. */
import { expect, test } from "vitest";
import { open, type Sql } from "../../src/store/database.ts";
import { analyzeGrown } from "../../src/store/statistics.ts";
import { generateHistory } from "../history/generate.ts";
import { describeOnPglite } from "../support/databases.ts";
import { newTenant } from "../support/ledger-history.ts";
import { rollUpAll } from "./roll-up-violations.ts";

/** Rows that the planner expects; -1: it was never told. */
async function expectedRows(sql: Sql, table: string): Promise<number> {
  const [row] = await sql`select reltuples::int as rows from pg_class where relname = ${table}`;
  return Number(row?.["rows"]);
}

describeOnPglite("the planner's statistics", (database) => {
  test("are told of what reports read once it has grown, and again when it has grown again", async () => {
    const sql = open(database.address, 1);
    await generateHistory(sql, {
      tenants: [{ tenantId: await newTenant(database), keyIds: ["key_a"] }],
      attempts: 2_000,
      from: new Date("2030-01-01"),
      to: new Date("2030-02-01"),
      seed: 1,
      progress: () => undefined,
    });
    await rollUpAll(sql, 5_000);
    const read = ["cost_cells", "outcome_costs", "run_cells", "run_costs"];
    for (const table of read) expect([table, await expectedRows(sql, table)]).toEqual([table, -1]);
    const looked = await analyzeGrown(sql);
    for (const table of read) {
      expect(looked).toContain(table);
      expect(await expectedRows(sql, table)).toBeGreaterThan(100);
    }
    expect(await analyzeGrown(sql)).toEqual([]);
    await sql`insert into tenants (tenant_id, name) select 'ten_' || n, 'n' || n from generate_series(1, 2000) n`;
    expect(await analyzeGrown(sql)).toEqual(["tenants"]);
    await sql.end();
  });
});
