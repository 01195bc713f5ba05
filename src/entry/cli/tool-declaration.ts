/** What `tools set` and `tools approve` both take: how each call is asked about, and what of a result passes. */
import { Option, type Command } from "commander";

import { FINDING_NAMES } from "../../core/detect.ts";
import * as session from "./session.ts";
import type { Session } from "./session.ts";
import { CliError, EXIT_USAGE } from "./terminal.ts";

export function resultOptions(command: Command): Command {
  const findings = (flag: string, what: string) =>
    new Option(`${flag} <finding...>`, what).choices(FINDING_NAMES);
  return command
    .option("--approvals <n>", "people who must approve each call", session.wholeNumber)
    .option("--role <role>", "the label `role` of the keys that may approve")
    .option("--bytes-max <n>", "bytes of a result that pass", session.wholeNumber)
    .option("--rows-max <n>", "items of a result's longest list that pass", session.wholeNumber)
    .addOption(findings("--block", "findings that keep a result from passing"))
    .addOption(findings("--redact", "findings that are replaced in a result"))
    .option("--trusted", "nobody else writes what it answers: it does not taint its run");
}

export function approvalOf({ options }: Session): object | null {
  const quorum = session.option(options, "approvals");
  const role = session.option(options, "role");
  if (quorum !== null) return { quorum: Number(quorum), ...(role === null ? {} : { role }) };
  if (role === null) return null;
  throw new CliError("How many of that role? Say --approvals 1.", EXIT_USAGE);
}

export function outputOf({ options }: Session): object | null {
  const [bytes, rows] = [session.option(options, "bytesMax"), session.option(options, "rowsMax")];
  const [block, redact] = [session.repeated(options, "block"), session.repeated(options, "redact")];
  const output = {
    ...(bytes === null ? {} : { bytes_max: Number(bytes) }),
    ...(rows === null ? {} : { rows_max: Number(rows) }),
    ...(block.length === 0 ? {} : { block }),
    ...(redact.length === 0 ? {} : { redact }),
  };
  return Object.keys(output).length === 0 ? null : output;
}

const DECLARING: readonly (readonly [name: string, flag: string])[] = [
  ["effect", "--effect"],
  ["price", "--price"],
  ["approvals", "--approvals"],
  ["role", "--role"],
  ["bytesMax", "--bytes-max"],
  ["rowsMax", "--rows-max"],
  ["block", "--block"],
  ["redact", "--redact"],
  ["trusted", "--trusted"],
];

/** What was said of the declaration, as it is to be typed again. */
export function saidAgain({ options }: Session): readonly string[] {
  return DECLARING.flatMap(([name, flag]) => {
    if (options[name] === true) return [flag];
    const one = session.option(options, name);
    const words = one === null ? session.repeated(options, name) : [one];
    return words.length === 0 ? [] : [flag, ...words.map(quoted)];
  });
}

/** A role is any text. */
function quoted(word: string): string {
  return /^[\w.-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
