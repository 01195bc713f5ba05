/**
 * Worker threads for work that would hold up the event loop. Three things are held here: no more
 * threads run than are allowed, a job past its deadline is given up together with its thread, and
 * nothing that a job does (throw, run for ever, use up its memory, end its thread) leaves the pool as
 * anything but the rejection of that job. A place is free again only when its thread has ended, so a
 * job that cannot be interrupted at once costs its own place and no other.
 */
import { Worker } from "node:worker_threads";
import type { Transferable } from "node:worker_threads";

export type WorkerPoolOptions = {
  /** The program of each thread; it answers by `serveTasks`. */
  readonly file: URL;
  readonly workersMax: number;
  /** Jobs without a thread; one more is rejected at once. */
  readonly waitingMax: number;
  /** From `run` to the answer, waiting included. */
  readonly deadlineMs: number;
  /** A thread without a job ends after this. */
  readonly idleMs: number;
};

export type Work = {
  /** Whose work it is: of those that wait, the owner with the fewest running goes first. */
  readonly owner: string;
  readonly task: unknown;
  /** Buffers handed over instead of copied, unless the job is rejected at once. */
  readonly transfer: readonly Transferable[];
};

export type WorkerPool = {
  /** What the thread answers. Rejects when the pool is full or closed, past the deadline, or when the thread fails. */
  readonly run: (work: Work) => Promise<unknown>;
  /** Rejects what waits and runs, and ends every thread. */
  readonly close: () => Promise<void>;
};

type Job = Work & {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: NodeJS.Timeout;
};

type Thread = {
  readonly worker: Worker;
  job: Job | null;
  idle: NodeJS.Timeout | null;
  /** Asked to end, or ending by itself: it takes no job any more. */
  isEnding: boolean;
};

type State = WorkerPoolOptions & {
  readonly threads: Set<Thread>;
  readonly waiting: Job[];
  isClosed: boolean;
};

export function createWorkerPool(options: WorkerPoolOptions): WorkerPool {
  const state: State = { ...options, threads: new Set(), waiting: [], isClosed: false };
  return {
    run: (work) => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      if (state.isClosed || state.waiting.length >= state.waitingMax) {
        reject(new Error(state.isClosed ? "the worker pool is closed" : "too many jobs wait"));
        return promise;
      }
      const deadline = setTimeout(() => giveUp(state, job), state.deadlineMs);
      const job: Job = { ...work, resolve, reject, deadline };
      state.waiting.push(job);
      advance(state);
      return promise;
    },
    close: async () => {
      state.isClosed = true;
      const closed = new Error("the worker pool is closed");
      for (const job of state.waiting.splice(0)) fail(job, closed);
      await Promise.all([...state.threads].map((thread) => end(thread, closed)));
    },
  };
}

/** Gives the jobs that wait to threads that are free, or may be started. */
function advance(state: State): void {
  while (!state.isClosed && state.waiting.length > 0) {
    const thread = freeThread(state) ?? startThread(state);
    if (thread === null) return;
    const [job] = state.waiting.splice(nextOf(state), 1);
    if (job !== undefined) hand(state, thread, job);
  }
}

/** One owner with many jobs must not keep another's waiting behind all of them. */
function nextOf({ threads, waiting }: State): number {
  const running = new Map<string, number>();
  for (const { job } of threads) {
    if (job !== null) running.set(job.owner, (running.get(job.owner) ?? 0) + 1);
  }
  const counts = waiting.map(({ owner }) => running.get(owner) ?? 0);
  return counts.indexOf(Math.min(...counts));
}

function freeThread({ threads }: State): Thread | null {
  for (const thread of threads) if (thread.job === null && !thread.isEnding) return thread;
  return null;
}

function startThread(state: State): Thread | null {
  if (state.threads.size >= state.workersMax) return null;
  const worker = new Worker(state.file);
  const thread: Thread = { worker, job: null, idle: null, isEnding: false };
  state.threads.add(thread);
  worker.on("message", (answer: unknown) => {
    const job = release(thread);
    // The answer to a job that was given up comes too late for anyone.
    if (job === null) return;
    settled(job).resolve(answer);
    rest(state, thread);
    advance(state);
  });
  worker.on("messageerror", (error) => void end(thread, error));
  // The thread ends by itself after an error; its place is free when it has.
  worker.on("error", (error: unknown) => {
    thread.isEnding = true;
    const cause = error instanceof Error ? error : new Error("a worker threw", { cause: error });
    failHeld(thread, cause);
  });
  worker.on("exit", () => {
    state.threads.delete(thread);
    thread.isEnding = true;
    stopIdle(thread);
    failHeld(thread, new Error("the worker ended before it answered"));
    advance(state);
  });
  return thread;
}

function hand(state: State, thread: Thread, job: Job): void {
  stopIdle(thread);
  thread.job = job;
  thread.worker.ref();
  try {
    thread.worker.postMessage(job.task, job.transfer);
  } catch (error) {
    // A task that cannot be cloned never reached the thread, which is as good as before.
    failHeld(thread, new Error("the task cannot be handed to a worker", { cause: error }));
    rest(state, thread);
  }
}

/** A thread without a job holds neither the process nor, for long, its memory. */
function rest(state: State, thread: Thread): void {
  thread.worker.unref();
  const ended = new Error("the worker was idle");
  thread.idle = setTimeout(() => void end(thread, ended), state.idleMs).unref();
}

function giveUp(state: State, job: Job): void {
  const late = new Error(`no answer within ${state.deadlineMs} ms`);
  const place = state.waiting.indexOf(job);
  if (place >= 0) {
    state.waiting.splice(place, 1);
    fail(job, late);
    return;
  }
  for (const thread of state.threads) if (thread.job === job) void end(thread, late);
}

async function end(thread: Thread, reason: Error): Promise<void> {
  thread.isEnding = true;
  stopIdle(thread);
  failHeld(thread, reason);
  await thread.worker.terminate();
}

function failHeld(thread: Thread, error: Error): void {
  const job = release(thread);
  if (job !== null) fail(job, error);
}

function release(thread: Thread): Job | null {
  const { job } = thread;
  thread.job = null;
  return job;
}

function fail(job: Job, error: Error): void {
  settled(job).reject(error);
}

/** A job that has its answer must not meet its deadline. */
function settled(job: Job): Job {
  clearTimeout(job.deadline);
  return job;
}

function stopIdle(thread: Thread): void {
  if (thread.idle !== null) clearTimeout(thread.idle);
  thread.idle = null;
}
