/** `tools approve`: shows what a server says that a tool is, or where that changed, and approves exactly that. */
import { Option, type Command } from "commander";

import { EFFECT_CLASSES } from "../../core/operation.ts";
import { isRecord } from "../../lib/json.ts";
import { member, paint, textOf, writeHint, type Column } from "./output.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";
import { approvalOf, outputOf, resultOptions, saidAgain } from "./tool-declaration.ts";

export function addApprove(tools: Command, terminal: Terminal, columns: readonly Column[]): void {
  const approve = tools
    .command("approve")
    .description(
      "show what a tool's server says that it is, or where that changed, and approve it with --yes; " +
        "what is said of its declaration replaces that part, the rest is kept",
    )
    .argument("<name>", "as pay/wire")
    .addOption(
      new Option("--effect <class>", "what running it twice does; needed the first time").choices(
        EFFECT_CLASSES,
      ),
    )
    .option("--price <usd>", "of one call, in dollars", session.amount)
    .option("--definition <sha256>", "only if it is this one still")
    .option("--yes", "approve it");
  session.act(resultOptions(approve), terminal, async (s) => {
    const path = `/api/tools/${encodeURIComponent(s.argument(0))}`;
    const tool = await s.ask({ method: "GET", path, scope: "report" });
    const seen = await s.ask({ method: "GET", path: `${path}/definitions`, scope: "report" });
    const current = currentOf(s, seen.body);
    const body = declarationOf(s, tool.body, current);
    if (s.options["yes"] !== true) {
      if (s.json) return session.writeJson(s, seen);
      return showFirst(s, { tool: tool.body, seen: seen.body, current });
    }
    if (body.effect === null) {
      const message = `Nobody has declared it yet: say with --effect what running it twice does (${EFFECT_CLASSES.join(", ")}).`;
      throw new CliError(message, EXIT_USAGE);
    }
    if (!s.json) showWhat(s, seen.body);
    const reply = await s.ask({ method: "PUT", path, body, scope: "admin" });
    session.showOne(s, reply, columns);
    if (member(reply.body, "price_usd") !== null) return;
    const name = textOf(member(reply.body, "name"));
    writeHint(
      terminal,
      `It has no price, so a strict tenant's calls of it are refused. 0 is one: ${session.typed(s, `tools approve ${name} --price 0 --yes`)}`,
    );
  });
}

/** What its server lists now, and what `--definition` names if that was said. */
function currentOf(s: Session, seen: unknown): string {
  const current = member(seen, "current");
  const name = textOf(member(seen, "name"));
  if (typeof current !== "string") {
    const server = name.slice(0, name.indexOf("/"));
    throw new CliError(
      `${name} is not listed by its server now: ${session.typed(s, `tools discover ${server}`)}`,
    );
  }
  const meant = session.option(s.options, "definition");
  if (meant === null || meant === current) return current;
  throw new CliError(
    `${name} is listed as ${current} now, which is not the definition that you named. Look at it again: ${session.typed(s, `tools approve ${name}`)}`,
  );
}

/** All of the declaration but the definition, as it stands, with what was said now. */
function declarationOf(s: Session, tool: unknown, definition: string) {
  return {
    effect: session.option(s.options, "effect") ?? member(tool, "effect") ?? null,
    price_usd: session.option(s.options, "price") ?? member(tool, "price_usd"),
    operation: member(tool, "operation"),
    definition,
    approval: approvalOf(s) ?? withoutNulls(member(tool, "approval")),
    output: { ...withoutNulls(member(tool, "output")), ...outputOf(s) },
    trusted: s.options["trusted"] === true || member(tool, "trusted"),
  };
}

/** The API takes absent members, and answers null for them. */
function withoutNulls(value: unknown): object | null {
  if (!isRecord(value)) return null;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
}

type Shown = { readonly tool: unknown; readonly seen: unknown; readonly current: string };

function showFirst(s: Session, { tool, seen, current }: Shown): void {
  const name = textOf(member(seen, "name"));
  const said = saidAgain(s);
  if (member(seen, "approved") !== current) {
    showWhat(s, seen);
  } else {
    s.terminal.out(`${name} is approved as it is listed.\n`);
    if (said.length === 0) return;
  }
  const hasEffect = typeof (member(tool, "effect") ?? s.options["effect"]) === "string";
  const words = [
    `tools approve ${name}`,
    ...said,
    ...(hasEffect ? [] : ["--effect CLASS"]),
    // Between looking and approving it may be changed once more.
    `--definition ${current} --yes`,
  ];
  writeHint(s.terminal, `Nothing is changed yet. Approve it: ${session.typed(s, words.join(" "))}`);
}

/** The difference where another one was approved, else the whole. */
function showWhat(s: Session, seen: unknown): void {
  if (member(seen, "difference") === null) writeDefinition(s, seen);
  else writeDifference(s, seen);
}

/** What the server says now; where it lists the tool no more, what was approved. */
export function writeDefinition({ terminal }: Session, seen: unknown): void {
  const definitions = session.listOf(seen, "data");
  const shown =
    definitions.find((each) => member(each, "is_current") === true) ??
    definitions.find((each) => member(each, "is_approved") === true);
  if (shown === undefined) return;
  terminal.out(`${paint(terminal, "bold", `definition ${textOf(member(shown, "sha256"))}`)}\n`);
  const text = JSON.stringify(member(shown, "content"), null, 2);
  for (const line of text.split("\n")) terminal.out(`${textOf(line)}\n`);
}

export function writeDifference(s: Session, seen: unknown): void {
  const { terminal } = s;
  const lines = session.listOf(member(seen, "difference"), "lines");
  if (lines.length === 0) return;
  const title = `from ${textOf(member(seen, "approved"))} (approved) to ${textOf(member(seen, "current"))} (listed now)`;
  terminal.out(`${paint(terminal, "bold", title)}\n`);
  for (const line of lines) {
    terminal.out(`${textOf(member(line, "path"))}\n`);
    const [before, after] = [member(line, "before"), member(line, "after")];
    if (before !== null) terminal.out(`${paint(terminal, "red", `  - ${textOf(before)}`)}\n`);
    if (after !== null) terminal.out(`${paint(terminal, "green", `  + ${textOf(after)}`)}\n`);
  }
  const more = member(seen, "difference.more");
  if (typeof more === "number" && more > 0) {
    writeHint(
      terminal,
      `${more} more places differ: look at the whole, ${session.typed(s, "tools show NAME")}`,
    );
  }
}
