import { expect, test } from "vitest";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { createContention } from "../../src/gate/contention.ts";
import { createSettler } from "../../src/gate/settle.ts";
import { createTrust } from "../../src/gate/trust.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { ledgerViolations } from "../store/violations.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { awayFor, BUDGET, figures } from "./figures.ts";
import {
  ASK_PICOUSD,
  chargeOf,
  endingOf,
  gateOn,
  intentOf,
  newId,
  newTenant,
  permitOf,
} from "./gate-on.ts";

const START = Date.UTC(2030, 0, 1);

describeEachDatabase("an attempt whose owner cannot tell its outcome", (database) => {
  const IN_FLIGHT = { id: "lim_2", scope: "tenant", unit: "in_flight", amount: 2n } as const;
  const held = async (tenantId: string) =>
    Object.fromEntries(
      (
        await database.db.admin`
          select limit_id, reserved from meters where tenant_id = ${tenantId}`
      ).map((row) => [row["limit_id"], Number(row["reserved"])]),
    );

  test("keeps its money and gives back its room in flight, to be charged all the same", async () => {
    const { db } = database;
    await setClock(db, new Date(START));
    const gate = await gateOn(db);
    const caller = await newTenant(gate, [{ ...BUDGET[0], amount: 2n * ASK_PICOUSD }, IN_FLIGHT]);
    const { tenantId } = caller;
    const unknown = permitOf(await gate.admit(caller));
    const flying = permitOf(await gate.admit(caller));
    await gate.end(unknown, endingOf("unknown"));
    expect(await held(tenantId)).toEqual({ lim_1: 2 * Number(ASK_PICOUSD), lim_2: 1 });
    expect(await ledgerViolations(db.admin, tenantId, true)).toEqual([]);
    await gate.end(flying, endingOf("succeeded"), chargeOf(10n));
    expect(await held(tenantId)).toEqual({ lim_1: Number(ASK_PICOUSD), lim_2: 0 });
    await setClock(db, new Date(START + UNKNOWN_GRACE_MS + 1));
    await gate.gateway.sweep();
    expect(await held(tenantId)).toEqual({ lim_1: 0, lim_2: 0 });
    expect(await ledgerViolations(db.admin, tenantId, true)).toEqual([]);
    await resetClock(db);
  });

  test("gives its room back in the sweep when its owner is lost", async () => {
    const { db } = database;
    await setClock(db, new Date(START));
    const gate = await gateOn(db);
    const caller = await newTenant(gate, [...BUDGET, IN_FLIGHT]);
    permitOf(await gate.admit(caller));
    await setClock(db, new Date(START + LEASE_MS + 1));
    await Promise.all([gate.gateway.sweep(), gate.gateway.sweep()]);
    expect(await held(caller.tenantId)).toEqual({ lim_1: Number(ASK_PICOUSD), lim_2: 0 });
    expect(await ledgerViolations(db.admin, caller.tenantId, true)).toEqual([]);
    await resetClock(db);
  });

  test("is marked until the database takes it, and counted once", async () => {
    const { db } = database;
    const away = awayFor(db, "state = 'unknown'");
    const gate = await gateOn(db, { db: away.db });
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    await gate.end(permit, endingOf("unknown"));
    await gate.end(permit, endingOf("unknown"));
    expect(away.tries()).toBe(5);
    expect(gate.gateway.trust().unknown).toBe(1);
    expect((await figures(db, caller.tenantId)).states).toEqual(["unknown"]);
  });

  test("is a failure when it costs nothing, and holds nothing", async () => {
    const { db } = database;
    const gate = await gateOn(db);
    const caller = await newTenant(gate, [IN_FLIGHT]);
    const permit = permitOf(await gate.admit(caller, intentOf({ billing: "free" })));
    await gate.end(permit, endingOf("unknown"));
    expect(await figures(db, caller.tenantId)).toEqual({
      committed: "0",
      reserved: "0",
      states: [],
      lines: ["0 failed none 0"],
    });
    expect(gate.gateway.trust().unknown).toBe(0);
  });
});

describeEachDatabase("asks of which nobody knows whether they were posted", (database) => {
  const askOf = (tenantId: string): Ask => ({
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
    costPicousd: ASK_PICOUSD,
    tokens: 1,
    priceVersion: null,
    final: true,
    deadlineMs: 60_000,
    record: "{}",
    refs: [{ limitId: "lim_1", subject: "", share: null }],
    extra: null,
  });

  test("hold and cost nothing once they are released, those that were not posted included", async () => {
    const { db } = database;
    const gate = await gateOn(db);
    const { tenantId } = await newTenant(gate, BUDGET);
    const settler = createSettler(gate.ports, createContention(), createTrust(), 1);
    const posted = askOf(tenantId);
    await post(db.gate, "rep_test", [posted]);
    await settler.release(tenantId, [posted.attemptId, askOf(tenantId).attemptId]);
    expect(await figures(db, tenantId)).toEqual({
      committed: "0",
      reserved: "0",
      states: [],
      lines: ["0 released none 0"],
    });
    expect(await ledgerViolations(db.admin, tenantId, true)).toEqual([]);
  });

  test("are looked for once more, for a posting that was running still", async () => {
    const { db } = database;
    const late = askOf("");
    let looks = 0;
    // The port: the posting commits between the first look and the second.
    const slow = new Proxy(db.gate, {
      get: (target, name) => {
        if (name !== "unsafe") return Reflect.get(target, name) as unknown;
        return async (...values: Parameters<typeof target.unsafe>) => {
          const rows = await target.unsafe(...values);
          looks += 1;
          if (looks === 1) await post(target, "rep_test", [{ ...late, tenantId }]);
          return rows;
        };
      },
    });
    const gate = await gateOn(db);
    const { tenantId } = await newTenant(gate, BUDGET);
    const ports = { ...gate.ports, db: { ...db, gate: slow } };
    const settler = createSettler(ports, createContention(), createTrust(), 1);
    await settler.release(tenantId, [late.attemptId]);
    expect(looks).toBe(2);
    expect((await figures(db, tenantId)).lines).toEqual(["0 released none 0"]);
  });

  test("are left to their deadline, in words, when they cannot be released", async () => {
    const { db } = database;
    const gate = await gateOn(db, { db: awayFor(db, "tollgate_settle").db, isClosing: () => true });
    const settler = createSettler(gate.ports, createContention(), createTrust(), 1);
    await settler.release("ten_any", ["att_any"]);
    expect(gate.told).toEqual(["asks not posted could not be released"]);
  });
});
