/** Reports: what outcomes cost, what was spent and wasted, which runs did it, and how long budgets last. */
import { z } from "@hono/zod-openapi";

import {
  COHORTS,
  type Filters,
  type GroupingKind,
  type OutcomeStatus,
  parseGroupings,
  parseLabelFilter,
  RUN_SORTS,
} from "../core/report.ts";
import { define, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  type Format,
  focusAnswer,
  formatOf,
  inFormat,
  REPORT_MEDIA,
  type Sheet,
} from "./report-formats.ts";
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

const OUTCOME_GROUPINGS: readonly GroupingKind[] = [
  "type",
  "key",
  "customer",
  "workflow",
  "label",
  "run",
  "day",
  "week",
  "month",
  "model",
  "upstream",
  "tool",
  "door",
  "step",
];

const SPEND_GROUPINGS: readonly GroupingKind[] = [
  ...OUTCOME_GROUPINGS,
  "tenant",
  "ending",
  "basis",
  "reason",
];

const PERIOD_ABOUT = ["from", "to", "time_zone", "as_of", "closed"];

const OUTCOME_COLUMNS = [
  "outcomes.success",
  "outcomes.failure",
  "outcomes.partial",
  "outcomes.reversed",
  "cost_per_success_usd",
  "cost_p50_usd",
  "cost_p95_usd",
  "cost_usd",
  "cost_of_failures_usd",
  "failed_usd",
  "waste_usd",
  "attempts",
  "blocked",
  "retries",
  "tokens",
  "estimated_share",
  "unpriced",
  "open",
  "is_floor",
  "price_versions",
  "value_usd",
  "valued",
  "margin_usd",
];

const SPEND_COLUMNS = [
  "attempts",
  "blocked",
  "retries",
  "unpriced",
  "cost_usd",
  "failed_usd",
  "waste_usd",
  "estimated_usd",
  "presumed_usd",
  "tokens",
  "input_tokens",
  "cached_tokens",
  "output_tokens",
  "price_versions",
];

const RUN_COLUMNS = [
  "run",
  "key",
  "customer",
  "workflow",
  "labels",
  "started_at",
  "last_at",
  "cost_usd",
  "failed_usd",
  "waste_usd",
  "estimated_usd",
  "attempts",
  "blocked",
  "retries",
  "unpriced",
  "tokens",
  "outcomes",
];

const BUDGET_COLUMNS = [
  "limit_id",
  "scope.kind",
  "scope.id",
  "subject",
  "unit",
  "window",
  "time_zone",
  "mode",
  "limit",
  "committed",
  "reserved",
  "remaining",
  "burn_per_day",
  "forecast",
  "exhausted_at",
  "starts_at",
  "resets_at",
];

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
        "occurred, or in which its first run began.",
      scopes: ["report", "admin"],
      tenancy: "one",
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
      const { cohort = "outcome" } = query;
      const terms = { ...termsOf(query, OUTCOME_GROUPINGS), tenantId, cohort };
      const report = await ledger.reports.costPerOutcome(terms);
      const unattributed = {
        cost_usd: report.unattributed_usd,
        unpriced: report.unattributed_unpriced,
      };
      const sheet = {
        name: "cost-per-outcome",
        groups: report.group_by,
        columns: OUTCOME_COLUMNS,
        about: [...PERIOD_ABOUT, "cohort"],
        more: [...leftOff(report.left_off), { line: "unattributed", values: unattributed }],
      };
      return inFormat(formatOf(query.format, accept), report, sheet) ?? report;
    },
  );
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
      return inFormat(format, report, spendSheet("spend", report)) ?? report;
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
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...PeriodQuery, ...PayerQuery, ...ResourceQuery }),
      body: NONE,
      status: 200,
      answer: Waste,
      alsoMedia: REPORT_MEDIA,
    },
    async ({ bindings: { ledger }, tenantId, query, accept }) => {
      const report = await ledger.reports.waste({ ...termsOf(query, []), tenantId });
      const format = formatOf(query.format, accept);
      return inFormat(format, report, spendSheet("waste", report)) ?? report;
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
      const about = [...PERIOD_ABOUT, "next"];
      const sheet = { name: "runs", groups: [], columns: RUN_COLUMNS, about, more: [] };
      return inFormat(formatOf(query.format, accept), report, sheet) ?? report;
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
        "The rate is that of its window so far. Budgets of runs are shown where `run` names one.",
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
      const report = await ledger.reports.budgets({ tenantId, run: query.run ?? null });
      const about = ["as_of", "rows_left_off"];
      const sheet = { name: "budgets", groups: [], columns: BUDGET_COLUMNS, about, more: [] };
      return inFormat(formatOf(query.format, accept), report, sheet) ?? report;
    },
  );
}

type ReportQuery = {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly time_zone?: string | undefined;
  readonly closing?: string | undefined;
  readonly format?: Format | undefined;
  readonly group_by?: string | undefined;
  readonly label?: string | undefined;
  readonly status?: OutcomeStatus | undefined;
} & { readonly [Name in keyof Omit<Filters, "label" | "status">]?: string | undefined };

function termsOf(query: ReportQuery, allowed: readonly GroupingKind[]) {
  return {
    from: query.from ?? null,
    to: query.to ?? null,
    timeZone: query.time_zone ?? "UTC",
    closing: query.closing ?? null,
    groupings: parseGroupings(query.group_by ?? "", allowed),
    filters: {
      key: query.key ?? null,
      customer: query.customer ?? null,
      workflow: query.workflow ?? null,
      label: query.label === undefined ? null : parseLabelFilter(query.label),
      model: query.model ?? null,
      upstream: query.upstream ?? null,
      tool: query.tool ?? null,
      type: query.type ?? null,
      status: query.status ?? null,
      ending: query.ending ?? null,
      basis: query.basis ?? null,
    },
  };
}

function spendSheet(
  name: string,
  report: { readonly group_by: readonly string[]; readonly left_off: object | null },
): Sheet {
  return {
    name,
    groups: report.group_by,
    columns: SPEND_COLUMNS,
    about: PERIOD_ABOUT,
    more: leftOff(report.left_off),
  };
}

function leftOff(values: object | null): Sheet["more"] {
  return values === null ? [] : [{ line: "left_off", values }];
}
