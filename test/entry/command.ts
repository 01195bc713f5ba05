/** Runs the command line as people do: in an empty directory, with nothing of this process's environment. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { inject } from "vitest";
import { runProgram } from "../../src/entry/cli/program.ts";
import type { Terminal } from "../../src/entry/cli/terminal.ts";
import { bareEnvironment } from "../support/built.ts";

const MAIN = fileURLToPath(new URL("../../src/entry/cli/tollgate.js", import.meta.url));

export type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

type Env = Readonly<Record<string, string>>;

export type Place = {
  readonly directory: string;
  /** As a process of its own. */
  readonly run: (words: readonly string[], env?: Env) => Promise<Ran>;
  /**
   * In this process, which saves the second that one takes to start; one at a time, for the working
   * directory is the process's. What stands around the program is for `run` to show.
   */
  readonly runHere: (words: readonly string[], env?: Env) => Promise<Ran>;
  /** Puts a migrated embedded database into a data directory: making one takes seconds of a first start. */
  readonly install: (name: string) => void;
  readonly remove: () => void;
};

/** An empty working directory, so that no `tollgate.yaml` or key file of the checkout is found. */
export function createPlace(): Place {
  const directory = mkdtempSync(join(tmpdir(), "tollgate-cli-"));
  return {
    directory,
    run: (words, env = {}) => run(directory, words, env),
    runHere: (words, env = {}) => runHere(directory, words, env),
    install: (name) => cpSync(inject("pgliteTemplate"), join(directory, name), { recursive: true }),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Starts a command and leaves it running. */
export function start(directory: string, words: readonly string[], env: Env) {
  return spawn(process.execPath, [MAIN, ...words], {
    cwd: directory,
    env: { ...bareEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function run(directory: string, words: readonly string[], env: Env): Promise<Ran> {
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

/** The program in this process, on a terminal of the test's own. */
export async function heard(
  words: readonly string[],
  terminal: Partial<Terminal> = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await runProgram(
    {
      env: {},
      out: (text) => (out += text),
      err: (text) => (err += text),
      isTerminal: false,
      hasColours: false,
      columns: 100,
      ...terminal,
    },
    "1.2.3",
    words,
  );
  return { code, out, err };
}

async function runHere(directory: string, words: readonly string[], env: Env): Promise<Ran> {
  const before = process.cwd();
  process.chdir(directory);
  try {
    return await heard(words, { env });
  } finally {
    process.chdir(before);
  }
}

export type Served = {
  readonly place: Place;
  readonly url: string;
  /** The key that the first start shows. */
  readonly firstKey: string;
  /** What it wrote of itself when it had started. */
  readonly banner: string;
  /** Runs a command beside the server: the administration key is found in its data directory. */
  readonly tollgate: (...words: readonly string[]) => Promise<Ran>;
  /** Ends the server and removes its place. */
  readonly close: () => Promise<void>;
};

/** A Tollgate in an empty place, started as people start it; with `prepare` the place is not empty. */
export async function startServed(
  prepare: (place: Place) => void = () => undefined,
): Promise<Served> {
  const place = createPlace();
  prepare(place);
  const server = start(place.directory, ["serve"], { PORT: "0", LOG_LEVEL: "warn" });
  let said = "";
  server.stderr.resume();
  await new Promise<void>((done, fail) => {
    server.once("exit", (code) => fail(new Error(`serve ended with ${code}: ${said}`)));
    server.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes("console.log")) done();
    });
  });
  const url = /listening on (\S+)/.exec(said)?.[1];
  const firstKey = /tg_live_\S+/.exec(said)?.[0];
  if (url === undefined || firstKey === undefined) throw new Error(`no address or key: ${said}`);
  return {
    place,
    url,
    firstKey,
    banner: said,
    tollgate: (...words) => place.runHere(words, { TOLLGATE_URL: url }),
    close: async () => {
      const ended = once(server, "exit");
      server.kill("SIGTERM");
      await ended;
      place.remove();
    },
  };
}
