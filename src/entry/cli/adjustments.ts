/** `adjustments`: credits and debits beside the settlements. */
import type { Command } from "commander";

import type { Column } from "./output.ts";
import * as session from "./session.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "id", value: "id" },
  { title: "posted", value: "posted_at" },
  { title: "USD", value: "amount_usd", align: "right" },
  { title: "attempt", value: "attempt" },
  { title: "run", value: "run" },
  { title: "by", value: "actor" },
  { title: "reason", value: "reason" },
];

export function addAdjustments(program: Command, terminal: Terminal): void {
  const adjustments = program
    .command("adjustments")
    .description("adjustments: credits and debits beside what was settled");
  const post = adjustments
    .command("post")
    .description("post a credit (below zero) or a debit; it moves no budget")
    .requiredOption("--usd <amount>", "in dollars, as -1.50", session.signedAmount)
    .requiredOption("--reason <text>", "why, for whoever reads the report")
    .option("--attempt <id>", "the attempt, or decision, whose cost it corrects")
    .option("--run <run>", "the run that it is of");
  session.act(post, terminal, async (s) => {
    const body = {
      amount_usd: session.option(s.options, "usd"),
      reason: session.option(s.options, "reason"),
      ...given("attempt", session.option(s.options, "attempt")),
      ...given("run", session.option(s.options, "run")),
    };
    const path = "/api/adjustments";
    session.showOne(s, await s.ask({ method: "POST", path, body, scope: "admin" }), COLUMNS);
  });
  const list = session
    .paged(adjustments.command("list").description("list adjustments, newest first"))
    .option("--run <run>", "of one run");
  session.act(list, terminal, async (s) => {
    const query = { ...session.pageQuery(s), run: session.option(s.options, "run") };
    const path = "/api/adjustments";
    const reply = await s.ask({ method: "GET", path, query, scope: "report" });
    session.showList(s, reply, { columns: COLUMNS, none: "Nothing was adjusted." });
  });
}

function given(name: string, value: string | null): Readonly<Record<string, string>> {
  return value === null ? {} : { [name]: value };
}
