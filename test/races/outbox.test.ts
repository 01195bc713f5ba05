import { afterEach, beforeEach, expect, test } from "vitest";
import { open, type Sql } from "../../src/store/database.ts";
import { claimDeliveries, insertDelivery } from "../../src/store/outbox.ts";
import { insertWebhook } from "../../src/store/webhooks.ts";
import { insertTenant, newId } from "../support/approvals.ts";
import { describeOnPostgres } from "../support/databases.ts";

const REPLICAS = 8;
const MESSAGES = 40;

describeOnPostgres("taking messages at the same moment", (database) => {
  let sql: Sql;
  beforeEach(async () => {
    sql = open(database.address, REPLICAS);
    const { tenantId } = await insertTenant(sql);
    const webhookId = `whk_${newId()}`;
    await insertWebhook(sql, {
      tenantId,
      webhookId,
      url: "https://example.com/",
      kinds: ["ping"],
      sealedSecret: Buffer.from("sealed"),
      createdBy: "test",
    });
    for (let at = 0; at < MESSAGES; at += 1) {
      const deliveryId = `dlv_${newId()}`;
      await insertDelivery(sql, { tenantId, deliveryId, webhookId, kind: "ping", body: "{}" });
    }
    await Promise.all(Array.from({ length: REPLICAS }, () => sql`select pg_sleep(0.05)`));
  });
  afterEach(async () => {
    await sql`delete from deliveries`;
    await sql.end();
  });

  const terms = { rows: 100, rowsOfTenant: 100, leaseMs: 60_000, busyTenants: [] };

  test("gives each to one replica", async () => {
    const taken = await Promise.all(
      Array.from({ length: REPLICAS }, () => claimDeliveries(sql, { ...terms, rowsOfTenant: 5 })),
    );
    const ids = taken.flat().map(({ deliveryId }) => deliveryId);
    expect(ids.length).toBeGreaterThan(0);
    expect(new Set(ids).size).toBe(ids.length);
    expect(taken.flat().every(({ tries }) => tries === 1)).toBe(true);
  });

  test("waits for nobody: what another is taking is left to it", async () => {
    const gate = Promise.withResolvers<void>();
    const inside = Promise.withResolvers<number>();
    const first = sql.begin(async (tx) => {
      const locked = await tx`
        select delivery_id from deliveries order by delivery_id limit 30 for update`;
      inside.resolve(locked.length);
      await gate.promise;
    });
    expect(await inside.promise).toBe(30);
    expect(await claimDeliveries(sql, terms)).toHaveLength(MESSAGES - 30);
    gate.resolve();
    await first;
    expect(await claimDeliveries(sql, terms)).toHaveLength(30);
  });
});
