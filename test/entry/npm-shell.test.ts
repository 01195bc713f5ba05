import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, onTestFinished, test } from "vitest";

import { bareEnvironment } from "../support/built.ts";

const START = fileURLToPath(new URL("../../src/entry/start.js", import.meta.url));
const COMMAND = fileURLToPath(new URL("../../src/entry/cli/tollgate.js", import.meta.url));

test.each([
  ["npm start", START],
  ["npx tollgate serve", COMMAND],
])("what the shell of %s leaves behind ends by itself, and politely", async (_, script) => {
  const directory = mkdtempSync(join(tmpdir(), "tollgate-shell-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  // A second command keeps the shell from becoming the first one.
  const shell = spawn("sh", ["-c", `"$0" "$1" serve; :`, process.execPath, script], {
    cwd: directory,
    detached: true,
    env: { npm_lifecycle_event: "start", PORT: "0", TOLLGATE_DATA: join(directory, "data") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    try {
      process.kill(-shell.pid!, "SIGKILL");
    } catch {
      // Nothing of its group is left, as it should be.
    }
  });
  let said = "";
  shell.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [banner] = (await once(shell.stdout, "data")) as [Buffer];
  expect(banner.toString()).toContain("http://127.0.0.1:");
  const ended = once(shell.stdout, "close");
  shell.kill("SIGTERM");
  await ended;
  expect(said).toContain("SIGTERM: finishing what is under way");
});

test("what cannot be written to standard output is told in a sentence", async () => {
  const script = `"$0" "$1" completion bash > /dev/full`;
  const ran = spawnSync("sh", ["-c", script, process.execPath, COMMAND], {
    encoding: "utf8",
    env: bareEnvironment(),
  });
  expect(ran.stderr).toMatch(/^error: standard output cannot be written: .*ENOSPC.*\n$/);
  expect(ran.status).toBe(1);
});
