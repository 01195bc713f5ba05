/** `reconcile`: a provider's exports beside the ledger, by day and model; and what was compared so far. */
import { readFileSync, statSync } from "node:fs";
import { Option, type Command } from "commander";

import { InputError } from "../../core/errors.ts";
import {
  FIGURES,
  PROVIDERS,
  type Invoice,
  type InvoiceLine,
  type Provider,
} from "../../core/invoice.ts";
import { EXPORT_BYTES_MAX, RECONCILED_LINES_MAX } from "../../core/limits-finance.ts";
import { usdOf } from "../../core/money.ts";
import { readInvoice, type ExportFile } from "../../dialects/invoices/invoice.ts";
import { isList } from "../../lib/json.ts";
import type { Ask } from "./client.ts";
import {
  member,
  paint,
  textOf,
  writeFields,
  writeHint,
  writeTable,
  type Column,
} from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_ERROR, EXIT_USAGE, type Terminal } from "./terminal.ts";

const MEMBERS = {
  requests: "requests",
  input: "input_tokens",
  cached: "cached_tokens",
  output: "output_tokens",
  cost: "cost_usd",
} as const;

/** Ours and theirs in one column, so that a line fits a terminal; `at` is what they are members of. */
const compared = (at: string): readonly Column[] =>
  FIGURES.map((figure) => ({
    title: figure,
    align: "right",
    value: (body) => {
      const ours = member(body, `${at}ours.${MEMBERS[figure]}`);
      const theirs = member(body, `${at}theirs.${MEMBERS[figure]}`);
      if (theirs === null || ours === theirs) return textOf(ours);
      return `${textOf(ours)} / ${textOf(theirs)}`;
    },
  }));

const LINE_COLUMNS: readonly Column[] = [
  { title: "day", value: "day" },
  { title: "model", value: "model" },
  ...compared(""),
  { title: "verdict", value: "verdict" },
];

const TOTAL_COLUMNS: readonly Column[] = [
  { title: "state", value: "state" },
  { title: "from", value: "from" },
  { title: "to", value: "to" },
  ...compared("totals."),
  { title: "difference", value: "totals.difference.cost_usd" },
  { title: "unexplained", value: "totals.unexplained.cost_usd" },
  { title: "equal", value: "totals.equal" },
  { title: "explained", value: "totals.explained" },
  { title: "not explained", value: "totals.not_explained" },
];

const HELP = `
Files are pages of the provider's own APIs, as JSON, split by model:
  OpenAI     /v1/organization/usage/completions?group_by=model&bucket_width=1d
             /v1/organization/costs?group_by=line_item
  Anthropic  /v1/organizations/usage_report/messages?group_by[]=model&bucket_width=1d
             /v1/organizations/cost_report?group_by[]=description

With the administration key and without --tenant it is the ledger of all tenants that is compared.
Exit codes: 0 nothing is left unexplained; 1 something is, or it failed; 2 typed wrongly.`;

export function addReconcile(program: Command, terminal: Terminal): void {
  const reconcile = program
    .command("reconcile")
    .description("compare the ledger with a provider's usage and cost exports")
    .argument("<file...>", "its exports")
    .requiredOption("--upstream <name>", "the upstream whose account they are of")
    .addOption(
      new Option(
        "--provider <provider>",
        "whose exports they are (default: as the upstream is named)",
      ).choices(PROVIDERS),
    )
    .option("--from <day>", "the first day, in UTC (default: all that the files tell of)")
    .option("--to <day>", "the day behind the last one")
    .option("--tolerance <usd>", "unexplained cost that is let pass", session.amount)
    .option("--all", "also print the lines that are equal")
    .addHelpText("after", HELP);
  session.act(reconcile, terminal, async (s) => {
    const upstream = session.option(s.options, "upstream") ?? "";
    const provider = providerOf(session.option(s.options, "provider") ?? upstream);
    const files = reconcile.args.map(readExport);
    const invoice = invoiceOf(s, provider, files);
    const body = {
      upstream,
      provider,
      from: invoice.from,
      to: invoice.to,
      states: invoice.states.map((figure) => MEMBERS[figure]),
      lines: invoice.lines.map(lineBody),
      tolerance_usd: session.option(s.options, "tolerance"),
    };
    show(s, await askWhose(s, { method: "POST", body }));
  });
}

function providerOf(name: string): Provider {
  const provider = PROVIDERS.find((known) => known === name);
  if (provider !== undefined) return provider;
  throw new CliError(`Whose exports are these? --provider ${PROVIDERS.join(" or ")}`, EXIT_USAGE);
}

function readExport(name: string): ExportFile {
  try {
    // Before it is read: a file of any size may be named.
    if (statSync(name).size > EXPORT_BYTES_MAX) {
      throw new CliError(`${name} is longer than ${EXPORT_BYTES_MAX} bytes: fetch smaller pages.`);
    }
    return { name, text: readFileSync(name, "utf8") };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(error instanceof Error ? error.message : String(error));
  }
}

function invoiceOf(s: Session, provider: Provider, files: readonly ExportFile[]): Invoice {
  const days = { from: session.option(s.options, "from"), to: session.option(s.options, "to") };
  for (const day of [days.from, days.to]) {
    if (day === null || (/^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(day)))) continue;
    throw new CliError(`Not a day: ${day}. Write it as 2026-11-22.`, EXIT_USAGE);
  }
  const invoice = read(provider, files, days);
  if (invoice.lines.length <= RECONCILED_LINES_MAX) return invoice;
  throw new CliError(
    `These files have ${invoice.lines.length} days and models, and at most ${RECONCILED_LINES_MAX} are compared at once: name a shorter period with --from and --to.`,
  );
}

