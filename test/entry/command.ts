/** Runs the command line as people do: as a child process, with nothing of this process's environment. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../src/entry/cli/main.ts", import.meta.url));

export type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

export type Place = {
  readonly directory: string;
  readonly run: (words: readonly string[], env?: Readonly<Record<string, string>>) => Promise<Ran>;
  readonly remove: () => void;
};

/** An empty working directory, so that no `tollgate.yaml` or key file of the checkout is found. */
export function createPlace(): Place {
  const directory = mkdtempSync(join(tmpdir(), "tollgate-cli-"));
  return {
    directory,
    run: (words, env = {}) => run(directory, words, env),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Starts a command and leaves it running. */
export function start(
  directory: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
) {
  return spawn(process.execPath, [MAIN, ...words], {
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function run(
  directory: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Ran> {
  return new Promise((done, fail) => {
    const child = start(directory, words, env);
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.once("error", fail);
    child.once("close", (code) => done({ code, out, err }));
  });
}
