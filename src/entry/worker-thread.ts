/** The other side of `worker-pool.ts`: what a thread's program calls once to answer its pool. */
import { parentPort } from "node:worker_threads";
import type { Transferable } from "node:worker_threads";

import { assert } from "../lib/assert.ts";

export type TaskAnswer = {
  readonly value: unknown;
  /** Buffers of the value that are handed over instead of copied. */
  readonly transfer: readonly Transferable[];
};

/**
 * Answers one task after another. What `answer` throws ends the thread, and the pool starts another:
 * whatever state the failure left behind goes with it. A port's message is of any type; both sides are
 * this program's, so the type of its task is taken at its word, here and nowhere else.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names its task
export function serveTasks<Task>(answer: (task: Task) => TaskAnswer): void {
  assert(parentPort !== null, "tasks are served in a worker thread");
  const port = parentPort;
  port.on("message", (task: Task) => {
    const { value, transfer } = answer(task);
    port.postMessage(value, [...transfer]);
  });
}
