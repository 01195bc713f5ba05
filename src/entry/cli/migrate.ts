/** `migrate`: for a Tollgate that cannot do it when it starts, as on Cloudflare Workers. */
import type { Command } from "commander";

import { Fault } from "../../lib/assert.ts";
import { readConfig } from "../config.ts";
import { diskFiles } from "../config-files.ts";
import { actOnConfig } from "./session.ts";
import { CliError, type Terminal } from "./terminal.ts";

export function addMigrate(program: Command, terminal: Terminal): void {
  const migrate = program
    .command("migrate")
    .description(
      "bring the database (DATABASE_URL) to this release's schema, and record its prices",
    );
  actOnConfig(migrate, terminal, async ({ json }) => {
    const config = readConfig(terminal.env, diskFiles);
    const { databaseUrl } = config;
    if (databaseUrl === null) {
      throw new CliError("Set DATABASE_URL: the embedded database is migrated when it is started.");
    }
    // Loaded only here: no other command needs the migrations.
    const { migrateDatabase } = await import("../migrate-database.ts");
    try {
      const { from, to, prices } = await migrateDatabase(config, databaseUrl);
      if (json) terminal.out(`${JSON.stringify({ from, to, prices })}\n`);
      else {
        const was = from === to ? "as it was" : `from ${from}`;
        terminal.out(`schema version ${to}, ${was}  ·  ${prices} prices recorded\n`);
      }
    } catch (error) {
      if (error instanceof Fault) throw new CliError(error.message);
      // The driver's messages name host and role, never the password.
      const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
      const why = error instanceof Error ? error.message : "no connection";
      throw new CliError(`The database could not be migrated${code}: ${why}`);
    }
  });
}
