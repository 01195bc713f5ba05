/** The shapes of reports: what they are asked by, and what they answer. */
import { z } from "@hono/zod-openapi";

import { CONTEXT_FIELD_BYTES_MAX } from "../core/limits.ts";
import {
  COHORTS,
  OUTCOME_STATUSES,
  PERIOD_NAMES,
  REPORTED_BASES,
  REPORTED_ENDINGS,
} from "../core/report.ts";
import { isTimeZone } from "../core/time-zone.ts";
import { FORMATS } from "./report-formats.ts";
import {
  amount,
  DayOrMoment,
  Id,
  LimitModes,
  Moment,
  RunId,
  ScopeKinds,
  Tenanted,
  time,
  Units,
  usd,
  Windows,
} from "./schemas.ts";

const count = z.number().int();
const share = z.string().openapi({ example: "0.1250", description: "A part of 1." });

/** The store cannot hold NUL, so nothing there is equal to it. */
const text = (charsMax: number) =>
  z
    .string()
    .max(charsMax)
    .refine((given) => !given.includes("\0"), "a text without NUL characters");
const Named = text(CONTEXT_FIELD_BYTES_MAX).min(1);

export const TimeZone = z
  .string()
  .refine(isTimeZone, { error: "a time zone such as Europe/Berlin, or UTC" })
  .openapi({ example: "Europe/Berlin", description: "UTC if absent." });

export const PeriodQuery = {
  ...Tenanted,
  from: DayOrMoment.optional().openapi({ description: "The first day, or moment, of the period." }),
  to: DayOrMoment.optional().openapi({ description: "The day after the last." }),
  period: z.enum(PERIOD_NAMES).optional().openapi({
    description:
      "In place of `from` and `to`: this month or the last one, or a quarter or year of the fiscal year.",
  }),
  fiscal_year_start: z
    .string()
    .regex(/^([1-9]|1[0-2])$/, "a month, 1 to 12")
    .transform(Number)
    .optional()
    .openapi({ type: "integer", description: "The month in which it begins; 1 if absent." }),
  time_zone: TimeZone.optional(),
  closing: Id.optional().openapi({
    description: "In place of a period: a closing, and its copies.",
  }),
  format: z.enum(FORMATS).optional(),
};

export const PayerQuery = {
  key: Id.optional().openapi({ description: "Of one key, by its id." }),
  customer: Named.optional(),
  workflow: Named.optional(),
  label: text(2 * CONTEXT_FIELD_BYTES_MAX)
    .optional()
    .openapi({ example: "team=search" }),
  type: Named.optional().openapi({ description: "Of outcomes." }),
};

export const ResourceQuery = {
  model: Named.optional(),
  upstream: Named.optional(),
  tool: Named.optional(),
  // Closed lists: a word that none of them is would be answered with no cost at all.
  ending: z.enum(REPORTED_ENDINGS).optional().openapi({ description: "How attempts ended." }),
  basis: z.enum(REPORTED_BASES).optional().openapi({ description: "How their cost is known." }),
};

export const StatusQuery = { status: z.enum(OUTCOME_STATUSES).optional() };

export const GroupBy = text(4 * CONTEXT_FIELD_BYTES_MAX)
  .optional()
  .openapi({
    example: "customer,label:team,month",
    description: "By what rows are told apart, up to four columns with commas between.",
  });

const head = {
  tenant: z.string().nullable(),
  from: time,
  to: time,
  time_zone: z.string(),
  as_of: time,
  closed: z.string().nullable(),
};
const grouped = { ...head, group_by: z.array(z.string()).readonly() };
const groups = z.record(z.string(), z.string().nullable()).readonly();
const versions = z.array(z.string()).readonly();

const outcomesSums = {
  outcomes: z.object({ success: count, failure: count, partial: count, reversed: count }),
  cost_per_success_usd: usd.nullable(),
  cost_p50_usd: usd.nullable(),
  cost_p95_usd: usd.nullable(),
  cost_usd: usd,
  cost_of_failures_usd: usd,
  failed_usd: usd,
  waste_usd: usd,
  attempts: count,
  blocked: count,
  retries: count,
  tokens: count,
  estimated_share: share.nullable(),
  unpriced: count,
  open: count,
  is_floor: z.boolean(),
  price_versions: versions.nullable(),
  reconciliation_state: z
    .enum(["reconciled", "differs", "not_reconciled"])
    .nullable()
    .openapi({
      description:
        "Whether what was posted on its days agrees with the providers' invoices, as far as somebody has compared them: of its upstream, " +
        "else of all whose models were used on those days. Null where its days are not days of UTC.",
    }),
  value_usd: usd.nullable(),
  valued: count,
  margin_usd: usd.nullable(),
};

