/** Takes the lock named by its argument when told to, says what came of it, and holds it until told to end. */
import { once } from "node:events";

import { takeLock } from "../../src/entry/lock.ts";

process.stdout.write("ready\n");
await once(process.stdin, "data");
try {
  const release = await takeLock(process.argv[2] ?? "");
  process.stdout.write("took\n");
  process.once("exit", release);
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
}
await once(process.stdin, "data");
process.exit(0);
