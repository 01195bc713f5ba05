/** A report as a table: its columns, and the text that a spreadsheet reads. */
import { isList, isRecord } from "../lib/json.ts";
import type { BudgetsReport } from "./report-budgets.ts";
import type { OutcomesReport } from "./report-outcomes.ts";
import type { RunsReport } from "./report-runs.ts";
import type { SpendReport } from "./report-spend.ts";

/** A report: its rows, and all that stands beside them. */
export type Tabular = { readonly rows: readonly object[] };

/** The columns of a report's rows behind its groups: paths, and the header is the path with underscores. */
type Sheet = {
  readonly name: string;
  readonly groups: readonly string[];
  readonly columns: readonly string[];
  /** Of the report, repeated on each line, so that a file says by itself what it is of. */
  readonly about: readonly string[];
  /** Lines beside the rows: what was left off, what is not attributed. */
  readonly more: readonly { readonly line: string; readonly values: object }[];
};

/** A report and how it is laid out. */
export type Laid<Report extends Tabular> = { readonly report: Report; readonly sheet: Sheet };

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
  "reconciliation_state",
  "value_usd",
  "valued",
  "margin_usd",
];

const SPEND_COLUMNS = [
  "attempts",
  "blocked",
  "repeated",
  "retries",
  "failed",
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

export function laidOutcomes(report: OutcomesReport): Laid<OutcomesReport> {
  const unattributed = {
    cost_usd: report.unattributed_usd,
    unpriced: report.unattributed_unpriced,
  };
  const sheet = {
    name: "cost-per-outcome",
    groups: report.group_by,
    columns: OUTCOME_COLUMNS,
    about: [...PERIOD_ABOUT, "cohort", "runs_without_outcome"],
    more: [...leftOff(report.left_off), { line: "unattributed", values: unattributed }],
  };
  return { report, sheet };
}

export function laidSpend<Report extends SpendReport>(
  name: "spend" | "waste",
  report: Report,
): Laid<Report> {
  const sheet = {
    name,
    groups: report.group_by,
    columns: SPEND_COLUMNS,
    about: PERIOD_ABOUT,
    more: leftOff(report.left_off),
  };
  return { report, sheet };
}

export function laidRuns(report: RunsReport): Laid<RunsReport> {
  const about = [...PERIOD_ABOUT, "next"];
  return { report, sheet: { name: "runs", groups: [], columns: RUN_COLUMNS, about, more: [] } };
}

export function laidBudgets(report: BudgetsReport): Laid<BudgetsReport> {
  const about = ["as_of", "rows_left_off"];
  const sheet = { name: "budgets", groups: [], columns: BUDGET_COLUMNS, about, more: [] };
  return { report, sheet };
}

function leftOff(values: object | null): Sheet["more"] {
  return values === null ? [] : [{ line: "left_off", values }];
}

/** RFC 4180: CRLF, quotes doubled, one header. The sum of a column over all lines is its total. */
export function csvOf<Report extends Tabular>({ report, sheet }: Laid<Report>): string {
  const { groups, columns, about, more } = sheet;
  const suffix = about.map((name) => cellOf(report, [name]));
  const line = (kind: string, row: object) => [
    kind,
    ...groups.map((name) => cellOf(row, ["groups", name])),
    ...columns.map((path) => cellOf(row, path.split("."))),
    ...suffix,
  ];
  const header = [
    "line",
    ...groups,
    ...columns.map((path) => path.replaceAll(".", "_")),
    ...about.map((name) => `report_${name}`),
  ];
  return csvText([
    header,
    ...report.rows.map((row) => line("row", row)),
    ...more.map(({ line: kind, values }) => line(kind, values)),
  ]);
}

type Cell = string | null;

export function csvText(lines: readonly (readonly Cell[])[]): string {
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

const NUMBER = /^-?\d+(?:\.\d+)?$/u;

/** Where a formula may begin: also behind what some spreadsheets take for the end of a cell, as Europe's do `;`. */
const FORMULA = /^(?=[=+\-@\t\r＝＋－＠])|(?<=[;\t])(?=[=+\-@＝＋－＠])/gu;

/**
 * One cell. A text that a spreadsheet would take for a formula gets an apostrophe in front, which shows it
 * as it is: names come from callers, and `=HYPERLINK(…)` must run on nobody's machine. A number is no
 * formula, whatever its sign.
 */
export function csvCell(cell: Cell): string {
  if (cell === null) return "";
  const text = NUMBER.test(cell) ? cell : cell.replaceAll(FORMULA, "'");
  return /[",\r\n]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The value at a path as a cell: a list as its items, what is deeper as JSON. */
function cellOf(value: unknown, path: readonly string[]): Cell {
  let at: unknown = value;
  for (const name of path) at = isRecord(at) && Object.hasOwn(at, name) ? at[name] : null;
  if (at === null || at === undefined) return null;
  if (isList(at)) return at.map((item) => cellOf(item, []) ?? "").join(" ");
  return typeof at === "string" ? at : JSON.stringify(at);
}
