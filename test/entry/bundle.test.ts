import { execFile, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { ROOT, soundBundleIn } from "../../src/entry/bundle.js";
import { createWorkerPool } from "../../src/entry/worker-pool.ts";
import { bareEnvironment } from "../support/built.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { keep } from "../support/keeper.ts";

/** A checkout of its own: what is built and changed there is nobody else's. */
let checkout = "";
let bundle = "";

const FROM_BUNDLE = "this ran from the bundle";
const NO_BUNDLE = "there is no bundle of these sources";

beforeAll(async () => {
  checkout = copyOf("src", "drizzle", "package.json", "tsconfig.json", "build.ts");
  await node(checkout, ["build.ts"]);
  const found = soundBundleIn(checkout);
  if (found === null) throw new Error("nothing was built");
  bundle = found;
});
afterAll(() => rmSync(checkout, { recursive: true, force: true }));

/** Parts of this checkout in an empty folder, with its packages. */
function copyOf(...parts: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-bundle-"));
  for (const part of parts) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** Resolves when it has ended well. */
async function node(cwd: string, words: readonly string[]) {
  return await promisify(execFile)(process.execPath, words, { cwd, env: bareEnvironment() });
}

/** Starts a gateway that ends with the test, and resolves when it says where it listens. */
async function serve(cwd: string, words: readonly string[], env: Record<string, string> = {}) {
  const data = mkdtempSync(join(tmpdir(), "tollgate-bundle-data-"));
  cpSync(inject("pgliteTemplate"), data, { recursive: true });
  const child = spawn(process.execPath, words, {
    cwd,
    env: { ...bareEnvironment(), PORT: "0", LOG_LEVEL: "warn", TOLLGATE_DATA: data, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  keep(child);
  const said = { out: "", err: "" };
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.err += text));
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(data, { recursive: true, force: true });
  });
  const url = await new Promise<string>((found, fail) => {
    void ended.then(() => fail(new Error(`ended: ${said.out}${said.err}`)));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said.out += text;
      const address = /listening on (http:\S+)[\s\S]*\n$/u.exec(said.out)?.[1];
      if (address !== undefined) found(address);
    });
  });
  const key = /tg_live_\S+/u.exec(said.out)?.[0] ?? "";
  return { url, said, key, signal: (name: NodeJS.Signals) => void child.kill(name) };
}

describe("the bundle", () => {
  test("holds all that a gateway is made of, and needs no source", async () => {
    const folder = copyOf("drizzle", "package.json");
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const moved = join(folder, "dist", "program");
    cpSync(bundle, moved, { recursive: true });
    const start = `await (await import("./dist/program/" + process.argv[2])).main();`;
    writeFileSync(join(folder, "start.mjs"), start);
    const { url, key } = await serve(folder, ["start.mjs", "serve.js"]);
    const statusOf = async (path: string) => (await fetch(`${url}${path}`)).status;
    for (const path of ["/readyz", "/openapi.json", "/docs/swagger-ui.css", "/console"]) {
      expect([path, await statusOf(path)]).toEqual([path, 200]);
    }
    // So long that a worker thread reads it.
    const content = "x".repeat(512 * 1024);
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "demo/chat", messages: [{ role: "user", content }] }),
    });
    expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)]);
    const { stdout } = await node(folder, ["start.mjs", "main.js", "--help"]);
    expect(stdout).toContain("Usage: tollgate");
  });

  test("has the thread that counts tokens", async () => {
    const pool = createWorkerPool({
      file: pathToFileURL(join(bundle, "tokens-worker.js")),
      workersMax: 1,
      waitingMax: 1,
      deadlineMs: 60_000,
      idleMs: 60_000,
    });
    onTestFinished(() => pool.close());
    const task = { encoding: "cl100k_base", texts: ["hello world"] };
    expect(await pool.run({ owner: "", task, transfer: [] })).toBe(2);
  });

  test("is what npm start and the command run", async () => {
    const own = copyOf("src", "drizzle", "package.json", "tsconfig.json", "build.ts");
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    cpSync(join(checkout, "dist"), join(own, "dist"), { recursive: true });
    const copied = soundBundleIn(own);
    if (copied === null) throw new Error("a copy is as good as what was copied");
    for (const name of ["serve.js", "main.js"]) {
      appendFileSync(join(copied, name), `;process.stderr.write("${FROM_BUNDLE}\\n");`);
    }
    // In place of the folder that Node would keep there what it compiled: it cannot be written.
    rmSync(join(copied, "compiled"), { recursive: true });
    writeFileSync(join(copied, "compiled"), "");
    const [, ...words] = startScript().split(" ");
    const { said } = await serve(own, words);
    expect(said.err).toBe(`${FROM_BUNDLE}\n`);
    const { stderr } = await node(own, [bin(), "--version"]);
    expect(stderr).toBe(`${FROM_BUNDLE}\n`);

    // The same code with another comment: whatever has changed, it is not what was bundled.
    appendFileSync(join(own, "src", "lib", "assert.ts"), "// changed\n");
    const changed = await serve(own, words);
    expect(changed.said.err).toContain(NO_BUNDLE);
    expect(changed.said.err).not.toContain(FROM_BUNDLE);
    expect((await node(own, [bin(), "--version"])).stderr).toBe("");
  });
});

