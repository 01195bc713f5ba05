import { Fault } from "../lib/assert.ts";
import { ConfigError } from "./config.ts";

/** What an operator is told of a start that failed: a sentence for what can be mended, else all there is. */
export function toldOf(error: unknown): string {
  if (isExpected(error)) return error.message;
  return String(error instanceof Error ? error.stack : error);
}

/** Whether a message says what to mend, and its stack says nothing more. */
export function isExpected(error: unknown): error is ConfigError | Fault {
  return error instanceof ConfigError || error instanceof Fault;
}
