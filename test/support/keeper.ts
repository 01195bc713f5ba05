import { spawn, type ChildProcess } from "node:child_process";

/** Its standard input is a pipe from this process, into which nobody writes: it ends when this process does. */
const KEEPER = `read -r _; kill -9 "$0"`;

/**
 * Ends the child when this process has ended, however it did: a run that is killed runs no handler of its own,
 * and would leave gates that look for their database for ever.
 */
export function keep(child: ChildProcess): void {
  // It could not be started: its `error` says so.
  if (child.pid === undefined) return;
  const keeper = spawn("/bin/sh", ["-c", KEEPER, String(child.pid)], {
    // Its own process group: a Ctrl-C at the terminal must not end it before its work is done.
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.once("exit", () => void keeper.kill("SIGKILL"));
}
