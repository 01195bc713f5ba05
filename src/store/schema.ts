/**
 * The ledger and its working tables. Each constraint says what it forbids.
 *
 * `decisions`, `settlements`, `events`, `prices`, `policy_bundles`, `tool_definitions` and `approval_votes` are the ledger:
 * insert-only, by trigger (`drizzle/0002_insert_only.sql`).
 * `reservations` and `meters` are working state that the ledger explains: at every commit
 * Σ open reservations = Σ meters.reserved and Σ settlements = Σ meters.committed.
 *
 * `tenant_id` stands first in every primary key, so that no row can be reached without its owner.
 * The exceptions hold nothing of any tenant: `installation`, `replicas`, `prices`. What is of every
 * tenant alike (entries of the price book, and the events of their imports) has `*` in its place.
 */
import { sql } from "drizzle-orm";
import {
  bigint,
  check,
  index,
  integer,
  json,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
} from "drizzle-orm/pg-core";

import { amount, bigints, id, ids, moment, now, numerics, postedIn, smallints } from "./columns.ts";

/** One row. `revision` counts every change that a replica's snapshot must see; taking it orders those changes. */
export const installation = pgTable(
  "installation",
  {
    one: smallint("one").primaryKey().default(1),
    revision: bigint("revision", { mode: "bigint" })
      .notNull()
      .default(sql`1`),
    /** Keys are stored as HMAC under this: made once, at random, by the first start. */
    pepper: text("pepper").notNull(),
    /** HMAC of the generated administration key; null while it comes from the environment. */
    adminDigest: text("admin_digest"),
    /** The shipped price list last loaded, so that a start need not load it again. */
    pricesDigest: text("prices_digest"),
    /** The revision of the last import of prices: a replica reads the price book again when it has changed. */
    pricesRevision: bigint("prices_revision", { mode: "bigint" })
      .notNull()
      .default(sql`0`),
    /** The key that seals stored content, itself sealed by one that is not in the database; null before its first use. */
    sealedDataKey: text("sealed_data_key"),
    createdAt: moment("created_at").notNull().default(now),
  },
  (t) => [check("installation_is_one_row", sql`${t.one} = 1`)],
);

export const tenants = pgTable(
  "tenants",
  {
    tenantId: id("tenant_id").primaryKey(),
    name: text("name").notNull().unique("tenants_name_is_unique"),
    /** strict: what cannot be priced and bounded is refused. tolerant: it passes and is recorded as unpriced. */
    mode: text("mode").$type<"strict" | "tolerant">().notNull().default("strict"),
    /** Attempts of one step that its client did not name, as a guard against retry storms; null: no guard. */
    derivedAttemptsMax: integer("derived_attempts_max").default(5),
    /** The part of each daily limit of the tenant that one named run may take, in percent; null: no guard. */
    runSharePercent: integer("run_share_percent").default(20),
    /** What one answered question costs in people's time; null: it is not counted. */
    approvalPicousd: amount("approval_picousd"),
    /** At which parts of a budget webhooks are told, in percent. */
    alertPercents: smallints("alert_percents")
      .notNull()
      .default(sql`'{50,80,100}'`),
    /** The version of the policy bundle that judges now; null: none does. Each change is an event. */
    activeBundle: id("active_bundle"),
    createdAt: moment("created_at").notNull().default(now),
  },
  (t) => [
    check("tenants_mode_is_known", sql`${t.mode} in ('strict', 'tolerant')`),
    check("tenants_derived_attempts_are_positive", sql`${t.derivedAttemptsMax} >= 1`),
    check("tenants_approval_costs_something", sql`${t.approvalPicousd} > 0`),
    check("tenants_run_share_is_a_percentage", sql`${t.runSharePercent} between 1 and 100`),
    check(
      "tenants_alerts_are_percentages",
      sql`1 <= all(${t.alertPercents}) and 100 >= all(${t.alertPercents}) and cardinality(${t.alertPercents}) <= 10`,
    ),
  ],
);

