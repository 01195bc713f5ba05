/** A program for the worker pool that does what it is told, and everything that a worker must not. */
import { threadId } from "node:worker_threads";
import { serveTasks } from "../../src/entry/worker-thread.ts";

export type UnrulyTask = {
  readonly act: "tell" | "spin" | "throw" | "exit" | "unclonable";
  /** Told back with the answer. */
  readonly name: string;
};

serveTasks(({ act, name }: UnrulyTask) => {
  if (act === "throw") throw new Error(name);
  if (act === "exit") process.exit(3);
  if (act === "spin") for (;;);
  const value = act === "unclonable" ? () => name : { name, threadId };
  return { value, transfer: [] };
});
