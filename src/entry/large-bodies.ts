/** Large request bodies on Node: read and edited in worker threads, so that one cannot hold up the others. */
import { kTransferable, kValue, Tinypool } from "tinypool";

import { InputError } from "../core/errors.ts";
import { Fault } from "../lib/assert.ts";
import { Unavailable } from "../gate/unavailable.ts";
import type { LargeBodies } from "../http/request-body.ts";
import type { EditTask, ReadAnswer, ReadTask } from "./large-bodies-worker.ts";

/** One reads while another starts; more would take the cores from the gate. */
const WORKERS_MAX = 2;

/** Bodies waiting, each of up to 64 MB: beyond it the process would hold more than a gigabyte. */
const WAITING_MAX = 16;

/** Ten times what 64 MB of short members take by measurement. */
const DEADLINE_MS = 10_000;

/** A worker keeps 50 MB for its next body. */
const IDLE_MS = 30_000;

export type ClosableLargeBodies = LargeBodies & { readonly close: () => Promise<void> };

export function createLargeBodies(): ClosableLargeBodies {
  const pool = new Tinypool({
    filename: new URL(WORKER_FILE, import.meta.url).href,
    minThreads: 0,
    maxThreads: WORKERS_MAX,
    maxQueue: WAITING_MAX,
    idleTimeout: IDLE_MS,
  });
  const run = async (name: string, task: ReadTask | EditTask): Promise<unknown> => {
    const bytes = ownBuffer(task.bytes);
    const moved = Tinypool.move({ [kTransferable]: bytes.buffer, [kValue]: { ...task, bytes } });
    const signal = AbortSignal.timeout(DEADLINE_MS);
    try {
      return await pool.run(moved, { name, signal });
    } catch (error) {
      throw new Unavailable("A large body could not be read now.", { cause: error });
    }
  };
  return {
    read: async (route, contentType, bytes) => {
      const answer = readAnswerFrom(await run("readLarge", { route, contentType, bytes }));
      if (answer.kind === "read") return answer;
      throw new InputError(answer.code, answer.param, answer.message);
    },
    edit: async (bytes, edits) => {
      const edited = await run("editLarge", { bytes, edits });
      if (edited instanceof Uint8Array) return edited;
      throw new Fault("the worker answers bytes");
    },
    close: () => pool.destroy(),
  };
}

/** Beside the source as it runs from a checkout, and beside the compiled file in a package. */
const WORKER_FILE = import.meta.url.endsWith(".ts")
  ? "./large-bodies-worker.ts"
  : "./large-bodies-worker.js";

/** Only a whole buffer can be handed over; a view of a shared pool is copied first. */
function ownBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength;
  return isWhole ? new Uint8Array(buffer) : Uint8Array.from(bytes);
}

function readAnswerFrom(value: unknown): ReadAnswer {
  if (isReadAnswer(value)) return value;
  throw new Fault("the worker answers what it read");
}

/** Both sides are this program's: what is checked is that it is the answer of the right task. */
function isReadAnswer(value: unknown): value is ReadAnswer {
  return typeof value === "object" && value !== null && "kind" in value;
}
