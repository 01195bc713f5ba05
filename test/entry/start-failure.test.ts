import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, onTestFinished, test } from "vitest";

import { readConfig } from "../../src/entry/config.ts";
import { startFailure } from "../../src/entry/start-failure.ts";
import { Fault } from "../../src/lib/assert.ts";
import { bareEnvironment } from "../support/built.ts";
import { createPlace } from "./command.ts";

const START = fileURLToPath(new URL("../../src/entry/start.js", import.meta.url));
const NO_FILES = { read: () => null };
const EMBEDDED = readConfig({ TOLLGATE_DATA: "/srv/gate", PORT: "80" }, NO_FILES);
const SERVER = readConfig({ DATABASE_URL: "postgres://u:s3cret@db:5432/x" }, NO_FILES);

const raised = (more: object): Error => Object.assign(new Error("as the system says it"), more);

test.each([
  ["a port of the system", EMBEDDED, { code: "EACCES" }, /^Cannot listen on 127\.0\.0\.1:80/],
  ["a name that is none", EMBEDDED, { code: "ENOTFOUND", hostname: "127.0.0.1" }, /Set HOST\.$/],
  [
    "a data folder of somebody else",
    EMBEDDED,
    { code: "EACCES", path: "/srv/gate" },
    /^Cannot use the data folder \/srv\/gate \(EACCES\): this user may not .* TOLLGATE_DATA\.$/,
  ],
  ["a full disk", EMBEDDED, { code: "ENOSPC", path: "/srv/gate/admin-key" }, /its disk is full/],
  ["no room for sockets", EMBEDDED, { code: "EROFS", path: join(tmpdir(), "x") }, /TMPDIR\.$/],
  ["no folder for sockets", EMBEDDED, { code: "ENOENT", path: tmpdir() }, /not there.* TMPDIR\.$/],
  ["a database that is away", SERVER, { code: "ECONNREFUSED" }, /check DATABASE_URL\.$/],
  ["a database of another name", SERVER, { code: "ENOTFOUND", hostname: "db" }, /DATABASE_URL\.$/],
])("%s is told in a sentence that says what to mend", (_, config, more, says) => {
  const failure = startFailure(raised(more), config);
  expect(failure).toBeInstanceOf(Fault);
  expect((failure as Fault).message).toMatch(says);
});

test.each([
  ["a mistake of the program", EMBEDDED, {}],
  ["a connection of the embedded database", EMBEDDED, { code: "ECONNREFUSED" }],
  ["a file of somebody else", EMBEDDED, { code: "EACCES", path: "/srv/gateway" }],
])("%s is told as it is", (_, config, more) => {
  const error = raised(more);
  expect(startFailure(error, config)).toBe(error);
});

test("a first start whose port is taken says so, and leaves the key for the next one to show", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await once(taken, "listening");
  const address = taken.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const place = createPlace();
  onTestFinished(place.remove);
  place.install("data");
  const serve = (env: Readonly<Record<string, string>>) => {
    const { directory } = place;
    const child = spawn(process.execPath, [START, "serve"], {
      cwd: directory,
      env: { ...bareEnvironment(), TOLLGATE_DATA: "data", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  };
  const first = serve({ PORT: String(port) });
  let said = "";
  first.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  expect(await once(first, "close")).toEqual([1, null]);
  expect(said).toMatch(
    /^127\.0\.0\.1:\d+ is taken by another program .*: stop it, or set PORT\.$/m,
  );
  expect(said).not.toMatch(/^ +at /m);
  const second = serve({ PORT: "0" });
  const [banner] = (await once(second.stdout, "data")) as [Buffer];
  expect(banner.toString()).toMatch(/tg_live_\w+/);
  const ended = once(second, "close");
  second.kill("SIGTERM");
  await ended;
  const [later] = (await once(serve({ PORT: "0" }).stdout, "data")) as [Buffer];
  expect(later.toString()).toContain("npx tollgate keys create NAME --url http://127.0.0.1:");
});
