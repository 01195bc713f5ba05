import { expect, test } from "vitest";
import type { Caller } from "../../src/core/caller.ts";
import type { Intent } from "../../src/core/intent.ts";
import { REASONS, type Reason } from "../../src/core/verdict.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  addLimits,
  ASK_PICOUSD,
  gateOn,
  intentOf,
  newTenant,
  permitOf,
  reasonOf,
  type Gate,
} from "./gate-on.ts";

type Ask = { caller: Caller; intent: Intent };
type Break = {
  readonly reason: Reason;
  /** Changes what is asked. */
  readonly ask?: (ask: Ask) => Ask;
  /** Changes what stands in the database. */
  readonly world?: (gate: Gate, tenantId: string) => Promise<void>;
};

const inside = (ask: Ask, intent: Partial<Intent>): Ask => ({
  ...ask,
  intent: { ...ask.intent, ...intent },
});

const limit = (id: string, unit: string, amount: bigint, scope = "tenant", scopeId = "") => ({
  world: (gate: Gate, tenantId: string) =>
    addLimits(gate, tenantId, [{ id, scope, scopeId, unit, amount }]),
});

const setRun = (run: string, state: string) => ({
  world: async (gate: Gate, tenantId: string) => {
    await gate.ports.db.admin`
      update runs set state = ${state} where tenant_id = ${tenantId} and run_id = ${run}`;
  },
});

/** In the order of precedence. Each row of the test is broken in all these ways from its own on. */
const BREAKS: readonly Break[] = [
  { reason: "run_closed", ...setRun("above", "closed") },
  { reason: "run_stopped", ...setRun("run", "stopping") },
  {
    reason: "scope_missing",
    ask: (ask) => ({ ...ask, caller: { ...ask.caller, scopes: ["report"] } }),
  },
  { reason: "route_not_allowed", ask: (ask) => inside(ask, { billing: "unknown" }) },
  { reason: "price_unknown", ask: (ask) => inside(ask, { resource: "nobody-priced-this" }) },
  {
    reason: "cost_unbounded",
    ask: (ask) =>
      inside(ask, { demand: { ...ask.intent.demand, unbounded: ["hosted_tool:web_search"] } }),
  },
  {
    reason: "max_cost_exceeded",
    ask: (ask) => inside(ask, { context: { ...ask.intent.context, costPicousdMax: 1n } }),
  },
  { reason: "run_budget_exceeded", ...limit("lim_1", "usd", 0n, "run", "above") },
  { reason: "budget_exceeded", ...limit("lim_2", "usd", 0n) },
  { reason: "quota_exceeded", ...limit("lim_3", "requests", 0n) },
  { reason: "concurrency_exceeded", ...limit("lim_4", "in_flight", 1n) },
  { reason: "budget_contended", ...limit("lim_5", "usd", ASK_PICOUSD) },
];

describeEachDatabase("the reason that a refusal tells", (database) => {
  for (const [first, { reason }] of BREAKS.entries()) {
    test(`is ${reason} before all that comes after it`, async () => {
      const gate = await gateOn(database.db);
      const { admin } = database.db;
      const caller = await newTenant(gate);
      await admin`insert into runs (tenant_id, run_id, created_by, ancestors) values
        (${caller.tenantId}, 'above', 'k', '{}'), (${caller.tenantId}, 'run', 'k', '{above}')`;
      const plain = { caller, intent: intentOf({ context: { run: "run" } }) };
      // What is in flight: the reservation that later rows of the table lack room for.
      await addLimits(gate, caller.tenantId, []);
      const broken = BREAKS.slice(first).toReversed();
      let ask: Ask = plain;
      const isHeld = (each: Break) =>
        each.reason === "budget_contended" || each.reason === "concurrency_exceeded";
      for (const each of broken.filter(isHeld)) await each.world?.(gate, caller.tenantId);
      permitOf(await gate.admit(caller, plain.intent));
      for (const each of broken.filter((each) => !isHeld(each))) {
        await each.world?.(gate, caller.tenantId);
        ask = each.ask?.(ask) ?? ask;
      }
      const admission = await gate.admit(ask.caller, ask.intent);
      expect(reasonOf(admission)).toBe(reason);
      await gate.gateway.close();
    });
  }

  test("is one of a list whose order is the precedence", () => {
    const tested = BREAKS.map(({ reason }) => reason);
    // Which models a key may call is decided by policies, which there are none of yet.
    expect(REASONS.filter((reason) => reason !== "model_not_allowed")).toEqual(tested);
  });
});
