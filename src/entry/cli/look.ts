/** `runs`, `decisions`, `usage`: what happened, why, and what it cost. */
import { InvalidArgumentError, type Command } from "commander";

import { isList } from "../../lib/json.ts";
import { addReplay } from "./backtest.ts";
import { addRunExport } from "./run-export.ts";
import { member, textOf, writeFields, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import type { Reply } from "./client.ts";
import type { Terminal } from "./terminal.ts";

const RUN_COLUMNS: readonly Column[] = [
  { title: "run", value: "id" },
  { title: "state", value: "state" },
  { title: "parent", value: "parent" },
  { title: "labels", value: "labels" },
  { title: "created", value: "created_at" },
  { title: "stopped", value: "stopped_at" },
];

const BUDGET_COLUMNS: readonly Column[] = [
  { title: "budget", value: "budget.limit_usd" },
  { title: "committed", value: "budget.committed_usd" },
  { title: "reserved", value: "budget.reserved_usd" },
  { title: "remaining", value: "budget.remaining_usd" },
];

const TOTAL_COLUMNS: readonly Column[] = [
  { title: "attempts", value: "totals.attempts" },
  { title: "blocked", value: "totals.blocked" },
  { title: "repeated", value: "totals.repeated" },
  { title: "in flight", value: "totals.in_flight" },
  { title: "unknown", value: "totals.unknown" },
  { title: "unpriced", value: "totals.unpriced" },
  { title: "cost", value: "totals.cost_usd" },
  { title: "adjusted", value: "totals.adjusted_usd" },
  { title: "held", value: "totals.reserved_usd" },
  { title: "tokens", value: "totals.tokens" },
];

const ATTEMPT_COLUMNS: readonly Column[] = [
  { title: "at", value: "decided_at" },
  { title: "decision", value: "decision" },
  { title: "model", value: (row) => textOf(member(row, "model") ?? member(row, "resource")) },
  { title: "step", value: "step" },
  { title: "status", value: "status" },
  { title: "reason", value: "reason" },
  { title: "tokens", value: "tokens", align: "right" },
  { title: "cost", value: "cost_usd", align: "right" },
  { title: "held", value: "reserved_usd", align: "right" },
  { title: "basis", value: "basis" },
];

/** Only where a model of the run asked for a tool, or one of its tools was asked for. */
const CALLS_COLUMN: Column = { title: "tool calls", value: callsText };

const DECISION_COLUMNS: readonly Column[] = [
  { title: "decision", value: "id" },
  { title: "verdict", value: "verdict" },
  { title: "reason", value: "reason" },
  { title: "status", value: "status" },
  { title: "run", value: "run" },
  { title: "step", value: "step" },
  { title: "attempt", value: "attempt" },
  { title: "key", value: "key" },
  { title: "operation", value: "operation" },
  { title: "resource", value: "resource" },
  { title: "upstream", value: "upstream" },
  { title: "model", value: "model" },
  { title: "estimate", value: "estimate_usd" },
  { title: "cost", value: "cost_usd" },
  { title: "provider's cost", value: "provider_cost_usd" },
  { title: "adjusted", value: "adjusted_usd" },
  { title: "held", value: "reserved_usd" },
  { title: "overage", value: "overage_usd" },
  { title: "basis", value: "basis" },
  { title: "usage", value: "usage" },
  { title: "price", value: "price_version" },
  { title: "decided", value: "decided_at" },
  { title: "ended", value: "ended_at" },
];

const METER_COLUMNS: readonly Column[] = [
  { title: "limit", value: "limit_id" },
  { title: "scope", value: "scope" },
  { title: "subject", value: "subject" },
  { title: "unit", value: "unit" },
  { title: "window", value: "window" },
  { title: "of", value: "limit", align: "right" },
  { title: "committed", value: "committed", align: "right" },
  { title: "reserved", value: "reserved", align: "right" },
  { title: "asked", value: "asked", align: "right" },
  { title: "mode", value: "mode" },
];

export function addRuns(program: Command, terminal: Terminal): void {
  const runs = program.command("runs").description("runs: one execution of an agent or workflow");
  session.act(
    session.paged(runs.command("list").description("list the runs")),
    terminal,
    async (s) => {
      const query = session.pageQuery(s);
      const reply = await s.ask({ method: "GET", path: "/api/runs", query, scope: "report" });
      const none = "No run yet: name one with the header Tollgate-Run, or tollgate runs set RUN";
      session.showList(s, reply, { columns: RUN_COLUMNS, none });
    },
  );
  const show = runs
    .command("show")
    .description("the timeline of a run: every attempt, its decision, its cost")
    .argument("<run>");
  session.act(session.paged(show), terminal, async (s) => {
    const query = session.pageQuery(s);
    showTimeline(s, await s.ask({ method: "GET", path: runPath(s), query, scope: "report" }));
  });
  const stop = runs.command("stop").description("admit nothing more in this run").argument("<run>");
  session.act(stop, terminal, async (s) => {
    const path = `${runPath(s)}/stop`;
    showStopped(s, await s.ask({ method: "POST", path, body: {}, scope: "admin" }));
  });
  const set = runs
    .command("set")
    .description("create a run, or set its budget and labels")
    .argument("<run>")
    .option("--budget <usd>", "dollars it may spend, as 1.50", session.amount)
    .option("--label <name=value>", "a label; may be repeated", collectLabel)
    .option("--parent <run>", "the run whose budget it draws on too; fixed once created")
    .option("--derived-from <run>", "the run that it executes anew; fixed once created");
  session.act(set, terminal, async (s) => {
    const body = {
      budget_usd: session.option(s.options, "budget"),
      labels: labelsOf(session.repeated(s.options, "label")),
      parent: session.option(s.options, "parent"),
      derived_from: session.option(s.options, "derivedFrom"),
    };
    const reply = await s.ask({ method: "PUT", path: runPath(s), body, scope: "invoke" });
    session.showOne(s, reply, [...RUN_COLUMNS, ...BUDGET_COLUMNS]);
  });
  addRunExport(runs, terminal);
}

export function addDecisions(program: Command, terminal: Terminal): void {
  const decisions = program
    .command("decisions")
    .description("decisions: what was decided, and why");
  const list = decisions
    .command("list")
    .description("list the decisions, newest first")
    .option("--run <run>", "those of one run");
  session.act(session.paged(list), terminal, async (s) => {
    const query = { ...session.pageQuery(s), run: session.option(s.options, "run") };
    const reply = await s.ask({ method: "GET", path: "/api/decisions", query, scope: "report" });
    session.showList(s, reply, { columns: ATTEMPT_COLUMNS, none: "No decision yet." });
  });
  const explain = decisions
    .command("explain")
    .description("say in sentences why, and what became of it");
  session.act(explain.argument("<id>", "dec_…"), terminal, async (s) => {
    const reply = await askDecision(s);
    if (s.json) return session.writeJson(s, reply);
    const sentences = member(reply.body, "explanation");
    for (const sentence of isList(sentences) ? sentences : [])
      terminal.out(`${textOf(sentence)}\n`);
  });
  const show = decisions
    .command("show")
    .description("show the record, with every meter on its path");
  session.act(show.argument("<id>", "dec_…"), terminal, async (s) => {
    const reply = await askDecision(s);
    session.showOne(s, reply, DECISION_COLUMNS);
    const meters = member(reply.body, "meters");
    if (s.json || !isList(meters) || meters.length === 0) return;
    terminal.out("\n");
    writeTable(terminal, METER_COLUMNS, meters);
  });
  addReplay(decisions, terminal);
}

export function addReports(program: Command, terminal: Terminal): void {
  const usage = program
    .command("usage")
    .description("what the tenant used and paid, by model and by day")
    .option("--from <date>", "first day, in UTC, as 2027-01-01")
    .option("--to <date>", "the day after the last");
  session.act(usage, terminal, async (s) => {
    const { options } = s;
    const query = { from: session.option(options, "from"), to: session.option(options, "to") };
    const reply = await s.ask({ method: "GET", path: "/api/usage", query, scope: "report" });
    showUsage(s, reply);
  });
}

function showTimeline(s: Session, reply: Reply): void {
  session.showOne(s, reply, [...RUN_COLUMNS, ...BUDGET_COLUMNS, ...TOTAL_COLUMNS]);
  if (s.json) return;
  const attempts = member(reply.body, "attempts");
  if (isList(attempts) && attempts.length > 0) {
    s.terminal.out("\n");
    const hasCalls = attempts.some((attempt) => callsText(attempt) !== "");
    writeTable(
      s.terminal,
      hasCalls ? [...ATTEMPT_COLUMNS, CALLS_COLUMN] : ATTEMPT_COLUMNS,
      attempts,
    );
  }
  session.hintNext(s, reply);
}

/** `asks read_file: att_…` of a model, `asked by att_…` of a tool. */
function callsText(attempt: unknown): string {
  const by = member(attempt, "proposed_by.attempt");
  if (typeof by === "string") return `asked by ${by}`;
  const proposals = member(attempt, "proposals");
  if (!isList(proposals)) return "not matched";
  const asked = proposals.map((proposal) => {
    const taken = member(proposal, "attempt") ?? "not taken up";
    return `asks ${textOf(member(proposal, "name"))}: ${textOf(taken)}`;
  });
  return asked.join(", ");
}

function showStopped(s: Session, reply: Reply): void {
  const inFlight = member(reply.body, "in_flight");
  const idsOf = (status: string) =>
    (isList(inFlight) ? inFlight : [])
      .filter((attempt) => member(attempt, "status") === status)
      .map((attempt) => textOf(member(attempt, "id")));
  const [running, unknown] = [idsOf("admitted").join(", "), idsOf("unknown").join(", ")];
  const rest = [
    running === "" ? "nothing is in flight" : `still in flight: ${running}`,
    ...(unknown === "" ? [] : [`nobody knows how these ended: ${unknown}`]),
    ...(member(reply.body, "in_flight_more") === true ? ["and more"] : []),
  ];
  session.showDone(s, reply, `Stopped ${textOf(s.argument(0))}; ${rest.join("; ")}.`);
}

function showUsage(s: Session, reply: Reply): void {
  if (s.json) return session.writeJson(s, reply);
  const counts: readonly Column[] = [
    { title: "attempts", value: "attempts", align: "right" },
    { title: "blocked", value: "blocked", align: "right" },
    { title: "repeated", value: "repeated", align: "right" },
    { title: "unpriced", value: "unpriced", align: "right" },
    { title: "tokens", value: "tokens", align: "right" },
    { title: "cost", value: "cost_usd", align: "right" },
  ];
  writeFields(
    s.terminal,
    [
      { title: "from", value: "from" },
      { title: "to", value: "to" },
    ],
    reply.body,
  );
  writeFields(s.terminal, counts, member(reply.body, "totals"));
  // Its own line, where there is one: the costs above are what was settled.
  if (member(reply.body, "adjustments.entries") !== 0) {
    const net = { title: "adjustments", value: "adjustments.net_usd" };
    writeFields(s.terminal, [net], reply.body);
  }
  for (const name of ["model", "day"]) {
    const rows = member(reply.body, `by_${name}`);
    if (!isList(rows) || rows.length === 0) continue;
    s.terminal.out("\n");
    // Calls of tools are summed by what is asked of each server.
    const of = name === "model" ? [{ title: "upstream", value: "upstream" }] : [];
    writeTable(s.terminal, [...of, { title: name, value: name }, ...counts], rows);
  }
  showRetries(s, member(reply.body, "by_attempt"));
}

/** Only where anything was tried more than once. */
function showRetries(s: Session, rows: unknown): void {
  if (!isList(rows) || !rows.some((row) => member(row, "attempt") !== 1)) return;
  s.terminal.out("\n");
  writeTable(
    s.terminal,
    [
      { title: "resource", value: "resource" },
      { title: "attempt", value: "attempt", align: "right" },
      { title: "attempts", value: "attempts", align: "right" },
      { title: "succeeded", value: "succeeded", align: "right" },
      { title: "cost", value: "cost_usd", align: "right" },
    ],
    rows,
  );
}

function askDecision(s: Session): Promise<Reply> {
  const path = `/api/decisions/${encodeURIComponent(s.argument(0))}`;
  return s.ask({ method: "GET", path, scope: "report" });
}

function runPath(s: Session): string {
  return `/api/runs/${encodeURIComponent(s.argument(0))}`;
}

/** Collects the labels as they are typed, so that a wrong one is told as a typing error. */
export function collectLabel(
  text: string,
  before: readonly string[] | undefined,
): readonly string[] {
  if (text.indexOf("=") > 0) return [...(before ?? []), text];
  throw new InvalidArgumentError("A label is name=value.");
}

/** Null leaves the labels as they are. */
export function labelsOf(pairs: readonly string[]): Readonly<Record<string, string>> | null {
  if (pairs.length === 0) return null;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
