/** The embedded database: PGlite in a worker thread, behind a unix socket and behind our own lock. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";

import { Fault } from "../lib/assert.ts";
import type { Address } from "../store/database.ts";

export type Embedded = { readonly address: Address; readonly close: () => Promise<void> };

/** PGlite takes about two seconds to make a new database; ten times that is a broken machine. */
const READY_MS_MAX = 60_000;

/**
 * Opens the embedded database in `directory`, making it when there is none. Two processes on one
 * PGlite directory corrupt it and PGlite does not notice, so the second one is refused here.
 */
export async function openEmbedded(directory: string): Promise<Embedded> {
  const root = resolve(directory);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const unlock = lock(join(root, "lock"));
  // A unix socket's path may have 107 bytes, which a deep checkout exceeds: it lives in the temp folder.
  const runtime = join(tmpdir(), `tollgate-${process.pid}-${Date.now().toString(36)}`);
  mkdirSync(runtime, { mode: 0o700 });
  const socket = join(runtime, ".s.PGSQL.5432");
  const worker = new Worker(new URL("./pglite-worker.ts", import.meta.url), {
    workerData: { dataDir: join(root, "database"), socket },
  });
  const release = () => {
    rmSync(runtime, { recursive: true, force: true });
    unlock();
  };
  process.once("exit", release);
  try {
    await ready(worker);
  } catch (error) {
    await worker.terminate();
    release();
    throw error;
  }
  return {
    address: { kind: "socket", path: socket },
    close: async () => {
      const ended = new Promise<void>((done) => worker.once("exit", () => done()));
      worker.postMessage("close");
      await ended;
      process.off("exit", release);
      release();
    },
  };
}

function ready(worker: Worker): Promise<void> {
  return new Promise((done, fail) => {
    const late = setTimeout(
      () => fail(new Fault(`the embedded database was not ready in ${READY_MS_MAX} ms`)),
      READY_MS_MAX,
    );
    worker.once("message", () => {
      clearTimeout(late);
      done();
    });
    worker.once("error", (error) => {
      clearTimeout(late);
      fail(new Fault("the embedded database did not start", { cause: error }));
    });
  });
}

/** Takes the lock file or throws; a lock whose process is gone is taken over. */
function lock(path: string): () => void {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw error;
    }
    const owner = Number(readFileSync(path, "utf8"));
    if (Number.isSafeInteger(owner) && owner > 0 && isAlive(owner)) {
      throw new Fault(
        `another Tollgate (process ${owner}) has the embedded database open: stop it first, choose ` +
          "another folder with TOLLGATE_DATA, or set DATABASE_URL to run several processes on PostgreSQL",
      );
    }
    rmSync(path, { force: true });
  }
  throw new Fault(`cannot take the lock ${path}: other processes keep taking it`);
}

/** In a container every start may have the same number: a lock with ours is a former life's. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, "EPERM");
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
