import { expect, test } from "vitest";
import { LEASE_MS, UNKNOWN_GRACE_MS } from "../../src/core/limits.ts";
import { endLease, renewLease } from "../../src/store/installation.ts";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { awayFor, BUDGET, figures } from "./figures.ts";
import { ledgerViolations } from "../store/violations.ts";
import { chargeOf, endingOf, gateOn, newTenant, permitOf, reasonOf, type Gate } from "./gate-on.ts";

const START = Date.UTC(2030, 0, 1);
const DEADLINE_MS = 60_000 + 60_000;

const HELD = { committed: "0", reserved: "1000" };

describeEachDatabase("an attempt that nobody ends", (database) => {
  const at = (ms: number) => setClock(database.db, new Date(START + ms));
  const begin = async (): Promise<{ gate: Gate; tenantId: string }> => {
    await at(0);
    const gate = await gateOn(database.db);
    const caller = await newTenant(gate, BUDGET);
    permitOf(await gate.admit(caller));
    return { gate, tenantId: caller.tenantId };
  };
  const alive = ({ gate }: { gate: Gate }) => renewLease(database.db.admin, gate.gateway.replicaId);

  test("keeps its money for ever while nobody sweeps", async () => {
    const { gate, tenantId } = await begin();
    await at(365 * 86_400_000);
    expect(await figures(database.db, tenantId)).toEqual({ ...HELD, states: ["open"], lines: [] });
    await gate.gateway.close();
  });

  test("turns unknown when its deadline has passed, and keeps its money", async () => {
    const begun = await begin();
    await at(DEADLINE_MS - 1);
    await alive(begun);
    await begun.gate.gateway.sweep();
    expect((await figures(database.db, begun.tenantId)).states).toEqual(["open"]);
    await at(DEADLINE_MS + 1);
    await alive(begun);
    expect((await begun.gate.gateway.sweep()).unknown).toBe(1);
    expect(await figures(database.db, begun.tenantId)).toEqual({
      ...HELD,
      states: ["unknown"],
      lines: [],
    });
  });

  test("turns unknown when its replica has lost its lease, and not a moment before", async () => {
    const { gate, tenantId } = await begin();
    await at(LEASE_MS - 1);
    await gate.gateway.sweep();
    expect((await figures(database.db, tenantId)).states).toEqual(["open"]);
    await at(LEASE_MS + 1);
    await gate.gateway.sweep();
    expect(gate.gateway.trust().unknown).toBe(1);
    expect(await figures(database.db, tenantId)).toEqual({
      ...HELD,
      states: ["unknown"],
      lines: [],
    });
  });

  test("turns unknown at once when its replica ended its lease", async () => {
    const { gate, tenantId } = await begin();
    await endLease(database.db.admin, gate.gateway.replicaId);
    await gate.gateway.sweep();
    expect((await figures(database.db, tenantId)).states).toEqual(["unknown"]);
  });

  test("is charged in full after the grace, once, however many sweep", async () => {
    const { gate, tenantId } = await begin();
    const other = await gateOn(database.db);
    await at(LEASE_MS + 1);
    await gate.gateway.sweep();
    await at(LEASE_MS + UNKNOWN_GRACE_MS);
    await gate.gateway.sweep();
    expect((await figures(database.db, tenantId)).states).toEqual(["unknown"]);
    await at(LEASE_MS + UNKNOWN_GRACE_MS + 2);
    await Promise.all([gate.gateway.sweep(), other.gateway.sweep(), gate.gateway.sweep()]);
    await gate.gateway.sweep();
    expect(await figures(database.db, tenantId)).toEqual({
      committed: "1000",
      reserved: "0",
      states: [],
      lines: ["0 unknown presumed 1000"],
    });
    expect(await ledgerViolations(database.db.admin, tenantId, true)).toEqual([]);
  });
});

