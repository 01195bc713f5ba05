/**
 * What stands beside the ledger for callers that ask again and people who are asked: idempotency keys and
 * stored answers, effects of operations, policies, approvals, and the outbox of webhooks; and the
 * processes that serve them.
 */
import { sql } from "drizzle-orm";
import {
  boolean,
  check,
  index,
  json,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
} from "drizzle-orm/pg-core";

import { amount, bytes, id, ids, moment, now } from "./columns.ts";
import { tenants } from "./schema.ts";

/**
 * An idempotency key and the attempt that holds it. What became of that attempt is in the ledger, and
 * nowhere else: so there is no state here that could disagree with it.
 */
export const idempotencyKeys = pgTable(
  "idempotency_keys",
  {
    tenantId: id("tenant_id").notNull(),
    door: id("door").notNull(),
    /** HMAC-SHA256 of the key. */
    keyDigest: id("key_digest").notNull(),
    contentDigest: id("content_digest").notNull(),
    attemptId: id("attempt_id").notNull(),
    claimedAt: moment("claimed_at").notNull().default(now),
    expiresAt: moment("expires_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.door, t.keyDigest] }),
    index("idempotency_keys_by_expiry").on(t.expiresAt),
  ],
);

/** What an attempt answered, sealed, for whoever asks again; bounded in size and kept for a time. */
export const answers = pgTable(
  "answers",
  {
    tenantId: id("tenant_id").notNull(),
    attemptId: id("attempt_id").notNull(),
    status: smallint("status").notNull(),
    /** AES-256-GCM over head and body: see `lib/seal.ts`. */
    sealed: bytes("sealed").notNull(),
    expiresAt: moment("expires_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.attemptId] }),
    index("answers_by_expiry").on(t.expiresAt),
  ],
);

/**
 * One effect of a business operation, and the attempt that claims it, whatever run that is of. Whether it
 * was applied is what the ledger says of the attempt.
 */
export const effects = pgTable(
  "effects",
  {
    tenantId: id("tenant_id").notNull(),
    operationType: id("operation_type").notNull(),
    operationKey: text("operation_key").notNull(),
    effect: text("effect").notNull(),
    contentDigest: id("content_digest").notNull(),
    attemptId: id("attempt_id").notNull(),
    runId: id("run_id").notNull(),
    claimedAt: moment("claimed_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.operationType, t.operationKey, t.effect] })],
);

/** Ledger. A policy bundle by the hash of its content: never changed, never removed. */
export const policyBundles = pgTable(
  "policy_bundles",
  {
    tenantId: id("tenant_id").notNull(),
    /** `pol_` and SHA-256 of the canonical content, hex. */
    version: id("version").notNull(),
    /** The canonical content, which is what judges. */
    content: json("content").notNull(),
    /** As it was written, comments and all. */
    source: text("source").notNull(),
    createdBy: id("created_by").notNull(),
    createdAt: moment("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.version] })],
);

/**
 * A question to people about exactly one call, and its state. One digest is asked about once: a denied or
 * expired one stays so.
 */
export const approvals = pgTable(
  "approvals",
  {
    tenantId: id("tenant_id").notNull(),
    approvalId: id("approval_id").notNull(),
    /** Of all that was asked: see `core/approval.ts`. */
    digest: id("digest").notNull(),
    state: id("state").notNull().default("pending"),
    requestedBy: id("requested_by").notNull(),
    /** The attempt that asked first: its decision says why. */
    attemptId: id("attempt_id").notNull(),
    runId: id("run_id").notNull(),
    stepId: id("step_id"),
    door: id("door").notNull(),
    operation: text("operation"),
    resource: text("resource").notNull(),
    /** The exact call, sealed: what an approver is shown. Emptied when nobody answers or uses it any more. */
    sealedCall: bytes("sealed_call"),
    /** The policies that asked, with their reasons: `[{"id", "version", "reason"}]`. */
    policies: json("policies").notNull(),
    /** What the call could cost at most; null when no price is known. */
    estimatePicousd: amount("estimate_picousd"),
    /** Approvals needed, and the role that approvers must have; null: any key with the scope. */
    quorum: smallint("quorum").notNull(),
    role: text("role"),
    createdAt: moment("created_at").notNull().default(now),
    /** Until then it may be answered, and used. */
    expiresAt: moment("expires_at").notNull(),
    decidedAt: moment("decided_at"),
    consumedBy: id("consumed_by"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.approvalId] }),
    unique("approvals_one_per_digest").on(t.tenantId, t.digest),
    index("approvals_by_state").on(t.tenantId, t.state, t.expiresAt),
    index("approvals_with_a_call")
      .on(t.expiresAt)
      .where(sql`${t.sealedCall} is not null`),
    check(
      "approvals_state_is_known",
      sql`${t.state} in ('pending', 'approved', 'denied', 'cancelled', 'consumed')`,
    ),
    check("approvals_quorum_is_positive", sql`${t.quorum} >= 1`),
    check(
      "approvals_consumed_says_by_what",
      sql`(${t.state} = 'consumed') = (${t.consumedBy} is not null)`,
    ),
  ],
);

/** Ledger. One person's answer: one a key, never changed. */
export const approvalVotes = pgTable(
  "approval_votes",
  {
    tenantId: id("tenant_id").notNull(),
    approvalId: id("approval_id").notNull(),
    keyId: id("key_id").notNull(),
    approves: boolean("approves").notNull(),
    reason: text("reason").notNull(),
    /** Of the call as it was shown. */
    digest: id("digest").notNull(),
    votedAt: moment("voted_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.approvalId, t.keyId] })],
);

export const webhooks = pgTable(
  "webhooks",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    webhookId: id("webhook_id").notNull(),
    url: text("url").notNull(),
    /** Which kinds of messages it wants. */
    kinds: ids("kinds").notNull(),
    /** The signing secret, sealed: shown once. */
    sealedSecret: bytes("sealed_secret").notNull(),
    createdBy: id("created_by").notNull(),
    createdAt: moment("created_at").notNull().default(now),
    removedAt: moment("removed_at"),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.webhookId] })],
);

/** The outbox: one message for one webhook, written with what it tells of, and kept until delivered or dead. */
export const deliveries = pgTable(
  "deliveries",
  {
    tenantId: id("tenant_id").notNull(),
    deliveryId: id("delivery_id").notNull(),
    webhookId: id("webhook_id").notNull(),
    kind: id("kind").notNull(),
    /** What the receiver gets, byte for byte, at each try. */
    body: text("body").notNull(),
    state: id("state").notNull().default("pending"),
    tries: smallint("tries").notNull().default(0),
    createdAt: moment("created_at").notNull().default(now),
    /** When it is due; while a replica tries, when another may. */
    dueAt: moment("due_at").notNull().default(now),
    endedAt: moment("ended_at"),
    /** What the last try met: a status, or why there was none. */
    lastResult: text("last_result"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.deliveryId] }),
    index("deliveries_due")
      .on(t.dueAt)
      .where(sql`${t.state} = 'pending'`),
    index("deliveries_by_end")
      .on(t.endedAt)
      .where(sql`${t.state} <> 'pending'`),
    check("deliveries_state_is_known", sql`${t.state} in ('pending', 'delivered', 'dead')`),
  ],
);

/** A process of the gate. One that stops renewing has lost its reservations: the sweep marks them unknown. */
export const replicas = pgTable("replicas", {
  replicaId: id("replica_id").primaryKey(),
  seenAt: moment("seen_at").notNull().default(now),
});
