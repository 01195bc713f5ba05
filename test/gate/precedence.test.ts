import { expect, test } from "vitest";
import type { Caller } from "../../src/core/caller.ts";
import type { Intent } from "../../src/core/intent.ts";
import { REASONS, type Reason } from "../../src/core/verdict.ts";
import { readBundle } from "../../src/core/policy-source.ts";
import { hmacSha256Hex } from "../../src/lib/hash.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import {
  addLimits,
  ASK_PICOUSD,
  gateOn,
  intentOf,
  newId,
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

/** A fifth of nothing is what one run may take of it. */
const DAILY_QUOTA = {
  id: "lim_quota",
  scope: "tenant",
  unit: "requests",
  window: "day",
  amount: 0n,
} as const;

/** What a key or an effect is held by. */
type Holder = "succeeded" | "running" | "unknown" | "reused";

async function hold(gate: Gate, tenantId: string, attemptId: string, holder: Holder) {
  const { admin } = gate.ports.db;
  if (holder === "running" || holder === "unknown") {
    await admin`
      insert into reservations (tenant_id, attempt_id, replica_id, state, unknown_at, meter_ids, meter_units,
                                amounts, tokens, deadline_at)
      values (${tenantId}, ${attemptId}, 'rep', ${holder === "running" ? "open" : "unknown"},
              ${holder === "running" ? null : new Date()}, '{}', '{}', '{}', 0, now() + interval '1 hour')`;
    return;
  }
  await admin`
    insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd, tokens, usage, record,
                             meter_ids, meter_units, settled_at)
    values (${tenantId}, ${attemptId}, 0, 'succeeded', 'none', 0, 0, '{}', '{}', '{}', '{}', now())`;
}

function underKey(holder: Holder, content = "content") {
  return {
    ask: (ask: Ask) =>
      inside(ask, {
        idempotency: {
          key: `key ${holder}`,
          content: "content",
          acceptsUnknown: false,
          keptMs: 60_000,
        },
      }),
    world: async (gate: Gate, tenantId: string) => {
      const digest = hmacSha256Hex(
        gate.gateway.authority.configuration.pepper,
        `${tenantId} key ${holder}`,
      );
      await hold(gate, tenantId, `att_key_${holder}`, holder);
      await gate.ports.db.admin`
        insert into idempotency_keys (tenant_id, door, key_digest, content_digest, attempt_id, expires_at)
        values (${tenantId}, 'model', ${digest}, ${content}, ${`att_key_${holder}`}, now() + interval '1 hour')`;
    },
  };
}

function onEffect(holder: Holder, content = "content") {
  return {
    ask: (ask: Ask) =>
      inside(ask, {
        effect: {
          type: "refund",
          key: holder,
          effect: "wire",
          content: "content",
          mayRepeatUnknown: false,
          repeats: null,
        },
      }),
    world: async (gate: Gate, tenantId: string) => {
      await hold(gate, tenantId, `att_effect_${holder}`, holder);
      await gate.ports.db.admin`
        insert into effects (tenant_id, operation_type, operation_key, effect, content_digest, attempt_id, run_id)
        values (${tenantId}, 'refund', ${holder}, 'wire', ${content}, ${`att_effect_${holder}`}, 'other run')`;
    },
  };
}

const DENY = policy("deny", "customer == 'denied'");
const BREAK = policy("break", "labels.absent == 'x'");
const APPROVE = policy("ask", "true", "effect: require_approval");

/** Has these policies judge, and somebody who may approve. */
async function judge(gate: Gate, tenantId: string, source: string): Promise<void> {
  const { admin } = gate.ports.db;
  const reading = readBundle(source);
  if (reading.kind === "broken") throw new Error(JSON.stringify(reading.problems));
  const { version, content } = reading;
  await admin`
    insert into policy_bundles (tenant_id, version, content, source, created_by)
    values (${tenantId}, ${version}, ${content}::text::json, ${source}, 'test')`;
  await admin`update tenants set active_bundle = ${version} where tenant_id = ${tenantId}`;
  await admin`
    insert into keys (tenant_id, key_id, name, digest, scopes, created_by)
    values (${tenantId}, ${`key_${newId()}`}, 'approver', 'of no text', '{approve}', 'test')`;
  await addLimits(gate, tenantId, []);
}

function judgedBy(source: string) {
  return {
    ask: (ask: Ask) => inside(ask, { context: { ...ask.intent.context, customer: "denied" } }),
    world: (gate: Gate, tenantId: string) => judge(gate, tenantId, source),
  };
}

/** In the order of precedence. Each row of the test is broken in all these ways from its own on. */
const BREAKS: readonly Break[] = [
  { reason: "run_closed", ...setRun("above", "closed") },
  { reason: "run_stopped", ...setRun("run", "stopping") },
  {
    reason: "scope_missing",
    ask: (ask) => ({ ...ask, caller: { ...ask.caller, scopes: ["report"] } }),
  },
  { reason: "duplicate_request", ...underKey("succeeded") },
  { reason: "idempotency_in_progress", ...underKey("running") },
  { reason: "outcome_unknown", ...underKey("unknown") },
  { reason: "idempotency_key_reused", ...underKey("reused", "other content") },
  { reason: "effect_applied", ...onEffect("succeeded") },
  { reason: "effect_in_flight", ...onEffect("running") },
  { reason: "effect_uncertain", ...onEffect("unknown") },
  { reason: "operation_conflict", ...onEffect("reused", "other content") },
  { reason: "policy_denied", ...judgedBy(policies(BREAK, DENY)) },
  { reason: "evaluator_unavailable", ...judgedBy(policies(BREAK)) },
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
  {
    reason: "retry_budget_exceeded",
    ...limit("lim_0", "attempts", 0n),
    ask: (ask) => inside(ask, { client: { ...ask.intent.client, sdkRetryCount: 1 } }),
  },
  { reason: "run_budget_exceeded", ...limit("lim_1", "usd", 0n, "run", "above") },
  {
    reason: "run_share_exceeded",
    world: (gate, tenantId) => addLimits(gate, tenantId, [DAILY_QUOTA]),
  },
  { reason: "budget_exceeded", ...limit("lim_2", "usd", 0n) },
  { reason: "quota_exceeded", ...limit("lim_3", "requests", 0n) },
  { reason: "concurrency_exceeded", ...limit("lim_4", "in_flight", 1n) },
  { reason: "budget_contended", ...limit("lim_5", "usd", ASK_PICOUSD) },
  { reason: "approval_required", ...judgedBy(policies(APPROVE)) },
];

/** What else can become of the same question: one of them is so at a time, and `store/approvals` tests which. */
const SAME_RUNG: ReadonlySet<Reason> = new Set([
  "approval_denied",
  "approval_expired",
  "approval_used",
  "approval_impossible",
  // A call of a tool stands in one of these ways: `core/tool-judge` tests which, and before what.
  "tool_not_allowed",
  "tool_undeclared",
  "tool_quarantined",
]);

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
    expect(REASONS.filter((reason) => !SAME_RUNG.has(reason))).toEqual(tested);
  });
});
