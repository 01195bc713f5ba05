/** What taints a run, as the policies of its later calls are told, and what it takes to read it. */
import { beforeEach, expect, test } from "vitest";
import { HISTORY_ATTEMPTS_MAX } from "../../src/core/limits-policy.ts";
import type { Queryable } from "../../src/store/events.ts";
import { readHistory } from "../../src/store/history.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { settle, type Settlement } from "../../src/store/settlement.ts";
import { describeEachDatabase, describeOnPostgres } from "../support/databases.ts";
import { askOf, newTenant, settlementOf } from "../support/ledger-history.ts";

const UNTRUSTED = { record: '{"untrusted":true}' };

describeEachDatabase("what taints a run", (database) => {
  let tenantId = "";
  beforeEach(async () => {
    tenantId = await newTenant(database);
  });

  const act = async (ask: Partial<Ask>, ending: Partial<Settlement> | null) => {
    const { gate } = database.db;
    const asked = askOf(tenantId, { door: "tool", operation: "execute_tool", ...ask });
    await post(gate, "rep", [asked]);
    if (ending !== null) await settle(gate, [settlementOf(asked, ending)]);
    return asked;
  };
  const taintedBy = async (runId = "run_a", of = tenantId) => {
    const asked = { stepDigest: null, isStepNamed: false, left: null, sdkRetries: 0 };
    const history = await readHistory(database.db.admin, { tenantId: of, runId, ...asked });
    return history.taintedBy;
  };

  test("is the first untrusted tool that answered in it, and stays", async () => {
    await act({ resource: "files/read" }, { record: '{"untrusted":false}' });
    expect(await taintedBy()).toBeNull();
    await act({ resource: "web/fetch" }, UNTRUSTED);
    await act({ resource: "web/search" }, UNTRUSTED);
    await act({ resource: "files/read" }, {});
    expect(await taintedBy()).toBe("web/fetch");
  });

  test.each<
    [what: string, ask: Partial<Ask>, ending: Partial<Settlement> | null, tool: string | null]
  >([
    ["an error that a tool answered", {}, { ...UNTRUSTED, ending: "failed" }, "m"],
    ["no call that was cut off", {}, { ...UNTRUSTED, ending: "aborted" }, null],
    ["no call that never ran", {}, { ...UNTRUSTED, ending: "released", basis: "none" }, null],
    ["no call that runs", {}, null, null],
    ["nothing that came through another door", { door: "step" }, UNTRUSTED, null],
    ["nothing that was refused", { judgedReason: "policy_denied" }, null, null],
    ["nothing that says so as a text", {}, { record: '{"untrusted":"yes"}' }, null],
    ["nothing of another run", { runId: "run_b" }, UNTRUSTED, null],
  ])("is %s", async (_what, ask, ending, tool) => {
    await act(ask, ending);
    expect(await taintedBy()).toBe(tool);
  });

  test("is known once what was presumed of a call is corrected", async () => {
    const asked = await act({ resource: "web/fetch" }, { ending: "unknown", basis: "presumed" });
    expect(await taintedBy()).toBeNull();
    await settle(database.db.gate, [settlementOf(asked, UNTRUSTED)]);
    expect(await taintedBy()).toBe("web/fetch");
  });

  test("is of one tenant, though another has a run of that name", async () => {
    await act({}, UNTRUSTED);
    expect(await taintedBy("run_a", await newTenant(database))).toBeNull();
  });
});

describeOnPostgres("what went before", (database) => {
  test("is read without what other runs did, and no more of its own than is counted", async () => {
    const { admin, gate } = database.db;
    const tenantId = await newTenant(database);
    for (const runId of ["run_a", "run_b"]) {
      const asked = askOf(tenantId, { door: "tool", runId });
      await post(gate, "rep", [asked]);
      await settle(gate, [settlementOf(asked, UNTRUSTED)]);
    }
    const copies = 3 * HISTORY_ATTEMPTS_MAX;
    await admin`
      insert into decisions select (json_populate_record(d, json_build_object('attempt_id', d.attempt_id || n))).*
      from decisions d, generate_series(1, ${copies}) as n where d.tenant_id = ${tenantId} and d.run_id = 'run_b'`;
    await admin`
      insert into settlements select (json_populate_record(s, json_build_object('attempt_id', s.attempt_id || n))).*
      from settlements s join decisions d using (tenant_id, attempt_id), generate_series(1, ${copies}) as n
      where d.tenant_id = ${tenantId} and d.run_id = 'run_b'`;
    await admin`analyze decisions, settlements, reservations`;
    const of = { tenantId, stepDigest: null, isStepNamed: false, left: null, sdkRetries: 0 };
    const readOf = async (runId: string) =>
      await admin.begin(async (tx) => {
        const before = await rowsRead(tx);
        const history = await readHistory(tx, { ...of, runId });
        return { history, rows: (await rowsRead(tx)) - before };
      });
    const short = await readOf("run_a");
    expect(short.history).toMatchObject({ runAttempts: 1, taintedBy: "m" });
    expect(short.rows).toBeLessThan(20);
    const long = await readOf("run_b");
    expect(long.history).toMatchObject({ runAttempts: HISTORY_ATTEMPTS_MAX, taintedBy: "m" });
    expect(long.rows).toBeLessThan(4 * HISTORY_ATTEMPTS_MAX + 20);
  });
});

/** Rows of scans and entries of indexes of the ledger that this connection has read of late. */
async function rowsRead(sql: Queryable): Promise<number> {
  const [row] = await sql`
    select (sum(pg_stat_get_xact_tuples_returned(c.oid)))::int as count
    from pg_class c
    where c.oid in ('decisions'::regclass, 'settlements'::regclass, 'reservations'::regclass)
       or c.oid in (select indexrelid from pg_index
                    where indrelid in ('decisions'::regclass, 'settlements'::regclass, 'reservations'::regclass))`;
  return Number(row?.["count"]);
}
