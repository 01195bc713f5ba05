/** `serve` and `check`: what needs no running Tollgate. */
import type { Command } from "commander";

import { Fault } from "../../lib/assert.ts";
import { CONFIG_DEFAULT, ConfigError, readConfig, type Config } from "../config.ts";
import { diskFiles } from "../config-files.ts";
import { paint } from "./output.ts";
import { actOnConfig, type Session } from "./session.ts";
import { CliError, EXIT_ERROR, type Terminal } from "./terminal.ts";

export function addLocal(program: Command, terminal: Terminal): void {
  const serve = program
    .command("serve")
    .description("start the gateway, configured by the environment and tollgate.yaml");
  actOnConfig(serve, terminal, async () => {
    const config = readConfig(terminal.env, diskFiles);
    // Loaded only here: the gateway takes half a second to load, and no other command needs it.
    const node = await import("../serve.ts");
    node.endWithShellOfNpm();
    try {
      await node.serve(config);
    } catch (error) {
      // What an operator can mend is told in a sentence; anything else is thrown on as it is.
      throw error instanceof Fault ? new CliError(error.message) : error;
    }
  });
  const check = program
    .command("check")
    .description("check tollgate.yaml and the environment without starting anything")
    .argument("[file]", "the file, if not TOLLGATE_CONFIG or ./tollgate.yaml");
  actOnConfig(check, terminal, async (session) => checkConfig(session));
}

async function checkConfig(session: Session): Promise<void> {
  const { terminal } = session;
  const stated = session.argument(0);
  const env = stated === "" ? terminal.env : { ...terminal.env, TOLLGATE_CONFIG: stated };
  try {
    const config = readConfig(env, diskFiles);
    if (session.json) terminal.out(`${JSON.stringify({ ok: true, problems: [] })}\n`);
    else terminal.out(`${paint(terminal, "green", "sound")}  ${summaryOf(config)}\n`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // A file that was typed is no variable's.
    const problems = error.problems.map((problem) =>
      stated !== "" && problem.where === "TOLLGATE_CONFIG"
        ? { where: stated, message: "there is no such file" }
        : problem,
    );
    if (session.json) terminal.out(`${JSON.stringify({ ok: false, problems })}\n`);
    else for (const { where, message } of problems) terminal.err(`${where}: ${message}\n`);
    const mistakes = problems.length === 1 ? "1 mistake" : `${problems.length} mistakes`;
    throw new CliError(`${mistakes} found.`, EXIT_ERROR);
  }
}

function summaryOf({ upstreams, aliases, prices, mcpServers, configFile }: Config): string {
  const names = upstreams.map(({ name }) => name);
  const parts = [
    configFile ?? `no ${CONFIG_DEFAULT}, the environment alone`,
    names.length === 0 ? "no upstream but demo" : `upstreams ${names.join(", ")}`,
    `${Object.keys(aliases).length} aliases`,
    `${prices.length} prices`,
    ...(mcpServers.length === 0
      ? []
      : [`MCP servers ${mcpServers.map(({ name }) => name).join(", ")}`]),
  ];
  return parts.join(" · ");
}
