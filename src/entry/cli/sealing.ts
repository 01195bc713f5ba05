/** `sealing reset`: for an installation whose sealing secret is lost. */
import type { Command } from "commander";

import { Fault } from "../../lib/assert.ts";
import { readConfig } from "../config.ts";
import { diskFiles } from "../config-files.ts";
import { actOnConfig } from "./session.ts";
import { CliError, type Terminal } from "./terminal.ts";

export function addSealing(program: Command, terminal: Terminal): void {
  const sealing = program
    .command("sealing")
    .description("the key that seals stored content: see TOLLGATE_SEALING_KEY");
  const reset = sealing
    .command("reset")
    .description("forget it, when the secret that opens it is lost; the next start makes a new one")
    .requiredOption(
      "--lose-sealed-content",
      "say that what is sealed can be lost: calls that wait for approval, stored answers, webhooks' secrets",
    );
  actOnConfig(reset, terminal, async ({ json }) => {
    const config = readConfig(terminal.env, diskFiles);
    // Loaded only here: no other command opens a database of its own.
    const { resetSealing } = await import("../reset-sealing.ts");
    try {
      const isReset = await resetSealing(config);
      if (json) terminal.out(`${JSON.stringify({ reset: isReset })}\n`);
      else {
        terminal.out(
          isReset
            ? "The next start makes a new key. Remove the webhooks and create them anew.\n"
            : "Nothing was sealed yet: there is no key to forget.\n",
        );
      }
    } catch (error) {
      if (error instanceof Fault) throw new CliError(error.message);
      throw error;
    }
  });
}
