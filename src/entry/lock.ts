/**
 * A lock on a folder of this machine: the file `lock` in it, which names its owner.
 *
 * The file is made by linking one that is already written, so it is never seen empty, and of several
 * who link it one succeeds. What is left of an owner that is gone is replaced under a second lock, and
 * while it is replaced a file stands at the path all the time: to rename it away first would let a third
 * starter link its own into the gap.
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";

import { Fault } from "../lib/assert.ts";
import { isRecord, parseJson } from "../lib/json.ts";

/** Another starter holds the second lock for a few system calls; after two seconds it is stuck. */
const ATTEMPTS_MAX = 100;
const ATTEMPT_MS = 20;

type Owner = {
  readonly pid: number;
  readonly host: string;
  /** What tells two processes of one number apart. */
  readonly started: string;
};

/** Takes the lock file at `path` and answers how to let go of it; throws a Fault that says what to do. */
export async function takeLock(path: string): Promise<() => void> {
  const me: Owner = { pid: process.pid, host: hostname(), started: startOf(process.pid) ?? "" };
  const text = JSON.stringify(me);
  const mine = `${path}.${process.pid}.${randomUUID()}`;
  write(mine, text);
  const release = () => {
    if (readIfThere(path) === text) rmSync(path, { force: true });
  };
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      if (linked(mine, path)) return release;
      const found = readIfThere(path);
      if (found === null) continue;
      refuseUnlessGone(path, found, me);
      if (replaced(path, found, mine)) return release;
      await new Promise((done) => setTimeout(done, ATTEMPT_MS));
    }
  } finally {
    rmSync(mine, { force: true });
  }
  throw new Fault(
    `cannot take the lock ${path}: a start that was killed has left ${takingOf(path)}. ` +
      "If no Tollgate is starting on this folder, delete that file and start again",
  );
}

/** Puts ours in the place of what a process that is gone has left; false when another one is at it. */
function replaced(path: string, left: string, mine: string): boolean {
  const taking = takingOf(path);
  if (!linked(mine, taking)) return false;
  try {
    // Another one may have replaced it between our look and now.
    if (readIfThere(path) !== left) return false;
    const ready = `${mine}.ready`;
    linkSync(mine, ready);
    renameSync(ready, path);
    return true;
  } finally {
    rmSync(taking, { force: true });
  }
}

function takingOf(path: string): string {
  return `${path}.taking`;
}

function refuseUnlessGone(path: string, found: string, me: Owner): void {
  const owner = ownerFrom(found);
  if (owner === null) {
    throw new Fault(
      `the lock ${path} names no process: if no Tollgate runs on this folder, delete that file and ` +
        "start again",
    );
  }
  if (owner.host !== me.host) {
    throw new Fault(
      `the embedded database was opened on another machine (${JSON.stringify(owner.host)}, process ` +
        `${owner.pid}), where this one cannot see whether it still runs. If it does not, delete ` +
        `${path} and start again`,
    );
  }
  if (owner.pid === me.pid && owner.started === me.started) {
    throw new Fault(
      `this process (${owner.pid}) has the embedded database open already: close it first, or choose ` +
        "another folder with TOLLGATE_DATA",
    );
  }
  if (owner.pid === me.pid || !isAlive(owner)) return;
  throw new Fault(
    `another Tollgate (process ${owner.pid}) has the embedded database open: stop it first, choose ` +
      "another folder with TOLLGATE_DATA, or set DATABASE_URL to run several processes on PostgreSQL",
  );
}

function ownerFrom(text: string): Owner | null {
  const value = parseJson(text)?.value;
  if (!isRecord(value)) return null;
  const { pid, host, started } = value;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return null;
  if (typeof host !== "string" || typeof started !== "string") return null;
  return { pid, host, started };
}

/** A number is given to another process in time, which the start tells where it can be known. */
function isAlive({ pid, started }: Owner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!isCode(error, "EPERM")) return false;
  }
  const now = startOf(pid);
  return now === null || now === started;
}

/** The boot and the clock tick in which a process began (proc(5)); elsewhere only our own is known. */
function startOf(pid: number): string | null {
  const stat = readIfThere(`/proc/${pid}/stat`);
  if (stat === null) return pid === process.pid ? String(performance.timeOrigin) : null;
  // The name in parentheses may hold anything; the 22nd field is the 20th after it.
  const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${readIfThere("/proc/sys/kernel/random/boot_id")?.trim() ?? ""} ${ticks}`;
}

function write(path: string, text: string): void {
  const file = openSync(path, "wx", 0o600);
  try {
    writeSync(file, text);
    // A machine that loses its power must not leave a lock without an owner in it.
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // A process that ends while its file in /proc is read is told by ESRCH.
    if (isCode(error, "ENOENT") || isCode(error, "ESRCH")) return null;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
