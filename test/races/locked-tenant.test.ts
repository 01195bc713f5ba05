import { expect, test } from "vitest";
import { LOCK_MS_MAX, POST_MS_MAX } from "../../src/core/limits.ts";
import { connect, open, type Database } from "../../src/store/database.ts";
import {
  ASK_PICOUSD,
  chargeOf,
  endingOf,
  gateOn,
  newTenant,
  permitOf,
  type Gate,
} from "../gate/gate-on.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeOnPostgres } from "../support/databases.ts";
import type { Caller } from "../../src/core/caller.ts";

const TENANTS = 6;

describeOnPostgres("a tenant whose meter somebody has locked", (database) => {
  const gateWithEnough = async (): Promise<{ gate: Gate; db: Database }> => {
    const db = connect(database.address, { gateConnections: 6, adminConnections: 2 });
    return { gate: await gateOn(db), db };
  };
  const limits = [{ id: "lim", scope: "tenant", unit: "usd", amount: 1_000_000n * ASK_PICOUSD }];

  /** Holds the tenant's meters until released. */
  const lock = async ({ tenantId }: Caller) => {
    const sql = open(database.address, 1);
    const locked = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const holding = sql.begin(async (tx) => {
      await tx`select from meters where tenant_id = ${tenantId} for update`;
      locked.resolve();
      await released.promise;
    });
    await locked.promise;
    return {
      release: async () => {
        released.resolve();
        await holding;
        await sql.end();
      },
    };
  };

  test("holds up no other tenant's calls, neither their admission nor their end", async () => {
    const { gate, db } = await gateWithEnough();
    const callers: Caller[] = [];
    for (let i = 0; i < TENANTS; i += 1) callers.push(await newTenant(gate, limits));
    for (const caller of callers) {
      await gate.end(permitOf(await gate.admit(caller)), endingOf("succeeded"), chargeOf(1n));
    }
    const [victim, ...others] = callers;
    // One call of the victim's is under way, and will end while it is locked.
    const early = permitOf(await gate.admit(victim!));
    const { release } = await lock(victim!);
    const settling = gate.end(early, endingOf("succeeded"), chargeOf(1n));
    const waiting = Array.from({ length: 8 }, () => gate.admit(victim!));
    let isOver = false;
    void Promise.all(waiting).finally(() => (isOver = true));
    // Far more calls of the others than fit in one batch's wait, all of them while it is locked.
    for (let round = 0; round < 20; round += 1) {
      const admitted = await Promise.all(others.map((caller) => gate.admit(caller)));
      for (const [i, admission] of admitted.entries()) {
        void gate.gateway.settle(permitOf(admission), endingOf("succeeded"), chargeOf(1n));
        expect(permitOf(admission).tenantId).toBe(others[i]!.tenantId);
      }
    }
    for (const { tenantId } of others) {
      await untilSettled(db, tenantId, 21);
    }
    expect(isOver).toBe(false);
    await release();
    const late = await Promise.all(waiting);
    for (const admission of late) {
      void gate.gateway.settle(permitOf(admission), endingOf("succeeded"), chargeOf(1n));
    }
    await settling;
    await untilSettled(db, victim!.tenantId, 10);
    await gate.gateway.close();
    for (const { tenantId } of callers) {
      expect(await ledgerViolations(db.admin, tenantId, true)).toEqual([]);
    }
    await db.close();
  });

  test("that stays locked is told to come again, and is let in when it is free", async () => {
    expect(LOCK_MS_MAX).toBeLessThan(POST_MS_MAX);
    const { gate, db } = await gateWithEnough();
    const caller = await newTenant(gate, limits);
    await gate.end(permitOf(await gate.admit(caller)), endingOf("succeeded"), chargeOf(1n));
    const { release } = await lock(caller);
    await expect(gate.admit(caller)).rejects.toThrow("The gate cannot record its decision now.");
    await release();
    await gate.end(permitOf(await gate.admit(caller)), endingOf("succeeded"), chargeOf(1n));
    await gate.gateway.close();
    expect(await ledgerViolations(db.admin, caller.tenantId, true)).toEqual([]);
    await db.close();
  });
});

async function untilSettled({ admin }: Database, tenantId: string, count: number): Promise<void> {
  for (;;) {
    const [row] = await admin`
      select count(*)::int as count from settlements where tenant_id = ${tenantId}`;
    if (row?.["count"] === count) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}
