/**
 * Approvals: what exactly is asked about, what became of it, and whose vote counts. A question is about one
 * call: its digest changes with every byte of the arguments, and with who asks, where, and by which policies.
 */
import { sha256Hex } from "../lib/hash.ts";

/** All that an approval is bound to. */
export type ApprovalSubject = {
  readonly tenantId: string;
  /** The key that asks. */
  readonly keyId: string;
  /** As its caller named them; null where it did not, for what the gate makes up differs at each ask. */
  readonly runId: string | null;
  readonly stepId: string | null;
  readonly operation: string | null;
  readonly door: string;
  /** What is done with the resource: by the same body another endpoint does another thing. */
  readonly act: string;
  readonly resource: string;
  readonly tool: string | null;
  readonly customer: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the tool as its server defined it when it was asked for; null for what is no tool. */
  readonly toolDefinition: string | null;
  /** Of the call as people are shown it: a body as it came, an act in its canonical form. */
  readonly argumentsDigest: string;
  /** The policies that asked. */
  readonly policies: readonly { readonly id: string; readonly version: string }[];
};

/** SHA-256 over canonical JSON: members by name, policies by id and version. */
export function approvalDigest(subject: ApprovalSubject): string {
  const policies = subject.policies
    .map(({ id, version }) => ({ id, version }))
    .toSorted((a, b) => order(a.id, b.id) || order(a.version, b.version));
  const labels = Object.entries(subject.labels).toSorted(([a], [b]) => order(a, b));
  return sha256Hex(
    JSON.stringify({
      act: subject.act,
      arguments: subject.argumentsDigest,
      customer: subject.customer,
      door: subject.door,
      key: subject.keyId,
      labels,
      operation: subject.operation,
      policies,
      resource: subject.resource,
      run: subject.runId,
      step: subject.stepId,
      tenant: subject.tenantId,
      tool: subject.tool,
      tool_definition: subject.toolDefinition,
    }),
  );
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export const APPROVAL_STATES = [
  "pending",
  "approved",
  "consumed",
  "denied",
  "cancelled",
  "expired",
  "lapsed",
] as const;

/** `expired`: nobody answered in time. `lapsed`: it was approved and not used in time. */
export type ApprovalState = (typeof APPROVAL_STATES)[number];

export type StoredApprovalState = "pending" | "approved" | "consumed" | "denied" | "cancelled";

/**
 * Time is no event that somebody would have to write down: a state is what was written, read against its
 * expiry at the moment of use. `isPast` null: it is final, and time changes nothing.
 */
export const STORED_AS: Readonly<
  Record<ApprovalState, { readonly stored: StoredApprovalState; readonly isPast: boolean | null }>
> = {
  pending: { stored: "pending", isPast: false },
  expired: { stored: "pending", isPast: true },
  approved: { stored: "approved", isPast: false },
  lapsed: { stored: "approved", isPast: true },
  consumed: { stored: "consumed", isPast: null },
  denied: { stored: "denied", isPast: null },
  cancelled: { stored: "cancelled", isPast: null },
};

export function approvalState(stored: StoredApprovalState, isPast: boolean): ApprovalState {
  if (!isPast) return stored;
  if (stored === "pending") return "expired";
  return stored === "approved" ? "lapsed" : stored;
}

/** Whether an answer may still come. */
export function isOpen(state: ApprovalState): boolean {
  return state === "pending";
}

export type Voter = {
  /** The key asked for this call itself, or is of one chain of rotations with the key that did. */
  readonly isRequester: boolean;
  readonly role: string | null;
  /** What this key, or one of its chain, answered before. */
  readonly voted: "approved" | "denied" | null;
};

export type Question = {
  readonly state: ApprovalState;
  readonly digest: string;
  readonly role: string | null;
  readonly quorum: number;
  /** Keys that have approved so far. */
  readonly approvals: number;
  /** The exact call can be shown. */
  readonly isReadable: boolean;
};

export type Vote = {
  readonly approves: boolean;
  /** Of the call that the voter saw. */
  readonly digest: string;
};

export type VoteRefusal =
  | { readonly kind: "other_digest" | "requester" | "voted_otherwise" | "unreadable" }
  | { readonly kind: "role_missing"; readonly role: string }
  | { readonly kind: "not_pending"; readonly state: ApprovalState };

export type VoteJudgement =
  | { readonly kind: "repeat" }
  | { readonly kind: "counts"; readonly next: "pending" | "approved" | "denied" }
  | { readonly kind: "refused"; readonly why: VoteRefusal };

/** Whether a vote counts, and what it makes of the question. The order is what the voter is told first. */
export function judgeVote(question: Question, voter: Voter, vote: Vote): VoteJudgement {
  if (voter.isRequester) return refused({ kind: "requester" });
  if (question.role !== null && voter.role !== question.role) {
    return refused({ kind: "role_missing", role: question.role });
  }
  if (vote.digest !== question.digest) return refused({ kind: "other_digest" });
  if (voter.voted !== null) {
    const isSame = vote.approves === (voter.voted === "approved");
    return isSame ? { kind: "repeat" } : refused({ kind: "voted_otherwise" });
  }
  if (!isOpen(question.state)) return refused({ kind: "not_pending", state: question.state });
  // One no is a no, however many said yes.
  if (!vote.approves) return { kind: "counts", next: "denied" };
  if (!question.isReadable) return refused({ kind: "unreadable" });
  const isEnough = question.approvals + 1 >= question.quorum;
  return { kind: "counts", next: isEnough ? "approved" : "pending" };
}

function refused(why: VoteRefusal): VoteJudgement {
  return { kind: "refused", why };
}
