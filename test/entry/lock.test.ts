import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";

import { afterAll, expect, onTestFinished, test, vi } from "vitest";

import { takeLock } from "../../src/entry/lock.ts";
import { openEmbedded } from "../../src/entry/pglite.ts";

const CHILD = fileURLToPath(new URL("lock-child.ts", import.meta.url));
const STARTERS = 4;

const root = mkdtempSync(join(tmpdir(), "tollgate-lock-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function place(): { readonly folder: string; readonly path: string } {
  const folder = mkdtempSync(join(root, "f-"));
  return { folder, path: join(folder, "lock") };
}

/** The number of a process that has ended. */
function gonePid(): number {
  return spawnSync(process.execPath, ["-e", ""]).pid;
}

const ownerText = (more: object): string =>
  JSON.stringify({ pid: gonePid(), host: hostname(), started: "b 1", ...more });

async function lineOf(child: ChildProcess): Promise<string> {
  const [said] = (await once(child.stdout!, "data")) as [Buffer];
  return said.toString().trim();
}

test.each([1, 2, 3])(
  "of several starters on the lock of a process that is gone one has it (%i)",
  async () => {
    const { folder, path } = place();
    writeFileSync(path, ownerText({}));
    const children = Array.from({ length: STARTERS }, () =>
      spawn(process.execPath, [CHILD, path], { stdio: ["pipe", "pipe", "inherit"] }),
    );
    await Promise.all(children.map(lineOf));
    const said = children.map(lineOf);
    for (const child of children) child.stdin.write("go\n");
    const answers = await Promise.all(said);
    const owner = children[answers.indexOf("took")];
    expect(answers.filter((answer) => answer === "took")).toHaveLength(1);
    for (const answer of answers.filter((each) => each !== "took"))
      expect(answer).toContain(
        `another Tollgate (process ${owner?.pid}) has the embedded database`,
      );
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: owner?.pid });
    const exits = children.map((child) => once(child, "exit"));
    for (const child of children) child.stdin.write("end\n");
    await Promise.all(exits);
    expect(readdirSync(folder)).toEqual([]);
  },
);

test.each([
  ["an empty file", "", /names no process: .* delete that file and start again/],
  ["half a file", '{"pid":1', /names no process: .* delete that file and start again/],
  ["a file of another form", "12345", /names no process: .* delete that file and start again/],
  ["an impossible number", ownerText({ pid: -1 }), /names no process/],
  ["another machine's", ownerText({ host: "elsewhere" }), /"elsewhere".*delete .*lock and start/],
  ["that of a process which runs", ownerText({ pid: process.ppid, started: startOf() }), /stop it/],
])("a lock that is %s is refused, and stays", async (_, text, says) => {
  const { folder, path } = place();
  writeFileSync(path, text);
  await expect(takeLock(path)).rejects.toThrow(says);
  expect(readFileSync(path, "utf8")).toBe(text);
  expect(readdirSync(folder)).toEqual(["lock"]);
});

/** The parent's start, as proc(5) tells it. */
function startOf(): string {
  const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${boot} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
}

test.each([
  ["a process that is gone", {}],
  ["a former process of our number", { pid: process.pid }],
  ["a former process of a number that runs again", { pid: process.ppid }],
])("the lock of %s is taken over", async (_, owner) => {
  const { folder, path } = place();
  writeFileSync(path, ownerText(owner));
  const release = await takeLock(path);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid });
  release();
  expect(readdirSync(folder)).toEqual([]);
});

test("one process takes a lock once, and again after it let go", async () => {
  const { path } = place();
  const release = await takeLock(path);
  await expect(takeLock(path)).rejects.toThrow(/this process .* has the embedded database open/);
  release();
  (await takeLock(path))();
});

test("what a start that was killed has left names the file to delete", async () => {
  const { path } = place();
  writeFileSync(path, ownerText({}));
  writeFileSync(`${path}.taking`, ownerText({}));
  await expect(takeLock(path)).rejects.toThrow(`has left ${path}.taking`);
});

async function opened(
  folder: string,
  onDeath: (error: Error) => void,
): Promise<{ readonly worker: Worker; readonly close: () => Promise<void> }> {
  const worker = new Promise<Worker>((done) => process.once("worker", done));
  const { close } = await openEmbedded(folder, onDeath);
  return { worker: await worker, close };
}

test("an embedded database that ends by itself is told once, and can still be closed", async () => {
  const { folder } = place();
  const death = Promise.withResolvers<Error>();
  const deaths: Error[] = [];
  const { worker, close } = await opened(folder, (error) => {
    deaths.push(error);
    death.resolve(error);
  });
  await worker.terminate();
  expect((await death.promise).message).toMatch(/the embedded database ended by itself/);
  await close();
  expect(deaths).toHaveLength(1);
  const again = await openEmbedded(folder);
  await again.close();
});

test("an embedded database that is closed did not die", async () => {
  const deaths: Error[] = [];
  const { close } = await opened(place().folder, (error) => deaths.push(error));
  await close();
  await close();
  expect(deaths).toEqual([]);
});

test("an embedded database that ends before it answers fails the start and leaves no lock", async () => {
  const { folder, path } = place();
  process.once("worker", (worker) => void worker.terminate());
  await expect(openEmbedded(folder)).rejects.toThrow(/did not start: its thread ended/);
  (await takeLock(path))();
});

test("an embedded database that was killed while it was made is begun anew", async () => {
  const { folder } = place();
  mkdirSync(join(folder, "database"));
  // It writes this one before the last ones, and takes a folder that has it for whole.
  writeFileSync(join(folder, "database", "PG_VERSION"), "18\n");
  writeFileSync(join(folder, "making"), "");
  const { close } = await openEmbedded(folder);
  await close();
  expect(readdirSync(folder)).toEqual(["database"]);
  expect(existsSync(join(folder, "database", "postgresql.conf"))).toBe(true);
});

test("a part of an embedded database is not made into an empty one", async () => {
  const { folder } = place();
  const kept = join(folder, "database", "base");
  mkdirSync(kept, { recursive: true });
  await expect(openEmbedded(folder)).rejects.toThrow(/is a part of a database/);
  expect(existsSync(kept)).toBe(true);
  expect(readdirSync(folder)).toEqual(["database"]);
});

test("an embedded database that is damaged says what to do, in the words of what failed", async () => {
  const { folder } = place();
  mkdirSync(join(folder, "database"));
  writeFileSync(join(folder, "database", "PG_VERSION"), "18\n");
  await expect(openEmbedded(folder)).rejects.toThrow(/did not start: .*; (?:if .* is damaged|its)/);
});

test("an embedded database whose folder is removed ends, and what is there then stays", async () => {
  const { folder, path } = place();
  const death = Promise.withResolvers<Error>();
  const { close } = await openEmbedded(folder, death.resolve);
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  writeFileSync(path, ownerText({}));
  expect((await death.promise).message).toMatch(/is gone, or another process's/);
  await close();
  expect(readFileSync(path, "utf8")).toContain('"started":"b 1"');
});

test("a temp folder whose path is too long for a socket is named, and leaves no lock", async () => {
  const { folder, path } = place();
  const deep = join(folder, "x".repeat(100));
  mkdirSync(deep);
  vi.stubEnv("TMPDIR", deep);
  onTestFinished(() => void vi.unstubAllEnvs());
  await expect(openEmbedded(folder)).rejects.toThrow(/is too long for a socket: set TMPDIR/);
  (await takeLock(path))();
});