export const keys = pgTable(
  "keys",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    keyId: id("key_id").notNull(),
    name: text("name").notNull(),
    /** HMAC-SHA256 of the secret, hex: the secret itself is shown once and never stored. */
    digest: text("digest").notNull(),
    scopes: ids("scopes").notNull(),
    /** What policies may ask of a key, its role among approvers included. */
    labels: json("labels").$type<Record<string, string>>().notNull().default({}),
    /** Globs of the tools behind the tool door that it may call; null: all that its tenant may. */
    tools: ids("tools"),
    createdBy: id("created_by").notNull(),
    createdAt: moment("created_at").notNull().default(now),
    expiresAt: moment("expires_at"),
    revokedAt: moment("revoked_at"),
    /** The key that this one replaces; both work until the old one is revoked or expires. */
    rotatedFrom: id("rotated_from"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.keyId] }),
    /** A credential names its key before its tenant is known. */
    unique("keys_id_is_unique").on(t.keyId),
    check("keys_have_a_scope", sql`cardinality(${t.scopes}) > 0`),
  ],
);

export const limits = pgTable(
  "limits",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    limitId: id("limit_id").notNull(),
    scopeKind: id("scope_kind").notNull(),
    /** Key, run, model or tool; empty where the kind alone says whom it counts. */
    scopeId: id("scope_id").notNull().default(""),
    /** Of a retry budget: a tool or `model:<name>`, `*` for each apart, empty for all together. */
    resource: text("resource").notNull().default(""),
    unit: id("unit").notNull(),
    windowKind: id("window_kind").notNull(),
    amount: amount("amount").notNull(),
    mode: id("mode").notNull().default("enforce"),
    onExceed: id("on_exceed").notNull().default("refuse"),
    timeZone: text("time_zone").notNull().default("UTC"),
    createdAt: moment("created_at").notNull().default(now),
    removedAt: moment("removed_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.limitId] }),
    index("limits_of_a_run")
      .on(t.tenantId, t.scopeId)
      .where(sql`${t.scopeKind} = 'run'`),
    check("limits_are_not_negative", sql`${t.amount} >= 0`),
    check(
      "limits_scope_is_known",
      sql`${t.scopeKind} in ('tenant', 'key', 'run', 'model', 'tool', 'each_run', 'each_customer', 'each_operation')`,
    ),
    check(
      "limits_scope_names_its_subject",
      sql`(${t.scopeKind} in ('key', 'run', 'model', 'tool')) = (${t.scopeId} <> '')`,
    ),
    check(
      "limits_unit_is_known",
      sql`${t.unit} in ('usd', 'tokens', 'requests', 'attempts', 'in_flight')`,
    ),
    /** Only further attempts are counted by resource: what else is counted has its scope. */
    check("limits_resource_is_of_attempts", sql`${t.resource} = '' or ${t.unit} = 'attempts'`),
    check(
      "limits_window_is_known",
      sql`${t.windowKind} in ('none', 'minute', 'hour', 'day', 'week', 'month')`,
    ),
    check("limits_mode_is_known", sql`${t.mode} in ('enforce', 'shadow')`),
    check("limits_on_exceed_is_known", sql`${t.onExceed} in ('refuse', 'clamp')`),
    /** What is in flight now has no period. */
    check(
      "limits_in_flight_has_no_window",
      sql`${t.unit} <> 'in_flight' or ${t.windowKind} = 'none'`,
    ),
  ],
);

/** One limit's count for one subject in one window. A new window is a new row: nothing is ever reset. */
export const meters = pgTable(
  "meters",
  {
    tenantId: id("tenant_id").notNull(),
    meterId: bigint("meter_id", { mode: "bigint" }).notNull().generatedAlwaysAsIdentity(),
    limitId: id("limit_id").notNull(),
    subject: id("subject").notNull(),
    windowStart: moment("window_start").notNull(),
    committed: amount("committed").notNull().default("0"),
    reserved: amount("reserved").notNull().default("0"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.meterId] }),
    // The tenant last: so that this index can never be taken for the primary key, which a plan made
    // while the table is empty does where both begin alike, and reads all meters of a tenant ever after.
    unique("meters_one_per_window").on(t.limitId, t.subject, t.windowStart, t.tenantId),
    /** A release that was not reserved, or was released twice, is our bug and must not commit. */
    check("meters_reserved_is_not_negative", sql`${t.reserved} >= 0`),
    check("meters_committed_is_not_negative", sql`${t.committed} >= 0`),
  ],
);

