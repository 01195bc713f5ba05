/** Approvals and the votes on them. The posting asks and uses them up: `drizzle/0008_approvals.sql`. */
import {
  approvalState,
  STORED_AS,
  type ApprovalState,
  type StoredApprovalState,
} from "../core/approval.ts";
import { APPROVAL_DOOR } from "../core/intent.ts";
import { assert } from "../lib/assert.ts";
import { isList, isRecord, textOrNull } from "../lib/json.ts";
import type { Database, Sql } from "./database.ts";
import type { Page, Queryable } from "./events.ts";

export type ApprovalRef = { readonly tenantId: string; readonly approvalId: string };

export type AskingPolicy = {
  readonly id: string;
  readonly version: string;
  readonly reason: string | null;
};

export type ApprovalRecord = {
  readonly approvalId: string;
  readonly digest: string;
  /** As of now: see `core/approval.ts`. */
  readonly state: ApprovalState;
  readonly requestedBy: string;
  readonly attemptId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly door: string;
  readonly operation: string | null;
  readonly resource: string;
  readonly estimatePicousd: string | null;
  readonly policies: readonly AskingPolicy[];
  /** Keys that have approved so far. */
  readonly approvals: number;
  readonly quorum: number;
  readonly role: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly decidedAt: Date | null;
  readonly consumedBy: string | null;
};

export type VoteRecord = {
  readonly keyId: string;
  readonly approves: boolean;
  readonly reason: string;
  readonly votedAt: Date;
};

export async function findApproval(
  sql: Queryable,
  { tenantId, approvalId }: ApprovalRef,
): Promise<ApprovalRecord | null> {
  const [row] = await sql`
    select ${columns(sql)} from approvals
    where tenant_id = ${tenantId} and approval_id = ${approvalId}`;
  return row === undefined ? null : recordFrom(row);
}

/** The call that it is about; null when it is kept no more, or never was. */
export async function findSealedCall(
  sql: Queryable,
  { tenantId, approvalId }: ApprovalRef,
): Promise<Uint8Array | null> {
  const [row] = await sql<{ readonly sealed: Uint8Array | null }[]>`
    select sealed_call as sealed from approvals
    where tenant_id = ${tenantId} and approval_id = ${approvalId}`;
  return row?.sealed ?? null;
}

/**
 * Empties the calls, of any tenant, of approvals that nobody could answer or use for `keptMs`: the sweep's own
 * query. Whatever became of one, nobody asks for its call after its expiry. Answers how many.
 */
export async function emptyCalls(sql: Sql, keptMs: number, most: number): Promise<number> {
  const rows = await sql`
    update approvals set sealed_call = null where (tenant_id, approval_id) in (
      select tenant_id, approval_id from approvals
      where sealed_call is not null
        and expires_at < tollgate_now() - ${keptMs}::bigint * interval '1 millisecond'
      order by expires_at limit ${most} for update skip locked)
    returning 1`;
  return rows.length;
}

/** The same as `findApproval`, and nobody else votes on it or uses it up until this transaction ends. */
export async function lockApproval(
  tx: Queryable,
  { tenantId, approvalId }: ApprovalRef,
): Promise<ApprovalRecord | null> {
  await tx`
    select approval_id from approvals
    where tenant_id = ${tenantId} and approval_id = ${approvalId}
    for no key update`;
  return await findApproval(tx, { tenantId, approvalId });
}

/** Newest first. */
export async function listApprovals(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly state: ApprovalState | null; readonly resource: string | null },
): Promise<readonly ApprovalRecord[]> {
  const { after, rows, state, resource } = page;
  const wanted = state === null ? null : STORED_AS[state];
  const list = await sql`
    select ${columns(sql)} from approvals
    where tenant_id = ${tenantId}
      ${after === null ? sql`` : sql`and approval_id < ${after}`}
      ${resource === null ? sql`` : sql`and resource = ${resource}`}
      ${wanted === null ? sql`` : sql`and state = ${wanted.stored}`}
      ${
        wanted === null || wanted.isPast === null
          ? sql``
          : sql`and (expires_at <= tollgate_now()) = ${wanted.isPast}`
      }
    order by approval_id desc
    limit ${rows}`;
  return list.map(recordFrom);
}

