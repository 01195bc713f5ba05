/** What was spent and what of it was wasted, by anything; and the same as lines of a bill. */
import { InputError } from "../core/errors.ts";
import {
  FOCUS_LINES_MAX,
  PRICE_VERSIONS_MAX,
  REPORT_ROWS_MAX,
  WASTEFUL_RUNS_MAX,
} from "../core/limits-finance.ts";
import { shareOf, type Grouping } from "../core/report.ts";
import { picousdFromUsd, usdOf } from "../core/money.ts";
import { assert } from "../lib/assert.ts";
import type { Database } from "../store/database.ts";
import { listCharges } from "../store/reports-focus.ts";
import { type SpendRow, sumSpend } from "../store/reports-spend.ts";
import { reading } from "../store/reports-terms.ts";
import { countOf } from "./amounts.ts";
import { chargeOf, type FocusCharge } from "./focus.ts";
import { groupsOf, headOf, inOrder, type Groups } from "./report-head.ts";
import { type RunLine, runsReport } from "./report-runs.ts";
import type { ReportHead, ReportTerms, Resolved } from "./reports.ts";
import { summed } from "./summed.ts";

export type SpendSums = {
  /** What was admitted. */
  readonly attempts: number;
  /** Refused by the gate: they cost nothing, and are no attempts. */
  readonly blocked: number;
  /** Asked again under their idempotency keys, and not run again. */
  readonly repeated: number;
  /** Of the attempts, those beyond the first of their step. */
  readonly retries: number;
  /** Attempts that did not succeed: a tool that is free fails at no cost. */
  readonly failed: number;
  /** Attempts without a known price: they are in no sum of money. */
  readonly unpriced: number;
  readonly cost_usd: string;
  /** Of attempts that did not succeed. */
  readonly failed_usd: string;
  /** Of retries that did not contribute. */
  readonly waste_usd: string;
  readonly estimated_usd: string;
  readonly presumed_usd: string;
  readonly tokens: number;
  /** Null where runs, steps, types, customers or labels are told apart, by which they are not kept. */
  readonly input_tokens: number | null;
  readonly cached_tokens: number | null;
  readonly output_tokens: number | null;
  readonly price_versions: readonly string[];
};

export type SpendLine = SpendSums & { readonly groups: Groups };

export type SpendReport = ReportHead & {
  readonly rows: readonly SpendLine[];
  readonly rows_left_off: number;
  /** What was left off in sum; with the rows it is the total. */
  readonly left_off: SpendSums | null;
  readonly total: SpendSums;
};

export type WasteTerms = ReportTerms & { readonly tenantId: string };

export type WasteReport = SpendReport & {
  /** Of all that was spent. */
  readonly waste_share: string | null;
  /** Of the runs that began in the period, those that wasted most. */
  readonly runs: readonly RunLine[];
};

export async function spendReport(db: Database, asked: Resolved): Promise<SpendReport> {
  refuseTyped(asked);
  return reportOf(asked, await read(db, asked, { order: "cost", rows: REPORT_ROWS_MAX }));
}

/** Where none is asked for. */
const WASTE_GROUPINGS: readonly Grouping[] = [
  { kind: "upstream", name: "upstream" },
  { kind: "model", name: "model" },
  { kind: "tool", name: "tool" },
];

export async function wasteReport(
  db: Database,
  terms: WasteTerms,
  given: Resolved,
): Promise<WasteReport> {
  refuseTyped(given);
  const groupings = given.groupings.length === 0 ? WASTE_GROUPINGS : given.groupings;
  const asked = { ...given, groupings };
  const report = reportOf(asked, await read(db, asked, { order: "waste", rows: REPORT_ROWS_MAX }));
  const page = { after: null, rows: WASTEFUL_RUNS_MAX };
  const { rows: runs } = await runsReport(db, { ...terms, sort: "waste", page }, given);
  const { waste_usd, cost_usd } = report.total;
  return {
    ...report,
    waste_share: shareOf(picousdFromUsd(waste_usd), picousdFromUsd(cost_usd)),
    runs: runs.filter((run) => picousdFromUsd(run.waste_usd) > 0n),
  };
}

export async function focusReport(db: Database, asked: Resolved): Promise<readonly FocusCharge[]> {
  if (asked.groupings.length > 0) {
    const message = "FOCUS lines have their own columns: leave out 'group_by'.";
    throw new InputError("invalid_value", "group_by", message);
  }
  if (asked.filters.type !== null) {
    const message = "FOCUS lines are charges, which no outcome bears whole: leave out 'type'.";
    throw new InputError("invalid_value", "type", message);
  }
  const rows = await summed(
    reading(db.admin, (tx) => listCharges(tx, { ...asked, rows: FOCUS_LINES_MAX + 1 })),
  );
  if (rows.length > FOCUS_LINES_MAX) {
    const message = `This period has more than ${FOCUS_LINES_MAX} lines: ask for a shorter one, as a day.`;
    throw new InputError("invalid_value", "from", message);
  }
  return rows.map(chargeOf);
}

function read(
  db: Database,
  asked: Resolved,
  how: { readonly order: "cost" | "waste"; readonly rows: number },
): Promise<readonly SpendRow[]> {
  return summed(reading(db.admin, (tx) => sumSpend(tx, { ...asked, ...how })));
}

/** Which type a cost is of changes with what is told later: of a closed period that is read from its copies. */
function refuseTyped({ closingId, groupings, filters }: Resolved): void {
  if (closingId === "") return;
  if (filters.type === null && !groupings.some(({ kind }) => kind === "type")) return;
  const message =
    "Of a closed period, spend and waste are not told apart by type: ask for its cost per outcome.";
  throw new InputError("invalid_value", filters.type === null ? "group_by" : "type", message);
}

function reportOf(asked: Resolved, rows: readonly SpendRow[]): SpendReport {
  const total = rows.find(({ line }) => line === "total");
  const leftOff = rows.find(({ line }) => line === "left_off");
  assert(total !== undefined && leftOff !== undefined, "a sum over nothing is a row as well");
  const listed = rows.filter(({ line }) => line === "row");
  return {
    ...headOf(asked, total.asOf),
    rows: inOrder(asked.groupings, listed).map((row) => lineOf(asked.groupings, row)),
    rows_left_off: countOf(leftOff.rows),
    left_off: leftOff.rows === "0" ? null : sumsOf(leftOff),
    total: sumsOf(total),
  };
}

function lineOf(groupings: readonly Grouping[], row: SpendRow): SpendLine {
  return { groups: groupsOf(groupings, row.groups), ...sumsOf(row) };
}

function sumsOf(row: SpendRow): SpendSums {
  return {
    attempts: countOf(row.attempts),
    blocked: countOf(row.blocked),
    repeated: countOf(row.repeated),
    retries: countOf(row.retries),
    failed: countOf(row.failures),
    unpriced: countOf(row.unpriced),
    cost_usd: usdOf(row.cost),
    failed_usd: usdOf(row.failed),
    waste_usd: usdOf(row.wasted),
    estimated_usd: usdOf(row.estimated),
    presumed_usd: usdOf(row.presumed),
    tokens: countOf(row.tokens),
    input_tokens: countOrNull(row.inputTokens),
    cached_tokens: countOrNull(row.cachedTokens),
    output_tokens: countOrNull(row.outputTokens),
    price_versions: row.priceVersions
      .filter((version) => version !== "")
      .toSorted()
      .slice(0, PRICE_VERSIONS_MAX),
  };
}

function countOrNull(digits: string | null): number | null {
  return digits === null ? null : countOf(digits);
}