describeOnPostgres("several processes", (database) => {
  test("are started from it, and replaced by what was built meanwhile", async () => {
    const own = copyOf("src", "drizzle", "package.json", "tsconfig.json", "build.ts");
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    cpSync(join(checkout, "dist"), join(own, "dist"), { recursive: true });
    const first = soundBundleIn(own) ?? "";
    const second = `${first}-second`;
    cpSync(first, second, { recursive: true });
    const mark = (folder: string, text: string) =>
      appendFileSync(
        join(folder, "supervised.js"),
        `;process.stderr.write(${JSON.stringify(`${text}\n`)});`,
      );
    mark(first, "of the first");
    mark(second, "of the second");
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const [, ...words] = startScript().split(" ");
    const env = { DATABASE_URL: address.url, TOLLGATE_PROCESSES: "2" };
    const { said, signal } = await serve(own, words, env);
    expect(said.err).toBe("of the first\n".repeat(2));
    const manifest = join(own, "dist", "program.json");
    const made = readFileSync(manifest, "utf8");
    writeFileSync(manifest, made.replace(basename(first), basename(second)));
    signal("SIGUSR2");
    await expect.poll(() => said.err, { timeout: 60_000 }).toContain("all processes are replaced");
    expect(said.err.split("of the first\n")).toHaveLength(3);
    expect(said.err.split("of the second\n")).toHaveLength(3);
  });
});

describe("a bundle is not taken for one of these sources", () => {
  const rows: [string, (folder: string) => void][] = [
    ["when a source has changed", (at) => appendFileSync(join(at, "src/core/decide.ts"), "\n")],
    ["when a source is gone", (at) => rmSync(join(at, "src/core/decide.ts"))],
    ["when it is gone itself", (at) => rmSync(join(at, "dist"), { recursive: true })],
    ["when its folder is gone", (at) => rmSync(soundBundleIn(at) ?? "", { recursive: true })],
    ["when it is built otherwise", (at) => appendFileSync(join(at, "build.ts"), "\n")],
  ];
  test.each(rows)("%s", (_when, change) => {
    const own = copyOf("src", "package.json", "tsconfig.json", "build.ts");
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    cpSync(join(checkout, "dist"), join(own, "dist"), { recursive: true });
    expect(soundBundleIn(own)).not.toBeNull();
    change(own);
    expect(soundBundleIn(own)).toBeNull();
  });
});

test("a bundle that is broken is mended by another build", async () => {
  const file = join(bundle, "serve.js");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, "");
  await node(checkout, ["build.ts"]);
  expect(soundBundleIn(checkout)).toBe(bundle);
  expect(readFileSync(file, "utf8")).toBe(text);
});

test("two builds at once both end well, and keep what was built before", async () => {
  appendFileSync(join(checkout, "src", "lib", "assert.ts"), "// changed\n");
  await Promise.all([node(checkout, ["build.ts"]), node(checkout, ["build.ts"])]);
  const folder = soundBundleIn(checkout);
  expect(folder).not.toBeNull();
  expect(folder).not.toBe(bundle);
  const made = readdirSync(join(checkout, "dist")).map((name) => join(checkout, "dist", name));
  expect(new Set(made)).toEqual(new Set([bundle, folder, join(checkout, "dist", "program.json")]));
});

function startScript(): string {
  return described().scripts.start;
}

function bin(): string {
  return described().bin.tollgate;
}

function described() {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    readonly scripts: { readonly start: string };
    readonly bin: { readonly tollgate: string };
  };
}

test.each(["src/entry/start.js", "src/entry/cli/tollgate.js"])(
  "an older Node is told by %s which one is needed",
  (program) => {
    const older = 'Object.defineProperty(process, "versions", { value: { node: "20.1.0" } })';
    const ran = spawnSync(
      process.execPath,
      ["--import", `data:text/javascript,${older}`, join(ROOT, program), "serve"],
      { encoding: "utf8", env: bareEnvironment() },
    );
    expect(ran.stderr).toMatch(/^Node 20\.1\.0 is too old: Tollgate needs 24 or later\. .*\n$/);
    expect(ran.status).toBe(1);
  },
);
