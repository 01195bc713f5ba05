import { isLostTypeLookup } from "../store/connection-lost.ts";

/**
 * Keeps the process alive when the driver loses a new connection while it asks for the types of arrays:
 * nobody holds that promise, and whoever wanted the connection is told by an error of its own. Every
 * other rejection that nobody handles ends the process, as it does without this.
 */
export function survivesLostLookups(): void {
  process.on("unhandledRejection", (reason) => {
    if (!isLostTypeLookup(reason)) throw reason;
    process.stderr.write("a connection to the database was lost while it was being made\n");
  });
}
