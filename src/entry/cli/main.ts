/** The command `tollgate`: the process around `program.ts`. */
import { isatty } from "node:tty";

import { version } from "../version.ts";
import { runProgram } from "./program.ts";
import { wantsColours, type Terminal } from "./terminal.ts";

/** Width of help and tables where nobody tells: what a printed page has. */
const COLUMNS_DEFAULT = 100;

const STDOUT = 1;

function processTerminal(): Terminal {
  const isTerminal = isatty(STDOUT);
  return {
    env: process.env,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    isTerminal,
    hasColours: wantsColours(process.env, isTerminal),
    columns: isTerminal ? process.stdout.columns : COLUMNS_DEFAULT,
  };
}

export async function main(): Promise<void> {
  // A reader that has seen enough (`tollgate limits list | head`) is no error.
  process.stdout.on("error", (error) => {
    if ("code" in error && error.code === "EPIPE") process.exit(0);
    // As on a disk that is full: whoever redirected it is not to take a part for the whole.
    process.stderr.write(`error: standard output cannot be written: ${error.message}\n`);
    process.exit(1);
  });
  const code = await runProgram(processTerminal(), version(), process.argv.slice(2));
  // A start that failed half way leaves a database open, which would keep the process.
  if (code !== 0) process.exit(code);
}

if (import.meta.main) await main();
