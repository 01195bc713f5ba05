import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startTollgateProcess, type TollgateProcess } from "../support/tollgate.ts";
import { startBank, type Bank } from "./bank.ts";
import { effectsOf, live, reconcileByStatement, untilUncertain, type Gate } from "./refund.ts";

describeOnPostgres("the duplicate notification", (database) => {
  let tollgate: TollgateProcess;
  let gate: Gate;
  let bank: Bank;
  beforeAll(async () => {
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    tollgate = await startTollgateProcess({ databaseUrl: address.url });
  });
  beforeEach(async () => {
    bank = await startBank();
    const tenant = await tollgate.tenant();
    const reconciler = await tenant.newKey({ scopes: ["approve"] });
    gate = { url: tollgate.url, key: tenant.key, reconcilerKey: reconciler.key };
    return () => bank.close();
  });
  afterAll(() => tollgate?.close());

  const order = "order-123";
  const made = () => [bank.wires.length, bank.notices.length];

  test("is one without a gate: the wire is sent twice", async () => {
    const terms = { bank, gate: null, order, via: "nothing" } as const;
    const first = await live({ ...terms, run: "one", killedAt: "after-wire" });
    expect([first.exitCode, first.did]).toEqual([null, ["wire"]]);
    const second = await live({ ...terms, run: "two" });
    expect([second.exitCode, second.did]).toEqual([0, ["wire", "notify"]]);
    expect(made()).toEqual([2, 1]);
  });

  test.each([
    ["http", "client"],
    ["client", "http"],
  ] as const)(
    "does not happen: after a crash another run by other means (%s, then %s) gets the wire's result and sends the notice",
    async (before, after) => {
      const terms = { bank, gate, order };
      const first = await live({ ...terms, run: "one", via: before, killedAt: "after-wire" });
      expect([first.exitCode, first.did]).toEqual([null, ["wire"]]);
      expect(await effectsOf(gate, order)).toMatchObject([{ effect: "wire", state: "applied" }]);
      const second = await live({ ...terms, run: "two", via: after });
      expect([second.exitCode, second.did, second.refused]).toEqual([0, ["notify"], null]);
      expect(second.had).toMatchObject([
        { effect: "wire", result: { order, id: "wire-1" } },
        { effect: "notify", result: { order, id: "notice-1" } },
      ]);
      // And whoever comes after that does nothing at all.
      const third = await live({ ...terms, run: "three", via: before });
      expect([third.exitCode, third.did, third.had]).toEqual([0, [], second.had]);
      expect(made()).toEqual([1, 1]);
    },
  );

  test("a retry is told what was done and what was never begun", async () => {
    await live({ bank, gate, order, run: "one", via: "http", killedAt: "after-wire" });
    const { told } = await live({ bank, gate, order, run: "two", via: "http" });
    expect(told).toEqual([
      {
        kind: "told",
        effect: "wire",
        verdict: "block",
        disposition: "return_prior",
        known: ["wire applied"],
      },
      expect.objectContaining({ effect: "notify", verdict: "allow" }),
    ]);
  });

  test.each(["http", "client"] as const)(
    "a wire of which nobody knows is not sent again, by %s, until somebody has looked",
    async (via) => {
      const terms = { bank, gate, order, via };
      const first = await live({ ...terms, run: "one", killedAt: "in-wire" });
      expect([first.exitCode, first.did]).toEqual([null, ["wire"]]);
      const early = await live({ ...terms, run: "two" });
      expect([early.exitCode, early.did, early.refused]).toMatchObject([
        3,
        [],
        { effect: "wire", code: "effect_in_flight", disposition: "wait" },
      ]);
      await shiftClock(database.db, 6_000);
      const attempt = await untilUncertain(gate, order, 30_000);
      await resetClock(database.db);
      const later = await live({ ...terms, run: "three" });
      expect([later.exitCode, later.did, later.refused]).toMatchObject([
        3,
        [],
        { effect: "wire", code: "effect_uncertain", disposition: "reconcile" },
      ]);
      expect(made()).toEqual([1, 0]);
      await reconcileByStatement(gate, attempt, { bank, order });
      const last = await live({ ...terms, run: "four" });
      expect([last.exitCode, last.did, last.had[0]?.["result"]]).toEqual([
        0,
        ["notify"],
        { order, id: "wire-1" },
      ]);
      expect(made()).toEqual([1, 1]);
    },
  );
});
