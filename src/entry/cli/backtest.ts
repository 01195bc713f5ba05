/** Judging again from the command line: backtests, replays and shadow reports; long ones part by part. */
import { existsSync } from "node:fs";

import { InvalidArgumentError, type Command } from "commander";

import { isVersionStart } from "../../core/policy.ts";
import { picousdFromUsd, usdOf } from "../../core/money.ts";
import { isList, isRecord } from "../../lib/json.ts";
import { member, textOf, writeFields, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const CHANGE_COLUMNS: readonly Column[] = [
  { title: "at", value: "decided_at" },
  { title: "decision", value: "decision" },
  { title: "resource", value: "resource" },
  { title: "was", value: "before" },
  { title: "would be", value: "after" },
  { title: "reason", value: "reason" },
  { title: "cost", value: "cost_usd", align: "right" },
];

const SUM_COLUMNS: readonly Column[] = [
  { title: "decisions", value: "decisions" },
  { title: "unchanged", value: "unchanged" },
  { title: "changed", value: "changed" },
  { title: "changes not listed", value: (row) => leftOffText(row) },
  { title: "not knowable", value: "unknowable" },
  { title: "because", value: "unknowable_because" },
  { title: "all cost", value: "settled_usd" },
  { title: "would be blocked", value: "would_block_usd" },
  { title: "would be asked about", value: "would_ask_usd" },
  { title: "newly allowed", value: "newly_allowed" },
  { title: "on other terms", value: "other_terms" },
];

const SHADOW_POLICIES: readonly Column[] = [
  { title: "policy", value: "id" },
  { title: "version", value: (row) => textOf(member(row, "version")).slice(0, 12) },
  { title: "would", value: "effect" },
  { title: "judged", value: "judged", align: "right" },
  { title: "matched", value: "matched", align: "right" },
  { title: "failed", value: "failed", align: "right" },
  { title: "cost of these", value: "matched_usd", align: "right" },
  { title: "last", value: "last_match" },
];

const SHADOW_LIMITS: readonly Column[] = [
  { title: "limit", value: "limit_id" },
  { title: "unit", value: "unit" },
  { title: "window", value: "window" },
  { title: "met", value: "met", align: "right" },
  { title: "refused", value: "refused", align: "right" },
  { title: "cost of these", value: "refused_usd", align: "right" },
  { title: "last", value: "last_refused" },
];

/** Changes listed of a long backtest: the rest is counted. */
const CHANGES_LISTED_MAX = 1_000;

/** Decisions of one part: the dearest bundle takes 15 ms for each, and the client waits for half a minute. */
const PART_ROWS = 1_000;

/** Parts of one command: a hundred million decisions. */
const PARTS_MAX = 100_000;

export function addBacktest(
  policies: Command,
  terminal: Terminal,
  readFile: (path: string) => Promise<string>,
): void {
  const backtest = policies
    .command("backtest")
    .description("what a bundle would have decided, and the difference in cost; spends nothing")
    .argument("<bundle>", "a file, or pol_… of a stored one");
  session.act(periodOptions(backtest), terminal, async (s) => {
    const named = s.argument(0);
    const isVersion = isVersionStart(named) && !existsSync(named);
    const candidate = isVersion ? { version: named } : { source: await readFile(named) };
    showSum(s, await allParts(s, "/api/policies/backtest", candidate));
  });
  const shadow = policies
    .command("shadow-report")
    .description("what shadow policies and shadow limits would have done");
  session.act(periodOptions(shadow, false), terminal, async (s) => {
    const query = periodOf(s);
    const path = "/api/policies/shadow-report";
    const reply = await s.ask({ method: "GET", path, query, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    showTable(s, member(reply.body, "policies"), SHADOW_POLICIES, "No shadow policy judged.");
    showTable(s, member(reply.body, "limits"), SHADOW_LIMITS, "No shadow limit was met.");
  });
}

/** `decisions replay`: one decision, or a period of them. */
export function addReplay(decisions: Command, terminal: Terminal): void {
  const replay = decisions
    .command("replay")
    .description(
      "judge recorded facts again by what they were judged by: the verdict must be the same",
    )
    .argument("[id]", "dec_…; without one, all of a period")
    .option("--policies <version>", "judge one decision by another stored bundle");
  session.act(periodOptions(replay), terminal, async (s) => {
    refuseMixed(s);
    if (s.argument(0) === "") {
      const sum = await allParts(s, "/api/replay", {});
      showSum(s, sum);
      if (sum.changed > 0) throw new CliError(`${sum.changed} verdicts are not what was recorded.`);
      return;
    }
    const path = `/api/decisions/${encodeURIComponent(s.argument(0))}/replay`;
    const body = { version: session.option(s.options, "policies") };
    const reply = await s.ask({ method: "POST", path, body, scope: "report" });
    if (s.json) session.writeJson(s, reply);
    else showReplay(s.terminal, reply.body);
    if (body.version !== null || member(reply.body, "equal") === true) return;
    const isKnown = member(reply.body, "equal") === false;
    throw new CliError(
      isKnown ? "The verdict is not what was recorded." : "Whether it is the same cannot be known.",
    );
  });
}

/** An option that would change nothing is a mistake: what it asks for would seem to be answered. */
function refuseMixed(s: Session): void {
  const isOne = s.argument(0) !== "";
  const idle = isOne ? ["from", "to", "run"] : ["policies"];
  const name = idle.find((each) => session.option(s.options, each) !== null);
  if (name === undefined) return;
  throw new CliError(
    isOne
      ? `--${name} is for many decisions: leave away ${textOf(s.argument(0))}, or the option.`
      : `--policies is for one decision: name it, or judge many with ${session.typed(s, "policies backtest")}.`,
    EXIT_USAGE,
  );
}

function showReplay(terminal: Terminal, body: unknown): void {
  const why = member(body, "why");
  if (typeof why === "string") return terminal.out(`not knowable: ${textOf(why)}\n`);
  const isEqual = member(body, "equal") === true;
  terminal.out(isEqual ? "the same verdict\n" : `differs in ${textOf(member(body, "differs"))}\n`);
  for (const side of ["recorded", "now"]) {
    const { verdict, reason, risk, needs_approval: approval } = record(member(body, side));
    const asks = approval === true ? ", needs approval" : "";
    const because = reason === null ? "" : ` (${textOf(reason)})`;
    terminal.out(`${side.padEnd(8)}  ${textOf(verdict)}${because}${asks}, risk ${textOf(risk)}\n`);
  }
}

type Sum = {
  readonly body: Readonly<Record<string, unknown>>;
  readonly changed: number;
};

/** Asks for part after part, and adds them up; says on standard error how far it is. */
async function allParts(
  s: Session,
  path: string,
  candidate: Readonly<Record<string, unknown>>,
): Promise<Sum> {
  const { from, to: end } = periodOf(s);
  const run = session.option(s.options, "run");
  // One end for all parts: what is decided meanwhile is not chased.
  const to = end ?? new Date().toISOString();
  let body: Readonly<Record<string, unknown>> = {};
  let cursor: string | null = null;
  for (let part = 0; part < PARTS_MAX; part += 1) {
    const asked = { ...candidate, from, to, run, cursor, rows: PART_ROWS };
    const reply = await s.ask({ method: "POST", path, body: asked, scope: "report" });
    body = merged(body, record(reply.body));
    const { next } = record(reply.body);
    cursor = typeof next === "string" ? next : null;
    if (cursor === null) return sumOf(body);
    writeHint(s.terminal, `${textOf(body["decisions"])} decisions judged again …`);
  }
  throw new CliError("The period is too long for one command: give --from and --to.");
}

function sumOf(body: Readonly<Record<string, unknown>>): Sum {
  const { changes } = body;
  const changed = Number(body["changed"]);
  const listed = isList(changes) ? changes.length : 0;
  return { body: { ...body, changes_left_off: changed - listed, next: null }, changed };
}

function leftOffText(row: unknown): string {
  const count = member(row, "changes_left_off");
  return count === 0 ? "" : textOf(count);
}

/** Counts and amounts add up; lists follow each other, as far as they are listed. */
function merged(
  before: Readonly<Record<string, unknown>>,
  part: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const sum: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(part)) {
    const old = before[name];
    if (typeof value === "number") sum[name] = (typeof old === "number" ? old : 0) + value;
    else if (name.endsWith("_usd") && typeof value === "string") {
      const amount = picousdFromUsd(typeof old === "string" ? old : "0") + picousdFromUsd(value);
      sum[name] = usdOf(amount);
    } else if (isList(value)) {
      sum[name] = [...(isList(old) ? old : []), ...value].slice(0, CHANGES_LISTED_MAX);
    } else if (isRecord(value)) sum[name] = merged(record(old), value);
  }
  return sum;
}

function showSum(s: Session, { body }: Sum): void {
  const { terminal } = s;
  if (s.json) return terminal.out(`${JSON.stringify(body)}\n`);
  const { changes } = body;
  if (isList(changes) && changes.length > 0) {
    writeTable(terminal, CHANGE_COLUMNS, changes);
    terminal.out("\n");
  }
  writeFields(terminal, SUM_COLUMNS, body);
  writeHint(
    terminal,
    "What would be blocked is what those calls cost. What newly allowed calls would have cost, nobody can know.",
  );
}

function showTable(s: Session, rows: unknown, columns: readonly Column[], none: string): void {
  if (isList(rows) && rows.length > 0) writeTable(s.terminal, columns, rows);
  else writeHint(s.terminal, none);
}

function periodOptions(command: Command, hasRun = true): Command {
  command
    .option(
      "--from <date>",
      "from then on, as 2027-01-01 or 2027-01-01T12:00:00Z (default: this month)",
      date,
    )
    .option("--to <date>", "to before then (default: now)", date);
  return hasRun ? command.option("--run <run>", "of one run") : command;
}

function periodOf({ options }: Session) {
  return { from: session.option(options, "from"), to: session.option(options, "to") };
}

function date(text: string): string {
  const isDate = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2}))?$/.test(text);
  if (isDate && !Number.isNaN(new Date(text).getTime())) return text;
  throw new InvalidArgumentError("A date is needed, as 2027-01-31.");
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}
