/** The embedded database: PGlite in a worker thread, behind a unix socket and behind our own lock. */
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";

import { Fault } from "../lib/assert.ts";
import type { Address } from "../store/database.ts";
import { besideThis } from "./beside.ts";
import { takeLock } from "./lock.ts";

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
  const unlock = await takeLock(join(root, "lock"));
  // A unix socket's path may have 107 bytes, which a deep checkout exceeds: it lives in the temp folder.
  const runtime = join(tmpdir(), `tollgate-${process.pid}-${randomBytes(6).toString("hex")}`);
  const release = () => {
    rmSync(runtime, { recursive: true, force: true });
    unlock();
  };
  process.once("exit", release);
  const letGo = () => {
    process.off("exit", release);
    release();
  };
  try {
    mkdirSync(runtime, { mode: 0o700 });
    const socket = join(runtime, ".s.PGSQL.5432");
    const life = await startWorker({ dataDir: join(root, "database"), socket }, onDeath);
    const close = async () => {
      await life.end();
      letGo();
    };
    return { address: { kind: "socket", path: socket }, close };
  } catch (error) {
    letGo();
    throw error;
  }
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
      ready.reject(new Fault(`the embedded database did not start: ${how}`, { cause }));
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

function throwIt(fault: Fault): void {
  throw fault;
}
