/** Where a command reads its environment and writes its answer: the process in use, anything in tests. */
import type { Env } from "../config.ts";

export type Terminal = {
  readonly env: Env;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether a person looks at the output: tables with borders, hints. */
  readonly isTerminal: boolean;
  readonly hasColours: boolean;
  readonly columns: number;
};

/** What a person types for this program: whoever has it from `npm ci` has no `tollgate` of his shell's, and npm says that it runs it. */
export function calledAs(env: Env): string {
  return env["npm_command"] === undefined ? "tollgate" : "npx tollgate";
}

/** How a command ends. 2 is for what was typed, so that a script can tell its own mistakes. */
export const EXIT_ERROR = 1;
export const EXIT_USAGE = 2;
/** It was done, and not with all that was given. */
export const EXIT_PARTLY = 3;

/** A command that cannot do what was asked: one sentence for people, and the exit code. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;
  /** The API's own error document, for `--json`; null when the API said nothing. */
  readonly document: string | null;

  constructor(message: string, exitCode: number = EXIT_ERROR, document: string | null = null) {
    super(message);
    this.exitCode = exitCode;
    this.document = document;
  }
}

/** https://no-color.org: set and not empty means none. */
export function wantsColours(env: Env, isTerminal: boolean): boolean {
  return isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}