/** A run that somebody named. A call without a run is its own run and has no row here. */
export const runs = pgTable(
  "runs",
  {
    tenantId: id("tenant_id").notNull(),
    runId: id("run_id").notNull(),
    state: id("state").notNull().default("open"),
    /** The runs above it, outermost first: their budgets are drawn on too. */
    ancestors: ids("ancestors")
      .notNull()
      .default(sql`'{}'`),
    labels: json("labels").$type<Record<string, string>>().notNull().default({}),
    /** The run that this one executes anew. */
    derivedFrom: id("derived_from"),
    createdBy: id("created_by").notNull(),
    createdAt: moment("created_at").notNull().default(now),
    stoppedAt: moment("stopped_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.runId] }),
    /** The runs below a run; those without one above it pay nothing for this. */
    index("runs_below")
      .using("gin", t.ancestors)
      .where(sql`${t.ancestors} <> '{}'`),
    check("runs_state_is_known", sql`${t.state} in ('open', 'stopping', 'closed')`),
  ],
);

/** Ledger. Why something was allowed or not: inserted before the first upstream byte, never changed. */
export const decisions = pgTable(
  "decisions",
  {
    tenantId: id("tenant_id").notNull(),
    attemptId: id("attempt_id").notNull(),
    keyId: id("key_id").notNull(),
    runId: id("run_id").notNull(),
    /** As its caller named it; null where the step is derived from the content. */
    stepId: id("step_id"),
    /** What makes two asks attempts of one step: see `core/step.ts`. Null for what is no step. */
    stepDigest: id("step_digest"),
    /** Of a named step in a named run, its content: the same content under a new step is a loop. */
    contentDigest: id("content_digest"),
    /** The number of this attempt within its step, from 1. */
    attempt: integer("attempt").notNull(),
    door: id("door").notNull(),
    operation: id("operation").notNull(),
    resource: text("resource").notNull(),
    upstream: id("upstream"),
    model: text("model"),
    verdict: id("verdict").notNull(),
    reason: id("reason"),
    decidedAt: moment("decided_at").notNull(),
    /** What was asked of the meters; null when no price was known. */
    estimatePicousd: amount("estimate_picousd"),
    priceVersion: id("price_version"),
    /** The approval that it asked for, waits for or used up. */
    approvalId: id("approval_id"),
    /** The prior attempt, and why this one draws on retry budgets; null for a first attempt. */
    retry: json("retry"),
    /** Every meter on the path as it was before, and what was asked of it. */
    meters: json("meters").notNull(),
    /** All other facts: see `core/record.ts`. */
    record: json("record").notNull(),
    postedIn: postedIn(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.attemptId] }),
    // Policies read what a run was allowed: a run that is blocked all day must not make that read its blocks.
    index("decisions_of_a_run").on(t.tenantId, t.runId, t.verdict),
    // What is admitted is rolled up by its settlement, and pays nothing for this.
    index("decisions_refused_by_posting")
      .on(t.postedIn)
      .where(sql`${t.verdict} <> 'allow'`),
    // The gate reads the last attempt of a step, which must be one row away however many there were. In one
    // expression, so that no plan can look for a range of steps here: see `decisions_of_a_content`.
    index("decisions_of_a_step")
      .on(sql`(${t.tenantId} || ${t.stepDigest})`, t.decidedAt, t.attempt)
      .where(sql`${t.verdict} = 'allow' and ${t.stepDigest} is not null`),
    // A loop is the same content under another step: the row before or after one's own step in this order.
    index("decisions_of_a_content")
      .on(t.tenantId, t.contentDigest, t.stepDigest)
      .where(sql`${t.contentDigest} is not null and ${t.verdict} = 'allow'`),
    check(
      "decisions_verdict_is_known",
      sql`${t.verdict} in ('allow', 'block', 'require_approval')`,
    ),
    check(
      "decisions_only_allow_needs_no_reason",
      sql`(${t.verdict} = 'allow') = (${t.reason} is null)`,
    ),
  ],
);

/**
 * What an admitted attempt holds. Deleted by its settlement, and by nothing else: time never frees money.
 * The sweep reads the whole table: it holds what is in flight, and an index by deadline would cost every
 * call more than it saves the sweep.
 */
