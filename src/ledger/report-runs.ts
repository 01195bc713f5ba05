/** The runs behind a report: what each cost, what became of it, and where its timeline is. */
import { InputError } from "../core/errors.ts";
import { usdOf } from "../core/money.ts";
import type { OutcomeStatus, RunSort } from "../core/report.ts";
import type { Database } from "../store/database.ts";
import { listRunCosts, type RunCostRow, sumRunCosts } from "../store/reports-runs.ts";
import { reading } from "../store/reports-terms.ts";
import { rolledUpAsOf } from "../store/roll-up.ts";
import { countOf } from "./amounts.ts";
import { type Page, pageOf } from "./paged.ts";
import { headOf } from "./report-head.ts";
import type { ReportHead, ReportTerms, Resolved } from "./reports.ts";
import { summed } from "./summed.ts";

export type RunsTerms = ReportTerms & {
  readonly tenantId: string;
  readonly sort: RunSort;
  readonly page: Page;
};

export type RunLine = {
  /** Or an adjustment that names no run. */
  readonly run: string;
  readonly key: string | null;
  readonly customer: string | null;
  readonly workflow: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly started_at: string;
  readonly last_at: string;
  readonly cost_usd: string;
  readonly failed_usd: string;
  readonly waste_usd: string;
  readonly estimated_usd: string;
  readonly attempts: number;
  readonly blocked: number;
  readonly retries: number;
  readonly unpriced: number;
  readonly tokens: number;
  /** How many bear its cost. */
  readonly outcomes: number;
  /** The first of them, in the order in which they were told. */
  readonly outcome: readonly {
    readonly type: string;
    readonly subject: string;
    readonly key: string;
    readonly status: OutcomeStatus;
  }[];
};

export type RunsReport = Omit<ReportHead, "group_by"> & {
  readonly rows: readonly RunLine[];
  readonly next: string | null;
  /** Of all pages; null where some are chosen of a period of too many to look at each. */
  readonly total: {
    readonly runs: number;
    readonly attempts: number;
    readonly cost_usd: string;
    readonly waste_usd: string;
  } | null;
};

export async function runsReport(
  db: Database,
  terms: RunsTerms,
  resolved: Resolved,
): Promise<RunsReport> {
  const { tenantId, sort, page } = terms;
  refuseResource(resolved);
  const after = page.after === null ? null : afterOf(page.after);
  const asked = { ...resolved, tenantId, sort, after, rows: page.rows + 1 };
  const [rows, total, asOf] = await summed(
    reading(db.admin, (tx) =>
      Promise.all([listRunCosts(tx, asked), sumRunCosts(tx, asked), rolledUpAsOf(tx, tenantId)]),
    ),
  );
  const { data, next } = pageOf(rows, page, ({ figure, runId }) => `${figure}_${runId}`);
  const { group_by: _, ...head } = headOf(resolved, asOf);
  return {
    ...head,
    rows: data.map(lineOf),
    next,
    total:
      total === null
        ? null
        : {
            runs: countOf(total.runs),
            attempts: countOf(total.attempts),
            cost_usd: usdOf(total.cost),
            waste_usd: usdOf(total.wasted),
          },
  };
}

/** Which run used what is read from cells that go on, so that of a closed period it would not stay the same. */
function refuseResource({ closingId, filters }: Resolved): void {
  const { model, upstream, tool, ending, basis } = filters;
  if (closingId === "" || [model, upstream, tool, ending, basis].every((given) => given === null)) {
    return;
  }
  const message =
    "Of a closed period, runs are not chosen by model, upstream, tool, ending or basis.";
  throw new InputError("invalid_value", "closing", message);
}

/** The last figure, and the run whose it is. */
function afterOf(cursor: string): { readonly figure: string; readonly runId: string } {
  const match = /^(-?\d{1,38})_(.+)$/u.exec(cursor);
  const [, figure, runId] = match ?? [];
  if (figure !== undefined && runId !== undefined) return { figure, runId };
  const message = "'cursor' is the `next` of the page before.";
  throw new InputError("invalid_value", "cursor", message);
}

function lineOf(row: RunCostRow): RunLine {
  return {
    run: row.runId,
    key: row.keyId === "" ? null : row.keyId,
    customer: row.customer === "" ? null : row.customer,
    workflow: row.workflow === "" ? null : row.workflow,
    labels: row.labels,
    started_at: row.startedAt.toISOString(),
    last_at: row.lastAt.toISOString(),
    cost_usd: usdOf(row.cost),
    failed_usd: usdOf(row.failed),
    waste_usd: usdOf(row.wasted),
    estimated_usd: usdOf(row.estimated),
    attempts: countOf(row.attempts),
    blocked: countOf(row.blocked),
    retries: countOf(row.retries),
    unpriced: countOf(row.unpriced),
    tokens: countOf(row.tokens),
    outcomes: row.outcomes,
    outcome: row.named,
  };
}
