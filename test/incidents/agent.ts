import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { bareEnvironment } from "../support/built.ts";

/** One line of what an agent says: a JSON object with a `kind`. */
export type Said = { readonly kind: string } & Readonly<Record<string, unknown>>;

/** An agent in a process of its own: it can be killed as a machine kills it, and remembers nothing after. */
export type Agent = {
  readonly pid: number;
  /** All that it has said so far. */
  readonly lines: readonly Said[];
  /** The first line of that kind, said already or to come; throws when the agent ends without. */
  readonly said: (kind: string) => Promise<Said>;
  /** The exit code, or null when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** Sends SIGKILL to this process, and no other; resolves when it is gone. */
  readonly kill: () => Promise<void>;
};

/** Runs a program of `agents/` with nothing in its environment but what is given. */
export function startAgent(program: string, env: Readonly<Record<string, string>>): Agent {
  const child = spawn(process.execPath, [join(import.meta.dirname, "agents", program)], {
    // Its standard input ends with this process: an agent that waits for ever ends then, too.
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...bareEnvironment(), ...env },
  });
  const lines: Said[] = [];
  let errors = "";
  let changed = Promise.withResolvers<void>();
  const notify = (): void => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  createInterface({ input: child.stdout }).on("line", (line) => {
    lines.push(JSON.parse(line) as Said);
    notify();
  });
  let hasEnded = false;
  // `close` comes when all that it wrote has been read.
  const exited = once(child, "close").then(([code]) => {
    hasEnded = true;
    notify();
    return code as number | null;
  });
  return {
    pid: child.pid ?? 0,
    lines,
    exited,
    said: async (kind) => {
      for (;;) {
        const line = lines.find((each) => each.kind === kind);
        if (line !== undefined) return line;
        if (hasEnded) throw new Error(`${program} ended and never said ${kind}:\n${errors}`);
        await changed.promise;
      }
    },
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
