/**
 * How a process ends: it takes nothing new, waits for what is under way, cuts what outlasts that, waits
 * for the settlements of what was cut, and then takes everything down in the other order of its start.
 * A step that fails or hangs is told, and the next one runs: a lease that is not ended costs others
 * fifteen seconds, a database that is not closed may cost the data.
 */
import type { Server, ServerResponse } from "node:http";
import { Server as NetServer } from "node:net";

import type { Gateway } from "../gate/gateway.ts";
import { Fault } from "../lib/assert.ts";
import { within } from "../lib/within.ts";

/** How often the connections that have become idle are closed meanwhile. */
const DRAIN_LOOK_MS = 50;

/** How long answers under way may take once a process was told to end. */
export const DRAIN_MS_MAX = 30_000;

/** A terminal that is closed ends what was started in it, as politely as the others. */
export const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What was cut settles in less than a second; a database that takes longer is away, and the lease decides. */
export const CUT_MS_MAX = 3_000;

/** Ending a connection or a thread takes milliseconds; a statement under way has five seconds. */
const STEP_MS_MAX = 10_000;

/** How long a process waits for what is under way. */
export type Patience = {
  /** Then what is still under way is cut. */
  readonly msMax: number;
  /**
   * For this long a kept-alive connection without a request stays open, and is closed by the answer to
   * its next one: where another process goes on serving, no client shall write to a connection that
   * is being closed. 0 where nobody goes on: then there is nothing to wait for.
   */
  readonly lingerMs: number;
  /** Ends the patience: `msMax` counts from here again, as `hurriedMsMax`. */
  readonly hurry: Promise<void>;
  readonly hurriedMsMax: number;
};

/** A process that ends within `msMax`, for nobody takes its place. */
export function patienceOf(msMax: number): Patience {
  return { msMax, lingerMs: 0, hurry: new Promise(() => {}), hurriedMsMax: msMax };
}

/** Takes no new request and waits for those under way; cuts them when its patience ends. */
export async function drain(
  server: Server,
  { settled, cutShort }: Pick<Gateway, "settled" | "cutShort">,
  patience: Patience,
): Promise<void> {
  const { msMax, lingerMs, hurry, hurriedMsMax } = patience;
  // The HTTP server's own `close` would close every idle connection at once.
  const closed = new Promise<void>((done) => {
    NetServer.prototype.close.call(server, () => done());
  });
  server.prependListener("request", (_, response: ServerResponse) => {
    response.shouldKeepAlive = false;
  });
  // A kept-alive connection turns idle when its answer ends, and nothing else would close it then.
  let idle: ReturnType<typeof setInterval> | undefined;
  let isOver = false;
  const closeIdle = () => {
    if (isOver) return;
    clearInterval(idle);
    idle = setInterval(() => server.closeIdleConnections(), DRAIN_LOOK_MS);
    server.closeIdleConnections();
  };
  const lingering = lingerMs === 0 ? undefined : setTimeout(closeIdle, lingerMs);
  if (lingerMs === 0) closeIdle();
  const finished = closed.then(settled);
  const hurried = hurry.then(async () => {
    clearTimeout(lingering);
    closeIdle();
    return isDoneWithin(finished, hurriedMsMax);
  });
  const isDrained = await Promise.race([isDoneWithin(finished, msMax), hurried]);
  isOver = true;
  clearTimeout(lingering);
  clearInterval(idle);
  if (isDrained) return;
  // An exchange that loses its client ends its upstream, and settles what was delivered.
  cutShort();
  server.closeAllConnections();
  await isDoneWithin(finished, CUT_MS_MAX);
}

/** What is ended, how, and how long that may take when it is not `STEP_MS_MAX`. */
export type Step = readonly [name: string, work: () => Promise<void>, msMax?: number];

/** Runs every step in order. Throws one error that holds what went wrong in each. */
export async function runSteps(steps: readonly Step[]): Promise<void> {
  const failures: Error[] = [];
  for (const [name, work, msMax = STEP_MS_MAX] of steps) {
    try {
      const isDone = await isDoneWithin(work(), msMax);
      if (!isDone) failures.push(new Fault(`${name}: not done in ${msMax} ms`));
    } catch (cause) {
      failures.push(new Fault(`${name}: ${messageOf(cause)}`, { cause }));
    }
  }
  if (failures.length > 0) {
    throw new AggregateError(failures, failures.map(({ message }) => message).join("; "));
  }
}

function isDoneWithin(work: Promise<void>, msMax: number): Promise<boolean> {
  return within(
    msMax,
    work.then(() => true),
    () => false,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
