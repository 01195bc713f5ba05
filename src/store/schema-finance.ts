/**
 * What finance reads: the outcomes that tenants report, and roll-ups of the ledger.
 *
 * `outcomes` and `period_closings` are ledger: insert-only, by trigger (`drizzle/0004_finance.sql`). The
 * roll-ups are working state that the ledger explains, kept by `tollgate_roll_up` alone and behind the
 * request path: Σ of any of them = Σ settlements that are rolled up, to the pico-dollar.
 *
 * What is posted is rolled up by the day of its posting. So a period that is over does not change any more;
 * a correction is an entry of the day on which it came.
 */
import { sql } from "drizzle-orm";
import {
  type AnyPgColumn,
  bigint,
  check,
  date,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
  uuid,
} from "drizzle-orm/pg-core";

import { amount, id, moment, now, postedIn } from "./columns.ts";
import { tenants } from "./schema.ts";

/** What a tenant counts as a result of its runs. */
export const outcomeTypes = pgTable(
  "outcome_types",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    name: id("name").notNull(),
    description: text("description").notNull().default(""),
    /** What one success is worth, where its outcome does not say; null: nothing is declared. */
    valuePicousd: amount("value_picousd"),
    createdAt: moment("created_at").notNull().default(now),
    removedAt: moment("removed_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.name] }),
    check("outcome_types_value_is_not_negative", sql`${t.valuePicousd} >= 0`),
  ],
);

/**
 * Ledger. What became of a run or an operation, as its tenant says. A correction is a further row that
 * supersedes the last one; `root_id` is the first of such a chain, and is what costs are attributed to.
 */
export const outcomes = pgTable(
  "outcomes",
  {
    tenantId: id("tenant_id").notNull(),
    outcomeId: id("outcome_id").notNull(),
    rootId: id("root_id").notNull(),
    supersedes: id("supersedes"),
    type: id("type").notNull(),
    subjectKind: id("subject_kind").$type<"run" | "operation">().notNull(),
    /** A run, or an operation as `type:key`. */
    subject: id("subject").notNull(),
    /** Tells several outcomes of one type apart, a ticket of many that one run handles; else empty. */
    key: id("key").notNull().default(""),
    status: id("status").notNull(),
    /** Of this one; null: what its type declares. */
    valuePicousd: amount("value_picousd"),
    /** Its part of the cost of a run that it shares with other outcomes. */
    weight: smallint("weight").notNull().default(1),
    evidence: text("evidence").notNull().default(""),
    occurredAt: moment("occurred_at").notNull(),
    recordedAt: moment("recorded_at").notNull().default(now),
    recordedBy: id("recorded_by").notNull(),
    postedIn: postedIn(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.outcomeId] }),
    /** Nobody corrects what was corrected: of two corrections at once one is told of the other. */
    uniqueIndex("outcomes_are_superseded_once")
      .on(t.tenantId, t.supersedes)
      .where(sql`${t.supersedes} is not null`),
    /** The first word on a subject; everything later supersedes. */
    uniqueIndex("outcomes_begin_once")
      .on(t.tenantId, t.subjectKind, t.subject, t.type, t.key)
      .where(sql`${t.supersedes} is null`),
    index("outcomes_of_a_root").on(t.tenantId, t.rootId, t.outcomeId),
    index("outcomes_by_posting").on(t.postedIn),
    check("outcomes_subject_is_known", sql`${t.subjectKind} in ('run', 'operation')`),
    check(
      "outcomes_status_is_known",
      sql`${t.status} in ('success', 'failure', 'partial', 'reversed')`,
    ),
    check(
      "outcomes_begin_or_supersede",
      sql`(${t.supersedes} is null) = (${t.rootId} = ${t.outcomeId})`,
    ),
    check("outcomes_weight_is_a_part", sql`${t.weight} between 0 and 1000`),
    check("outcomes_value_is_not_negative", sql`${t.valuePicousd} >= 0`),
  ],
);

/** Working state: the runs in which an operation was named. Its cost spans them. */
export const operationRuns = pgTable(
  "operation_runs",
  {
    tenantId: id("tenant_id").notNull(),
    operation: id("operation").notNull(),
    runId: id("run_id").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.operation, t.runId] }),
    index("operation_runs_of_a_run").on(t.tenantId, t.runId),
  ],
);

/**
 * Working state: outcomes whose cost is to be told anew, because something of their runs was rolled up. Apart
 * from the rolling up, and by tenant: whoever shares a run among thousands of outcomes waits for that alone.
 */
export const staleOutcomes = pgTable(
  "stale_outcomes",
  {
    tenantId: id("tenant_id").notNull(),
    rootId: id("root_id").notNull(),
    /** What was recorded later is not in its cost. */
    since: moment("since").notNull().default(now),
    /** Later than `since` where telling it took longer than a statement may. */
    dueAt: moment("due_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.rootId] }),
    index("stale_outcomes_due").on(t.dueAt),
  ],
);

/** Working state: the runs whose cost an outcome bears, alone or with others. */
export const outcomeRuns = pgTable(
  "outcome_runs",
  {
    tenantId: id("tenant_id").notNull(),
    rootId: id("root_id").notNull(),
    runId: id("run_id").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.rootId, t.runId] }),
    index("outcome_runs_of_a_run").on(t.tenantId, t.runId),
  ],
);

