/** The embedded database: PGlite in a worker thread, behind a unix socket and behind our own lock. */
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Worker } from "node:worker_threads";

import { Fault } from "../lib/assert.ts";
import type { Address } from "../store/database.ts";
import { besideThis } from "./beside.ts";
import { takeLock } from "./lock.ts";

const DATABASE = "database";

/** In the data folder while a database is being made. */
const MAKING = "making";

/** Of a unix socket, on macOS; Linux allows 107. */
const SOCKET_PATH_BYTES_MAX = 103;

const LOCK_LOOK_MS = 1_000;

/** A new database takes 42 MB. */
const FREE_BYTES_MIN = 64 * 1024 * 1024;

export type Embedded = { readonly address: Address; readonly close: () => Promise<void> };

/** PGlite takes about two seconds to make a new database; thirty times that is a broken machine. */
const READY_MS_MAX = 60_000;

/**
 * Opens the embedded database in `directory`, making it when there is none. Two processes on one
 * PGlite directory corrupt it and PGlite does not notice, so the second one is refused here.
 * `onDeath` hears once when the database ends although nobody closed it; without it that is thrown
 * where nothing catches it, which ends the process.
 */
export async function openEmbedded(
  directory: string,
  onDeath: (fault: Fault) => void = throwIt,
): Promise<Embedded> {
  const root = resolve(directory);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const lock = join(root, "lock");
  const unlock = await takeLock(lock);
  // Not in the data folder, for a deep checkout has a longer path than a socket may have.
  const runtime = join(tmpdir(), `tollgate-${process.pid}-${randomBytes(6).toString("hex")}`);
  const release = () => {
    rmSync(runtime, { recursive: true, force: true });
    unlock();
  };
  process.once("exit", release);
  const watch = watchLock(lock, onDeath);
  const letGo = () => {
    clearInterval(watch);
    process.off("exit", release);
    release();
  };
  try {
    mkdirSync(runtime, { mode: 0o700 });
    const socket = join(runtime, ".s.PGSQL.5432");
    if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
      throw new Fault(
        `the path of the temp folder ${tmpdir()} is too long for a socket: set TMPDIR to another`,
      );
    }
    const finish = prepare(root);
    const life = await startWorker({ dataDir: join(root, DATABASE), socket }, onDeath);
    finish();
    const close = async () => {
      clearInterval(watch);
      await life.end();
      letGo();
    };
    return { address: { kind: "socket", path: socket }, close };
  } catch (error) {
    letGo();
    throw error;
  }
}

/**
 * A folder that is removed takes the lock with it, and PGlite goes on in files that have no name any more: what is
 * decided then is recorded nowhere, and the next start has the same folder for its own.
 */
function watchLock(lock: string, onLoss: (fault: Fault) => void): ReturnType<typeof setInterval> {
  const owner = readFileSync(lock, "utf8");
  const watch = setInterval(() => {
    if (isOwnedBy(lock, owner)) return;
    clearInterval(watch);
    onLoss(new Fault(`${lock} is gone, or another process's: was its folder removed?`));
  }, LOCK_LOOK_MS);
  return watch.unref();
}

function isOwnedBy(lock: string, owner: string): boolean {
  try {
    return readFileSync(lock, "utf8") === owner;
  } catch (error) {
    // Any other failure, such as too many open files, says nothing of the lock.
    return !(error instanceof Error && "code" in error && error.code === "ENOENT");
  }
}

/**
 * PGlite takes a folder without PG_VERSION for an empty one and makes a database over what is in it, and a folder
 * with it for a whole one, although that file is not the last that it writes. So a file beside it stands
 * for as long as a database is being made: then nothing was kept in it yet, and it is begun anew. Answers
 * what to call when it is made.
 */
function prepare(root: string): () => void {
  const database = join(root, DATABASE);
  const making = join(root, MAKING);
  const found = existsSync(database) ? readdirSync(database) : [];
  if (!existsSync(making)) {
    if (found.includes("PG_VERSION")) return () => undefined;
    if (found.length > 0) {
      throw new Fault(
        `${database} is a part of a database (there is no PG_VERSION in it): put a whole copy there, ` +
          "or delete it to start with an empty one",
      );
    }
  }
  writeFileSync(making, "");
  rmSync(database, { recursive: true, force: true });
  return () => rmSync(making);
}

type Life = { readonly end: () => Promise<void> };

/** Resolves when the database answers; rejects when its thread ends before, or takes too long. */
async function startWorker(
  workerData: { readonly dataDir: string; readonly socket: string },
  onDeath: (fault: Fault) => void,
): Promise<Life> {
  const worker = new Worker(besideThis("pglite-worker"), { workerData });
  const ready = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  let state: "starting" | "open" | "closing" = "starting";
  let cause: unknown = null;
  worker.on("error", (error) => (cause = error));
  worker.once("message", () => ready.resolve());
  worker.once("exit", (code) => {
    exited.resolve();
    const how = `its thread ended with code ${code}`;
    if (state === "starting") {
      ready.reject(new Fault(notStarted(workerData.dataDir, how, cause), { cause }));
    } else if (state === "open") {
      onDeath(new Fault(`the embedded database ended by itself: ${how}`, { cause }));
    }
  });
  const late = setTimeout(
    () => ready.reject(new Fault(`the embedded database was not ready in ${READY_MS_MAX} ms`)),
    READY_MS_MAX,
  );
  try {
    await ready.promise;
  } catch (error) {
    await worker.terminate();
    throw error;
  } finally {
    clearTimeout(late);
  }
  state = "open";
  return {
    end: async () => {
      state = "closing";
      worker.postMessage("close");
      await exited.promise;
    },
  };
}

/** PGlite's own words say little, and of a full disk none. */
function notStarted(database: string, how: string, cause: unknown): string {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  const { bavail, bsize } = statfsSync(dirname(database));
  const freeMb = Math.floor((bavail * bsize) / 1e6);
  const advice =
    bavail * bsize < FREE_BYTES_MIN
      ? `its disk has ${freeMb} MB left: make room, and start again`
      : `if ${database} is damaged, put a whole copy there, or choose another folder with TOLLGATE_DATA`;
  return `the embedded database did not start: ${how}${why}; ${advice}`;
}

function throwIt(fault: Fault): void {
  throw fault;
}
