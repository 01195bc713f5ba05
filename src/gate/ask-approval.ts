/** The question to people that a policy wants asked: about exactly this call, and once. */
import { approvalDigest } from "../core/approval.ts";
import type { Caller } from "../core/caller.ts";
import { withPrefix } from "../core/ids.ts";
import type { Intent } from "../core/intent.ts";
import type { Approval } from "../core/policy-judge.ts";
import type { Reason } from "../core/verdict.ts";
import type { ApprovalRef } from "../store/approvals.ts";
import type { ApprovalAsk } from "../store/posting.ts";
import type { Seal, SealedPlace } from "./sealing.ts";

export type ApprovalParts = { readonly seal: Seal; readonly newId: () => string };

export function askApproval(
  { seal, newId }: ApprovalParts,
  caller: Caller,
  intent: Intent,
  { policies, quorum, role, expiresInMs }: Approval,
): ApprovalAsk {
  // One that is too large to be shown: then nobody can approve it.
  const call = intent.call();
  const { context } = intent;
  const digest = approvalDigest({
    tenantId: caller.tenantId,
    keyId: caller.keyId,
    runId: context.run,
    stepId: context.step,
    operation: context.operation,
    door: intent.door,
    resource: intent.resource,
    toolDefinition: null,
    argumentsDigest: intent.inputDigest,
    policies,
  });
  const approvalId = withPrefix("approval", newId());
  const place = placeOfCall({ tenantId: caller.tenantId, approvalId });
  return {
    digest,
    approvalId,
    messageId: withPrefix("delivery", newId()),
    operation: context.operation,
    policies: JSON.stringify(policies),
    quorum,
    role,
    expiresMs: expiresInMs,
    sealed: call === null ? null : seal.seal(place, call),
  };
}

/** Where the call is sealed that an approval is about. */
export function placeOfCall({ tenantId, approvalId }: ApprovalRef): SealedPlace {
  return { purpose: "approval_call", tenantId, rowId: approvalId };
}

/** What the caller is told of an approval; null for every other reason. */
export function approvalMessage(
  reason: Reason,
  approval: Approval | null,
  approvalId: string | null,
): string | null {
  const named = approvalId === null ? "" : ` ${approvalId}`;
  switch (reason) {
    case "approval_required":
      return `A person must approve this call first (${askedBy(approval)}). Approval${named} is asked for: ask again once it is approved, or wait for it with \`Prefer: wait=60\`.`;
    case "approval_denied":
      return `A person denied exactly this call (approval${named}), and that is final. Ask for something else.`;
    case "approval_expired":
      return `Approval${named} of exactly this call was not given, or not used, in time. A new step or run asks anew.`;
    case "approval_used":
      return `Approval${named} was used already, and holds for one call. A new step or run asks anew.`;
    case "approval_impossible":
      return `A person must approve this call (${askedBy(approval)}), and nobody can: too few keys have the scope \`approve\` and the role, its own aside, or the call is too large to be shown.`;
    default:
      return null;
  }
}

function askedBy(approval: Approval | null): string {
  if (approval === null) return "a policy asks for it";
  return approval.policies.map(({ id, reason }) => `policy \`${id}\`: ${reason}`).join(" ");
}
