/** Approvals as the API shows them, without the call itself: that is opened by `gate/approve.ts`. */
import { decisionIdOf } from "../core/ids.ts";
import type { ApprovalState } from "../core/approval.ts";
import { usdOrNull } from "../core/money.ts";
import {
  findApproval,
  listApprovals,
  listVotes,
  type ApprovalRecord,
  type ApprovalRef,
  type AskingPolicy,
} from "../store/approvals.ts";
import type { Database } from "../store/database.ts";
import type { Page } from "../store/events.ts";
import { timeOrNull } from "./amounts.ts";
import { pageOf, type Paged } from "./paged.ts";

export type ApprovalView = {
  readonly id: string;
  readonly tenant: string;
  readonly state: ApprovalState;
  readonly digest: string;
  readonly requested_by: string;
  /** Of the attempt that asked first. */
  readonly decision: string;
  readonly run: string;
  readonly step: string | null;
  readonly door: string;
  readonly operation: string | null;
  readonly resource: string;
  readonly estimate_usd: string | null;
  readonly policies: readonly AskingPolicy[];
  readonly approvals: number;
  readonly quorum: number;
  readonly role: string | null;
  readonly created_at: string;
  readonly expires_at: string;
  readonly decided_at: string | null;
  /** The attempt that used it up. */
  readonly consumed_by: string | null;
};

export type VoteView = {
  readonly key: string;
  readonly approves: boolean;
  readonly reason: string;
  readonly voted_at: string;
};

export async function approvalOf(db: Database, ref: ApprovalRef): Promise<ApprovalView | null> {
  const row = await findApproval(db.admin, ref);
  return row === null ? null : viewOf(ref.tenantId, row);
}

export async function approvalsOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly state: ApprovalState | null; readonly resource: string | null },
): Promise<Paged<ApprovalView>> {
  const rows = await listApprovals(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => viewOf(tenantId, row)),
    page,
    (approval) => approval.id,
  );
}

export async function votesOf(db: Database, ref: ApprovalRef): Promise<readonly VoteView[]> {
  const votes = await listVotes(db.admin, ref);
  return votes.map(({ keyId, approves, reason, votedAt }) => ({
    key: keyId,
    approves,
    reason,
    voted_at: votedAt.toISOString(),
  }));
}

function viewOf(tenantId: string, row: ApprovalRecord): ApprovalView {
  return {
    id: row.approvalId,
    tenant: tenantId,
    state: row.state,
    digest: row.digest,
    requested_by: row.requestedBy,
    decision: decisionIdOf(row.attemptId),
    run: row.runId,
    step: row.stepId,
    door: row.door,
    operation: row.operation,
    resource: row.resource,
    estimate_usd: usdOrNull(row.estimatePicousd),
    policies: row.policies,
    approvals: row.approvals,
    quorum: row.quorum,
    role: row.role,
    created_at: row.createdAt.toISOString(),
    expires_at: row.expiresAt.toISOString(),
    decided_at: timeOrNull(row.decidedAt),
    consumed_by: row.consumedBy,
  };
}
