/** The question to people that a policy wants asked: about exactly this call, and once. */
import { approvalDigest } from "../core/approval.ts";
import type { Caller } from "../core/caller.ts";
import { withPrefix } from "../core/ids.ts";
import type { Intent } from "../core/intent.ts";
import type { Approval } from "../core/policy-judge.ts";
import { sha256Hex } from "../lib/hash.ts";
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
    act: intent.operation,
    resource: intent.resource,
    tool: intent.tool ?? context.tool,
    customer: context.customer,
    labels: context.labels,
    toolDefinition: intent.act?.listed?.definition ?? null,
    // What is approved is what was shown. What cannot be shown is refused, and only named.
    argumentsDigest: call === null ? intent.inputDigest : (intent.callDigest ?? sha256Hex(call)),
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
