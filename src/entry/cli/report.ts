/** `report`: what outcomes cost, what was spent and wasted, which runs did it, how long budgets last; and closings. */
import { writeFileSync } from "node:fs";

import { type Command, InvalidArgumentError } from "commander";

import { isList } from "../../lib/json.ts";
import type { Reply } from "./client.ts";
import {
  addOptions,
  type OptionTexts,
  OUTCOMES_GROUP_BY,
  PAYER,
  PERIOD,
  RESOURCE,
  SPEND_GROUP_BY,
} from "./report-options.ts";
import { addReconciliation } from "./reconcile.ts";
import { addReportSchedules } from "./report-schedules.ts";
import { member, textOf, writeFields, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, type Terminal } from "./terminal.ts";

const right = (title: string, value: Column["value"]): Column => ({ title, value, align: "right" });

const OUTCOME_COLUMNS: readonly Column[] = [
  right("success", "outcomes.success"),
  right("failure", "outcomes.failure"),
  right("partial", "outcomes.partial"),
  right("reversed", "outcomes.reversed"),
  right("per success", "cost_per_success_usd"),
  right("p50", "cost_p50_usd"),
  right("p95", "cost_p95_usd"),
  right("cost", "cost_usd"),
  right("of failures", "cost_of_failures_usd"),
  right("waste", "waste_usd"),
  right("attempts", "attempts"),
  right("retries", "retries"),
  right("estimated", "estimated_share"),
  right("unpriced", "unpriced"),
  { title: "floor", value: "is_floor" },
  right("margin", "margin_usd"),
  { title: "invoices", value: "reconciliation_state" },
];

const SPEND_COLUMNS: readonly Column[] = [
  right("attempts", "attempts"),
  right("blocked", "blocked"),
  right("repeated", "repeated"),
  right("retries", "retries"),
  right("failed", "failed"),
  right("unpriced", "unpriced"),
  right("cost", "cost_usd"),
  right("of failed", "failed_usd"),
  right("waste", "waste_usd"),
  right("estimated", "estimated_usd"),
  right("presumed", "presumed_usd"),
  right("tokens", "tokens"),
];

const RUN_COLUMNS: readonly Column[] = [
  { title: "run", value: "run" },
  { title: "customer", value: "customer" },
  { title: "workflow", value: "workflow" },
  { title: "started", value: "started_at" },
  right("cost", "cost_usd"),
  right("failed", "failed_usd"),
  right("waste", "waste_usd"),
  right("attempts", "attempts"),
  right("retries", "retries"),
  {
    title: "outcome",
    value: (row) => {
      const told = member(row, "outcome");
      const each = isList(told) ? told : [];
      return each
        .map((one) => `${textOf(member(one, "type"))} ${textOf(member(one, "status"))}`)
        .join(", ");
    },
  },
];

const BUDGET_COLUMNS: readonly Column[] = [
  { title: "limit", value: "limit_id" },
  {
    title: "scope",
    value: (row) => `${textOf(member(row, "scope.kind"))} ${textOf(member(row, "scope.id"))}`,
  },
  { title: "subject", value: "subject" },
  { title: "unit", value: "unit" },
  { title: "window", value: "window" },
  right("of", "limit"),
  right("committed", "committed"),
  right("reserved", "reserved"),
  right("remaining", "remaining"),
  right("per day", "burn_per_day"),
  right("forecast", "forecast"),
  { title: "used up", value: "exhausted_at" },
  { title: "resets", value: "resets_at" },
];

const HEAD: readonly Column[] = [
  { title: "tenant", value: "tenant" },
  { title: "from", value: "from" },
  { title: "to", value: "to" },
  { title: "time zone", value: "time_zone" },
  { title: "as of", value: "as_of" },
  { title: "closed", value: "closed" },
  { title: "amounts", value: () => "in USD" },
];

type Report = {
  readonly name: string;
  readonly about: string;
  readonly columns: readonly Column[];
  /** Its options, with what each means. */
  readonly options: OptionTexts;
};

