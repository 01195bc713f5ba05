/**
 * Runs the suite of the official Python library, and the Python of `docs/steps.md`: `npm run test:python`. It needs Python 3.9 or later
 * and, the first time, a package index; so it is not part of `npm test`.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startTollgateProcess } from "../../support/tollgate.ts";

const HERE = import.meta.dirname;
const ROOT = join(HERE, "..", "..", "..");
const PYTHON = process.env["PYTHON"] ?? "python3";
const REQUIREMENTS = join(HERE, "requirements.txt");

/** A download or a suite that takes longer hangs. */
const COMMAND_MS_MAX = 10 * 60_000;

/** What the Python of `docs/steps.md` prints: the second answer is the first one's result. */
const PAGE_SAYS = `{'transfer': 4711} {'transfer': 4711}
failed: the bank does not answer
refused: effect_uncertain reconcile
`;

process.exitCode = await main();

async function main(): Promise<number> {
  if ((await run(PYTHON, ["-c", "import venv, ensurepip"], {}, "ignore")) !== 0) {
    process.stderr.write(
      `test:python needs Python 3.9 or later with its modules venv and ensurepip, and \`${PYTHON}\` is ` +
        "not there or lacks them: install it (Debian: apt-get install python3-venv), or name another " +
        "with PYTHON=/path/to/python3.\n",
    );
    return 1;
  }
  const python = await environment();
  if (python === null) return 1;
  const tollgate = await startTollgateProcess({});
  try {
    if (tollgate.firstKey === null) throw new Error("the first start printed no key");
    if (!(await runsPage(python, tollgate.url, tollgate.firstKey))) return 1;
    return await run(python, [join(HERE, "suite.py")], {
      GATE_URL: tollgate.url,
      GATE_KEY: tollgate.firstKey,
      GATE_POOR_KEY: await tenantWith(tollgate, { unit: "usd", window: "none" }),
      GATE_SPENT_KEY: await tenantWith(tollgate, { unit: "requests", window: "day" }),
    });
  } finally {
    await tollgate.close();
  }
}

/** What `docs/steps.md` says to paste, pasted: it says what its steps gave, and what was refused. */
async function runsPage(python: string, url: string, key: string): Promise<boolean> {
  const page = readFileSync(join(ROOT, "docs", "steps.md"), "utf8");
  const code = /```python\n(import os\n[\s\S]*?)```/u.exec(page)?.[1] ?? "";
  const env = { ...process.env, TOLLGATE_URL: url, AGENT_KEY: key };
  const { stdout, stderr } = spawnSync(python, ["-"], { input: code, env, encoding: "utf8" });
  const isAsSaid = stdout === PAGE_SAYS;
  process.stderr.write(
    `docs/steps.md: ${isAsSaid ? "ok" : `not as it says\n${stdout}${stderr}`}\n`,
  );
  return isAsSaid;
}

/** A virtual environment with the pinned packages, made once for each list of them; null when it failed. */
async function environment(): Promise<string | null> {
  const digest = createHash("sha256").update(readFileSync(REQUIREMENTS)).digest("hex").slice(0, 12);
  const folder = join(ROOT, ".cache", `python-${digest}`);
  const python = join(folder, "bin", "python");
  // Written last, so that a broken-off installation is not taken for a whole one.
  const ready = join(folder, "ready");
  if (existsSync(ready)) return python;
  await mkdir(join(ROOT, ".cache"), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  const install = ["-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS];
  const made =
    (await run(PYTHON, ["-m", "venv", folder])) === 0 && (await run(python, install)) === 0;
  if (made) {
    writeFileSync(ready, "");
    return python;
  }
  process.stderr.write("The Python packages could not be installed: see above.\n");
  return null;
}

type Limit = { readonly unit: string; readonly window: string };

/** The key of a new tenant that has one limit, of nothing. */
async function tenantWith(
  { url, adminKey }: { readonly url: string; readonly adminKey: string },
  limit: Limit,
): Promise<string> {
  const post = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${url}/api${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(`POST /api${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  };
  const { id: tenant } = await post("/tenants", { name: `python-${limit.unit}` });
  await post("/limits", { tenant, scope: { kind: "tenant" }, ...limit, limit: "0" });
  const { key } = await post("/keys", { tenant, name: "python", scopes: ["invoke"] });
  return String(key);
}

/** The exit code of a command, or 1 where it could not be started or was ended by us. */
async function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  output: "inherit" | "ignore" = "inherit",
): Promise<number> {
  const child = spawn(command, args, {
    stdio: ["ignore", output, output],
    env: { ...process.env, ...env },
    timeout: COMMAND_MS_MAX,
  });
  return await new Promise((resolve) => {
    child.once("error", () => resolve(1));
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