describeEachDatabase("late evidence", (database) => {
  test("corrects a presumption once, and later evidence changes nothing", async () => {
    const { db } = database;
    await setClock(db, new Date(START));
    const gate = await gateOn(db);
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    await setClock(db, new Date(START + LEASE_MS + 1));
    await gate.gateway.sweep();
    await setClock(db, new Date(START + LEASE_MS + UNKNOWN_GRACE_MS + 2));
    await gate.gateway.sweep();
    await gate.end(permit, endingOf("succeeded"), chargeOf(300n));
    await gate.end(permit, endingOf("succeeded"), chargeOf(999n));
    expect(await figures(db, caller.tenantId)).toEqual({
      committed: "300",
      reserved: "0",
      states: [],
      lines: ["0 unknown presumed 1000", "1 succeeded computed -700"],
    });
    expect(await ledgerViolations(db.admin, caller.tenantId, true)).toEqual([]);
  });

  test("before the grace has passed ends the attempt as if nothing had happened", async () => {
    const { db } = database;
    await setClock(db, new Date(START));
    const gate = await gateOn(db);
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    await gate.end(permit, endingOf("unknown"));
    expect((await figures(db, caller.tenantId)).states).toEqual(["unknown"]);
    await gate.end(permit, endingOf("failed"), chargeOf(4n));
    expect(await figures(db, caller.tenantId)).toEqual({
      committed: "4",
      reserved: "0",
      states: [],
      lines: ["0 failed computed 4"],
    });
  });

  test("of two settlements of one attempt at once exactly one counts, with a meter or without", async () => {
    const { db } = database;
    await setClock(db, new Date(START));
    for (const limits of [BUDGET, []]) {
      const gate = await gateOn(db);
      const other = await gateOn(db);
      const caller = await newTenant(gate, limits);
      const permit = permitOf(await gate.admit(caller));
      await Promise.all([
        gate.end(permit, endingOf("succeeded"), chargeOf(10n)),
        other.end(permit, endingOf("succeeded"), chargeOf(10n)),
      ]);
      const settled = [gate, other].map(
        ({ gateway }) => gateway.trust().settledByBasis["computed"] ?? 0,
      );
      expect(settled[0]! + settled[1]!).toBe(1);
      expect(await ledgerViolations(db.admin, caller.tenantId, true)).toEqual([]);
    }
  });
});

describeEachDatabase("a settlement", (database) => {
  test("is tried again until the database takes it", async () => {
    const { db } = database;
    const away = awayFor(db, "tollgate_settle");
    const gate = await gateOn(db, { db: away.db });
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    await gate.end(permit, endingOf("succeeded"), chargeOf(10n));
    expect(away.tries()).toBe(4);
    expect(gate.told.filter((text) => text.includes("trying again")).length).toBe(3);
    expect((await figures(db, caller.tenantId)).lines).toEqual(["0 succeeded computed 10"]);
  });

  test("above its reservation is recorded in full and told as an overage", async () => {
    const { db } = database;
    const gate = await gateOn(db);
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    await gate.end(permit, endingOf("succeeded"), chargeOf(1_234n));
    expect((await figures(db, caller.tenantId)).committed).toBe("1234");
    expect(gate.gateway.trust().overages).toBe(1);
    expect(gate.errors).toEqual(["an attempt cost more than it had reserved"]);
  });

  test("frees what it held for the ask that waits for it", async () => {
    const { db } = database;
    const gate = await gateOn(db);
    const caller = await newTenant(gate, BUDGET);
    const permit = permitOf(await gate.admit(caller));
    const waiting = gate.admit(caller);
    await gate.end(permit, endingOf("released"));
    expect((await waiting).kind).toBe("admitted");
  });

  test("that never comes leaves the ask that waits for it a retryable refusal", async () => {
    const { db } = database;
    const gate = await gateOn(db);
    const caller = await newTenant(gate, BUDGET);
    permitOf(await gate.admit(caller));
    expect(reasonOf(await gate.admit(caller))).toBe("budget_contended");
  });
});

describeEachDatabase("an ask that cannot be stored", (database) => {
  test("is answered as unavailable and sinks none of its batch", async () => {
    const gate = await gateOn(database.db);
    const caller = await newTenant(gate);
    const poisoned = { ...caller, keyId: "key_with_a_\u0000_zero" };
    const callers = [caller, caller, poisoned, caller, caller];
    const answers = await Promise.allSettled(callers.map((each) => gate.admit(each)));
    expect(answers.map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    expect(String((answers[2] as PromiseRejectedResult).reason)).toContain("Unavailable");
    const [row] = await database.db.admin`
      select count(*)::int as count from decisions where tenant_id = ${caller.tenantId}`;
    expect(row?.["count"]).toBe(4);
  });
});