export const reservations = pgTable(
  "reservations",
  {
    tenantId: id("tenant_id").notNull(),
    attemptId: id("attempt_id").notNull(),
    replicaId: id("replica_id").notNull(),
    state: id("state").notNull().default("open"),
    meterIds: bigints("meter_ids").notNull(),
    meterUnits: ids("meter_units").notNull(),
    amounts: numerics("amounts").notNull(),
    costPicousd: amount("cost_picousd"),
    tokens: bigint("tokens", { mode: "bigint" }).notNull(),
    deadlineAt: moment("deadline_at").notNull(),
    /** Its client left while it went on: the same content again is a retry from then on. */
    leftAt: moment("left_at"),
    unknownAt: moment("unknown_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.attemptId] }),
    check("reservations_state_is_known", sql`${t.state} in ('open', 'unknown')`),
    check(
      "reservations_unknown_says_since_when",
      sql`(${t.state} = 'unknown') = (${t.unknownAt} is not null)`,
    ),
    check(
      "reservations_arrays_agree",
      sql`cardinality(${t.meterIds}) = cardinality(${t.amounts}) and cardinality(${t.meterIds}) = cardinality(${t.meterUnits})`,
    ),
  ],
);

/**
 * Ledger. How an attempt ended and what it cost. Line 0 is the settlement; line 1, if any, corrects
 * a presumption by later evidence, and holds the difference. The primary key is what makes a second
 * settlement of the same attempt impossible.
 */
export const settlements = pgTable(
  "settlements",
  {
    tenantId: id("tenant_id").notNull(),
    attemptId: id("attempt_id").notNull(),
    line: smallint("line").notNull(),
    ending: id("ending").notNull(),
    basis: id("basis").notNull(),
    /** Null: no price was known. Never 0 for unknown. */
    costPicousd: amount("cost_picousd"),
    reservedPicousd: amount("reserved_picousd"),
    /** Cost above the reservation: recorded in full, alarmed, our bug. */
    overagePicousd: amount("overage_picousd").notNull().default("0"),
    tokens: bigint("tokens", { mode: "bigint" }).notNull(),
    priceVersion: id("price_version"),
    usage: json("usage").notNull(),
    record: json("record").notNull(),
    meterIds: bigints("meter_ids").notNull(),
    meterUnits: ids("meter_units").notNull(),
    settledAt: moment("settled_at").notNull(),
    postedIn: postedIn(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.attemptId, t.line] }),
    index("settlements_by_posting").on(t.postedIn),
    check("settlements_line_is_known", sql`${t.line} in (0, 1)`),
    check(
      "settlements_ending_is_known",
      sql`${t.ending} in ('succeeded', 'failed', 'aborted', 'released', 'unknown')`,
    ),
    check(
      "settlements_basis_is_known",
      sql`${t.basis} in ('computed', 'estimated', 'presumed', 'unpriced', 'none')`,
    ),
    check(
      "settlements_unpriced_has_no_cost",
      sql`(${t.basis} = 'unpriced') = (${t.costPicousd} is null)`,
    ),
    check("settlements_settle_no_negative", sql`${t.line} = 1 or ${t.costPicousd} >= 0`),
  ],
);

/** Ledger. Every act of administration: who, what, when, before and after. */
export const events = pgTable(
  "events",
  {
    tenantId: id("tenant_id").notNull(),
    eventId: id("event_id").notNull(),
    kind: id("kind").notNull(),
    actor: id("actor").notNull(),
    subject: id("subject").notNull(),
    body: json("body").notNull(),
    happenedAt: moment("happened_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.eventId] })],
);

/** Every price ever used, by the hash of its content: a settlement's price can always be read again. */
export const prices = pgTable("prices", {
  version: id("version").primaryKey(),
  upstream: id("upstream").notNull(),
  model: text("model").notNull(),
  validFrom: moment("valid_from").notNull(),
  content: json("content").notNull(),
  source: text("source").notNull(),
  /** Since when we know it, which may be later than it holds: for who audits the ledger by its tables. */
  recordedAt: moment("recorded_at").notNull().default(now),
});
