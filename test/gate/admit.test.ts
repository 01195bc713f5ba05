import { expect, test } from "vitest";
import { ASKS_STANDING_MS } from "../../src/core/limits.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { ledgerViolations } from "../store/violations.ts";
import {
  ASK_PICOUSD,
  chargeOf,
  endingOf,
  gateOn,
  intentOf,
  newTenant,
  permitOf,
  reasonOf,
} from "./gate-on.ts";

/** 10 bytes in at 10, and up to 100 tokens out at 100 pico-dollars. */
const LONG = intentOf({ demand: { outputTokensMax: 100 } });
const clamping = (amount: bigint) =>
  [{ id: "lim_1", scope: "tenant", unit: "usd", amount, onExceed: "clamp" }] as const;

describeEachDatabase("a clamping budget", (database) => {
  const rows: [name: string, amount: bigint, clampedTo: number | null, reserved: bigint | null][] =
    [
      ["leaves alone what fits", 10_100n, null, 10_100n],
      ["lowers the output to the last token that it affords", 10_099n, 99, 10_000n],
      ["lowers it as far as an answer can be short", 1_700n, 16, 1_700n],
      ["refuses where no answer would be left", 1_699n, null, null],
    ];
  test.each(rows)("%s", async (_name, amount, clampedTo, reserved) => {
    const gate = await gateOn(database.db);
    const caller = await newTenant(gate, clamping(amount));
    const admission = await gate.admit(caller, LONG);
    if (reserved === null) {
      expect(reasonOf(admission)).toBe("budget_exceeded");
    } else {
      const permit = permitOf(admission);
      expect([permit.clampedTo, permit.estimate.costPicousd]).toEqual([clampedTo, reserved]);
    }
    const [row] = await database.db.admin`
      select coalesce(sum(cost_picousd), 0) as held from reservations where tenant_id = ${caller.tenantId}`;
    expect(BigInt(String(row?.["held"]))).toBe(reserved ?? 0n);
    // However often it was asked, one decision is kept.
    const decisions = await database.db.admin`
      select verdict from decisions where tenant_id = ${caller.tenantId}`;
    expect(decisions.length).toBe(1);
    expect(await ledgerViolations(database.db.admin, caller.tenantId, true)).toEqual([]);
  });
});

describeEachDatabase("an ask", (database) => {
  test("of a queue that stands turns the next call away, and that one is counted", async () => {
    let nowMs = 0;
    const gate = await gateOn(database.db, { monotonicMs: () => nowMs });
    const { gateway } = gate;
    const caller = await newTenant(gate);
    expect([gateway.turnsAway(caller.tenantId), gateway.trust().unavailable]).toEqual([false, 0]);
    const first = gate.admit(caller);
    for (let turn = 0; turn < 100 && gateway.trust().asksWaiting === 0; turn += 1) {
      await Promise.resolve();
    }
    expect(gateway.trust().asksWaiting).toBe(1);
    // Its batch is made in the next turn of the event loop; meanwhile it has waited for long.
    nowMs = ASKS_STANDING_MS + 1;
    expect([gateway.turnsAway(caller.tenantId), gateway.trust().unavailable]).toEqual([true, 1]);
    expect((await first).kind).toBe("admitted");
    expect([gateway.turnsAway(caller.tenantId), gateway.trust().unavailable]).toEqual([false, 1]);
  });

  test("whose client has left is not posted", async () => {
    const gate = await gateOn(database.db);
    const caller = await newTenant(gate);
    expect(await gate.gateway.admit(caller, intentOf(), () => true)).toEqual({ kind: "gone" });
    expect(
      await database.db.admin`select 1 from decisions where tenant_id = ${caller.tenantId}`,
    ).toEqual([]);
  });

  test("that is only tried leaves nothing behind, and is answered as it would be now", async () => {
    const gate = await gateOn(database.db);
    const limit = { id: "lim_1", scope: "tenant", unit: "usd", amount: ASK_PICOUSD };
    const caller = await newTenant(gate, [limit]);
    const named = intentOf({ context: { run: "tried", step: "s" } });
    for (let i = 0; i < 3; i += 1) {
      expect((await gate.gateway.admitDry(caller, named)).kind).toBe("admitted");
    }
    const { admin } = database.db;
    const { tenantId } = caller;
    for (const table of ["decisions", "reservations", "meters", "runs"]) {
      const rows = await admin.unsafe(`select 1 from ${table} where tenant_id = $1`, [tenantId]);
      expect(rows, table).toEqual([]);
    }
    await gate.end(permitOf(await gate.admit(caller, named)), endingOf("succeeded"), chargeOf(1n));
    expect(reasonOf(await gate.gateway.admitDry(caller, named))).toBe("budget_exceeded");
  });

  test("that was refused consumes nothing, of no limit", async () => {
    const gate = await gateOn(database.db);
    const caller = await newTenant(gate, [
      { id: "lim_1", scope: "tenant", unit: "requests", amount: 5n },
      { id: "lim_2", scope: "tenant", unit: "tokens", amount: 1_000n },
      { id: "lim_3", scope: "key", scopeId: "key_other", unit: "usd", amount: 0n },
      { id: "lim_4", scope: "tenant", unit: "usd", amount: ASK_PICOUSD - 1n },
    ]);
    for (let i = 0; i < 9; i += 1)
      expect(reasonOf(await gate.admit(caller))).toBe("budget_exceeded");
    const meters = await database.db.admin`
      select committed + reserved as used from meters where tenant_id = ${caller.tenantId}`;
    expect(meters.map((row) => row["used"])).toEqual(["0", "0", "0"]);
  });

  test("meets the limits of its own key only, and another tenant's never", async () => {
    const gate = await gateOn(database.db);
    const nothing = [{ id: "lim_1", scope: "tenant", unit: "requests", amount: 0n }];
    const blocked = await newTenant(gate, nothing);
    const free = await newTenant(gate);
    expect(reasonOf(await gate.admit(blocked))).toBe("quota_exceeded");
    expect((await gate.admit(free)).kind).toBe("admitted");
    // The same limit named by another tenant's ask counts nothing: it does not exist for it.
    expect((await gate.admit({ ...free, keyId: blocked.keyId })).kind).toBe("admitted");
  });
});
