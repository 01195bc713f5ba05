import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { unstable_readConfig as readWrangler } from "wrangler";
import { SEALING_KEY } from "../support/seal.ts";
import { clientsOf, yamlFor, type Clients } from "../support/tollgate.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export type Bundle = {
  /** The one file that is deployed. */
  readonly script: string;
  /** What wrangler said. */
  readonly output: string;
};

/** What `wrangler deploy` would send, made with our `wrangler.toml` and without the network. */
export async function bundleWorker(): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-bundle-"));
  try {
    const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
    const child = spawn(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", folder], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      // A home of its own: nothing of this machine's account, and nothing left in it.
      env: { PATH: process.env["PATH"], HOME: folder, CI: "1", WRANGLER_SEND_METRICS: "false" },
    });
    const output = gather(child);
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`wrangler ended with ${code}:\n${output()}`);
    return { script: await readFile(join(folder, "worker.js"), "utf8"), output: output() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export type WorkerOptions = {
  readonly bundle: Bundle;
  readonly databaseUrl: string;
  readonly upstream?: string;
  readonly timeoutMs?: number;
  /** Variables and secrets, before our own of the same name; null takes one away. */
  readonly bindings?: Readonly<Record<string, string | null>>;
};

export type Worker = Clients & {
  /** The clock's turn, as Cloudflare's cron would take it. */
  readonly sweep: () => Promise<void>;
  /** What it has logged so far. */
  readonly output: () => string;
  readonly close: () => Promise<void>;
};

/**
 * The bundle on workerd, the runtime of Cloudflare's own machines, with the flags that are deployed. It
 * stands on the network itself: a proxy in between, as `wrangler dev` has one, would hide how clients leave.
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const program = workerd();
  const folder = await mkdtemp(join(tmpdir(), "tollgate-workerd-"));
  const adminKey = randomBytes(24).toString("hex");
  await writeFile(join(folder, "worker.js"), options.bundle.script);
  await writeFile(join(folder, "config.capnp"), configFor(options, adminKey));
  // Experimental is the flag by which one Worker may take the clock's turn for another.
  const words = ["serve", "--experimental", "--control-fd=3", "config.capnp"];
  const child = spawn(program, words, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const output = gather(child);
  const exited = once(child, "exit");
  const close = async () => {
    if (child.exitCode === null) child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  const ports = listening(child, 2);
  const early = exited.then(([code]) => {
    throw new Error(`workerd ended with ${String(code)}:\n${output()}`);
  });
  try {
    const { http, clock } = await Promise.race([ports, early]);
    early.catch(() => undefined);
    return {
      // The isolate that changes something knows it at once, and there is one.
      ...clientsOf(`http://127.0.0.1:${http}`, adminKey, () => Promise.resolve()),
      sweep: async () => {
        const outcome = await (await fetch(`http://127.0.0.1:${clock}/`)).text();
        if (outcome !== "ok") throw new Error(`the sweep ended with ${outcome}:\n${output()}`);
      },
      output,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The binary for this machine, as the package finds it. */
function workerd(): string {
  const found: unknown = createRequire(import.meta.url)("workerd");
  return String((found as { default: unknown }).default);
}

/** A second Worker takes the clock's turn: workerd has no clock of its own. */
const CLOCK = `export default {
  async fetch(request, { WORKER }) {
    const { outcome } = await WORKER.scheduled({ cron: "* * * * *" });
    return new Response(outcome);
  },
};`;

function configFor(options: WorkerOptions, adminKey: string): string {
  const { compatibility_date: date, compatibility_flags: flags } = readWrangler({
    config: join(ROOT, "wrangler.toml"),
  });
  const database = new URL(options.databaseUrl);
  const yaml = yamlFor(options).replace("    models:", "    shared_objects: true\n    models:");
  const texts: Record<string, string | null> = {
    TOLLGATE_ADMIN_KEY: adminKey,
    TOLLGATE_SEALING_KEY: SEALING_KEY,
    TOLLGATE_YAML: yaml === "" ? null : yaml,
    LOG_LEVEL: "warn",
    ...options.bindings,
  };
  const bindings = Object.entries(texts)
    .filter(([, text]) => text !== null)
    .map(([name, text]) => `( name = ${quoted(name)}, text = ${quoted(text ?? "")} )`);
  // JSON's quotes are Cap'n Proto's.
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ( name = "worker", worker = .worker ),
    ( name = "clock", worker = .clock ),
    ( name = "internet", network = ( allow = [ "public", "private" ] ) ),
    ( name = "database", external = ( address = ${quoted(database.host)}, tcp = () ) ),
  ],
  sockets = [
    ( name = "http", address = "127.0.0.1:0", http = (), service = "worker" ),
    ( name = "clock", address = "127.0.0.1:0", http = (), service = "clock" ),
  ],
);
const worker :Workerd.Worker = (
  modules = [ ( name = "worker.js", esModule = embed "worker.js" ) ],
  compatibilityDate = ${quoted(date ?? "")},
  compatibilityFlags = ${JSON.stringify(flags)},
  globalOutbound = "internet",
  bindings = [
    ( name = "HYPERDRIVE", hyperdrive = (
      designator = "database",
      database = ${quoted(database.pathname.slice(1))},
      user = ${quoted(database.username)},
      password = "none",
      scheme = "postgres",
    ) ),
    ${bindings.join(",\n    ")},
  ],
);
const clock :Workerd.Worker = (
  modules = [ ( name = "clock.js", esModule = ${quoted(CLOCK)} ) ],
  compatibilityDate = ${quoted(date ?? "")},
  compatibilityFlags = [ "service_binding_extra_handlers" ],
  bindings = [ ( name = "WORKER", service = "worker" ) ],
);
`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function gather(child: ChildProcess): () => string {
  let output = "";
  child.stdout?.on("data", (text: Buffer) => (output += text.toString()));
  child.stderr?.on("data", (text: Buffer) => (output += text.toString()));
  return () => output;
}

/** The ports of its sockets by name, which it tells on a pipe of its own when it listens. */
function listening(child: ChildProcess, count: number): Promise<Record<string, number>> {
  const pipe = child.stdio[3] as Readable;
  const ports: Record<string, number> = {};
  let told = "";
  return new Promise((resolve) => {
    pipe.on("data", (text: Buffer) => {
      told += text.toString();
      for (const [, name = "", port] of told.matchAll(/"socket":"(\w+)","port":(\d+)/gu)) {
        ports[name] = Number(port);
      }
      if (Object.keys(ports).length === count) resolve(ports);
    });
  });
}
