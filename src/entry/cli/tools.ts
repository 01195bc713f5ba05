/** `tools`: what is declared of each. */
import { Option, type Command } from "commander";

import { EFFECT_CLASSES } from "../../core/operation.ts";
import { member, textOf, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "name", value: "name" },
  { title: "effect", value: "effect" },
  { title: "price", value: "price_usd", align: "right" },
  { title: "operation", value: (row) => operationText(row) },
  { title: "mode", value: "operation.mode" },
  { title: "declared", value: "created_at" },
];

export function addTools(program: Command, terminal: Terminal): void {
  const tools = program
    .command("tools")
    .description("tools: what running one twice does, its price, its operation");
  const list = session.paged(tools.command("list").description("list the declared tools"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const reply = await s.ask({ method: "GET", path: "/api/tools", query, scope: "report" });
    const none =
      "No tool is declared: each is effectful and without a price. tollgate tools set NAME --effect pure";
    session.showList(s, reply, { columns: COLUMNS, none });
  });
  const show = tools.command("show").description("show what is declared of a tool");
  session.act(show.argument("<name>"), terminal, async (s) => {
    session.showOne(s, await s.ask({ method: "GET", path: pathOf(s), scope: "report" }), COLUMNS);
  });
  addSet(tools, terminal);
  const remove = tools
    .command("remove")
    .description("declare nothing of a tool: it is effectful and without a price from then on");
  session.act(remove.argument("<name>"), terminal, async (s) => {
    const reply = await s.ask({ method: "DELETE", path: pathOf(s), scope: "admin" });
    session.showDone(s, reply, `Removed ${textOf(member(reply.body, "name"))}.`);
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
    );
  session.act(set, terminal, async (s) => {
    const body = {
      effect: session.option(s.options, "effect"),
      price_usd: session.option(s.options, "price"),
      operation: operationOf(s),
    };
    const reply = await s.ask({ method: "PUT", path: pathOf(s), body, scope: "admin" });
    session.showOne(s, reply, COLUMNS);
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
