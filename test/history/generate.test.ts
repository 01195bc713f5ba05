/** The made-up history is a sound ledger, and the same for the same seed. */
import { expect, test } from "vitest";
import { open, type Database } from "../../src/store/database.ts";
import { newId } from "../gate/gate-on.ts";
import { rollUpAll, rollUpViolations } from "../store/roll-up-violations.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { generateHistory, type MadeTenant } from "./generate.ts";

async function fill(db: Database, seed: number): Promise<readonly MadeTenant[]> {
  const tenants = [newId(), newId()].map((id) => ({
    tenantId: `ten_${id}`,
    keyIds: ["key_a", "key_b"],
  }));
  for (const { tenantId } of tenants) {
    await db.admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  }
  const sql = open(db.address, 1);
  await generateHistory(sql, {
    tenants,
    attempts: 1_500,
    from: new Date("2026-08-01"),
    to: new Date("2026-11-01"),
    seed,
    progress: () => undefined,
  });
  await sql.end();
  return tenants;
}

const costOf = async ({ admin }: Database, tenantId: string): Promise<unknown> => {
  const [row] = await admin`
    select sum(cost_picousd)::text as cost from settlements where tenant_id = ${tenantId}`;
  return row?.["cost"];
};

describeOnPostgres("the made-up history", (database) => {
  test("is a sound ledger, outcomes and budgets included", async () => {
    const [first, second] = await fill(database.db, 1);
    await rollUpAll(database.db.admin, 500);
    for (const tenantId of [first?.tenantId ?? "", second?.tenantId ?? ""]) {
      expect(await ledgerViolations(database.db.admin, tenantId)).toEqual([]);
      expect(await rollUpViolations(database.db.admin, tenantId)).toEqual([]);
    }
    const [embeddings] = await database.db.admin`
      select sum((s.usage->>'input')::int)::int as input,
             sum(coalesce((s.usage->>'output')::int, 0) + coalesce((s.usage->>'cache_read')::int, 0))::int as others
      from decisions d join settlements s using (tenant_id, attempt_id)
      where d.tenant_id = ${first?.tenantId ?? ""} and d.model = 'text-embedding-3-small'`;
    expect(embeddings).toEqual({ input: expect.any(Number), others: 0 });
    const kinds = await database.db.admin`
      select distinct status from outcome_costs where tenant_id = ${first?.tenantId ?? ""} order by status`;
    expect(kinds.map((row) => row["status"])).toEqual([
      "failure",
      "partial",
      "reversed",
      "success",
    ]);
  });

  test("is the same for the same seed, and another for another", async () => {
    const [one] = await fill(database.db, 5);
    const costs = await costOf(database.db, one?.tenantId ?? "");
    expect(costs).not.toBeNull();
    // Attempts have the same ids in both, and each tenant its own.
    const [again] = await fill(database.db, 5);
    expect(await costOf(database.db, again?.tenantId ?? "")).toBe(costs);
    const [other] = await fill(database.db, 6);
    expect(await costOf(database.db, other?.tenantId ?? "")).not.toBe(costs);
  });
});