function read(
  provider: Provider,
  files: readonly ExportFile[],
  days: { readonly from: string | null; readonly to: string | null },
): Invoice {
  try {
    return readInvoice(provider, files, days);
  } catch (error) {
    if (error instanceof InputError) throw new CliError(error.message);
    throw error;
  }
}

/** What is 0 is left out, so that a month of many models stays a small body. */
function lineBody({ day, model, isModel, tiers, amounts, figures }: InvoiceLine) {
  const stated = FIGURES.flatMap((figure) => {
    const value = figures[figure];
    if (value === 0n) return [];
    const shown = figure === "cost" ? usdOf(value) : Number(value);
    return [[MEMBERS[figure], shown] as const];
  });
  return {
    day,
    model,
    ...(isModel ? {} : { no_model: true }),
    ...(tiers.length === 0 ? {} : { tiers }),
    ...(amounts === 0 ? {} : { amounts }),
    ...Object.fromEntries(stated),
  };
}

const STATE_COLUMNS: readonly Column[] = [
  { title: "upstream", value: "upstream" },
  { title: "state", value: "state" },
  { title: "days", value: "days", align: "right" },
  { title: "reconciled", value: "reconciled_days", align: "right" },
  { title: "differing", value: "differing_days", align: "right" },
];

const RECORDED_COLUMNS: readonly Column[] = [
  { title: "comparison", value: "id" },
  { title: "upstream", value: "upstream" },
  { title: "from", value: "from" },
  { title: "to", value: "to" },
  { title: "state", value: "state" },
  { title: "unexplained", value: "totals.unexplained.cost_usd", align: "right" },
  { title: "by", value: "recorded_by" },
  { title: "at", value: "recorded_at" },
];

export function addReconciliation(report: Command, terminal: Terminal): void {
  const state = report
    .command("reconciliation")
    .description("whether a period agrees with the providers' invoices, as far as it was compared")
    .option("--from <day>", "the first day, in UTC (default: of last month)")
    .option("--to <day>", "the day behind the last one (default: this month's first)");
  session.act(state, terminal, async (s) => {
    const query = { from: session.option(s.options, "from"), to: session.option(s.options, "to") };
    const path = "/api/reports/reconciliation/state";
    const reply = await s.ask({ method: "GET", path, query, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    const period = ["from", "to"].map((name) => ({ title: name, value: name }));
    writeFields(terminal, period, reply.body);
    const upstreams = member(reply.body, "upstreams");
    if (!isList(upstreams) || upstreams.length === 0) {
      return writeHint(
        terminal,
        `Nothing of it was compared: ${session.typed(s, "reconcile --help")}`,
      );
    }
    terminal.out("\n");
    writeTable(terminal, STATE_COLUMNS, upstreams);
  });
  const list = session.paged(
    report.command("reconciliations").description("list what was compared, newest first"),
  );
  session.act(list, terminal, async (s) => {
    const reply = await askWhose(s, { method: "GET", query: session.pageQuery(s) });
    const none = `Nothing was compared yet: ${session.typed(s, "reconcile --help")}`;
    session.showList(s, reply, { columns: RECORDED_COLUMNS, none });
  });
}

/** The invoice is of an account that all tenants share: so the installation's key compares all of them. */
async function askWhose(s: Session, what: Pick<Ask, "method" | "body" | "query">) {
  const isOfAll = s.client().isAdministrator && session.option(s.options, "tenant") === null;
  const ask = { ...what, scope: "report" } as const;
  return isOfAll
    ? s.client().ask({ ...ask, path: "/api/installation/reconciliation" })
    : s.ask({ ...ask, path: "/api/reports/reconciliation" });
}

function show(s: Session, reply: Awaited<ReturnType<typeof askWhose>>): void {
  const { terminal } = s;
  const isReconciled = member(reply.body, "state") === "reconciled";
  if (s.json) session.writeJson(s, reply);
  else {
    const value = member(reply.body, "lines");
    const lines = isList(value) ? value : [];
    const isShown = (line: unknown) =>
      s.options["all"] === true || member(line, "verdict") !== "equal";
    const shown = lines.filter(isShown);
    if (shown.length > 0) {
      writeHint(terminal, "ours / theirs, where they differ");
      writeTable(terminal, LINE_COLUMNS, shown);
    }
    for (const line of shown) writeReasons(terminal, line);
    writeFields(terminal, TOTAL_COLUMNS, reply.body);
  }
  if (isReconciled) return;
  const lines = textOf(member(reply.body, "totals.not_explained"));
  const what = lines === "1" ? "1 line has" : `${lines} lines have`;
  throw new CliError(`The invoice differs, and ${what} no explanation.`, EXIT_ERROR);
}

function writeReasons(terminal: Terminal, line: unknown): void {
  const reasons = member(line, "reasons");
  const place = `${textOf(member(line, "day"))} ${textOf(member(line, "model"))}`;
  for (const reason of isList(reasons) ? reasons : []) {
    const says = `${place}: ${textOf(member(reason, "says"))}`;
    terminal.out(`${paint(terminal, "dim", textOf(member(reason, "code")))} ${says}\n`);
  }
}