const REPORTS: readonly Report[] = [
  {
    name: "cost-per-outcome",
    about:
      "what one outcome costs: all that its runs cost, by its successes; and whether its days agree with the invoices",
    columns: OUTCOME_COLUMNS,
    options: {
      ...PERIOD,
      ...PAYER,
      ...OUTCOMES_GROUP_BY,
      cohort: "by which of its days an outcome belongs to the period (default: outcome)",
    },
  },
  {
    name: "spend",
    about: "what was spent, by anything",
    columns: SPEND_COLUMNS,
    options: { ...PERIOD, ...PAYER, ...RESOURCE, ...SPEND_GROUP_BY },
  },
  {
    name: "waste",
    about: "retries that did not contribute, and the runs that wasted most",
    columns: SPEND_COLUMNS,
    options: { ...PERIOD, ...PAYER, ...RESOURCE, ...SPEND_GROUP_BY },
  },
  {
    name: "runs",
    about: "the runs of a period, the dearest first",
    columns: RUN_COLUMNS,
    options: {
      ...PERIOD,
      ...PAYER,
      ...RESOURCE,
      status: "with an outcome of this status",
      sort: "what comes first (default: cost)",
      rows: "rows of one page",
      cursor: "the page behind this one",
    },
  },
  {
    name: "budgets",
    about: "limits of money and tokens: used, held, remaining, and how long they last",
    columns: BUDGET_COLUMNS,
    options: { run: "those of one run", at: "of the windows that held this moment (default: now)" },
  },
];

const FORMATS = ["csv", "ndjson", "focus"] as const;

export function addReport(program: Command, terminal: Terminal): void {
  const report = program.command("report").description("what outcomes cost, and who pays for it");
  for (const each of REPORTS) addOne(report, terminal, each);
  addClosing(report, terminal);
  addReconciliation(report, terminal);
  addReportSchedules(report, terminal);
}

function addOne(
  report: Command,
  terminal: Terminal,
  { name, about, columns, options }: Report,
): void {
  const command = report.command(name).description(about);
  addOptions(command, options);
  command
    .option("--csv", "as CSV")
    .option("--ndjson", "as lines of JSON")
    .option("--output <file>", "write it to a file, which must not be there");
  if (name === "spend") {
    command
      .option("--focus", "as CSV with the columns of FOCUS")
      .option("--all-tenants", "of all tenants, for the administration key");
  }
  session.act(command, terminal, async (s) => {
    const format = formatOf(s);
    const query = { ...queryOf(s, Object.keys(options)), format };
    const ask = { method: "GET", path: `/api/reports/${name}`, query, scope: "report" } as const;
    const asked = { ...ask, isText: format !== null };
    const reply =
      s.options["allTenants"] === true ? await s.client().ask(asked) : await s.ask(asked);
    show(s, reply, { columns, isText: format !== null });
  });
}

function formatOf(s: Session): string | null {
  const [format, ...more] = FORMATS.filter((each) => s.options[each] === true);
  if (more.length > 0 || (format !== undefined && s.json)) {
    throw new CliError("Choose one format: --json, --csv, --ndjson or --focus.");
  }
  return format ?? null;
}

/** Options that are named otherwise than their parameters: `--key` is taken, and pages have rows. */
const PARAMETERS: Readonly<Record<string, string>> = { "of-key": "key", rows: "limit" };

/** The options by their parameters: `--time-zone` is `time_zone`. */
function queryOf(s: Session, options: readonly string[]): Readonly<Record<string, string | null>> {
  return Object.fromEntries(
    options.map((name) => {
      const camel = name.replaceAll(/-(\w)/gu, (_, letter: string) => letter.toUpperCase());
      const parameter = PARAMETERS[name] ?? name.replaceAll("-", "_");
      return [parameter, session.option(s.options, camel)];
    }),
  );
}

function show(
  s: Session,
  reply: Reply,
  how: { readonly columns: readonly Column[]; readonly isText: boolean },
): void {
  const file = session.option(s.options, "output");
  if (file !== null) {
    writeNew(file, reply.text);
    writeHint(s.terminal, `Written to ${file}.`);
    return;
  }
  if (s.json || how.isText) return session.writeJson(s, reply);
  writeFields(s.terminal, HEAD, reply.body);
  writeRows(s, reply.body, how.columns);
  writeRest(s, reply.body, how.columns);
}

