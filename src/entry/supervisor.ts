/**
 * Several processes on one port. The supervisor serves nothing and opens no database: it holds the port,
 * hands each new connection to the next process in turn, and sees to it that as many of them run as
 * should. The port is open for as long as it lives, so a process can be replaced without anybody noticing.
 *
 * Connections are handed out in turn rather than taken from a shared socket: measured with 64 kept-alive
 * connections on two processes, both ways answer as many requests, but the kernel gave one process 49
 * connections and the other 15. Sockets of their own (SO_REUSEPORT) spread as well, but whoever waits in
 * the queue of a process that ends is reset.
 */
import cluster from "node:cluster";
import { fileURLToPath } from "node:url";

import type { Figures } from "../http/env.ts";
import { Fault } from "../lib/assert.ts";
import { printBanner } from "./banner.ts";
import { DRAIN_MS_MAX, ENDING_SIGNALS } from "./closing.ts";
import type { Config } from "./config.ts";
import { createMembers, type Member, type Members } from "./members.ts";
import { addFigures, type Report } from "./supervision.ts";

/** A start takes a second, a migration of a large ledger minutes. */
const READY_MS_MAX = 10 * 60_000;

/** A process that ended sooner than this after it was ready has not recovered from anything. */
const LIFE_MS_MIN = 10_000;

/** So many that end at once, in a row, will not be helped by another start. */
const FAILURES_MAX = 5;
const RESTART_MS_FIRST = 200;
const RESTART_MS_MAX = 10_000;

/** Processes cut what is under way by then; one that still runs hangs. */
const END_MS_MAX = DRAIN_MS_MAX + 60_000;

/** So many may still finish their answers when a restart begins, which adds one less than all to them. */
const RETIRING_MAX = 1;

/** A process that does not tell its counters within this is counted by what it told last. */
const FIGURES_MS_MAX = 1_000;

type Supervision = {
  readonly count: number;
  readonly members: Members;
  isEnding: boolean;
  isRolling: boolean;
  /** Processes in a row that ended at once. */
  failures: number;
};

/** Starts `count` processes, tells it on standard output, and keeps them until it is told to end. */
export async function supervise(config: Config, count: number, why: string): Promise<void> {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    // Of the checkout, wherever this runs from: a process is started from what is built by then.
    exec: fileURLToPath(new URL("../../src/entry/start.js", import.meta.url)),
    args: ["supervised"],
  });
  const supervision: Supervision = {
    count,
    members: createMembers(FIGURES_MS_MAX),
    isEnding: false,
    isRolling: false,
    failures: 0,
  };
  for (const signal of ENDING_SIGNALS) {
    process.once(signal, () => void end(supervision, signal));
  }
  process.on("SIGUSR2", () => void roll(supervision));
  // The first one migrates and makes the first keys; the others find everything there.
  const first = await startKept(supervision);
  await Promise.all(Array.from({ length: count - 1 }, () => startKept(supervision)));
  const { url, tenantKey, hasLimits } = first.ready;
  const processes = `${count} processes${why}; to replace them one by one: kill -USR2 ${process.pid}`;
  printBanner(config, { url, tenantKey, hasLimits, processes });
}

type Ready = Extract<Report, { kind: "ready" }>;
type StartedOne = { readonly member: Member; readonly ready: Ready };

/** Resolves when the new process serves; throws why it does not. */
function startOne(supervision: Supervision): Promise<StartedOne> {
  const { members } = supervision;
  const member = members.add(cluster.fork());
  const { promise, resolve, reject } = Promise.withResolvers<StartedOne>();
  const late = setTimeout(() => {
    member.worker.process.kill("SIGKILL");
    reject(new Fault(`a process did not start within ${READY_MS_MAX / 1_000} s`));
  }, READY_MS_MAX);
  member.onReport((report) => {
    if (report.kind === "ready") {
      member.state = "serving";
      member.readyAtMs = performance.now();
      resolve({ member, ready: report });
    } else if (report.kind === "failed") reject(failureFrom(report));
    else if (report.kind === "ask_figures") void tellFigures(members, member, report.question);
  });
  member.worker.once("exit", (code, signal) => {
    // Told to end meanwhile, there is nobody to tell.
    if (!supervision.isEnding) {
      reject(new Fault(`a process ended while it started (${signal ?? code})`));
    }
  });
  return promise.finally(() => clearTimeout(late));
}

