/** A report as the table that somebody's tool reads: CSV, lines of JSON, or the columns of FOCUS. */
import { InputError } from "../core/errors.ts";
import { FOCUS_COLUMNS, type FocusCharge } from "../ledger/focus.ts";
import { csvOf, csvText, type Laid, type Tabular } from "../ledger/report-sheets.ts";

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

/** The report itself, or a text with every row in its place and all else beside them. */
export function inFormat<Report extends Tabular>(
  format: Format,
  laid: Laid<Report>,
): Report | Response {
  const { report, sheet } = laid;
  switch (format) {
    case "json":
      return report;
    case "csv":
      return textAnswer("text/csv; charset=utf-8", csvOf(laid), `${sheet.name}.csv`);
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

function linesOf(report: Tabular): string {
  const { rows, ...rest } = report;
  const lines = [...rows.map((row) => ({ line: "row", ...row })), { line: "report", ...rest }];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

function textAnswer(media: string, text: string, name: string): Response {
  const headers = {
    "cache-control": "no-store",
    "content-type": media,
    "content-disposition": `attachment; filename="${name}"`,
  };
  return new Response(text, { status: 200, headers });
}
