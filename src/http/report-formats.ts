/** A report as the table that somebody's tool reads: CSV, lines of JSON, or the columns of FOCUS. */
import { InputError } from "../core/errors.ts";
import { FOCUS_COLUMNS, type FocusCharge } from "../ledger/focus.ts";
import { isList, isRecord } from "../lib/json.ts";

export const FORMATS = ["json", "csv", "ndjson", "focus"] as const;
export type Format = (typeof FORMATS)[number];

export const REPORT_MEDIA = ["text/csv", "application/x-ndjson"] as const;

/** What `format` says, else what the header prefers among what there is, else JSON. */
export function formatOf(named: Format | undefined, accept: string): Format {
  if (named !== undefined) return named;
  for (const range of accept.toLowerCase().split(",")) {
    const media = range.split(";")[0]?.trim();
    if (media === "text/csv") return "csv";
    if (media === "application/x-ndjson") return "ndjson";
    if (media === "application/json") return "json";
  }
  return "json";
}

/** A report: its rows, and all that stands beside them. */
export type Tabular = { readonly rows: readonly object[] };

/** The columns of a report's rows behind its groups: paths, and the header is the path with underscores. */
export type Sheet = {
  readonly name: string;
  readonly groups: readonly string[];
  readonly columns: readonly string[];
  /** Of the report, repeated on each line, so that a file says by itself what it is of. */
  readonly about: readonly string[];
  /** Lines beside the rows: what was left off, what is not attributed. */
  readonly more: readonly { readonly line: string; readonly values: object }[];
};

/** Every row in its place, and a last line with the total and all else. Null for JSON, which is the report itself. */
export function inFormat(format: Format, report: Tabular, sheet: Sheet): Response | null {
  switch (format) {
    case "json":
      return null;
    case "csv":
      return textAnswer("text/csv; charset=utf-8", csvOf(report, sheet), `${sheet.name}.csv`);
    case "ndjson":
      return textAnswer("application/x-ndjson", linesOf(report), `${sheet.name}.ndjson`);
    case "focus": {
      const message = "Only spend has FOCUS columns: ask for it, or for another format.";
      throw new InputError("invalid_value", "format", message);
    }
  }
}

export function focusAnswer(charges: readonly FocusCharge[]): Response {
  const lines = charges.map((charge) => FOCUS_COLUMNS.map((column) => charge[column]));
  const text = csvText([FOCUS_COLUMNS, ...lines]);
  return textAnswer("text/csv; charset=utf-8", text, "focus.csv");
}

/** RFC 4180: CRLF, quotes doubled, one header. The sum of a column over all lines is its total. */
function csvOf(report: Tabular, { groups, columns, about, more }: Sheet): string {
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

function linesOf(report: Tabular): string {
  const { rows, ...rest } = report;
  const lines = [...rows.map((row) => ({ line: "row", ...row })), { line: "report", ...rest }];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

type Cell = string | null;

function csvText(lines: readonly (readonly Cell[])[]): string {
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\r\n`).join("");
}

const NUMBER = /^-?\d+(?:\.\d+)?$/u;

/**
 * One cell. A text that a spreadsheet would take for a formula gets an apostrophe in front, which shows it
 * as it is: names come from callers, and `=HYPERLINK(…)` must run on nobody's machine. A number is no
 * formula, whatever its sign.
 */
export function csvCell(cell: Cell): string {
  if (cell === null) return "";
  const text = /^[=+\-@\t\r]/u.test(cell) && !NUMBER.test(cell) ? `'${cell}` : cell;
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

function textAnswer(media: string, text: string, name: string): Response {
  const headers = {
    "cache-control": "no-store",
    "content-type": media,
    "content-disposition": `attachment; filename="${name}"`,
  };
  return new Response(text, { status: 200, headers });
}
