/** What the declaration of a tool says of a call of it, beside what policies say. */
import { assert } from "../lib/assert.ts";
import type { History } from "./facts.ts";
import type { Intent } from "./intent.ts";
import { APPROVAL_MS_DEFAULT } from "./limits.ts";
import type { Approval } from "./policy-judge.ts";
import type { Reason } from "./verdict.ts";

export type ToolRefused = {
  readonly reason: Reason;
  readonly message: string;
  readonly param: string | null;
};

/** Why a tool may not be called, by how it stands; null where it may, or where callers run it themselves. */
export function whyNotCallable({ act, resource }: Intent): ToolRefused | null {
  const standing = act?.listed?.standing ?? null;
  switch (standing) {
    case null:
    case "callable":
    case "observed":
      return null;
    case "not_allowed": {
      const message = `This key may not call \`${resource}\`: it was made for other tools.`;
      return { reason: "tool_not_allowed", message, param: "name" };
    }
    case "undeclared": {
      const message = `Nobody has approved the tool \`${resource}\` yet. An administrator looks at its definition and declares it: \`npx tollgate tools approve ${resource}\`.`;
      return { reason: "tool_undeclared", message, param: "name" };
    }
    case "quarantined": {
      const message = `The definition of \`${resource}\` is not the one that was approved, so it is not called. An administrator looks at the difference and approves it: \`npx tollgate tools approve ${resource}\`.`;
      return { reason: "tool_quarantined", message, param: "name" };
    }
  }
}

/**
 * Whether the attempt before it decides whether it may be tried at all: of what is done twice when it runs twice, and
 * claims no effect by which the posting would know.
 */
function hangsOnPrior({ act }: Intent): boolean {
  return (
    act !== null && act.listed !== null && act.effectClass === "effectful" && act.effect === null
  );
}

/** Whether that attempt must be looked at. Under a key the posting looks at it. */
export function looksAtPrior(intent: Intent): boolean {
  return intent.idempotency === null && hangsOnPrior(intent);
}

/** Why it is not tried again: nobody knows whether the same call ran. */
export function whyNotAgain(history: History | null, intent: Intent): ToolRefused | null {
  if (history?.priorStatus !== "unknown" || !hangsOnPrior(intent)) return null;
  const message = `The same call of \`${intent.resource}\` was sent, and nobody knows whether it ran. Find out, and reconcile that attempt.`;
  return { reason: "outcome_unknown", message, param: null };
}

export type Asked =
  | { readonly kind: "asks"; readonly approval: Approval | null }
  | { readonly kind: "refused"; readonly refusal: ToolRefused };

/** What people must answer, by policies and by the declaration together: the stricter of both. */
export function withDeclared(byPolicies: Approval | null, { act, resource }: Intent): Asked {
  const declared = act?.approval ?? null;
  if (declared === null) return { kind: "asks", approval: byPolicies };
  assert(act !== null, "what declares an approval is an act");
  const own = {
    id: `tool:${resource}`,
    version: act.listed?.definition ?? "declared",
    reason: "Its declaration has people approve each call.",
  };
  const policies = [...(byPolicies?.policies ?? []), own];
  const roles = new Set([byPolicies?.role ?? null, declared.role].filter((role) => role !== null));
  if (roles.size > 1) {
    const message = `A policy and the declaration of \`${resource}\` ask for approval by different roles (${[...roles].join(", ")}), which no one approval gives.`;
    return { kind: "refused", refusal: { reason: "policy_denied", message, param: null } };
  }
  const approval = {
    quorum: Math.max(byPolicies?.quorum ?? 1, declared.quorum),
    role: [...roles][0] ?? null,
    expiresInMs: Math.min(byPolicies?.expiresInMs ?? APPROVAL_MS_DEFAULT, APPROVAL_MS_DEFAULT),
    policies,
  };
  return { kind: "asks", approval };
}
