/**
 * `outcomes import`: a file of outcomes, sent in parts. Each row is accounted for: accepted, repeated, or
 * told with its line and why it did not match. If it breaks off, the same file again goes on where it
 * stopped, because what was accepted before is repeated.
 */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Option, type Command } from "commander";

import { OUTCOME_FILE_BYTES_MAX } from "../../core/limits-finance.ts";
import { assert } from "../../lib/assert.ts";
import { decodeUtf8 } from "../../lib/json.ts";
import {
  FORMATS,
  partsOf,
  readOutcomeFile,
  type Format,
  type OutcomeFile,
  type Part,
  type Rejected,
} from "./outcome-file.ts";
import { member, textOf, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_PARTLY, EXIT_USAGE, type Terminal } from "./terminal.ts";

const REJECTED: readonly Column[] = [
  { title: "line", value: "line", align: "right" },
  { title: "code", value: "code" },
  { title: "member", value: "param" },
  { title: "reason", value: "reason" },
];

export function addOutcomeImport(outcomes: Command, terminal: Terminal): void {
  const importing = outcomes
    .command("import")
    .description("record the outcomes of a file: CSV with a header, or lines of JSON")
    .argument("<file>", "FILE.csv, FILE.ndjson or FILE.jsonl")
    .option("--dry-run", "write nothing, and say what would become of each row")
    .option("--rejects <file>", "write the rows that do not match there, to be mended and imported")
    .addOption(
      new Option("--format <format>", "what the file is, where its name does not say").choices(
        FORMATS,
      ),
    );
  session.act(importing, terminal, async (s) => {
    const path = s.argument(0);
    const file = readOutcomeFile(formatOf(s, path), readFile(path));
    const writeRejects = rejectsWriter(s, path, file);
    const counts = { accepted: 0, repeated: 0 };
    const rejected: Rejected[] = [];
    let done = 0;
    try {
      for (const part of partsOf(file)) {
        const results = await sendPart(s, file, part);
        for (const [at, result] of results.entries()) {
          const row = part.rows[at];
          assert(row !== undefined, "a result for each row");
          if (result.result === "not_matched") rejected.push({ ...result, row });
          else counts[result.result] += 1;
        }
        done += part.rows.length;
        if (terminal.isTerminal) terminal.err(`\r${done} of ${file.rows.length} rows`);
      }
    } finally {
      if (terminal.isTerminal && done > 0) terminal.err("\n");
      writeRejects(rejected);
      // What failed before anything was sent says why by itself.
      if (done > 0 || file.rows.length === 0) {
        tell(s, { rows: file.rows.length, done, ...counts, rejected });
      }
    }
    if (rejected.length === 0) return;
    const message = `${rejected.length} of ${file.rows.length} rows did not match.`;
    throw new CliError(message, EXIT_PARTLY);
  });
}

type Told = {
  readonly rows: number;
  readonly done: number;
  readonly accepted: number;
  readonly repeated: number;
  readonly rejected: readonly Rejected[];
};

function tell(s: Session, { rows, done, accepted, repeated, rejected }: Told): void {
  const dry = s.options["dryRun"] === true;
  const told = rejected.map(({ row, code, param, reason }) => {
    return { line: row.line, code, param, reason };
  });
  const counts = { accepted, repeated, not_matched: rejected.length, not_sent: rows - done };
  if (s.json) {
    s.terminal.out(`${JSON.stringify({ dry_run: dry, rows, ...counts, rejected: told })}\n`);
    return;
  }
  if (told.length > 0) writeTable(s.terminal, REJECTED, told);
  const sentence = Object.entries(counts)
    .filter(([name, count]) => count > 0 || name === "accepted")
    .map(([name, count]) => `${count} ${name.replace("_", " ")}`)
    .join(", ");
  const unsent = rows > done ? " Import the same file again: it goes on where it stopped." : "";
  s.terminal.out(
    `${rows} rows: ${sentence}.${dry ? " Nothing was written: a dry run." : ""}${unsent}\n`,
  );
}

type Result =
  | { readonly result: "accepted" | "repeated" }
  | ({ readonly result: "not_matched" } & Omit<Rejected, "row">);

async function sendPart(
  s: Session,
  { media }: OutcomeFile,
  { rows, text }: Part,
): Promise<readonly Result[]> {
  const reply = await s.ask({
    method: "POST",
    path: "/api/outcomes/import",
    query: { dry_run: s.options["dryRun"] === true ? "true" : null },
    content: { media, text },
    scope: "invoke",
  });
  const results = session.listOf(reply.body, "results").map(resultFrom);
  if (results.length === rows.length) return results;
  throw new CliError(
    `The answer tells of ${results.length} rows, and ${rows.length} were sent: is this another version of Tollgate?`,
  );
}

function resultFrom(value: unknown): Result {
  const result = member(value, "result");
  if (result === "accepted" || result === "repeated") return { result };
  const param = member(value, "param");
  return {
    result: "not_matched",
    code: textOf(member(value, "code")),
    param: typeof param === "string" ? param : null,
    reason: textOf(member(value, "reason")),
  };
}

function formatOf({ options }: Session, path: string): Format {
  const stated = session.option(options, "format");
  const ending = stated ?? /\.([a-z]+)$/i.exec(path)?.[1]?.toLowerCase();
  if (ending === "jsonl") return "ndjson";
  const format = FORMATS.find((known) => known === ending);
  if (format !== undefined) return format;
  throw new CliError(`What is ${path}? Say it with --format: ${FORMATS.join(" or ")}.`, EXIT_USAGE);
}

function readFile(path: string): string {
  const bytes = onFile(path, () => {
    if (statSync(path).size > OUTCOME_FILE_BYTES_MAX) {
      const most = OUTCOME_FILE_BYTES_MAX / 1024 / 1024;
      throw new CliError(`${path} has more than ${most} MiB: split it.`);
    }
    return readFileSync(path);
  });
  const text = decodeUtf8(bytes);
  if (text !== null) return text;
  throw new CliError(`${path} is not UTF-8: save it as such, as spreadsheets offer.`);
}

/** The file is begun at once: where it cannot be written, nothing is recorded either. */
function rejectsWriter(
  { options }: Session,
  path: string,
  file: OutcomeFile,
): (rejected: readonly Rejected[]) => void {
  const target = session.option(options, "rejects");
  if (target === null) return () => undefined;
  if (resolve(target) === resolve(path)) {
    throw new CliError("--rejects names the file that is imported: name another.", EXIT_USAGE);
  }
  const write = (rejected: readonly Rejected[]) =>
    onFile(target, () => writeFileSync(target, file.rejects(rejected)));
  write([]);
  return write;
}

function onFile<Value>(path: string, work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    if (error instanceof CliError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "error";
    throw new CliError(`${path} cannot be read or written (${code}).`);
  }
}