/** What costs are grouped by: each combination once, by the MD5 of its content. */
export const costDimensions = pgTable(
  "cost_dimensions",
  {
    tenantId: id("tenant_id").notNull(),
    dimensionId: uuid("dimension_id").notNull(),
    keyId: id("key_id").notNull(),
    customer: text("customer").notNull(),
    workflow: text("workflow").notNull(),
    labels: jsonb("labels").$type<Record<string, string>>().notNull(),
    door: id("door").notNull(),
    operation: id("operation").notNull(),
    upstream: id("upstream").notNull(),
    model: text("model").notNull(),
    tool: text("tool").notNull(),
    /** How it ended; `blocked` for what the gate refused. */
    ending: id("ending").notNull(),
    basis: id("basis").notNull(),
    /** Why it was refused; else empty. */
    reason: id("reason").notNull(),
    priceVersion: id("price_version").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.dimensionId] })],
);

/** A count of what was posted: negative where a correction takes back. */
const count = (name: string) => bigint(name, { mode: "bigint" }).notNull();
const sums = () => ({
  attempts: count("attempts"),
  /** Of them, those that were tried before. */
  retries: count("retries"),
  costPicousd: amount("cost_picousd").notNull(),
  /** Cost of retries that did not contribute: without success, or of what had succeeded. */
  wastedPicousd: amount("wasted_picousd").notNull(),
  tokens: count("tokens"),
});

/**
 * What was posted in a quarter of an hour, the least difference between two time zones; not by customer or
 * label, which are empty in its dimensions: those are in the cells of runs.
 */
export const costCells = pgTable(
  "cost_cells",
  {
    tenantId: id("tenant_id").notNull(),
    bucket: moment("bucket").notNull(),
    dimensionId: uuid("dimension_id").notNull(),
    ...sums(),
    /** All of the input side, the cached part included. */
    inputTokens: count("input_tokens"),
    cachedTokens: count("cached_tokens"),
    outputTokens: count("output_tokens"),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.bucket, t.dimensionId] })],
);

/** The same by run and step. */
export const runCells = pgTable(
  "run_cells",
  {
    tenantId: id("tenant_id").notNull(),
    runId: id("run_id").notNull(),
    bucket: moment("bucket").notNull(),
    dimensionId: uuid("dimension_id").notNull(),
    /** As its caller named it; empty where it is derived. */
    step: id("step").notNull(),
    ...sums(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.runId, t.bucket, t.dimensionId, t.step] }),
    index("run_cells_by_posting").on(t.tenantId, t.bucket),
  ],
);

/**
 * A tenant's live figures, or those of one closing. By an expression, so that this index can never be taken for
 * the primary key, which a plan made while the table is empty does where both begin alike: each row that
 * is rolled up would then read all rows of its tenant.
 */
const bookOf = (t: { readonly tenantId: AnyPgColumn; readonly closingId: AnyPgColumn }) =>
  sql`(${t.tenantId} || ${t.closingId})`;

const figures = () => ({
  keyId: id("key_id").notNull(),
  customer: text("customer").notNull(),
  workflow: text("workflow").notNull(),
  labels: jsonb("labels").$type<Record<string, string>>().notNull(),
  attempts: count("attempts"),
  blocked: count("blocked"),
  retries: count("retries"),
  unpriced: count("unpriced"),
  costPicousd: amount("cost_picousd").notNull(),
  /** Cost of attempts that did not succeed. */
  failedPicousd: amount("failed_picousd").notNull(),
  wastedPicousd: amount("wasted_picousd").notNull(),
  /** Cost that was estimated or presumed. */
  estimatedPicousd: amount("estimated_picousd").notNull(),
  tokens: count("tokens"),
});

/**
 * What one run cost, all of it. Rows with a closing are copies that it made: they never change. The rows
 * without, which are empty there, go on.
 */
export const runCosts = pgTable(
  "run_costs",
  {
    tenantId: id("tenant_id").notNull(),
    closingId: id("closing_id").notNull().default(""),
    runId: id("run_id").notNull(),
    startedAt: moment("started_at").notNull(),
    lastAt: moment("last_at").notNull(),
    /** Outcomes that bear its cost; 0: it is not attributed. */
    outcomes: integer("outcomes").notNull().default(0),
    ...figures(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.closingId, t.runId] }),
    index("run_costs_by_start").on(bookOf(t), t.startedAt),
  ],
);

