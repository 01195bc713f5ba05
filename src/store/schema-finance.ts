/**
 * What finance records: outcomes and closings. The sums that it reads are in `schema-roll-up.ts`.
 *
 * `outcomes` and `period_closings` are ledger: insert-only, by trigger (`drizzle/0002_insert_only.sql`).
 */
import { sql } from "drizzle-orm";
import {
  bigint,
  check,
  date,
  index,
  json,
  pgTable,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
} from "drizzle-orm/pg-core";

import type { ScheduledReport, ScheduleFormat, SchedulePeriod } from "../core/report-schedule.ts";
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
    /**
     * Its value was declared anew: outcomes up to this one, by their roots, have it already, where they say none of
     * their own. Null: all have.
     */
    revaluedTo: id("revalued_to"),
    revaluedSince: moment("revalued_since"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.name] }),
    index("outcome_types_to_revalue")
      .on(t.tenantId)
      .where(sql`${t.revaluedTo} is not null`),
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
    /** All that was recorded before is in the copies. Null: closed before that was kept, and told as of its closing. */
    asOf: moment("as_of"),
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

/** A report that its tenant is sent when a period has ended. `begins_at` to `ends_at` is the period that is told next. */
export const reportSchedules = pgTable(
  "report_schedules",
  {
    tenantId: id("tenant_id")
      .notNull()
      .references(() => tenants.tenantId),
    scheduleId: id("schedule_id").notNull(),
    name: text("name").notNull(),
    report: id("report").$type<ScheduledReport>().notNull(),
    /** Groupings and filters, as the report's own route takes them. */
    query: json("query").notNull(),
    every: id("every").$type<SchedulePeriod>().notNull(),
    timeZone: id("time_zone").notNull(),
    format: id("format").$type<ScheduleFormat>().notNull(),
    beginsAt: moment("begins_at").notNull(),
    endsAt: moment("ends_at").notNull(),
    /** Until then one replica makes the report. Whoever tells it must find what it wrote here, so a change takes it away. */
    heldUntil: moment("held_until")
      .notNull()
      .default(sql`'epoch'`),
    createdBy: id("created_by").notNull(),
    createdAt: moment("created_at").notNull().default(now),
    removedAt: moment("removed_at"),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.scheduleId] }),
    index("report_schedules_by_end")
      .on(t.endsAt)
      .where(sql`${t.removedAt} is null`),
    check(
      "report_schedules_report_is_known",
      sql`${t.report} in ('cost-per-outcome', 'spend', 'waste', 'budgets')`,
    ),
    check("report_schedules_period_is_known", sql`${t.every} in ('day', 'week', 'month')`),
    check("report_schedules_format_is_known", sql`${t.format} in ('json', 'csv')`),
    check("report_schedules_begin_before_they_end", sql`${t.beginsAt} < ${t.endsAt}`),
  ],
);

/** Which periods of a schedule were told: each once, in the transaction that put the message into the outbox. */
export const reportsTold = pgTable(
  "reports_told",
  {
    tenantId: id("tenant_id").notNull(),
    scheduleId: id("schedule_id").notNull(),
    beginsAt: moment("begins_at").notNull(),
    endsAt: moment("ends_at").notNull(),
    toldAt: moment("told_at").notNull().default(now),
  },
  (t) => [
    primaryKey({
      name: "reports_are_told_once",
      columns: [t.tenantId, t.scheduleId, t.beginsAt, t.endsAt],
    }),
  ],
);