/** Never over what is there: a report that somebody has signed is not replaced by a slip. */
function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: "wx" });
  } catch (error) {
    const why = error instanceof Error ? error.message : "it cannot be written";
    throw new CliError(`Nothing was written to ${file}: ${why}.`);
  }
}

function writeRows(s: Session, body: unknown, columns: readonly Column[]): void {
  const rows = member(body, "rows");
  if (!isList(rows) || rows.length === 0) {
    writeHint(s.terminal, "Nothing in this period.");
    return;
  }
  const names = member(body, "group_by");
  const groups = (isList(names) ? names : []).map((name): Column => {
    const title = textOf(name);
    // A label's name may have a dot in it: no path.
    return { title, value: (row) => textOf(memberNamed(member(row, "groups"), title)) };
  });
  s.terminal.out("\n");
  writeTable(s.terminal, [...groups, ...columns], rows);
}

function memberNamed(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : null;
}

/** What stands beside the rows, so that nobody takes the table for the whole. */
function writeRest(s: Session, body: unknown, columns: readonly Column[]): void {
  const total = member(body, "total");
  if (total !== undefined) {
    s.terminal.out("\ntotal\n");
    writeFields(s.terminal, [{ title: "runs", value: "runs" }, ...columns], total);
    const beside: readonly Column[] = [
      { title: "rows left off", value: "rows_left_off" },
      { title: "waste share", value: "waste_share" },
      { title: "runs without outcome", value: "runs_without_outcome" },
      { title: "unattributed", value: "unattributed_usd" },
    ];
    writeFields(s.terminal, beside, body);
  }
  const runs = member(body, "runs");
  if (isList(runs) && runs.length > 0) {
    s.terminal.out("\n");
    writeTable(s.terminal, RUN_COLUMNS, runs);
  }
  session.hintNext(s, { text: "", body });
}

const CLOSING_COLUMNS: readonly Column[] = [
  { title: "closing", value: "id" },
  { title: "from", value: "from" },
  { title: "to", value: "to" },
  { title: "by", value: "closed_by" },
  { title: "at", value: "closed_at" },
];

function addClosing(report: Command, terminal: Terminal): void {
  const close = report
    .command("close")
    .description("close a period: its reports stay as they are")
    .requiredOption("--from <day>", "the first day", day)
    .requiredOption("--to <day>", "the day after the last", day)
    .option("--time-zone <zone>", "in which days begin, as Europe/Berlin (default: UTC)");
  session.act(close, terminal, async (s) => {
    const body = queryOf(s, ["from", "to", "time-zone"]);
    const reply = await s.ask({ method: "POST", path: "/api/closings", body, scope: "admin" });
    session.showOne(s, reply, CLOSING_COLUMNS);
  });
  const list = session.paged(report.command("closings").description("list the closings"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: "/api/closings", query, scope: "report" });
    session.showList(s, reply, { columns: CLOSING_COLUMNS, none: "No period is closed." });
  });
  const drift = report
    .command("drift")
    .description("what has changed of a closed period since")
    .argument("<closing>", "cls_…");
  session.act(drift, terminal, async (s) => {
    const path = `/api/closings/${encodeURIComponent(s.argument(0))}/drift`;
    const reply = await s.ask({ method: "GET", path, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    writeFields(terminal, CLOSING_COLUMNS, reply.body);
    const rows = member(reply.body, "rows");
    if (!isList(rows) || rows.length === 0) return;
    terminal.out("\n");
    writeTable(terminal, DRIFT_COLUMNS, rows);
  });
}

const DRIFT_COLUMNS: readonly Column[] = [
  { title: "type", value: (row) => textOf(member(row, "type") ?? "no outcome") },
  right("closed", "closed.cost_usd"),
  right("now", "now.cost_usd"),
  right("difference", "difference.cost_usd"),
  right("outcomes", "difference.outcomes"),
  right("successes", "difference.successes"),
];

function day(text: string): string {
  if (/^\d{4}-\d{2}-\d{2}/u.test(text)) return text;
  throw new InvalidArgumentError("A day is needed, as 2027-01-01.");
}
