/**
 * Reports, for people who pay. Each says whose figures it has, of which period, and as of when; and is read
 * from what the roll-up keeps, after a turn of it, so that who just called sees the call.
 *
 * What is posted counts on the day of its posting. A closed period is read from the copies that its closing
 * made: its reports are the same to the byte, whatever comes later.
 */
import { InputError } from "../core/errors.ts";
import { REPORT_DAYS_MAX } from "../core/limits-finance.ts";
import { QUARTER_MS, type Filters, type Grouping, type NamedPeriod } from "../core/report.ts";
import { findClosing, findClosingOf } from "../store/closings.ts";
import type { Database } from "../store/database.ts";
import { type Period, readNamedPeriod, readPeriod } from "../store/reports-terms.ts";
import { rolledUpAsOf } from "../store/roll-up.ts";
import { readNow } from "../store/usage.ts";
import { budgetsReport, type BudgetsReport, type BudgetsTerms } from "./report-budgets.ts";
import { outcomesReport, type OutcomesReport, type OutcomesTerms } from "./report-outcomes.ts";
import { refuseUnknown } from "./report-known.ts";
import { runsReport, type RunsReport, type RunsTerms } from "./report-runs.ts";
import {
  focusReport,
  spendReport,
  type SpendReport,
  wasteReport,
  type WasteReport,
  type WasteTerms,
} from "./report-spend.ts";
import type { FocusCharge } from "./focus.ts";
import { rollUpInTime, rollUpTenant } from "./roll-up.ts";
import { summed } from "./summed.ts";

export type ReportTerms = {
  /** Null: all tenants, where a report can. */
  readonly tenantId: string | null;
  /** A day, or a moment; null: the month's. */
  readonly from: string | null;
  readonly to: string | null;
  /** In place of both; null: they say which. */
  readonly named: NamedPeriod | null;
  readonly timeZone: string;
  /** The id of a closing, in place of a period. */
  readonly closing: string | null;
  readonly groupings: readonly Grouping[];
  readonly filters: Filters;
};

export type PeriodTerms = Pick<ReportTerms, "from" | "to" | "named" | "timeZone">;

/** What a report is of, once it is known. */
export type Resolved = Period & {
  readonly tenantId: string | null;
  /** Empty: as it is now. */
  readonly closingId: string;
  /** Null: as of its reading. */
  readonly closedAsOf: Date | null;
  readonly timeZone: string;
  readonly groupings: readonly Grouping[];
  readonly filters: Filters;
};

/** What every report begins with. */
export type ReportHead = {
  readonly tenant: string | null;
  readonly from: string;
  readonly to: string;
  readonly time_zone: string;
  /** All that was recorded before this moment is in it. */
  readonly as_of: string;
  /** The closing whose copies were read, or null. */
  readonly closed: string | null;
  readonly group_by: readonly string[];
};

export type Reports = {
  readonly costPerOutcome: (terms: OutcomesTerms) => Promise<OutcomesReport>;
  readonly spend: (terms: ReportTerms) => Promise<SpendReport>;
  readonly waste: (terms: WasteTerms) => Promise<WasteReport>;
  readonly runs: (terms: RunsTerms) => Promise<RunsReport>;
  readonly budgets: (terms: BudgetsTerms) => Promise<BudgetsReport>;
  /** The charges of a period, as the FOCUS specification names them. */
  readonly focus: (terms: ReportTerms) => Promise<readonly FocusCharge[]>;
  /** The period that is meant, its days read in the zone. Throws InputError where it is none. */
  readonly period: (asked: PeriodTerms) => Promise<Period>;
  /** The ledger's clock. */
  readonly now: () => Promise<Date>;
  /** Brings the roll-ups up to now, a bounded part of a backlog; answers as of when they are. */
  readonly rollUp: () => Promise<Date>;
  /** The same, and what waits to be told, of one tenant whose figures are to be kept as of the moment that is answered. */
  readonly rollUpTenant: (tenantId: string) => Promise<{ readonly asked: Date }>;
};

export function createReports(db: Database): Reports {
  return {
    costPerOutcome: async (terms) => outcomesReport(db, terms, await resolve(db, terms)),
    spend: async (terms) => spendReport(db, await resolve(db, terms)),
    waste: async (terms) => wasteReport(db, terms, await resolve(db, terms)),
    runs: async (terms) => runsReport(db, terms, await resolve(db, terms)),
    budgets: (terms) => budgetsReport(db, terms),
    focus: async (terms) => focusReport(db, await resolve(db, terms)),
    period: (asked) => periodOf(db, asked),
    now: () => readNow(db.admin),
    rollUp: async () => {
      await rollUpInTime(db);
      return rolledUpAsOf(db.admin, null);
    },
    rollUpTenant: (tenantId) => rollUpTenant(db, tenantId),
  };
}

async function resolve(db: Database, terms: ReportTerms): Promise<Resolved> {
  const { tenantId, timeZone, groupings, filters } = terms;
  const shared = { tenantId, timeZone, groupings, filters };
  await refuseUnknown(db.admin, tenantId, filters);
  const named = await closingOf(db, terms);
  if (named !== null) return { ...shared, ...named };
  const period = await periodOf(db, terms);
  const closed = tenantId === null ? null : await findClosingOf(db.admin, tenantId, period);
  if (closed !== null) {
    return { ...shared, ...period, closingId: closed.closingId, closedAsOf: closed.asOf };
  }
  await rollUpInTime(db);
  return { ...shared, ...period, closingId: "", closedAsOf: null };
}

async function closingOf(db: Database, { tenantId, closing, from, to, named }: ReportTerms) {
  if (closing === null) return null;
  if (from !== null || to !== null || named !== null) {
    const message = "A closing has its own period: name it, or a period.";
    throw new InputError("invalid_value", "closing", message);
  }
  if (tenantId === null) {
    const message = "A closing is of one tenant: name it with `tenant`.";
    throw new InputError("missing_required_parameter", "tenant", message);
  }
  const found = await findClosing(db.admin, tenantId, closing);
  if (found === null) throw new InputError("not_found", "closing", "There is no such closing.");
  const { closingId, asOf, beginsAt, endsAt } = found;
  return { closingId, closedAsOf: asOf, from: beginsAt, to: endsAt };
}

const DAY_MS = 86_400_000;

async function periodOf(db: Database, asked: PeriodTerms): Promise<Period> {
  const { named, timeZone } = asked;
  if (named !== null && (asked.from !== null || asked.to !== null)) {
    const message = "Give a `period`, or 'from' and 'to': not both.";
    throw new InputError("invalid_value", "period", message);
  }
  const { from, to } = await summed(
    named === null ? readPeriod(db.admin, asked) : readNamedPeriod(db.admin, named, timeZone),
  );
  for (const [name, moment] of Object.entries({ from, to })) {
    if (moment.getTime() % QUARTER_MS === 0) continue;
    const message = `Reports count by quarters of an hour: '${name}' begins one, as 10:15.`;
    throw new InputError("invalid_value", name, message);
  }
  if (from.getTime() >= to.getTime()) {
    throw new InputError("invalid_value", "from", "The period ends before it begins.");
  }
  if (to.getTime() - from.getTime() > REPORT_DAYS_MAX * DAY_MS) {
    const message = `A report has at most ${REPORT_DAYS_MAX} days: ask for a shorter period.`;
    throw new InputError("invalid_value", "from", message);
  }
  return { from, to };
}
