/**
 * Sends reports of periods that have ended, behind the roll-ups and never on the request path. Any number of replicas may
 * do it. A report is made outside of any transaction; its message, and that its period was told, commit together: so
 * each period is told once, and whoever dies before that has told nothing.
 */
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import {
  REPORTS_TOLD_DAYS,
  SCHEDULED_CONTENT_BYTES_MAX,
  SCHEDULED_LEASE_MS,
  SCHEDULED_MISSED_MAX,
  SCHEDULED_TURN_MAX,
} from "../core/limits-finance.ts";
import { COHORTS, filtersOf, parseGroupings } from "../core/report.ts";
import { GROUPINGS_OF } from "../core/report-schedule.ts";
import { Fault, unreachable } from "../lib/assert.ts";
import type { Database } from "../store/database.ts";
import { claimReport, type DueReport, tellReport } from "../store/report-schedules.ts";
import { timeOrNull } from "./amounts.ts";
import type { BudgetsReport } from "./report-budgets.ts";
import {
  csvOf,
  laidBudgets,
  laidOutcomes,
  laidSpend,
  type Sheet,
  type Tabular,
} from "./report-sheets.ts";
import { createReports, type Reports } from "./reports.ts";

/**
 * Tells a bounded number of periods that have ended. Answers how many. One whose report the database fails at is
 * left for later, and holds up no other; what failed is thrown at the end, for whoever reads the log.
 */
export async function tellReportsTurn(db: Database, newId: () => string): Promise<number> {
  const reports = createReports(db);
  const failures: Fault[] = [];
  let told = 0;
  for (let step = 0; step < SCHEDULED_TURN_MAX; step += 1) {
    const due = await claimReport(db.admin, {
      leaseMs: SCHEDULED_LEASE_MS,
      missedMax: SCHEDULED_MISSED_MAX,
    });
    if (due === null) break;
    try {
      const body = await messageOf(reports, due);
      const message = { messageId: withPrefix("delivery", newId()), body };
      if (await tellReport(db.admin, due, { ...message, keptDays: REPORTS_TOLD_DAYS })) told += 1;
    } catch (cause) {
      failures.push(new Fault(`${due.scheduleId} of ${due.tenantId} could not be told`, { cause }));
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, "reports by schedule failed");
  return told;
}

/** A report that is ready to be sent, and its one line for whoever reads no further. */
type Ready = { readonly report: Tabular; readonly sheet: Sheet; readonly total: object };

async function messageOf(reports: Reports, due: DueReport): Promise<string> {
  const { ready, problem } = await readyOrProblem(reports, due);
  return JSON.stringify({
    type: "report.ready",
    timestamp: (await reports.now()).toISOString(),
    data: {
      tenant: due.tenantId,
      schedule_id: due.scheduleId,
      name: due.name,
      report: due.report,
      every: due.every,
      from: due.from.toISOString(),
      to: due.to.toISOString(),
      time_zone: due.timeZone,
      skipped_from: timeOrNull(due.skippedFrom),
      format: due.format,
      path: pathOf(due),
      total: ready?.total ?? null,
      rows: ready?.report.rows.length ?? null,
      content: ready === null ? null : contentOf(ready, due),
      problem,
    },
  });
}

/** A report that cannot be made as it is asked for is told as such: nobody waits for it, and the next ones come. */
async function readyOrProblem(
  reports: Reports,
  due: DueReport,
): Promise<{ readonly ready: Ready | null; readonly problem: string | null }> {
  try {
    return { ready: await readyOf(reports, due), problem: null };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ready: null, problem: error.message };
  }
}

async function readyOf(reports: Reports, due: DueReport): Promise<Ready> {
  const { report: kind, query, tenantId } = due;
  const terms = {
    tenantId,
    from: due.from.toISOString(),
    to: due.to.toISOString(),
    named: null,
    timeZone: due.timeZone,
    closing: null,
    groupings: parseGroupings(query.group_by ?? "", GROUPINGS_OF[kind]),
    filters: filtersOf(query),
  };
  switch (kind) {
    case "cost-per-outcome": {
      const cohort = COHORTS.find((known) => known === query.cohort) ?? "outcome";
      const report = await reports.costPerOutcome({ ...terms, cohort });
      const { runs_without_outcome, unattributed_usd, unattributed_unpriced } = report;
      const without = { runs_without_outcome, unattributed_usd, unattributed_unpriced };
      return { ...laidOutcomes(report), total: { ...report.total, ...without } };
    }
    case "spend": {
      const report = await reports.spend(terms);
      return { ...laidSpend("spend", report), total: report.total };
    }
    case "waste": {
      const report = await reports.waste(terms);
      const { total, waste_share } = report;
      return { ...laidSpend("waste", report), total: { ...total, waste_share } };
    }
    case "budgets": {
      const report = await reports.budgets({ tenantId, run: null, at: lastMoment(due) });
      return { ...laidBudgets(report), total: budgetsTotal(report) };
    }
    default:
      return unreachable(kind);
  }
}

/** Limits have no sum: how many there are, how many are used up, and how many will be before they reset. */
function budgetsTotal({ as_of: asOf, rows, rows_left_off }: BudgetsReport): object {
  const ends = rows.flatMap(({ exhausted_at: at }) => (at === null ? [] : [at]));
  const usedUp = ends.filter((at) => at <= asOf).length;
  return {
    budgets: rows.length + rows_left_off,
    used_up: usedUp,
    running_out: ends.length - usedUp,
  };
}

/** Of the windows that the period ended in, and not of those that begin with the next one. */
function lastMoment({ to }: DueReport): string {
  return new Date(to.getTime() - 1).toISOString();
}

/** The report as its route answers it; null where it is too large for a message. */
function contentOf({ report, sheet }: Ready, { format }: DueReport): Tabular | string | null {
  const text = format === "csv" ? csvOf({ report, sheet }) : JSON.stringify(report);
  if (new TextEncoder().encode(text).length > SCHEDULED_CONTENT_BYTES_MAX) return null;
  return format === "csv" ? text : report;
}

/** Where the same report is had again, by a key that may read it. */
function pathOf(due: DueReport): string {
  const { report, query, format, timeZone } = due;
  const of =
    report === "budgets"
      ? { at: lastMoment(due) }
      : { from: due.from.toISOString(), to: due.to.toISOString(), time_zone: timeZone };
  const asked = new URLSearchParams({ ...of, ...query, format });
  return `/api/reports/${report}?${asked.toString()}`;
}
