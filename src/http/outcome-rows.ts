/**
 * Outcomes from a file: NDJSON, or CSV with a header. Each row is read by itself, and one that cannot be
 * read is a line of the report and ends nothing; a text of which nobody can say where its rows are is
 * refused whole, before anything is recorded.
 */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "../core/limits.ts";
import { OUTCOME_CELLS_MAX, OUTCOME_ROWS_MAX } from "../core/limits-finance.ts";
import { operationText, parseOperation } from "../core/operation.ts";
import type { OutcomeSubject, ToldOutcome } from "../core/outcome.ts";
import { readCsv } from "../lib/csv.ts";
import { check, parseBody } from "./api-body.ts";
import { outcomeMembers, readOrFlaw, toldOf, weightFrom, type Read } from "./outcome-members.ts";
import { RunId } from "./schemas.ts";

export const CSV = "text/csv";
export const NDJSON = "application/x-ndjson";

/** What a report of rejected rows adds to them, so that such a file can be mended and imported again. */
const NOTES = { reject_line: z.unknown().optional(), reject_reason: z.unknown().optional() };

const Row = z.strictObject({
  ...outcomeMembers,
  run: RunId.nullish(),
  operation: z.string().max(CONTEXT_FIELD_BYTES_MAX).nullish(),
  ...NOTES,
});

/** The columns of a CSV file, in the order in which they are told. */
export const OUTCOME_COLUMNS: readonly string[] = [
  "run",
  "operation",
  ...Object.keys(outcomeMembers),
];

const NOTE_COLUMNS: readonly string[] = Object.keys(NOTES);

/** `line`: where it begins, from 1. */
export type OutcomeRow = { readonly line: number; readonly read: Read<ToldOutcome> };

/** Throws InputError for a text that has no rows to speak of, or too many. */
export function readOutcomeRows(media: string, text: string): readonly OutcomeRow[] {
  return media === CSV ? csvRows(text) : jsonRows(text);
}

function jsonRows(text: string): readonly OutcomeRow[] {
  const lines: { readonly line: number; readonly text: string }[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() !== "") lines.push({ line: at + 1, text: line });
    refuseTooMany(lines.length);
  }
  return lines.map(({ line, text: row }) => ({
    line,
    read: readOrFlaw(() => toldFrom(parseBody(row))),
  }));
}

/** Before a row is looked at: what a flawed one takes, two million of them hold the process for a minute. */
function refuseTooMany(rows: number): void {
  if (rows <= OUTCOME_ROWS_MAX) return;
  const message = `An import has at most ${OUTCOME_ROWS_MAX} rows, and this has more: send it in parts.`;
  throw new InputError("invalid_value", null, message);
}

/** The header, and one row more than are taken. */
const CSV_BOUNDS = { recordsMax: OUTCOME_ROWS_MAX + 2, cellsMax: OUTCOME_CELLS_MAX };

function csvRows(text: string): readonly OutcomeRow[] {
  const csv = readCsv(text, CSV_BOUNDS);
  if (csv.kind === "broken") {
    throw new InputError("invalid_value", null, `Line ${csv.line} is no CSV: ${csv.why}.`);
  }
  const [header, ...records] = csv.records;
  if (header === undefined) {
    throw new InputError("invalid_value", null, "The first line of a CSV file names its columns.");
  }
  const names = columnsOf(header.cells);
  refuseTooMany(records.length);
  return records.map(({ line, cells }) => ({
    line,
    read: readOrFlaw(() => toldFrom(membersOf(names, cells))),
  }));
}

function columnsOf(cells: readonly string[]): readonly string[] {
  const names = cells.map((cell) => cell.trim());
  const unknown = names.find((name) => ![...OUTCOME_COLUMNS, ...NOTE_COLUMNS].includes(name));
  if (unknown !== undefined) {
    // A text that is no CSV at all is one name, as long as the whole of it.
    const name = unknown.slice(0, CONTEXT_FIELD_BYTES_MAX);
    const message =
      `There is no column '${name}'. The columns, separated by commas and named in the first line, are ` +
      `${OUTCOME_COLUMNS.join(", ")}.`;
    throw new InputError("unknown_parameter", name, message);
  }
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) {
    throw new InputError("invalid_value", twice, `The column '${twice}' stands there twice.`);
  }
  return names;
}

/** An empty cell says nothing. */
function membersOf(names: readonly string[], cells: readonly string[]): unknown {
  if (cells.length !== names.length) {
    const message = `The row has ${cells.length} cells, and the header names ${names.length} columns.`;
    throw new InputError("invalid_value", null, message);
  }
  const said = names.flatMap((name, at) => {
    const cell = cells[at] ?? "";
    return cell === "" ? [] : [[name, name === "weight" ? weightFrom(cell) : cell] as const];
  });
  return Object.fromEntries(said);
}

function toldFrom(value: unknown): ToldOutcome {
  const { run, operation, reject_line: _, reject_reason: __, ...said } = check(Row, value);
  return toldOf(subjectOf(run ?? null, operation ?? null), said);
}

function subjectOf(run: string | null, operation: string | null): OutcomeSubject {
  if (run !== null && operation === null) return { kind: "run", name: run };
  if (run === null && operation !== null) {
    return { kind: "operation", name: operationText(parseOperation(operation, "operation")) };
  }
  const message = "An outcome is of a run or of an operation: name one of the two.";
  throw new InputError("invalid_value", "run", message);
}
