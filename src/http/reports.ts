/** Reports: what outcomes cost, what was spent and wasted, which runs did it, and how long budgets last. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import {
  COHORTS,
  filtersOf,
  type FilterTexts,
  type GroupingKind,
  type NamedPeriod,
  OUTCOME_GROUPINGS,
  parseGroupings,
  type PeriodName,
  RUN_SORTS,
  SPEND_GROUPINGS,
} from "../core/report.ts";
import { laidBudgets, laidOutcomes, laidRuns, laidSpend } from "../ledger/report-sheets.ts";
import { define, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { focusAnswer, formatOf, inFormat, REPORT_MEDIA } from "./report-formats.ts";
import {
  Budgets,
  BudgetsQuery,
  CostPerOutcome,
  GroupBy,
  PayerQuery,
  PeriodQuery,
  ResourceQuery,
  RunCosts,
  Spend,
  StatusQuery,
  Waste,
} from "./report-schemas.ts";
import { Paging } from "./schemas.ts";

export function reportRoutes(api: Api): void {
  outcomesRoute(api);
  spendRoute(api);
  wasteRoute(api);
  runsRoute(api);
  budgetsRoute(api);
}

function outcomesRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/cost-per-outcome",
      summary: "Say what one outcome costs: all that its runs cost, by its successes",
      description:
        "By outcome type, and by what `group_by` names. `cohort`: an outcome belongs to the period in which it " +
        "occurred, or in which its first run began. Of one tenant: the installation's key names it.",
      scopes: ["report", "admin"],
      tenancy: "any",
      params: NONE,
      query: z.strictObject({
        ...PeriodQuery,
        ...PayerQuery,
        group_by: GroupBy,
        cohort: z.enum(COHORTS).optional(),
      }),
      body: NONE,
      status: 200,
      answer: CostPerOutcome,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      if (tenantId === "") throw ofOneTenant();
      const { cohort = "outcome" } = query;
      const terms = { ...termsOf(query, OUTCOME_GROUPINGS), tenantId, cohort };
      const report = await ledger.reports.costPerOutcome(terms);
      return inFormat(formatOf(query.format, accept), laidOutcomes(report));
    },
  );
}

/** A percentile of several tenants' percentiles is none, and each has its own closings and types. */
function ofOneTenant(): InputError {
  const message =
    "What outcomes cost is told of one tenant at a time: name it with `tenant`, once for each that `GET /api/tenants` lists; " +
    "or ask for spend, grouped by tenant and type, which sums all of them.";
  return new InputError("missing_required_parameter", "tenant", message);
}

function spendRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/spend",
      summary: "Sum what was spent, by anything",
      description:
        "Counted on the day of its posting. The installation's key may leave out `tenant` and sums all of them.",
      scopes: ["report", "admin"],
      tenancy: "any",
      params: NONE,
      query: z.strictObject({ ...PeriodQuery, ...PayerQuery, ...ResourceQuery, group_by: GroupBy }),
      body: NONE,
      status: 200,
      answer: Spend,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      const format = formatOf(query.format, accept);
      const whose = tenantId === "" ? null : tenantId;
      const terms = { ...termsOf(query, SPEND_GROUPINGS), tenantId: whose };
      if (format === "focus") return focusAnswer(await ledger.reports.focus(terms));
      const report = await ledger.reports.spend(terms);
      return inFormat(format, laidSpend("spend", report));
    },
  );
}

function wasteRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/waste",
      summary:
        "Sum the retries that did not contribute, by model and tool, with the runs that wasted most",
      description: "By upstream, model and tool, or by what `group_by` names.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...PeriodQuery, ...PayerQuery, ...ResourceQuery, group_by: GroupBy }),
      body: NONE,
      status: 200,
      answer: Waste,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      const report = await ledger.reports.waste({
        ...termsOf(query, SPEND_GROUPINGS),
        tenantId,
      });
      return inFormat(formatOf(query.format, accept), laidSpend("waste", report));
    },
  );
}

function runsRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/runs",
      summary: "List the runs that began in a period, the dearest first",
      description: "`GET /api/runs/{run}` is the timeline of each.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...PeriodQuery,
        ...PayerQuery,
        ...ResourceQuery,
        ...StatusQuery,
        ...Paging,
        cursor: z
          .string()
          .max(300)
          .optional()
          .openapi({ description: "The `next` of the page before." }),
        sort: z.enum(RUN_SORTS).optional(),
      }),
      body: NONE,
      status: 200,
      answer: RunCosts,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      const { sort = "cost" } = query;
      const terms = { ...termsOf(query, []), tenantId, sort, page: pageFrom(query) };
      const report = await ledger.reports.runs(terms);
      return inFormat(formatOf(query.format, accept), laidRuns(report));
    },
  );
}

function budgetsRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/reports/budgets",
      summary: "Show every limit of money or tokens: used, held, remaining, and how long it lasts",
      description:
        "The rate is that of its window so far. Budgets of runs are shown where `run` names one. `at`: of the windows " +
        "that held this moment; of those that have ended, what they came to.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: BudgetsQuery,
      body: NONE,
      status: 200,
      answer: Budgets,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      const terms = { tenantId, run: query.run ?? null, at: query.at ?? null };
      const report = await ledger.reports.budgets(terms);
      return inFormat(formatOf(query.format, accept), laidBudgets(report));
    },
  );
}

type ReportQuery = FilterTexts & {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly period?: PeriodName | undefined;
  readonly fiscal_year_start?: number | undefined;
  readonly time_zone?: string | undefined;
  readonly closing?: string | undefined;
  readonly group_by?: string | undefined;
};

function termsOf(query: ReportQuery, allowed: readonly GroupingKind[]) {
  return {
    from: query.from ?? null,
    to: query.to ?? null,
    named: namedPeriod(query),
    timeZone: query.time_zone ?? "UTC",
    closing: query.closing ?? null,
    groupings: parseGroupings(query.group_by ?? "", allowed),
    filters: filtersOf(query),
  };
}

function namedPeriod(query: ReportQuery): NamedPeriod | null {
  const { period: name, fiscal_year_start: start } = query;
  if (name !== undefined) return { name, fiscalYearStart: start ?? 1 };
  if (start === undefined) return null;
  const message = "'fiscal_year_start' is of a `period`, as last_quarter: name one.";
  throw new InputError("invalid_value", "fiscal_year_start", message);
}
