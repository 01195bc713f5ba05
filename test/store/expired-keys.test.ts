import { expect, test } from "vitest";
import { SWEEP_ROWS_MAX } from "../../src/core/limits.ts";
import { removeExpiredKeys } from "../../src/store/answers.ts";
import { newId } from "../support/approvals.ts";
import { shiftClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";

const DAY_MS = 86_400_000;

describeEachDatabase("an idempotency key whose time is over", (database) => {
  const line = (tenantId: string, attempt: string, number: number, ending: string) =>
    database.db.admin`
      insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd, tokens, usage,
                               record, meter_ids, meter_units, settled_at)
      values (${tenantId}, ${attempt}, ${number}, ${ending},
              ${ending === "unknown" ? "presumed" : "computed"}, 1, 1, '{}', '{}', '{}', '{}',
              tollgate_now())`;
  const reservation = (tenantId: string, attempt: string, state: string) =>
    database.db.admin`
      insert into reservations (tenant_id, attempt_id, replica_id, state, meter_ids, meter_units,
                                amounts, tokens, deadline_at, unknown_at)
      values (${tenantId}, ${attempt}, 'caller', ${state}, '{}', '{}', '{}', 0, tollgate_now(),
              case ${state} when 'unknown' then tollgate_now() end)`;
  const keys = async (tenantId: string) => {
    const rows = await database.db.admin`
      select attempt_id from idempotency_keys where tenant_id = ${tenantId} order by attempt_id`;
    return rows.map((row) => String(row["attempt_id"]));
  };

  test("is removed, unless what it was used for runs or is unknown, charged or not", async () => {
    const { admin } = database.db;
    const tenantId = `ten_${newId()}`;
    const attempts = ["corrected", "failed", "presumed", "released", "running", "unknown"];
    for (const attempt of attempts)
      await admin`
        insert into idempotency_keys (tenant_id, door, key_digest, content_digest, attempt_id, expires_at)
        values (${tenantId}, 'model', ${attempt}, 'c', ${attempt},
                tollgate_now() + interval '1 day')`;
    await line(tenantId, "failed", 0, "failed");
    await line(tenantId, "presumed", 0, "unknown");
    await line(tenantId, "corrected", 0, "unknown");
    await line(tenantId, "corrected", 1, "succeeded");
    await reservation(tenantId, "running", "open");
    await reservation(tenantId, "unknown", "unknown");
    const sweep = () => removeExpiredKeys(admin, { keptMs: DAY_MS, most: SWEEP_ROWS_MAX });

    expect(await sweep()).toBe(0);
    await shiftClock(database.db, DAY_MS + 60_000);
    expect(await sweep()).toBe(attempts.length);
    expect(await keys(tenantId)).toEqual(["presumed", "running", "unknown"]);
    // Those that are held stand in nobody's way until they are looked at again.
    expect(await sweep()).toBe(0);
    await shiftClock(database.db, 2 * DAY_MS + 120_000);
    await line(tenantId, "presumed", 1, "failed");
    expect(await sweep()).toBe(3);
    expect(await keys(tenantId)).toEqual(["running", "unknown"]);
  });
});
