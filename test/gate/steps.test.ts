import { describe, expect, test } from "vitest";
import type { Caller } from "../../src/core/caller.ts";
import type { Intent } from "../../src/core/intent.ts";
import { picousd } from "../../src/core/money.ts";
import { mcpServer, NOWHERE } from "../mcp/tool-door.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { ledgerViolations } from "../store/violations.ts";
import { BUDGET, figures } from "./figures.ts";
import { ASK_PICOUSD, gateOn, intentOf, newTenant, reasonOf, type Gate } from "./gate-on.ts";

const BANK = mcpServer("bank", NOWHERE);
const ABOVE = "an attempt is reported to have cost more than it had reserved";
const FOUND = { applied: true, evidence: "the bank's journal", result: null };

/** An act that may cost as much as a tenant's budget has room for: one whose caller acts itself, or of a server. */
function actOf(door: "step" | "tool"): Intent {
  const listed = { standing: "callable", definition: "0".repeat(64) } as const;
  return {
    ...intentOf({ billing: "stated", resource: "bank/wire" }),
    door,
    operation: "execute_tool",
    tool: "bank/wire",
    costStatedPicousd: picousd(ASK_PICOUSD),
    act: {
      effectClass: "pure",
      effect: null,
      extracted: null,
      listed: door === "tool" ? listed : null,
      approval: null,
    },
    leaseMs: door === "step" ? 60_000 : null,
  };
}

describeEachDatabase("an attempt of its caller's own", (database) => {
  type Begun = { gate: Gate; caller: Caller; name: { tenantId: string; attemptId: string } };
  const begin = async (): Promise<Begun> => {
    const gate = await gateOn(database.db);
    const caller: Caller = { ...(await newTenant(gate, BUDGET)), scopes: ["invoke", "approve"] };
    const admission = await gate.admit(caller, actOf("step"));
    if (admission.kind !== "granted") throw new Error(`not granted: ${reasonOf(admission)}`);
    const { attemptId } = admission.grant;
    return { gate, caller, name: { tenantId: caller.tenantId, attemptId } };
  };
  const cost = (amount: bigint) => ({ costPicousd: amount });

  const reports: readonly (readonly [
    string,
    (begun: Begun, amount: bigint) => Promise<unknown>,
  ])[] = [
    [
      "completed",
      ({ gate, caller, name }, amount) =>
        gate.gateway.steps.complete(caller, name, { result: null, usage: {}, ...cost(amount) }),
    ],
    [
      "failed",
      ({ gate, caller, name }, amount) =>
        gate.gateway.steps.fail(caller, name, { error: "no", executed: "yes", ...cost(amount) }),
    ],
    [
      "reconciled",
      async ({ gate, caller, name }, amount) => {
        await gate.gateway.steps.fail(caller, name, {
          error: "lost",
          executed: "unknown",
          ...cost(0n),
        });
        return gate.gateway.steps.reconcile(caller, name, { ...FOUND, ...cost(amount) });
      },
    ],
  ];

  describe.each(reports)("that is %s", (_how, report) => {
    test("above its reservation is recorded in full, and is no overage of the gate's", async () => {
      const begun = await begin();
      await report(begun, ASK_PICOUSD + 234n);
      const { gate, caller } = begun;
      expect((await figures(database.db, caller.tenantId)).committed).toBe("1234");
      const { overages, settledByBasis } = gate.gateway.trust();
      expect([overages, settledByBasis]).toEqual([0, { computed: 1 }]);
      expect([gate.told, gate.errors]).toEqual([[ABOVE], []]);
      expect(await ledgerViolations(database.db.admin, caller.tenantId, false)).toEqual([]);
    });

    test("frees what it held for the ask that waits for it", async () => {
      const begun = await begin();
      const { gate, caller } = begun;
      const waiting = gate.admit(caller, actOf("step"));
      await report(begun, 0n);
      expect((await waiting).kind).toBe("granted");
      expect([gate.gateway.trust().settledByBasis, gate.told]).toEqual([{ computed: 1 }, []]);
    });
  });

  test("that is reconciled twice at once is counted once", async () => {
    const begun = await begin();
    const { gate, caller, name } = begun;
    const lost = { error: "lost", executed: "unknown", costPicousd: null } as const;
    await gate.gateway.steps.fail(caller, name, lost);
    const reconcile = () =>
      gate.gateway.steps.reconcile(caller, name, { ...FOUND, ...cost(ASK_PICOUSD + 1n) });
    await Promise.all([reconcile(), reconcile()]);
    expect([gate.gateway.trust().settledByBasis, gate.told]).toEqual([{ computed: 1 }, [ABOVE]]);
  });
});

describeEachDatabase("what the gate has admitted", (database) => {
  test("is counted, by whichever of the three doors", async () => {
    const gate = await gateOn(database.db, { servers: [BANK] });
    const intents = [intentOf(), actOf("tool"), actOf("step")];
    for (const [i, intent] of intents.entries()) {
      const caller = await newTenant(gate, BUDGET);
      expect(reasonOf(await gate.admit(caller, intent))).toBe(
        ["admitted", "tool_admitted", "granted"][i],
      );
      expect(gate.gateway.trust().admitted).toBe(i + 1);
    }
  });
});
