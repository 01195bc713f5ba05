import { approvalDigest, type ApprovalSubject } from "../../src/core/approval.ts";
import type { Scope } from "../../src/core/caller.ts";
import { createRandomId } from "../../src/lib/random-id.ts";
import type { Seal } from "../../src/gate/sealing.ts";
import type { Queryable } from "../../src/store/events.ts";

const randomId = createRandomId();
export const newId = () => randomId(Date.now());

export type AskTerms = {
  readonly tenantId: string;
  /** The key that asks. */
  readonly keyId: string;
  readonly argumentsDigest?: string;
  readonly quorum?: number;
  readonly role?: string | null;
  readonly expiresMs?: number;
  readonly attemptId?: string;
  /** The exact call, to be sealed with this. */
  readonly call?: string;
  readonly seal?: Seal;
};

export type Asked = {
  readonly state: string;
  readonly approvalId: string | null;
  readonly digest: string;
  readonly attemptId: string;
};

export function subjectOf({ tenantId, keyId, argumentsDigest }: AskTerms): ApprovalSubject {
  return {
    tenantId,
    keyId,
    runId: "run",
    stepId: "step",
    operation: "refund:order-123",
    door: "model",
    act: "chat",
    resource: "gpt-4o",
    tool: null,
    customer: null,
    labels: {},
    toolDefinition: null,
    argumentsDigest: argumentsDigest ?? "a".repeat(64),
    policies: [{ id: "large-refunds", version: "pol_1" }],
  };
}

/** Asks as a posting does: by the function of the database. */
export async function askApproval(sql: Queryable, terms: AskTerms): Promise<Asked> {
  const { tenantId, keyId, quorum = 1, role = null, expiresMs = 600_000 } = terms;
  const subject = subjectOf(terms);
  const digest = approvalDigest(subject);
  const attemptId = terms.attemptId ?? `att_${newId()}`;
  const approvalId = `apr_${newId()}`;
  const place = { purpose: "approval_call", tenantId, rowId: approvalId } as const;
  const call = Buffer.from(terms.call ?? `{"amount":100}`);
  const sealed = Buffer.from(terms.seal?.seal(place, call) ?? call).toString("base64");
  const policies = JSON.stringify([
    { id: "large-refunds", version: "pol_1", reason: "a refund of $100 is large" },
  ]);
  const [row] = await sql`
    select * from tollgate_ask_approval(
      ${tenantId}, ${digest}, ${approvalId}, ${`dlv_${newId()}`}, ${attemptId}, ${keyId},
      ${"run"}, ${"step"}, ${subject.door}, ${subject.operation}, ${subject.resource},
      ${"1500000000"}::numeric, ${policies}, ${quorum}::int, ${role}, ${expiresMs}::bigint, ${sealed})`;
  return {
    state: String(row?.["state"]),
    approvalId: (row?.["approval_id"] as string | null | undefined) ?? null,
    digest,
    attemptId,
  };
}

/** A key by its row. */
export async function insertKey(
  sql: Queryable,
  tenantId: string,
  terms: {
    readonly scopes: readonly Scope[];
    readonly role?: string;
    readonly rotatedFrom?: string;
    readonly expiresAt?: Date;
  },
): Promise<string> {
  const keyId = `key_${newId()}`;
  const labels = terms.role === undefined ? {} : { role: terms.role };
  await sql`
    insert into keys (tenant_id, key_id, name, digest, scopes, labels, created_by, rotated_from, expires_at)
    values (${tenantId}, ${keyId}, 'test', '', ${`{${terms.scopes.join(",")}}`}::text::text[],
            ${JSON.stringify(labels)}::text::json, 'test', ${terms.rotatedFrom ?? null},
            ${terms.expiresAt?.toISOString() ?? null}::text::timestamptz)`;
  return keyId;
}

/** A tenant by its row, with a key that asks. */
export async function insertTenant(
  sql: Queryable,
): Promise<{ readonly tenantId: string; readonly keyId: string }> {
  const tenantId = `ten_${newId()}`;
  await sql`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  return { tenantId, keyId: await insertKey(sql, tenantId, { scopes: ["invoke", "approve"] }) };
}
