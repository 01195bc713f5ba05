/**
 * People's answers. Each is one transaction: the approval's row is locked first, so that of voters who race
 * one after the other finds what the one before has made of it, and a posting that would use it up waits; the
 * vote, the state, the event and the messages for webhooks are all written, or none of them.
 */
import {
  isOpen,
  judgeVote,
  type ApprovalState,
  type VoteJudgement,
  type VoteRefusal,
} from "../core/approval.ts";
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { unreachable } from "../lib/assert.ts";
import {
  decideApproval,
  findSealedCall,
  insertVote,
  lockApproval,
  postApprovalCost,
  readVoter,
  type ApprovalRecord,
  type ApprovalRef,
} from "../store/approvals.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import { tellOfApproval } from "../store/outbox.ts";
import { transaction } from "../store/transaction.ts";
import {
  isAdmin,
  nameOf,
  notFound,
  requireScope,
  scopeMissing,
  type Actor,
  type AdministrationPorts,
} from "./acts.ts";
import { placeOfCall } from "./ask-approval.ts";

export type VoteTerms = ApprovalRef & {
  readonly approves: boolean;
  /** Empty only where it approves. */
  readonly reason: string;
  /** Of the call as the voter saw it. */
  readonly digest: string;
};

export type Approving = {
  /** The same vote again is the same vote. */
  readonly vote: (actor: Actor, terms: VoteTerms) => Promise<void>;
  /** By the key that asked, or an administrator. Cancelling twice is once. */
  readonly cancel: (actor: Actor, terms: ApprovalRef) => Promise<void>;
  /** The exact call that is asked about; null when it is kept no more, or cannot be opened any more. */
  readonly callOf: (actor: Actor, approval: ApprovalRef) => Promise<Uint8Array | null>;
};

export function createApproving(ports: AdministrationPorts): Approving {
  return {
    vote: (actor, terms) => vote(ports, actor, terms),
    cancel: (actor, terms) => cancel(ports, actor, terms),
    callOf: async (actor, approval) => {
      requireScope(actor, approval.tenantId, ["approve", "admin"]);
      return openCall(ports, ports.db.admin, approval);
    },
  };
}

async function vote(ports: AdministrationPorts, actor: Actor, terms: VoteTerms): Promise<void> {
  requireScope(actor, terms.tenantId, ["approve"]);
  if ("installation" in actor) {
    // Who decided must be somebody: this key belongs to no tenant and to nobody in particular.
    const message =
      "The installation's key answers no approval: use a key of the tenant with the scope `approve`.";
    throw new InputError("forbidden", null, message);
  }
  await transaction(ports.db.admin, async (tx) => {
    const approval = await lockApproval(tx, terms);
    if (approval === null) throw notFound("approval", "approval");
    const judged = await judge(ports, tx, { actor: actor.keyId, approval, terms });
    switch (judged.kind) {
      case "refused":
        throw refusalOf(judged.why);
      case "repeat":
        return;
      case "counts":
        await insertVote(tx, terms, { ...terms, keyId: actor.keyId });
        await write(ports, tx, { actor, approval, terms, next: judged.next });
        return;
      default:
        unreachable(judged);
    }
  });
}

type Judged = {
  /** The key that votes. */
  readonly actor: string;
  readonly approval: ApprovalRecord;
  readonly terms: VoteTerms;
};

async function judge(
  ports: AdministrationPorts,
  tx: Queryable,
  { actor, approval, terms }: Judged,
): Promise<VoteJudgement> {
  const keys = { voter: actor, requester: approval.requestedBy };
  const voter = await readVoter(tx, terms, keys);
  // Revoked, or its scope taken, since this replica read the keys.
  if (voter === null || !voter.mayApprove) throw scopeMissing(["approve"]);
  const { isRequester, role, approved } = voter;
  const question = { ...approval, isReadable: (await openCall(ports, tx, terms)) !== null };
  const voted = approved === null ? null : approved ? "approved" : "denied";
  return judgeVote(question, { isRequester, role, voted }, terms);
}

