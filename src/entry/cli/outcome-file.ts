/** A file of outcomes: its rows, the parts in which they are sent, and the file of those that did not match. */
import { JSON_DEPTH_MAX } from "../../core/limits.ts";
import { OUTCOME_IMPORT_BYTES_MAX, OUTCOME_ROWS_MAX } from "../../core/limits-finance.ts";
import { canonicalJson, parseStrictJson } from "../../lib/canonical-json.ts";
import { csvCell, readCsv } from "../../lib/csv.ts";
import { isRecord } from "../../lib/json.ts";
import { CliError } from "./terminal.ts";

export const FORMATS = ["csv", "ndjson"] as const;
export type Format = (typeof FORMATS)[number];

/** `line`: where it begins in the file. */
type Row = { readonly line: number; readonly text: string };

export type OutcomeFile = {
  readonly media: string;
  /** What stands before the rows of each part. */
  readonly head: string;
  readonly rows: readonly Row[];
  readonly rejects: (rejected: readonly Rejected[]) => string;
};

export type Rejected = {
  readonly row: Row;
  readonly code: string;
  readonly param: string | null;
  readonly reason: string;
};

/** Throws CliError where nobody can say where its rows are. */
export function readOutcomeFile(format: Format, text: string): OutcomeFile {
  return format === "csv" ? csvFile(text) : jsonFile(text);
}

export type Part = { readonly rows: readonly Row[]; readonly text: string };

/** As many rows as one import takes, by their number and their bytes. */
export function partsOf({ head, rows }: OutcomeFile): readonly Part[] {
  const parts: Part[] = [];
  let taken: Row[] = [];
  let bytes = Buffer.byteLength(head);
  const end = () => {
    if (taken.length === 0) return;
    parts.push({ rows: taken, text: `${head}${taken.map(({ text }) => `${text}\n`).join("")}` });
    taken = [];
    bytes = Buffer.byteLength(head);
  };
  for (const row of rows) {
    const more = Buffer.byteLength(row.text) + 1;
    if (taken.length === OUTCOME_ROWS_MAX || bytes + more > OUTCOME_IMPORT_BYTES_MAX) end();
    taken.push(row);
    bytes += more;
  }
  end();
  return parts;
}

const NOTES: readonly string[] = ["reject_line", "reject_reason"];

function csvFile(text: string): OutcomeFile {
  const csv = readCsv(text);
  if (csv.kind === "broken") throw new CliError(`Line ${csv.line} is no CSV: ${csv.why}.`);
  const [header, ...records] = csv.records;
  if (header === undefined) {
    throw new CliError("The file is empty: the first line of a CSV file names its columns.");
  }
  const cellsAt = new Map(records.map(({ line, cells }) => [line, cells]));
  // What an earlier report noted is replaced by what this one notes.
  const own = (cells: readonly string[]) =>
    cells.filter((_, at) => !NOTES.includes(header.cells[at]?.trim() ?? ""));
  const lineOf = (cells: readonly string[]) => `${cells.map(csvCell).join(",")}\n`;
  return {
    media: "text/csv",
    head: `${header.text}\n`,
    rows: records,
    rejects: (rejected) => {
      const lines = rejected.map(({ row, reason }) =>
        lineOf([...own(cellsAt.get(row.line) ?? []), String(row.line), reason]),
      );
      return [lineOf([...own(header.cells), ...NOTES]), ...lines].join("");
    },
  };
}

function jsonFile(text: string): OutcomeFile {
  const rows = text.split("\n").flatMap((line, at) => {
    return line.trim() === "" ? [] : [{ line: at + 1, text: line.trim() }];
  });
  return {
    media: "application/x-ndjson",
    head: "",
    rows,
    rejects: (rejected) => rejected.map((each) => `${rejectedJson(each)}\n`).join(""),
  };
}

function rejectedJson({ row, reason }: Rejected): string {
  const read = parseStrictJson(row.text, JSON_DEPTH_MAX);
  const members =
    read.kind === "value" && isRecord(read.value) ? read.value : { reject_text: row.text };
  return canonicalJson({ ...members, reject_line: row.line, reject_reason: reason });
}
