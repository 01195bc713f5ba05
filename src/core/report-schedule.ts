/** Reports that are sent when a period has ended: which there are, and what each is asked by. */
import { InputError } from "./errors.ts";
import {
  COHORTS,
  type GroupingKind,
  OUTCOME_GROUPINGS,
  parseGroupings,
  parseLabelFilter,
  SPEND_GROUPINGS,
} from "./report.ts";

export const SCHEDULED_REPORTS = ["cost-per-outcome", "spend", "waste", "budgets"] as const;
export type ScheduledReport = (typeof SCHEDULED_REPORTS)[number];

export const SCHEDULE_PERIODS = ["day", "week", "month"] as const;
export type SchedulePeriod = (typeof SCHEDULE_PERIODS)[number];

export const SCHEDULE_FORMATS = ["json", "csv"] as const;
export type ScheduleFormat = (typeof SCHEDULE_FORMATS)[number];

const PAYER = ["key", "customer", "workflow", "label", "type"] as const;
const RESOURCE = ["model", "upstream", "tool", "ending", "basis"] as const;
const MEMBERS = ["group_by", "cohort", ...PAYER, ...RESOURCE] as const;

/** As the report's own route takes it, but for the period. */
export type ScheduleQuery = { readonly [Member in (typeof MEMBERS)[number]]?: string };

const TAKEN: Record<ScheduledReport, ReadonlySet<string>> = {
  "cost-per-outcome": new Set(["group_by", "cohort", ...PAYER]),
  spend: new Set(["group_by", ...PAYER, ...RESOURCE]),
  waste: new Set(["group_by", ...PAYER, ...RESOURCE]),
  budgets: new Set(),
};

export const GROUPINGS_OF: Record<ScheduledReport, readonly GroupingKind[]> = {
  "cost-per-outcome": OUTCOME_GROUPINGS,
  spend: SPEND_GROUPINGS,
  waste: SPEND_GROUPINGS,
  budgets: [],
};

/** What a schedule asks its report by. Throws InputError at what that report does not take. */
export function scheduleQuery(
  report: ScheduledReport,
  given: Readonly<Record<string, unknown>>,
): ScheduleQuery {
  const query: Partial<Record<(typeof MEMBERS)[number], string>> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const member = MEMBERS.find((known) => known === name);
    if (member === undefined || !TAKEN[report].has(member) || typeof value !== "string") {
      const taken = [...TAKEN[report]].join(", ");
      const message = `A schedule of '${report}' takes ${taken === "" ? "no query" : taken}, and no '${name}'.`;
      throw new InputError("invalid_value", `query.${name}`, message);
    }
    query[member] = value;
  }
  parseGroupings(query.group_by ?? "", GROUPINGS_OF[report]);
  if (query.label !== undefined) parseLabelFilter(query.label);
  if (query.cohort !== undefined && !COHORTS.some((cohort) => cohort === query.cohort)) {
    const message = `'cohort' is ${COHORTS.join(" or ")}.`;
    throw new InputError("invalid_value", "query.cohort", message);
  }
  return query;
}
