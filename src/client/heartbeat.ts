/** Keeps the lease of a step while it runs, and not for ever: a step that hangs is to become unknown. */
import { TollgateError } from "./errors.ts";
import type { Transport } from "./transport.ts";

export type Heartbeat = {
  /** Aborted when the gate says that the attempt has ended without us. */
  readonly signal: AbortSignal;
  readonly stop: () => void;
};

export type HeartbeatTerms = {
  readonly attemptId: string;
  readonly leaseSeconds: number;
  /** No lease is extended after this long. */
  readonly msMax: number;
};

export function startHeartbeat(transport: Transport, terms: HeartbeatTerms): Heartbeat {
  const { attemptId, leaseSeconds, msMax } = terms;
  const aborter = new AbortController();
  // Three in a lease: two may be lost on the way.
  const everyMs = Math.max(1, Math.floor((1_000 * leaseSeconds) / 3));
  const startedMs = performance.now();
  let timer: ReturnType<typeof setTimeout> | null = null;
  let isStopped = false;

  const beat = async (): Promise<void> => {
    try {
      const path = `/api/attempts/${encodeURIComponent(attemptId)}/heartbeat`;
      await transport.post(path, { lease_seconds: leaseSeconds }, { repeats: true });
    } catch (error) {
      // One that got lost is made up for by the next; one that is refused says that the attempt is over.
      const isOver = error instanceof TollgateError && error.status >= 400 && error.status < 500;
      if (!(error instanceof TollgateError) || isOver) {
        isStopped = true;
        aborter.abort(error);
      }
    }
    plan();
  };
  const plan = () => {
    if (isStopped || performance.now() - startedMs + everyMs > msMax) return;
    timer = setTimeout(() => void beat(), everyMs);
    // It keeps no process alive; where timers are numbers there is nothing to tell.
    if (typeof timer === "object") timer.unref();
  };
  plan();
  return {
    signal: aborter.signal,
    stop: () => {
      isStopped = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}