/** From its first moment on: it may end while others still start. */
async function startKept(supervision: Supervision): Promise<StartedOne> {
  const started = await startOne(supervision);
  keepAlive(supervision, started.member);
  return started;
}

async function tellFigures(members: Members, member: Member, question: number): Promise<void> {
  const all: Figures = (await members.figures()).reduce(addFigures);
  member.order({ kind: "all_figures", question, figures: all });
}

/** As it would have been thrown here: the code tells the command line what to advise. */
function failureFrom(report: Extract<Report, { kind: "failed" }>): Error {
  if (report.isExpected) return new Fault(report.message);
  return Object.assign(new Error(report.message), { code: report.code, stack: report.message });
}

/** Starts another one when this one ends and was not to. */
function keepAlive(supervision: Supervision, member: Member): void {
  member.worker.once("exit", (code, signal) => {
    if (supervision.isEnding || member.isRetired) return;
    const isShort = performance.now() - member.readyAtMs < LIFE_MS_MIN;
    supervision.failures = isShort ? supervision.failures + 1 : 0;
    const how = signal ?? `code ${code}`;
    void replace(supervision, `process ${member.worker.process.pid} has ended (${how})`);
  });
}

async function replace(supervision: Supervision, why: string): Promise<void> {
  const { members } = supervision;
  let told = why;
  while (!supervision.isEnding) {
    if (supervision.failures >= FAILURES_MAX && members.serving().length === 0) {
      say(`${told}; ${FAILURES_MAX} in a row have ended at once: giving up`);
      process.exitCode = 1;
      await end(supervision, null);
      return;
    }
    const waitMs = waitOf(supervision.failures);
    say(`${told}; starting another one${waitMs === 0 ? "" : ` in ${waitMs} ms`}`);
    await new Promise((done) => setTimeout(done, waitMs));
    if (supervision.isEnding) return;
    try {
      await startKept(supervision);
      return;
    } catch (error) {
      supervision.failures += 1;
      told = error instanceof Error ? error.message : String(error);
    }
  }
}

function waitOf(failures: number): number {
  if (failures === 0) return 0;
  return Math.min(RESTART_MS_FIRST * 2 ** (failures - 1), RESTART_MS_MAX);
}

/** One new process after another takes over from an old one; when one does not start, the others stay. */
async function roll(supervision: Supervision): Promise<void> {
  const { members, count } = supervision;
  if (supervision.isEnding || supervision.isRolling) return;
  // Each of them is memory, and connections to the database, which were reserved for 2 × count + 1
  // processes: those that serve, one that starts, and as many that retire before the last one starts.
  if (members.retiring().length > RETIRING_MAX) {
    say("SIGUSR2: the processes of the last restart still finish their answers; try again later");
    return;
  }
  supervision.isRolling = true;
  say(`SIGUSR2: replacing ${count} processes one by one`);
  try {
    for (const old of members.serving()) {
      const { member } = await startKept(supervision);
      if (supervision.isEnding) return;
      // One that died meanwhile has been replaced already: then the new one is one too many.
      retire(members.has(old) ? old : member);
    }
    say("all processes are replaced; the old ones end when their last answers have");
  } catch (error) {
    say(`not replaced: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    supervision.isRolling = false;
  }
}

function retire(member: Member): void {
  member.state = "retiring";
  member.isRetired = true;
  member.order({ kind: "retire" });
}

async function end(supervision: Supervision, signal: string | null): Promise<void> {
  if (supervision.isEnding) return;
  supervision.isEnding = true;
  const { members } = supervision;
  if (signal !== null) {
    say(`${signal}: finishing what is under way, at most ${DRAIN_MS_MAX / 1_000} s`);
  }
  const late = setTimeout(() => {
    say(`${members.all().length} processes have not ended: killing them`);
    for (const { worker } of members.all()) worker.process.kill("SIGKILL");
  }, END_MS_MAX);
  const codes = await Promise.all(members.all().map(endOne));
  clearTimeout(late);
  process.exit(codes.every((code) => code === 0) ? (process.exitCode ?? 0) : 1);
}

function endOne(member: Member): Promise<number | null> {
  return new Promise((done) => {
    member.worker.once("exit", (code: number | null) => done(code));
    member.order({ kind: "end" });
  });
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
