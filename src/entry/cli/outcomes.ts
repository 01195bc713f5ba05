/** `outcomes`: what became of runs and operations. */
import { InvalidArgumentError, Option, type Command } from "commander";

import { OUTCOME_WEIGHT_MAX } from "../../core/limits-finance.ts";
import { OUTCOME_STATUSES } from "../../core/outcome.ts";
import { operationPath } from "./operations.ts";
import { addOutcomeImport } from "./outcome-import.ts";
import { member, textOf, writeHint, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "outcome", value: "id" },
  { title: "type", value: "type" },
  { title: "status", value: "status" },
  { title: "of", value: (row) => subjectText(row) },
  { title: "key", value: "key" },
  { title: "value", value: "value_usd", align: "right" },
  { title: "weight", value: "weight", align: "right" },
  { title: "occurred", value: "occurred_at" },
  { title: "superseded by", value: "superseded_by" },
];

const RECORDED: readonly Column[] = [
  ...COLUMNS.slice(0, -1),
  { title: "supersedes", value: "supersedes" },
  { title: "evidence", value: "evidence" },
  { title: "recorded", value: "recorded_at" },
];

export function addOutcomes(program: Command, terminal: Terminal): void {
  const outcomes = program
    .command("outcomes")
    .description("outcomes: what became of runs and operations, and what it was worth");
  addRecord(outcomes, terminal);
  addList(outcomes, terminal);
  addOutcomeImport(outcomes, terminal);
}

function addRecord(outcomes: Command, terminal: Terminal): void {
  const record = outcomes
    .command("record")
    .description("say what became of a run or an operation; the same again changes nothing")
    .argument("[run]")
    .option("--operation <operation>", "of an operation in place of a run, as refund:order-123")
    .requiredOption("--type <type>", "a declared one: see `outcome-types list`")
    .addOption(statusOption().makeOptionMandatory())
    .option("--item <key>", "its `key`, where a run has several: as the number of a ticket")
    .option("--value <usd>", "what it is worth, in dollars", session.amount)
    .option("--weight <n>", "its part of a run that several share (default: 1)", weight)
    .option("--evidence <text>", "how it is known")
    .option("--occurred-at <time>", "when, as 2026-11-22T10:00:00Z (default: now)")
    .option("--supersedes <outcome>", "the outcome that this one corrects, as out_…");
  session.act(record, terminal, async (s) => {
    const said = (name: string) => session.option(s.options, name);
    const weighed = said("weight");
    const body = {
      type: said("type"),
      status: said("status"),
      key: said("item"),
      value_usd: said("value"),
      weight: weighed === null ? null : Number(weighed),
      evidence: said("evidence"),
      occurred_at: said("occurredAt"),
      supersedes: said("supersedes"),
    };
    const path = `${subjectPath(s)}/outcome`;
    const reply = await s.ask({ method: "POST", path, body, scope: "invoke" });
    session.showOne(s, reply, RECORDED);
    if (!s.json && member(reply.body, "repeated") === true) {
      writeHint(s.terminal, "It was recorded before: nothing was written.");
    }
  });
}

function addList(outcomes: Command, terminal: Terminal): void {
  const list = session
    .paged(outcomes.command("list").description("list outcomes, newest first, corrected ones too"))
    .option("--run <run>", "only of this run")
    .option("--operation <operation>", "only of this operation, as refund:order-123")
    .option("--type <type>", "only of this type")
    .addOption(statusOption())
    .option("--from <day>", "occurred on this day or later, as 2026-11-01")
    .option("--to <day>", "occurred before this day");
  session.act(list, terminal, async (s) => {
    const said = (name: string) => session.option(s.options, name);
    const query = {
      ...session.pageQuery(s),
      run: said("run"),
      operation: said("operation"),
      type: said("type"),
      status: said("status"),
      from: said("from"),
      to: said("to"),
    };
    const reply = await s.ask({ method: "GET", path: "/api/outcomes", query, scope: "report" });
    const none = `No outcome. ${session.typed(s, "outcomes record RUN --type ticket_resolved --status success")}`;
    session.showList(s, reply, { columns: COLUMNS, none });
  });
}

function statusOption(): Option {
  return new Option("--status <status>", "what became of it").choices(OUTCOME_STATUSES);
}

function subjectPath(s: Session): string {
  const run = s.argument(0);
  const operation = session.option(s.options, "operation");
  if (run !== "" && operation === null) return `/api/runs/${encodeURIComponent(run)}`;
  if (run === "" && operation !== null) return operationPath(operation);
  throw new CliError("An outcome is of a run or of an operation: name one of the two.", EXIT_USAGE);
}

function subjectText(row: unknown): string {
  const operation = member(row, "operation");
  return typeof operation === "string" ? operation : textOf(member(row, "run"));
}

function weight(text: string): string {
  if (/^\d{1,4}$/.test(text) && Number(text) <= OUTCOME_WEIGHT_MAX) return text;
  throw new InvalidArgumentError(`A whole number from 0 to ${OUTCOME_WEIGHT_MAX} is needed.`);
}
