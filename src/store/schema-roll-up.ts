/**
 * Roll-ups of the ledger, which reports read: working state that the ledger explains, kept behind the request path
 * by `tollgate_roll_up` and `tollgate_tell_stale` alone. Σ of any of them = Σ settlements and adjustments that
 * are rolled up, to the pico-dollar.
 *
 * What is posted is rolled up by the day of its posting. So a period that is over does not change any more;
 * a correction is an entry of the day on which it came.
 */
import { sql } from "drizzle-orm";
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  uuid,
} from "drizzle-orm/pg-core";

import type { Cohort } from "../core/report.ts";
import { amount, id, moment, now } from "./columns.ts";

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
    /** Its runs are more than a step of the roll-up binds: up to this one they are bound to it. Null: all are. */
    boundTo: id("bound_to"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.rootId] }),
    index("stale_outcomes_due").on(t.tenantId, t.dueAt),
    index("stale_outcomes_unbound")
      .on(t.tenantId, t.rootId)
      .where(sql`${t.boundTo} is not null`),
  ],
);

/** Working state: runs whose outcomes are to be bound to them and told anew, and are more than a step of the roll-up takes. */
export const staleRuns = pgTable(
  "stale_runs",
  {
    tenantId: id("tenant_id").notNull(),
    runId: id("run_id").notNull(),
    /** The last of its outcomes that waits to be told by itself. */
    markedTo: id("marked_to").notNull().default(""),
    since: moment("since").notNull().default(now),
    dueAt: moment("due_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.runId] })],
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

const directions = () => ({
  /** All of the input side, the cached part included. */
  inputTokens: count("input_tokens"),
  cachedTokens: count("cached_tokens"),
  outputTokens: count("output_tokens"),
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
    ...directions(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.bucket, t.dimensionId] })],
);

/** The cells of each day of UTC, summed by a trigger of theirs: what a month is read from. */
export const costDays = pgTable(
  "cost_days",
  {
    tenantId: id("tenant_id").notNull(),
    utcDay: moment("utc_day").notNull(),
    dimensionId: uuid("dimension_id").notNull(),
    ...sums(),
    ...directions(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.utcDay, t.dimensionId] })],
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
    index("run_costs_by_cost").on(
      bookOf(t),
      t.costPicousd.desc().nullsFirst(),
      t.runId,
      t.startedAt,
    ),
  ],
);

/** The runs that began on each day of UTC, summed by a trigger of theirs. */
export const runDays = pgTable(
  "run_days",
  {
    tenantId: id("tenant_id").notNull(),
    closingId: id("closing_id").notNull(),
    utcDay: moment("utc_day").notNull(),
    /** Whether an outcome bears their cost. */
    isAttributed: boolean("is_attributed").notNull(),
    runs: count("runs"),
    attempts: count("attempts"),
    unpriced: count("unpriced"),
    costPicousd: amount("cost_picousd").notNull(),
    wastedPicousd: amount("wasted_picousd").notNull(),
  },
  (t) => [
    primaryKey({
      name: "run_days_pk",
      columns: [t.tenantId, t.closingId, t.utcDay, t.isAttributed],
    }),
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
    index("outcome_costs_by_class_and_occurrence").on(
      bookOf(t),
      t.type,
      sql`tollgate_cost_class(${t.costPicousd})`,
      t.occurredAt,
    ),
    index("outcome_costs_by_class_and_start").on(
      bookOf(t),
      t.type,
      sql`tollgate_cost_class(${t.costPicousd})`,
      t.startedAt,
    ),
  ],
);

/**
 * The outcomes of each day of UTC, summed by a trigger of theirs: by type, and by the class of their cost, which is
 * its first two digits. A percentile is looked up among the outcomes of one class, so that it is exact and a
 * month is few rows.
 */
export const outcomeDays = pgTable(
  "outcome_days",
  {
    tenantId: id("tenant_id").notNull(),
    closingId: id("closing_id").notNull(),
    /** Which of its two moments puts an outcome on a day: see `Cohort`. */
    cohort: id("cohort").$type<Cohort>().notNull(),
    utcDay: moment("utc_day").notNull(),
    type: id("type").notNull(),
    /** The least cost of the class. */
    costClass: amount("cost_class").notNull(),
    success: count("success"),
    failure: count("failure"),
    partial: count("partial"),
    reversed: count("reversed"),
    /** Successes whose value is known, and the sum of it. */
    valued: count("valued"),
    valuePicousd: amount("value_picousd").notNull(),
    attempts: count("attempts"),
    blocked: count("blocked"),
    retries: count("retries"),
    unpriced: count("unpriced"),
    costPicousd: amount("cost_picousd").notNull(),
    failedPicousd: amount("failed_picousd").notNull(),
    wastedPicousd: amount("wasted_picousd").notNull(),
    estimatedPicousd: amount("estimated_picousd").notNull(),
    /** Cost of outcomes that failed or were taken back. */
    failuresPicousd: amount("failures_picousd").notNull(),
    tokens: count("tokens"),
  },
  (t) => [
    primaryKey({
      name: "outcome_days_pk",
      columns: [t.tenantId, t.closingId, t.cohort, t.utcDay, t.type, t.costClass],
    }),
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
    /** The tenant whose stale outcomes had the last turn: the next one is behind it. */
    staleTenant: id("stale_tenant").notNull().default(""),
  },
  (t) => [check("roll_up_state_is_one_row", sql`${t.one} = 1`)],
);
