/** Unknown attempts give back their room while others post, settle and give back the same. */
import { expect, test } from "vitest";
import { open } from "../../src/store/database.ts";
import { post, postDry, type Ask } from "../../src/store/posting.ts";
import { giveBack, markUnknown, settle, type Settlement } from "../../src/store/settlement.ts";
import { newId } from "../gate/gate-on.ts";
import { describeOnPostgres, type TestDatabase } from "../support/databases.ts";
import { ledgerViolations } from "./violations.ts";

const LIMITS = [
  { limitId: "lim_a", unit: "in_flight" },
  { limitId: "lim_b", unit: "usd" },
  { limitId: "lim_c", unit: "in_flight" },
] as const;

async function newTenant({ db }: TestDatabase): Promise<string> {
  const tenantId = `ten_${newId()}`;
  await db.admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  for (const { limitId, unit } of LIMITS) {
    await db.admin`
      insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount)
      values (${tenantId}, ${limitId}, 'tenant', ${unit}, 'none', 1000000)`;
  }
  return tenantId;
}

function askOf(tenantId: string): Ask {
  return {
    attemptId: `att_${newId()}`,
    tenantId,
    keyId: "key_a",
    runId: "run_a",
    runNamed: false,
    stepId: null,
    stepDigest: null,
    contentDigest: null,
    retryResource: "model:m",
    door: "model",
    operation: "chat",
    resource: "m",
    upstream: "up",
    model: "m",
    judgedReason: null,
    costPicousd: 10n,
    tokens: 1,
    priceVersion: null,
    final: true,
    deadlineMs: 60_000,
    record: "{}",
    refs: LIMITS.map(({ limitId }) => ({ limitId, subject: "", share: null })),
    extra: null,
  };
}

function settlementOf({ tenantId, attemptId }: Ask): Settlement {
  return {
    tenantId,
    attemptId,
    ending: "succeeded",
    basis: "computed",
    costPicousd: 4n,
    tokens: 1,
    requests: 1,
    priceVersion: null,
    usage: "{}",
    record: "{}",
  };
}

describeOnPostgres("room in flight", (database) => {
  test("is given back once, by any number at once, between postings and settlements", async () => {
    const tenantId = await newTenant(database);
    const connections = Array.from({ length: 6 }, () => open(database.address, 1));
    const work = connections.map(async (sql, i) => {
      for (let round = 0; round < 20; round += 1) {
        const asks = Array.from({ length: 4 }, () => askOf(tenantId));
        await post(sql, "rep", asks);
        const [settled, lost] = [asks.slice(0, 2), asks.slice(1)];
        await Promise.all([
          markUnknown(sql, lost),
          giveBack(connections[(i + 1) % 6]!, 5),
          settle(connections[(i + 2) % 6]!, settled.map(settlementOf)),
          postDry(connections[(i + 3) % 6]!, "rep", askOf(tenantId)),
          giveBack(connections[(i + 4) % 6]!, 500),
        ]);
      }
    });
    await Promise.all(work);
    await giveBack(database.db.gate, 10_000);
    await Promise.all(connections.map((sql) => sql.end()));
    const { admin } = database.db;
    const meters = await admin`
      select limit_id, reserved from meters where tenant_id = ${tenantId} order by limit_id`;
    expect(meters.map((row) => `${row["limit_id"]} ${row["reserved"]}`)).toEqual([
      "lim_a 0",
      `lim_b ${6 * 20 * 2 * 10}`,
      "lim_c 0",
    ]);
    expect(await ledgerViolations(admin, tenantId, true)).toEqual([]);
    expect(await giveBack(database.db.gate, 10_000)).toBe(0);
  });

  test("and meters are free again when a dry posting has answered", async () => {
    const tenantId = await newTenant(database);
    const { gate, admin } = database.db;
    await post(gate, "rep", [askOf(tenantId)]);
    const other = open(database.address, 1);
    const { locked } = await other.begin(async (tx) => {
      // In a transaction that goes on: its locks would show, had the undone posting kept any.
      await postDry(tx as unknown as typeof other, "rep", askOf(tenantId));
      const free = await admin`
        select meter_id from meters where tenant_id = ${tenantId} for update skip locked`;
      return { locked: LIMITS.length - free.length };
    });
    await other.end();
    expect(locked).toBe(0);
  });
});
