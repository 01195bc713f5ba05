/** `operations`: what was done for a business act, and what became of attempts of which nobody knew. */
import { Option, type Command } from "commander";

import { JSON_DEPTH_MAX } from "../../core/limits.ts";
import { parseStrictJson } from "../../lib/canonical-json.ts";
import { isList } from "../../lib/json.ts";
import { member, textOf, writeTable, type Column } from "./output.ts";
import * as session from "./session.ts";
import { CliError, EXIT_USAGE, type Terminal } from "./terminal.ts";

const EFFECT_COLUMNS: readonly Column[] = [
  { title: "effect", value: "effect" },
  { title: "state", value: "state" },
  { title: "attempt", value: "attempt" },
  { title: "run", value: "run" },
  { title: "since", value: "at" },
];

const ATTEMPT_COLUMNS: readonly Column[] = [
  { title: "attempt", value: "attempt_id" },
  { title: "run", value: "run" },
  { title: "status", value: "status" },
  { title: "cost", value: "cost_usd" },
  { title: "ended", value: "ended_at" },
];

export function addOperations(program: Command, terminal: Terminal): void {
  const operations = program
    .command("operations")
    .description("operations: business acts across runs, and what is uncertain about them");
  const show = operations
    .command("show")
    .description("show the effects of an operation, whatever runs they are of")
    .argument(
      "<operation>",
      "type:key, as refund:order-123; run:NAME for what a run did by itself",
    );
  session.act(show, terminal, async (s) => {
    const path = operationPath(s.argument(0));
    const reply = await s.ask({ method: "GET", path, scope: "report" });
    if (s.json) return session.writeJson(s, reply);
    const effects = member(reply.body, "effects");
    writeTable(s.terminal, EFFECT_COLUMNS, isList(effects) ? effects : []);
  });
  const reconcile = operations
    .command("reconcile")
    .description("say what became of an attempt whose outcome nobody knew; it is recorded")
    .argument("<attempt>", "att_…")
    .addOption(
      new Option("--applied <answer>", "whether it happened")
        .choices(["yes", "no"])
        .makeOptionMandatory(),
    )
    .requiredOption("--evidence <text>", "how that was found out")
    .option("--result <json>", "what it gave, for who asks again")
    .option("--cost <usd>", "what it cost, in dollars", session.amount);
  session.act(reconcile, terminal, async (s) => {
    const result = resultOf(session.option(s.options, "result"));
    const body = {
      applied: session.option(s.options, "applied") === "yes",
      evidence: session.option(s.options, "evidence"),
      result,
      cost_usd: session.option(s.options, "cost"),
    };
    const path = `/api/attempts/${encodeURIComponent(s.argument(0))}/reconcile`;
    const nulls = result === null ? ["result"] : [];
    const reply = await s.ask({ method: "POST", path, body, nulls, scope: "approve" });
    session.showOne(s, reply, ATTEMPT_COLUMNS);
  });
}

/** Of an operation that somebody typed as `type:key`. */
export function operationPath(text: string): string {
  const colon = text.indexOf(":");
  if (colon <= 0 || colon === text.length - 1) {
    throw new CliError(
      `Not an operation: ${textOf(text)}. Write it as refund:order-123.`,
      EXIT_USAGE,
    );
  }
  const parts = [text.slice(0, colon), text.slice(colon + 1)];
  return `/api/operations/${parts.map(encodeURIComponent).join("/")}`;
}

/** Undefined where none is said: null is a result, too. */
function resultOf(text: string | null): unknown {
  if (text === null) return undefined;
  const parsed = parseStrictJson(text, JSON_DEPTH_MAX);
  if (parsed.kind === "value") return parsed.value;
  throw new CliError(`--result is JSON, and this is not: ${textOf(text)}`, EXIT_USAGE);
}
