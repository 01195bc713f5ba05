/** Runs the command line as people do: as a child process, with nothing of this process's environment. */
import { spawn } from "node:child_process";
import { once } from "node:events";
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

export type Served = {
  readonly place: Place;
  readonly url: string;
  /** The key that the first start shows. */
  readonly firstKey: string;
  /** Runs a command beside the server: the administration key is found in its data directory. */
  readonly tollgate: (...words: readonly string[]) => Promise<Ran>;
  /** Ends the server and removes its place. */
  readonly close: () => Promise<void>;
};

/** A Tollgate in an empty place, started as people start it. */
export async function startServed(): Promise<Served> {
  const place = createPlace();
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
    tollgate: (...words) => place.run(words, { TOLLGATE_URL: url }),
    close: async () => {
      const ended = once(server, "exit");
      server.kill("SIGTERM");
      await ended;
      place.remove();
    },
  };
}