export const CostPerOutcome = z
  .object({
    ...grouped,
    cohort: z.enum(COHORTS),
    rows: z.array(z.object({ groups, ...outcomesSums })).readonly(),
    rows_left_off: count,
    left_off: z.object(outcomesSums).nullable(),
    total: z.object(outcomesSums),
    runs_without_outcome: count,
    unattributed_usd: usd,
    unattributed_unpriced: count,
  })
  .openapi("CostPerOutcome");

const spendSums = {
  attempts: count,
  blocked: count,
  repeated: count,
  retries: count,
  failed: count,
  unpriced: count,
  cost_usd: usd,
  failed_usd: usd,
  waste_usd: usd,
  estimated_usd: usd,
  presumed_usd: usd,
  tokens: count,
  input_tokens: count.nullable(),
  cached_tokens: count.nullable(),
  output_tokens: count.nullable(),
  price_versions: versions,
};

const spend = {
  ...grouped,
  rows: z.array(z.object({ groups, ...spendSums })).readonly(),
  rows_left_off: count,
  left_off: z.object(spendSums).nullable(),
  total: z.object(spendSums),
};

export const Spend = z.object(spend).openapi("Spend");

const RunLine = z.object({
  run: z.string(),
  key: z.string().nullable(),
  customer: z.string().nullable(),
  workflow: z.string().nullable(),
  labels: z.record(z.string(), z.string()).readonly(),
  started_at: time,
  last_at: time,
  cost_usd: usd,
  failed_usd: usd,
  waste_usd: usd,
  estimated_usd: usd,
  attempts: count,
  blocked: count,
  retries: count,
  unpriced: count,
  tokens: count,
  outcomes: count,
  outcome: z
    .array(
      z.object({
        type: z.string(),
        subject: z.string(),
        key: z.string(),
        status: z.enum(OUTCOME_STATUSES),
      }),
    )
    .readonly(),
});

export const Waste = z
  .object({
    ...spend,
    waste_share: share.nullable(),
    runs: z.array(RunLine).readonly(),
  })
  .openapi("Waste");

export const RunCosts = z
  .object({
    ...head,
    rows: z.array(RunLine).readonly(),
    next: z.string().nullable(),
    total: z
      .object({ runs: count, attempts: count, cost_usd: usd, waste_usd: usd })
      .nullable()
      .openapi({
        description:
          "Of all pages. Null where some are chosen of a period of more than 3,000 runs: the report that is looked into says their sum.",
      }),
  })
  .openapi("RunCosts");

export const Budgets = z
  .object({
    tenant: z.string(),
    as_of: time,
    rows: z
      .array(
        z.object({
          limit_id: z.string(),
          scope: z.object({ kind: ScopeKinds, id: z.string().nullable() }),
          subject: z.string().nullable(),
          unit: Units,
          window: Windows,
          time_zone: z.string(),
          mode: LimitModes,
          limit: amount,
          committed: amount,
          reserved: amount,
          remaining: amount,
          burn_per_day: amount.nullable(),
          forecast: amount.nullable(),
          exhausted_at: time.nullable(),
          starts_at: time,
          resets_at: time.nullable(),
        }),
      )
      .readonly(),
    rows_left_off: count,
  })
  .openapi("Budgets");

export const BudgetsQuery = z.strictObject({
  ...Tenanted,
  run: RunId.optional(),
  at: Moment.optional().openapi({ description: "Now if absent." }),
  format: z.enum(FORMATS).optional(),
});

export const closingMembers = {
  id: z.string(),
  tenant: z.string(),
  from: time,
  to: time,
  closed_by: z.string(),
  closed_at: time,
};

export const Closing = z.object(closingMembers).openapi("Closing");

const driftSums = z.object({ outcomes: count, successes: count, cost_usd: usd });

export const Drift = z
  .object({
    ...closingMembers,
    as_of: time.nullable(),
    has_drifted: z.boolean(),
    rows: z
      .array(
        z.object({
          type: z.string().nullable(),
          closed: driftSums,
          now: driftSums,
          difference: driftSums,
        }),
      )
      .readonly(),
  })
  .openapi("Drift");

export const Conservation = z
  .object({
    tenant: z.string(),
    as_of: time,
    holds: z.boolean(),
    settled_usd: usd,
    adjusted_usd: usd.openapi({ description: "What operators credited and debited beside it." }),
    behind_usd: usd.openapi({ description: "Posted since, and in no roll-up yet." }),
    lines: z.array(z.object({ name: z.string(), usd, difference_usd: usd })).readonly(),
    meters: count,
    meters_differing: count,
    sentences: z.array(z.string()).readonly(),
  })
  .openapi("Conservation");