async function openCall(
  { seal }: AdministrationPorts,
  sql: Queryable,
  approval: ApprovalRef,
): Promise<Uint8Array | null> {
  const sealed = await findSealedCall(sql, approval);
  return sealed === null ? null : seal.open(placeOfCall(approval), sealed);
}

type Counted = {
  readonly actor: Actor;
  readonly approval: ApprovalRecord;
  readonly terms: VoteTerms;
  readonly next: "pending" | "approved" | "denied";
};

async function write(
  ports: AdministrationPorts,
  tx: Queryable,
  { actor, approval, terms, next }: Counted,
): Promise<void> {
  const { tenantId, approvalId, digest, reason, approves } = terms;
  if (next !== "pending") await decideApproval(tx, terms, next);
  await insertEvent(tx, {
    tenantId,
    eventId: withPrefix("event", ports.newId()),
    kind: "approval.voted",
    actor: nameOf(actor),
    subject: approvalId,
    body: { approves, reason, digest, quorum: approval.quorum, state: next },
  });
  if (next === "pending") return;
  const attemptId = withPrefix("attempt", ports.newId());
  await postApprovalCost(tx, terms, { attemptId, keyId: nameOf(actor) });
  const messageId = withPrefix("delivery", ports.newId());
  await tellOfApproval(tx, { tenantId, messageId, kind: `approval.${next}` }, terms);
}

async function cancel(ports: AdministrationPorts, actor: Actor, terms: ApprovalRef): Promise<void> {
  const { tenantId, approvalId } = terms;
  requireScope(actor, tenantId, ["invoke", "admin"]);
  await transaction(ports.db.admin, async (tx) => {
    const approval = await lockApproval(tx, terms);
    if (approval === null) throw notFound("approval", "approval");
    if (!isAdmin(actor) && nameOf(actor) !== approval.requestedBy) {
      const message = "Only the key that asked for this approval, or an administrator, cancels it.";
      throw new InputError("forbidden", null, message);
    }
    if (approval.state === "cancelled") return;
    if (!isOpen(approval.state) && approval.state !== "approved") {
      throw refusalOf({ kind: "not_pending", state: approval.state });
    }
    await decideApproval(tx, terms, "cancelled");
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "approval.cancelled",
      actor: nameOf(actor),
      subject: approvalId,
      body: { digest: approval.digest, before: approval.state },
    });
    const messageId = withPrefix("delivery", ports.newId());
    await tellOfApproval(tx, { tenantId, messageId, kind: "approval.cancelled" }, terms);
  });
}

/** What became of a question, for whoever comes too late. */
const CAME_TOO_LATE: Readonly<Record<ApprovalState, string>> = {
  pending: "waits for an answer",
  approved: "is approved already",
  consumed: "is approved, and was used",
  denied: "is denied, which is final",
  cancelled: "was cancelled",
  expired: "has expired: nobody answered it in time",
  lapsed: "was approved, and not used in time",
};

function refusalOf(why: VoteRefusal): InputError {
  switch (why.kind) {
    case "requester":
      return new InputError(
        "forbidden",
        null,
        "Nobody answers for a call of his own: this key, or one that it replaces, asked for it.",
      );
    case "role_missing":
      return new InputError(
        "forbidden",
        null,
        `This takes a key with the label role=${why.role}, as the policy that asks demands.`,
      );
    case "other_digest":
      return new InputError(
        "conflict",
        "digest",
        "This is not the digest of the call that is asked about: look at it again, and answer with what is shown.",
      );
    case "voted_otherwise":
      return new InputError("conflict", null, "This key has answered already, and otherwise.");
    case "not_pending":
      return new InputError("conflict", null, `This approval ${CAME_TOO_LATE[why.state]}.`);
    case "unreadable":
      return new InputError(
        "conflict",
        null,
        "The call that this is about cannot be opened any more, so nobody can approve it: deny or cancel it.",
      );
    default:
      return unreachable(why);
  }
}