/** States of several, each of its tenant, by `tenant approval`: for whoever waits for them. */
export async function readApprovalStates(
  sql: Queryable,
  refs: readonly ApprovalRef[],
): Promise<ReadonlyMap<string, ApprovalState>> {
  const rows = await sql`
    select a.tenant_id || ' ' || a.approval_id as ref, a.state, a.expires_at <= tollgate_now() as past
    from json_to_recordset(${JSON.stringify(refs.map(refRow))}::text::json) as wanted(t text, a text)
    join approvals a on a.tenant_id = wanted.t and a.approval_id = wanted.a`;
  return new Map(
    rows.map((row) => [
      String(row["ref"]),
      approvalState(storedFrom(row["state"]), row["past"] === true),
    ]),
  );
}

function refRow({ tenantId, approvalId }: ApprovalRef) {
  return { t: tenantId, a: approvalId };
}

export async function listVotes(
  sql: Queryable,
  { tenantId, approvalId }: ApprovalRef,
): Promise<readonly VoteRecord[]> {
  return await sql<VoteRecord[]>`
    select key_id as "keyId", approves, reason, voted_at as "votedAt" from approval_votes
    where tenant_id = ${tenantId} and approval_id = ${approvalId}
    order by voted_at, key_id`;
}

export type VoterRecord = {
  /** Of the requester's chain of rotations. */
  readonly isRequester: boolean;
  readonly role: string | null;
  /** The key works and has the scope. */
  readonly mayApprove: boolean;
  /** What a key of its chain answered before. */
  readonly approved: boolean | null;
};

/** As the database has it now, whatever a replica's snapshot says. */
export async function readVoter(
  tx: Queryable,
  { tenantId, approvalId }: ApprovalRef,
  keys: { readonly voter: string; readonly requester: string },
): Promise<VoterRecord | null> {
  const [row] = await tx<VoterRecord[]>`
    select tollgate_first_key(tenant_id, key_id)
             = tollgate_first_key(tenant_id, ${keys.requester}) as "isRequester",
           labels ->> 'role' as role,
           'approve' = any (scopes) and revoked_at is null
             and (expires_at is null or expires_at > tollgate_now()) as "mayApprove",
           (select v.approves from approval_votes v
            where v.tenant_id = keys.tenant_id and v.approval_id = ${approvalId}
              and tollgate_first_key(v.tenant_id, v.key_id)
                = tollgate_first_key(keys.tenant_id, keys.key_id)
            limit 1) as approved
    from keys
    where tenant_id = ${tenantId} and key_id = ${keys.voter}`;
  return row ?? null;
}

export async function insertVote(
  tx: Queryable,
  { tenantId, approvalId }: ApprovalRef,
  vote: Omit<VoteRecord, "votedAt"> & { readonly digest: string },
): Promise<void> {
  await tx`
    insert into approval_votes (tenant_id, approval_id, key_id, approves, reason, digest)
    values (${tenantId}, ${approvalId}, ${vote.keyId}, ${vote.approves}, ${vote.reason}, ${vote.digest})`;
}

export async function decideApproval(
  tx: Queryable,
  { tenantId, approvalId }: ApprovalRef,
  state: "approved" | "denied" | "cancelled",
): Promise<void> {
  await tx`
    update approvals set state = ${state}, decided_at = tollgate_now()
    where tenant_id = ${tenantId} and approval_id = ${approvalId}`;
}

/**
 * Posts what people's answer to a question costs, where the tenant has a price for it: an attempt of the run that
 * asked, admitted and settled at once, of the key that answered. It is on the path of no meter, because an answer
 * is never refused for want of money; so what meters have committed stays what their settlements say.
 */