/** What one outcome cost: its part of each of its runs. `status` and `value` are those that hold now. */
export const outcomeCosts = pgTable(
  "outcome_costs",
  {
    tenantId: id("tenant_id").notNull(),
    closingId: id("closing_id").notNull().default(""),
    rootId: id("root_id").notNull(),
    type: id("type").notNull(),
    subjectKind: id("subject_kind").notNull(),
    subject: id("subject").notNull(),
    key: id("key").notNull(),
    status: id("status").notNull(),
    valuePicousd: amount("value_picousd"),
    occurredAt: moment("occurred_at").notNull(),
    /** When the first of its runs began; when it occurred, where none is known. */
    startedAt: moment("started_at").notNull(),
    runs: integer("runs").notNull(),
    ...figures(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.closingId, t.rootId] }),
    index("outcome_costs_by_occurrence").on(bookOf(t), t.occurredAt),
    index("outcome_costs_by_start").on(bookOf(t), t.startedAt),
  ],
);

/** Ledger. A period whose figures were copied: its reports are the same ever after. */
export const periodClosings = pgTable(
  "period_closings",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    closingId: id("closing_id").notNull(),
    beginsAt: moment("begins_at").notNull(),
    endsAt: moment("ends_at").notNull(),
    closedBy: id("closed_by").notNull(),
    closedAt: moment("closed_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.closingId] }),
    uniqueIndex("period_closings_are_made_once").on(t.tenantId, t.beginsAt, t.endsAt),
    check("period_closings_begin_before_they_end", sql`${t.beginsAt} < ${t.endsAt}`),
  ],
);

/**
 * Ledger. A provider's invoice was compared with the roll-ups. Of the whole installation where the tenant is
 * empty: the account that an upstream's key belongs to is all tenants'.
 */
export const reconciliations = pgTable(
  "reconciliations",
  {
    tenantId: id("tenant_id").notNull(),
    reconciliationId: id("reconciliation_id").notNull(),
    upstream: id("upstream").notNull(),
    provider: id("provider").notNull(),
    /** Days of UTC, the last one excluded. */
    fromDay: date("from_day").notNull(),
    toDay: date("to_day").notNull(),
    state: id("state").$type<"reconciled" | "differs">().notNull(),
    /** Its totals and how many lines had which verdict. */
    summary: json("summary").notNull(),
    recordedBy: id("recorded_by").notNull(),
    recordedAt: moment("recorded_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.reconciliationId] }),
    check("reconciliations_state_is_known", sql`${t.state} in ('reconciled', 'differs')`),
    check("reconciliations_begin_before_they_end", sql`${t.fromDay} < ${t.toDay}`),
  ],
);

/** One row: every transaction below `rolled_up_to` has ended and is in the roll-ups. */
export const rollUpState = pgTable(
  "roll_up_state",
  {
    one: smallint("one").primaryKey().default(1),
    rolledUpTo: bigint("rolled_up_to", { mode: "bigint" })
      .notNull()
      .default(sql`0`),
    /** All that was recorded before is in the roll-ups. */
    asOf: moment("as_of").notNull().default(now),
    /** What `rolled_up_to` must reach for `as_of` to move to `mark_at`: all transactions begun by then. */
    mark: bigint("mark", { mode: "bigint" })
      .notNull()
      .default(sql`0`),
    markAt: moment("mark_at").notNull().default(now),
  },
  (t) => [check("roll_up_state_is_one_row", sql`${t.one} = 1`)],
);

/**
 * What was told of a budget: of each meter and window each threshold once, for as long as its limit is the same. A
 * threshold of 0 is a forecast.
 */
export const budgetAlerts = pgTable(
  "budget_alerts",
  {
    tenantId: id("tenant_id").notNull(),
    limitId: id("limit_id").notNull(),
    subject: id("subject").notNull(),
    windowStart: moment("window_start").notNull(),
    /** The limit as it was then: who raises it is told anew. */
    amount: amount("amount").notNull(),
    /** In percent. */
    threshold: smallint("threshold").notNull(),
    committed: amount("committed").notNull(),
    reserved: amount("reserved").notNull(),
    /** What is used by the end of the window, where that was forecast. */
    forecast: amount("forecast"),
    /** Null where the window has none. */
    windowEnd: moment("window_end"),
    toldAt: moment("told_at").notNull().default(now),
  },
  (t) => [
    primaryKey({
      name: "budget_alerts_once",
      columns: [t.tenantId, t.limitId, t.subject, t.windowStart, t.amount, t.threshold],
    }),
    index("budget_alerts_by_end").on(t.windowEnd),
    check("budget_alerts_threshold_is_a_percentage", sql`${t.threshold} between 0 and 100`),
  ],
);

/** One row: every settlement posted below has been looked at. */
export const budgetAlertState = pgTable(
  "budget_alert_state",
  {
    one: smallint("one").primaryKey().default(1),
    lookedTo: bigint("looked_to", { mode: "bigint" })
      .notNull()
      .default(sql`0`),
  },
  (t) => [check("budget_alert_state_is_one_row", sql`${t.one} = 1`)],
);
