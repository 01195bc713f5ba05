import { afterEach, beforeEach, expect, test } from "vitest";
import { open, type Sql } from "../../src/store/database.ts";
import { askApproval, insertKey, insertTenant } from "../support/approvals.ts";
import { describeOnPostgres } from "../support/databases.ts";

const CONNECTIONS = 16;

describeOnPostgres("asking for approval at the same moment", (database) => {
  let sql: Sql;
  let tenantId = "";
  let keyId = "";
  beforeEach(async () => {
    sql = open(database.address, CONNECTIONS);
    ({ tenantId, keyId } = await insertTenant(sql));
    await insertKey(sql, tenantId, { scopes: ["approve"] });
    // The connections are there before the race.
    await Promise.all(Array.from({ length: CONNECTIONS }, () => sql`select pg_sleep(0.05)`));
  });
  afterEach(() => sql.end());

  const race = () =>
    Promise.all(Array.from({ length: CONNECTIONS }, () => askApproval(sql, { tenantId, keyId })));

  test("makes one question, which all are told", async () => {
    const asked = await race();
    expect(new Set(asked.map(({ state }) => state))).toEqual(new Set(["pending"]));
    expect(new Set(asked.map(({ approvalId }) => approvalId)).size).toBe(1);
    const [row] = await sql`select count(*)::int as n from approvals where tenant_id = ${tenantId}`;
    expect(row?.["n"]).toBe(1);
  });

  test("uses an approval up once", async () => {
    await askApproval(sql, { tenantId, keyId });
    await sql`update approvals set state = 'approved' where tenant_id = ${tenantId}`;
    const asked = await race();
    const used = asked.filter(({ state }) => state === "approved");
    expect(used).toHaveLength(1);
    expect(asked.filter(({ state }) => state === "consumed")).toHaveLength(CONNECTIONS - 1);
    const [row] = await sql`select consumed_by from approvals where tenant_id = ${tenantId}`;
    expect(row?.["consumed_by"]).toBe(used[0]?.attemptId);
  });

  test("a posting that rolls back leaves the approval to the next one", async () => {
    await askApproval(sql, { tenantId, keyId });
    await sql`update approvals set state = 'approved' where tenant_id = ${tenantId}`;
    const undone = sql.begin(async (tx) => {
      expect((await askApproval(tx, { tenantId, keyId })).state).toBe("approved");
      throw new Error("undone");
    });
    await expect(undone).rejects.toThrow("undone");
    expect((await askApproval(sql, { tenantId, keyId })).state).toBe("approved");
  });
});
