/** `tools`: what is declared of each, and what their servers say that they are. */
import { Option, type Command } from "commander";

import { EFFECT_CLASSES } from "../../core/operation.ts";
import { TOOL_STATES } from "../../core/tool.ts";
import { approvalOf, outputOf, resultOptions } from "./tool-declaration.ts";
import { addApprove, writeDefinition, writeDifference } from "./tool-approve.ts";
import { member, textOf, writeHint, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const LISTED: readonly Column[] = [
  { title: "name", value: "name" },
  { title: "state", value: "state" },
  { title: "effect", value: "effect" },
  { title: "price", value: "price_usd", align: "right" },
  { title: "approval", value: (row) => approvalText(row) },
  { title: "output", value: (row) => outputText(row) },
  { title: "trusted", value: (row) => (member(row, "trusted") === true ? "yes" : "") },
];

const COLUMNS: readonly Column[] = [
  ...LISTED,
  { title: "operation", value: (row) => operationText(row) },
  { title: "mode", value: "operation.mode" },
  { title: "definition", value: "definition" },
  { title: "listed", value: "listed.sha256" },
  { title: "since", value: "listed.since" },
  { title: "declared", value: "created_at" },
];

const DISCOVERED: readonly Column[] = [
  { title: "name", value: "name" },
  { title: "state", value: "state" },
  { title: "definition", value: "sha256" },
];

export function addTools(program: Command, terminal: Terminal): void {
  const tools = program
    .command("tools")
    .description("tools: what running one twice does, its price, its approval; those of servers");
  addList(tools, terminal);
  addShow(tools, terminal);
  addSet(tools, terminal);
  addApprove(tools, terminal, COLUMNS);
  addDiscover(tools, terminal);
  const remove = tools
    .command("remove")
    .description("declare nothing of a tool: it is effectful and without a price from then on");
  session.act(remove.argument("<name>"), terminal, async (s) => {
    const reply = await s.ask({ method: "DELETE", path: pathOf(s), scope: "admin" });
    session.showDone(s, reply, `Removed ${textOf(member(reply.body, "name"))}.`);
  });
}

function addList(tools: Command, terminal: Terminal): void {
  const list = tools
    .command("list")
    .description("list the tools that are declared or that servers list")
    .addOption(new Option("--state <state>", "only those that stand so").choices(TOOL_STATES));
  session.act(session.paged(list), terminal, async (s) => {
    const query = { ...session.pageQuery(s), state: session.option(s.options, "state") };
    const reply = await s.ask({ method: "GET", path: "/api/tools", query, scope: "report" });
    const none =
      query.state === null
        ? `No tool is declared: each is effectful and without a price. ${session.typed(s, "tools set NAME --effect pure")}`
        : `No tool is ${query.state}.`;
    session.showList(s, reply, { columns: LISTED, none });
  });
}

function addShow(tools: Command, terminal: Terminal): void {
  const show = tools
    .command("show")
    .description("show what is declared of a tool, and what its server says that it is")
    .argument("<name>", "as pay/wire");
  session.act(show, terminal, async (s) => {
    const reply = await s.ask({ method: "GET", path: pathOf(s), scope: "report" });
    session.showOne(s, reply, COLUMNS);
    const isOfServer =
      member(reply.body, "listed") !== null || member(reply.body, "definition") !== null;
    if (s.json || !isOfServer) return;
    const path = `${pathOf(s)}/definitions`;
    const { body } = await s.ask({ method: "GET", path, scope: "report" });
    writeDefinition(s, body);
    writeDifference(s, body);
  });
}

function addDiscover(tools: Command, terminal: Terminal): void {
  const discover = tools
    .command("discover")
    .description("ask a server which tools it lists now")
    .argument("<server>", "as it is called in tollgate.yaml");
  session.act(discover, terminal, async (s) => {
    const path = `/api/mcp-servers/${encodeURIComponent(s.argument(0))}/discover`;
    const reply = await s.ask({ method: "POST", path, body: {}, scope: "admin" });
    if (s.json) return session.writeJson(s, reply);
    writeTable(terminal, DISCOVERED, session.listOf(reply.body, "tools"));
    writeHint(
      terminal,
      `Look at one, then approve it: ${session.typed(s, "tools approve NAME --effect CLASS --price USD")}`,
    );
  });
}

function addSet(tools: Command, terminal: Terminal): void {
  const set = tools
    .command("set")
    .description("declare a tool, whole: what is not said is not kept")
    .argument("<name>", "as its callers name it")
    .addOption(
      new Option("--effect <class>", "what running it twice does")
        .choices(EFFECT_CLASSES)
        .makeOptionMandatory(),
    )
    .option("--price <usd>", "of one call, in dollars", session.amount)
    .option("--operation <type>", "the business operation that its arguments name, as refund")
    .option("--pointer <pointer...>", "where they name it, as /order_id (RFC 6901)")
    .addOption(
      new Option(
        "--mode <mode>",
        "observe records what enforce would claim (default: observe)",
      ).choices(["observe", "enforce"]),
    )
    .option("--definition <sha256>", "of its server's definitions, the one that may be called");
  session.act(resultOptions(set), terminal, async (s) => {
    const body = {
      effect: session.option(s.options, "effect"),
      price_usd: session.option(s.options, "price"),
      operation: operationOf(s),
      definition: session.option(s.options, "definition"),
      approval: approvalOf(s),
      output: outputOf(s),
      trusted: s.options["trusted"] === true ? true : null,
    };
    const reply = await s.ask({ method: "PUT", path: pathOf(s), body, scope: "admin" });
    session.showOne(s, reply, COLUMNS);
    if (member(reply.body, "state") !== "undeclared") return;
    const name = textOf(member(reply.body, "name"));
    const hint = `No definition of it is approved, so it is not called: ${session.typed(s, `tools approve ${name}`)}, which takes these options too and keeps the rest`;
    writeHint(terminal, hint);
  });
}

function operationOf({ options }: Session): object | null {
  const type = session.option(options, "operation");
  const pointers = session.repeated(options, "pointer");
  const mode = session.option(options, "mode");
  if (type !== null && pointers.length > 0) return { type, pointers, mode: mode ?? "observe" };
  if (type === null && pointers.length === 0 && mode === null) return null;
  const message = "An operation takes both --operation TYPE and --pointer POINTER.";
  throw new CliError(message, EXIT_USAGE);
}

function pathOf(s: Session): string {
  return `/api/tools/${encodeURIComponent(s.argument(0))}`;
}

function operationText(row: unknown): string {
  const type = member(row, "operation.type");
  if (typeof type !== "string") return "";
  return `${textOf(type)} at ${textOf(member(row, "operation.pointers"))}`;
}

function approvalText(row: unknown): string {
  const [quorum, role] = [member(row, "approval.quorum"), member(row, "approval.role")];
  if (typeof quorum !== "number") return "";
  return typeof role === "string" ? `${quorum} of ${textOf(role)}` : String(quorum);
}

/** Only what keeps something back. */
function outputText(row: unknown): string {
  const parts = [
    ["bytes_max", "bytes"],
    ["rows_max", "rows"],
    ["block", "blocked"],
    ["redact", "redacted"],
  ].map(([name = "", what = ""]) => {
    const text = textOf(member(row, `output.${name}`));
    return text === "-" ? null : `${text} ${what}`;
  });
  return parts.filter((part) => part !== null).join("; ");
}
