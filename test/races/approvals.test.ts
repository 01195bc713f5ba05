import { afterEach, beforeEach, expect, test } from "vitest";
import { createAdministration } from "../../src/gate/administration.ts";
import { connect, open, type Database, type Sql } from "../../src/store/database.ts";
import { askApproval, insertKey, insertTenant, newId } from "../support/approvals.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { TEST_SEAL } from "../support/seal.ts";

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

describeOnPostgres("answering at the same moment", (database) => {
  let db: Database;
  let tenantId = "";
  let keyId = "";
  let approvers: string[] = [];
  beforeEach(async () => {
    db = connect(database.address, { gateConnections: 1, adminConnections: CONNECTIONS });
    ({ tenantId, keyId } = await insertTenant(db.admin));
    approvers = await Promise.all(
      Array.from({ length: CONNECTIONS }, () =>
        insertKey(db.admin, tenantId, { scopes: ["approve"] }),
      ),
    );
    await Promise.all(approvers.map(() => db.admin`select pg_sleep(0.05)`));
  });
  afterEach(() => db.close());

  /** Everybody votes at once, each as `approves` says of his place; answers who was taken. */
  const race = async (quorum: number, approves: (at: number) => boolean): Promise<boolean[]> => {
    const { approvals } = createAdministration({
      db,
      newId,
      now: () => new Date(),
      seal: TEST_SEAL,
      webhook: { allowsPrivate: false },
      refresh: async () => undefined,
      configuration: NOTHING_CONFIGURED,
    });
    const asked = await askApproval(db.admin, { tenantId, keyId, quorum, seal: TEST_SEAL });
    const { digest, approvalId } = asked;
    const votes = approvers.map((voter, at) =>
      approvals.vote(
        { tenantId, keyId: voter, scopes: ["approve"], mode: "strict" },
        { tenantId, approvalId: approvalId ?? "", approves: approves(at), reason: "r", digest },
      ),
    );
    const settled = await Promise.allSettled(votes);
    return settled.map(({ status }) => status === "fulfilled");
  };
  const outcome = async () => {
    const [row] = await db.admin`
      select a.state, (select count(*)::int from approval_votes v where v.approval_id = a.approval_id
                       and v.approves) as yes,
             (select count(*)::int from approval_votes v where v.approval_id = a.approval_id
              and not v.approves) as no,
             (select count(*)::int from events e where e.subject = a.approval_id) as events
      from approvals a where tenant_id = ${tenantId}`;
    return row;
  };

  test("two approvers race: one decides, and the other is told so", async () => {
    const taken = await race(1, () => true);
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(await outcome()).toEqual({ state: "approved", yes: 1, no: 0, events: 1 });
  });

  test("a quorum is met by exactly so many", async () => {
    const taken = await race(5, () => true);
    expect(taken.filter(Boolean)).toHaveLength(5);
    expect(await outcome()).toEqual({ state: "approved", yes: 5, no: 0, events: 5 });
  });

  test("yes and no race: whichever decides, nothing is counted after it", async () => {
    const taken = await race(CONNECTIONS, (at) => at % 2 === 0);
    const after = await outcome();
    expect(after).toMatchObject({ state: "denied", no: 1 });
    expect(taken.filter(Boolean)).toHaveLength(Number(after?.["yes"]) + 1);
  });
});
