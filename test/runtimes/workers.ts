import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestHarness } from "wrangler";
import { clientsOf, yamlFor, type Clients } from "../support/tollgate.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export type Bundle = {
  /** Holds `worker.js`, the one file that is deployed. */
  readonly folder: string;
  /** What wrangler said. */
  readonly output: string;
  readonly remove: () => Promise<void>;
};

/** What `wrangler deploy` would send, made with our `wrangler.toml` and without the network. */
export async function bundleWorker(): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-worker-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  const wrangler = join(ROOT, "node_modules", "wrangler", "bin", "wrangler.js");
  const child = spawn(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", folder], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    // A home of its own: nothing of this machine's account, and nothing left in it.
    env: { PATH: process.env["PATH"], HOME: folder, CI: "1", WRANGLER_SEND_METRICS: "false" },
  });
  let output = "";
  child.stdout.on("data", (text: Buffer) => (output += text.toString()));
  child.stderr.on("data", (text: Buffer) => (output += text.toString()));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code === 0) return { folder, output, remove };
  await remove();
  throw new Error(`wrangler ended with ${code}:\n${output}`);
}

export type WorkerOptions = {
  readonly bundle: Bundle;
  readonly databaseUrl: string;
  readonly upstream?: string;
  readonly timeoutMs?: number;
  readonly yaml?: string;
  readonly adminKey?: string;
  /** More variables. */
  readonly vars?: Readonly<Record<string, string>>;
};

export type Worker = Clients & {
  /** The clock's turn, as Cloudflare's cron would take it. */
  readonly sweep: () => Promise<void>;
  /** What it has logged so far. */
  readonly output: () => string;
  readonly close: () => Promise<void>;
};

/** Where wrangler finds the database that stands for the Hyperdrive of our `wrangler.toml`. */
const LOCAL_HYPERDRIVE = "CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE";

/** The bundle on workerd, the runtime of Cloudflare's own machines, with the flags that are deployed. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { bundle, databaseUrl, vars = {}, adminKey = randomBytes(24).toString("hex") } = options;
  const text = yamlFor(options);
  // Wrangler asks for a password; the tests' PostgreSQL asks for none.
  process.env[LOCAL_HYPERDRIVE] = databaseUrl.replace(/^(postgres:\/\/[^:@/]+)@/u, "$1:none@");
  const harness = createTestHarness({
    root: ROOT,
    workers: [
      {
        configPath: join(ROOT, "wrangler.toml"),
        prebuiltWorkerDir: bundle.folder,
        vars: { LOG_LEVEL: "warn", ...(text === "" ? {} : { TOLLGATE_YAML: text }), ...vars },
        secrets: adminKey === "" ? {} : { TOLLGATE_ADMIN_KEY: adminKey },
      },
    ],
  });
  const url = (await harness.listen()).url.origin;
  return {
    // The isolate that changes something knows it at once, and there is one.
    ...clientsOf(url, adminKey, () => Promise.resolve()),
    sweep: async () => {
      const { outcome } = await harness.getWorker().scheduled({ cron: "* * * * *" });
      if (outcome !== "ok") throw new Error(`the sweep ended with ${outcome}`);
    },
    output: () =>
      harness
        .getLogs()
        .map(({ message }) => message)
        .join("\n"),
    close: () => harness.close(),
  };
}
