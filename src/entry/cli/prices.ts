/** `prices`: which hold, what a file of them would change, and importing it. */
import { readFileSync } from "node:fs";
import { text as readStream } from "node:stream/consumers";

import type { Command } from "commander";

import { isList, isRecord } from "../../lib/json.ts";
import type { Reply } from "./client.ts";
import { member, paint, textOf, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_ERROR, EXIT_USAGE, type Terminal } from "./terminal.ts";

const PRICE_COLUMNS: readonly Column[] = [
  { title: "tenant", value: "tenant" },
  { title: "upstream", value: (row) => textOf(member(row, "upstream") ?? "any") },
  { title: "model", value: "model" },
  { title: "from", value: "from" },
  { title: "until", value: "until" },
  { title: "USD per million", value: "usd_per_million" },
  { title: "USD per hour", value: hourOf, align: "right" },
  { title: "service tiers", value: (row) => namesOf(member(row, "service_tiers")) },
  { title: "source", value: "source" },
];

const CHANGE_COLUMNS: readonly Column[] = [
  { title: "tenant", value: "tenant" },
  { title: "upstream", value: (row) => textOf(member(row, "upstream") ?? "any") },
  { title: "model", value: "model" },
  { title: "from", value: "from" },
  { title: "until", value: "until" },
  { title: "rate", value: "name" },
  { title: "before", value: "before_usd", align: "right" },
  { title: "after", value: "after_usd", align: "right" },
  { title: "percent", value: "percent", align: "right" },
  { title: "USD per", value: "per" },
];

const IMPORT_COLUMNS: readonly Column[] = [
  { title: "event", value: "id" },
  { title: "at", value: "happened_at" },
  { title: "by", value: "actor" },
  { title: "source", value: "subject" },
  { title: "added", value: "body.added", align: "right" },
  { title: "changed", value: "body.changed", align: "right" },
  { title: "unchanged", value: "body.unchanged", align: "right" },
];

export function addPrices(program: Command, terminal: Terminal): void {
  const prices = program
    .command("prices")
    .description("the prices that hold, in USD per million units")
    .option("--model <model>", "of one model")
    .option("--upstream <name>", "of one upstream or provider")
    .option("--history", "also those that do not hold any more, or not yet");
  session.act(session.paged(prices), terminal, showPrices);
  const importing = prices
    .command("import")
    .description("compare a file of prices with those that hold, and apply it with --yes")
    .argument("<file>", "prices in YAML or JSON; - reads standard input")
    .option("--dry-run", "only say what it would change (the default)")
    .option("--yes", "apply it");
  session.act(importing, terminal, importFile);
  const imports = prices.command("imports").description("list the imports, newest first");
  session.act(session.paged(imports), terminal, async (s) => {
    const query = session.pageQuery(s);
    const path = "/api/prices/imports";
    const reply = await s.client().ask({ method: "GET", path, query, scope: "admin" });
    session.showList(s, reply, { columns: IMPORT_COLUMNS, none: "No prices were imported." });
  });
}

async function showPrices(s: Session): Promise<void> {
  const { options } = s;
  const query = {
    ...session.pageQuery(s),
    model: session.option(options, "model"),
    upstream: session.option(options, "upstream"),
    history: options["history"] === true ? "true" : null,
  };
  // Prices are the installation's: a key sees those of its own tenant among them.
  const reply = await s
    .client()
    .ask({ method: "GET", path: "/api/prices", query, scope: "report" });
  session.showList(s, reply, { columns: PRICE_COLUMNS, none: "No price of that name." });
}

async function importFile(s: Session): Promise<void> {
  const apply = s.options["yes"] === true;
  if (apply && s.options["dryRun"] === true) {
    throw new CliError("--dry-run and --yes say the opposite: keep one.", EXIT_USAGE);
  }
  const body = { source: await readFile(s.argument(0)), apply };
  const path = "/api/prices/import";
  const reply = await s.client().ask({ method: "POST", path, body, scope: "admin" });
  if (s.json) session.writeJson(s, reply);
  else showImport(s, reply, apply);
  const refused = rowsAt(reply, "refused").length;
  if (refused === 0) return;
  const mistakes = refused === 1 ? "1 price or line is" : `${refused} prices or lines are`;
  throw new CliError(`${mistakes} refused: nothing of the file is applied.`, EXIT_ERROR);
}

function showImport(s: Session, reply: Reply, apply: boolean): void {
  const { terminal } = s;
  for (const problem of rowsAt(reply, "refused")) {
    const place = `${textOf(member(problem, "line"))}:${textOf(member(problem, "column"))}`;
    terminal.err(`${s.argument(0)}:${place}: ${textOf(member(problem, "message"))}\n`);
  }
  for (const kind of ["added", "changed"]) {
    const rows = rowsAt(reply, kind).flatMap(linesOf);
    if (rows.length === 0) continue;
    terminal.out(`${paint(terminal, "bold", kind)}\n`);
    writeTable(terminal, CHANGE_COLUMNS, rows);
    terminal.out("\n");
  }
  const [added, changed] = [rowsAt(reply, "added").length, rowsAt(reply, "changed").length];
  const unchanged = textOf(member(reply.body, "unchanged"));
  terminal.out(`${added} added, ${changed} changed, ${unchanged} unchanged.\n`);
  if (member(reply.body, "applied") === true) {
    terminal.out(
      `Applied: ${textOf(member(reply.body, "event"))}. It holds for calls from now on.\n`,
    );
  } else if (!apply && added + changed > 0 && rowsAt(reply, "refused").length === 0) {
    writeHint(
      terminal,
      `Nothing is changed yet. Apply it: ${session.typed(s, `prices import ${s.argument(0)} --yes`)}`,
    );
  }
}

/** One line for each rate and size; where none differs, one for the price itself. */
function linesOf(change: unknown): readonly unknown[] {
  const price = isRecord(change) ? change : {};
  const rates = listAt(change, "rates").map((rate) => ({
    ...price,
    ...(isRecord(rate) ? rate : {}),
  }));
  const sizes = listAt(change, "sizes").map((size) => ({
    ...price,
    name: member(size, "name"),
    before_usd: member(size, "before"),
    after_usd: member(size, "after"),
    per: "(tokens)",
  }));
  const lines = [...rates, ...sizes];
  return lines.length === 0 ? [{ ...price, name: "the same rates" }] : lines;
}

function listAt(value: unknown, name: string): readonly unknown[] {
  const list = member(value, name);
  return isList(list) ? list : [];
}

function rowsAt(reply: Reply, name: string): readonly unknown[] {
  return listAt(reply.body, name);
}

function hourOf(row: unknown): string {
  const [usd, shared] = [member(row, "usd_per_hour"), member(row, "concurrency")];
  if (typeof usd !== "string") return "";
  return shared === 1 ? usd : `${usd} / ${textOf(shared)}`;
}

function namesOf(tiers: unknown): string {
  return isRecord(tiers) ? Object.keys(tiers).join(", ") : "";
}

async function readFile(path: string): Promise<string> {
  if (path === "-") return await readStream(process.stdin);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unreadable";
    throw new CliError(`Cannot read ${path} (${code}).`);
  }
}
