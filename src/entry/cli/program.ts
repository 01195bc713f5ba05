/** The command line: every command on one page. Exit codes: 0 done, 1 not done, 2 typed wrongly, 3 done in part. */
import { Command, CommanderError } from "commander";

import { ConfigError } from "../config.ts";
import { addAdjustments } from "./adjustments.ts";
import { addApprovals } from "./approvals.ts";
import { addCompletion } from "./completion.ts";
import { URL_DEFAULT } from "./client.ts";
import { addDoctor } from "./doctor.ts";
import { addLedger } from "./ledger-check.ts";
import { addLocal } from "./local.ts";
import { addDecisions, addReports, addRuns } from "./look.ts";
import { addKeys, addLimits, addTenants } from "./manage.ts";
import { addMigrate } from "./migrate.ts";
import { addOperations } from "./operations.ts";
import { addOutcomes } from "./outcomes.ts";
import { addOutcomeTypes } from "./outcome-types.ts";
import { addReport } from "./report.ts";
import { paint } from "./output.ts";
import { addReconcile } from "./reconcile.ts";
import { addTools } from "./tools.ts";
import { addSealing } from "./sealing.ts";
import { addWebhooks } from "./webhooks.ts";
import { addPolicies } from "./policies.ts";
import { addPrices } from "./prices.ts";
import { CliError, EXIT_ERROR, EXIT_USAGE, type Terminal } from "./terminal.ts";

const HELP = `
The key comes from --key, TOLLGATE_ADMIN_KEY, TOLLGATE_KEY, or, for a Tollgate on this machine, from
the file admin-key in its data directory (TOLLGATE_DATA). Prefer a variable: --key is seen by others
in the list of processes.

A key has its tenant; the administration key has none: it is named by --tenant or TOLLGATE_TENANT.

Exit codes: 0 done; 1 refused, failed or not reachable; 2 typed wrongly; 3 some rows of an import did not match.`;

export function createProgram(terminal: Terminal, version: string): Command {
  const program = new Command("tollgate")
    .description("An OpenAI-compatible gateway that decides before it spends.")
    .version(version, "-V, --version")
    .option("--url <url>", `where Tollgate answers (TOLLGATE_URL; default: ${URL_DEFAULT})`)
    .option("--key <key>", "the key to manage it with (TOLLGATE_ADMIN_KEY or TOLLGATE_KEY)")
    .option(
      "--tenant <tenant>",
      "id or name, for the administration key (TOLLGATE_TENANT; default: the only one, else `default`)",
    )
    .option("--json", "print the API's own JSON")
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", HELP);
  // Before the commands are added: they take over these settings when they are made.
  program
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: terminal.out,
      writeErr: terminal.err,
      getOutHelpWidth: () => terminal.columns,
      getErrHelpWidth: () => terminal.columns,
      outputError: (text, write) => write(text),
    });
  addLocal(program, terminal);
  addMigrate(program, terminal);
  addDoctor(program, terminal);
  addSealing(program, terminal);
  addTenants(program, terminal);
  addKeys(program, terminal);
  addLimits(program, terminal);
  addTools(program, terminal);
  addOperations(program, terminal);
  addOutcomeTypes(program, terminal);
  addOutcomes(program, terminal);
  addPolicies(program, terminal);
  addRuns(program, terminal);
  addDecisions(program, terminal);
  addApprovals(program, terminal);
  addWebhooks(program, terminal);
  addPrices(program, terminal);
  addAdjustments(program, terminal);
  addReports(program, terminal);
  addReport(program, terminal);
  addLedger(program, terminal);
  addReconcile(program, terminal);
  addCompletion(program, terminal);
  return program;
}

/** The commands that have an option which another one was given. */
function ownersOf(command: Command, flag: string): readonly string[] {
  return command.commands.flatMap((child) => {
    const has = child.options.some(({ long }) => long === flag);
    const below = ownersOf(child, flag).map((path) => `${child.name()} ${path}`);
    return has ? [child.name(), ...below] : below;
  });
}

/** Runs one command line and answers its exit code. A fault of the program itself is thrown on. */
export async function runProgram(
  terminal: Terminal,
  version: string,
  words: readonly string[],
): Promise<number> {
  const program = createProgram(terminal, version);
  try {
    await program.parseAsync(words, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      const flag = error.code === "commander.unknownOption" ? /--[\w-]+/.exec(error.message) : null;
      const owners = flag === null ? [] : ownersOf(program, flag[0]);
      if (owners.length > 0) terminal.err(`(${flag?.[0]} is of: ${owners.join(", ")})\n`);
      return error.exitCode === 0 ? 0 : EXIT_USAGE;
    }
    if (error instanceof ConfigError) {
      terminal.err(`${error.message}\n`);
      return EXIT_ERROR;
    }
    if (!(error instanceof CliError)) throw error;
    if (error.document !== null && program.opts()["json"] === true)
      terminal.err(`${error.document}\n`);
    else terminal.err(`${paint(terminal, "red", "error:")} ${error.message}\n`);
    return error.exitCode;
  }
}
