import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { askOf, settlementOf } from "../support/ledger-history.ts";
import { createTestManagement, type Json, type Management } from "../support/management.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";

describeEachDatabase("reports count", (database) => {
  let api: Management;
  let tenant: Awaited<ReturnType<Management["newTenant"]>>;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  beforeEach(async () => {
    tenant = await api.newTenant();
  });
  afterAll(() => api.close());

  const get = async (path: string) => {
    await rollUpAll(database.db.admin);
    return await api.call(tenant.key, "GET", `/api/reports/${path}`);
  };

  /** A call that cost so many pico-dollars. */
  async function spent(cost: bigint, given: Parameters<typeof askOf>[1]): Promise<void> {
    const ask = askOf(tenant.id, { keyId: tenant.keyId, ...given });
    const attemptId = await api.admit(ask);
    await api.settle(settlementOf({ ...ask, attemptId }, { costPicousd: cost }));
  }

  async function tellSuccess(run: string): Promise<void> {
    await api.call(tenant.key, "POST", "/api/outcome-types", { name: "done" });
    const outcome = { type: "done", status: "success" };
    const told = await api.call(tenant.key, "POST", `/api/runs/${run}/outcome`, outcome);
    expect(told.status, JSON.stringify(told.body)).toBeLessThan(300);
  }

  test("as retries only what was admitted", async () => {
    const step = { runId: "r", stepId: "s", stepDigest: "a".repeat(64) };
    await spent(1n, step);
    await spent(2n, step);
    for (let refused = 0; refused < 3; refused += 1) {
      const ask = askOf(tenant.id, { keyId: tenant.keyId, ...step });
      await api.admit({ ...ask, judgedReason: "policy_denied" });
    }
    const known = await database.db.admin`
      select count(*)::int as again from decisions where tenant_id = ${tenant.id} and retry is not null`;
    expect(known).toEqual([{ again: 4 }]);
    const { rows, total } = (await get("spend?group_by=ending")).body;
    const counts = rows.map(({ groups, attempts, retries, blocked }: Json) => [
      groups.ending,
      attempts,
      retries,
      blocked,
    ]);
    expect(counts).toEqual([
      ["succeeded", 2, 1, 0],
      ["blocked", 0, 0, 3],
    ]);
    expect(total).toMatchObject({ attempts: 2, retries: 1, blocked: 3 });
    const repeated = askOf(tenant.id, { keyId: tenant.keyId, ...step });
    await api.admit({ ...repeated, judgedReason: "duplicate_request" });
    await tellSuccess("r");
    const counted = { attempts: 2, retries: 1, blocked: 3 };
    expect((await get("runs")).body.rows).toMatchObject([{ run: "r", ...counted }]);
    for (const query of ["", "?group_by=model"]) {
      const costs = (await get(`cost-per-outcome${query}`)).body;
      expect([costs.rows, costs.total]).toMatchObject([[counted], counted]);
    }
    expect((await get("waste?group_by=ending")).body.rows).toMatchObject([{ retries: 1 }]);
  });
});