export async function postApprovalCost(
  tx: Queryable,
  { tenantId, approvalId }: ApprovalRef,
  { attemptId, keyId }: { readonly attemptId: string; readonly keyId: string },
): Promise<void> {
  await tx`
    with cost as (
      select a.run_id, a.state, a.role, t.approval_picousd as amount,
             (coalesce(d.record->'context', '{}')::jsonb - 'tool') as context
      from approvals a
      join tenants t on t.tenant_id = a.tenant_id
      left join decisions d on d.tenant_id = a.tenant_id and d.attempt_id = a.attempt_id
      where a.tenant_id = ${tenantId} and a.approval_id = ${approvalId}
        and t.approval_picousd is not null
    ), decided as (
      insert into decisions (tenant_id, attempt_id, key_id, run_id, attempt, door, operation, resource, verdict,
                             decided_at, estimate_picousd, meters, record)
      select ${tenantId}, ${attemptId}, ${keyId}, run_id, 1, ${APPROVAL_DOOR}, 'approval', 'approval', 'allow',
             tollgate_now(), amount, '[]',
             json_strip_nulls(json_build_object('billing', 'stated', 'context', context,
                                                'answered', ${approvalId}::text, 'approver_role', role))
      from cost
    )
    insert into settlements (tenant_id, attempt_id, line, ending, basis, cost_picousd, reserved_picousd, tokens,
                             usage, record, meter_ids, meter_units, settled_at)
    select ${tenantId}, ${attemptId}, 0, 'succeeded', 'computed', amount, amount, 0, '{}',
           json_build_object('state', state),
           '{}', '{}', tollgate_now()
    from cost`;
}

/** Of the whole installation, across tenants: questions that wait for an answer. */
export async function countPendingApprovals(sql: Database["admin"]): Promise<number> {
  // Across tenants: the metrics are the operator's.
  const [row] = await sql`
    select count(*)::int as count from approvals
    where state = 'pending' and expires_at > tollgate_now()`;
  return Number(row?.["count"]);
}

function columns(sql: Queryable) {
  return sql`
    approval_id as "approvalId", digest, state, expires_at <= tollgate_now() as past,
    requested_by as "requestedBy", attempt_id as "attemptId", run_id as "runId", step_id as "stepId",
    door, operation, resource, estimate_picousd::text as "estimatePicousd",
    policies,
    (select count(*)::int from approval_votes v
     where v.tenant_id = approvals.tenant_id and v.approval_id = approvals.approval_id
       and v.approves) as approvals,
    quorum, role, created_at as "createdAt",
    expires_at as "expiresAt", decided_at as "decidedAt", consumed_by as "consumedBy"`;
}

function recordFrom(row: Readonly<Record<string, unknown>>): ApprovalRecord {
  const { createdAt, expiresAt, decidedAt } = row;
  assert(createdAt instanceof Date && expiresAt instanceof Date, "an approval says when");
  return {
    approvalId: String(row["approvalId"]),
    digest: String(row["digest"]),
    state: approvalState(storedFrom(row["state"]), row["past"] === true),
    requestedBy: String(row["requestedBy"]),
    attemptId: String(row["attemptId"]),
    runId: String(row["runId"]),
    stepId: textOrNull(row["stepId"]),
    door: String(row["door"]),
    operation: textOrNull(row["operation"]),
    resource: String(row["resource"]),
    estimatePicousd: textOrNull(row["estimatePicousd"]),
    policies: policiesFrom(row["policies"]),
    approvals: Number(row["approvals"]),
    quorum: Number(row["quorum"]),
    role: textOrNull(row["role"]),
    createdAt,
    expiresAt,
    decidedAt: decidedAt instanceof Date ? decidedAt : null,
    consumedBy: textOrNull(row["consumedBy"]),
  };
}

function policiesFrom(value: unknown): readonly AskingPolicy[] {
  assert(isList(value), "the policies that asked are a list");
  return value.map((policy) => {
    assert(isRecord(policy), "a policy that asked is an object");
    return {
      id: String(policy["id"]),
      version: String(policy["version"]),
      reason: textOrNull(policy["reason"]),
    };
  });
}

function storedFrom(value: unknown): StoredApprovalState {
  switch (value) {
    case "pending":
    case "approved":
    case "consumed":
    case "denied":
    case "cancelled":
      return value;
    default:
      assert(false, `unknown state of an approval ${String(value)}`);
  }
}
