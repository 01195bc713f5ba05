/** `outcome-types`: what a tenant counts as a result of its runs. */
import type { Command } from "commander";

import { member, textOf, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "name", value: "name" },
  { title: "value", value: "value_usd", align: "right" },
  { title: "description", value: "description" },
  { title: "declared", value: "created_at" },
];

export function addOutcomeTypes(program: Command, terminal: Terminal): void {
  const types = program
    .command("outcome-types")
    .description("outcome types: what counts as a result, and what a success is worth");
  const create = types
    .command("create")
    .description("declare an outcome type, or change what is said of it")
    .argument("<name>", "as ticket_resolved")
    .option("--description <text>", "what it means")
    .option("--value <usd>", "what one success is worth, in dollars", session.amount)
    .option("--no-value", "declare no value any more");
  session.act(create, terminal, async (s) => {
    const body = {
      name: s.argument(0),
      description: session.option(s.options, "description"),
      value_usd: session.option(s.options, "value"),
    };
    const nulls = s.options["value"] === false ? ["value_usd"] : [];
    const path = "/api/outcome-types";
    const reply = await s.ask({ method: "POST", path, body, nulls, scope: "admin" });
    session.showOne(s, reply, COLUMNS);
  });
  const list = session.paged(types.command("list").description("list the declared types"));
  session.act(list, terminal, async (s) => {
    const query = session.pageQuery(s);
    const path = "/api/outcome-types";
    const reply = await s.ask({ method: "GET", path, query, scope: "report" });
    const none = `No outcome type is declared. ${session.typed(s, "outcome-types create ticket_resolved --value 12")}`;
    session.showList(s, reply, { columns: COLUMNS, none });
  });
  const remove = types
    .command("remove")
    .description("take no further outcomes of a type; those that there are stay");
  session.act(remove.argument("<name>"), terminal, async (s) => {
    const path = `/api/outcome-types/${encodeURIComponent(s.argument(0))}`;
    const reply = await s.ask({ method: "DELETE", path, scope: "admin" });
    session.showDone(s, reply, `Removed ${textOf(member(reply.body, "name"))}.`);
  });
}
