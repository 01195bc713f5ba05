/**
 * How long an invocation lives: until its answer is dispatched, what was left for after it is done, and
 * what it opened is closed. Cloudflare ends it 30 s after its answer, or after its client left.
 */
import type { Context } from "./platform.ts";

/** After this a try that failed is not made again: what is not written falls to its deadline. */
const TRIES_MS_MAX = 20_000;

export type Life = {
  /** Work that outlives the answer. It must not reject. */
  readonly add: (work: Promise<unknown>) => void;
  /** To be done when nothing is left to do. */
  readonly atEnd: (close: () => Promise<void>) => void;
  /** The answer has ended a while ago: what fails now will not be tried again. */
  readonly isClosing: () => boolean;
};

/** `main` is the invocation's own work; it may reject, which is for its caller to handle. */
export function live<Value>(
  context: Context,
  monotonicMs: () => number,
  main: (life: Life) => Promise<Value>,
): Promise<Value> {
  const left = new Set<Promise<unknown>>();
  const closing: (() => Promise<void>)[] = [];
  let endedAtMs: number | null = null;
  const running = main({
    add: (work) => {
      left.add(work);
      void work.finally(() => left.delete(work));
    },
    atEnd: (close) => closing.push(close),
    isClosing: () => endedAtMs !== null && monotonicMs() - endedAtMs > TRIES_MS_MAX,
  });
  const rest = async () => {
    await Promise.allSettled([running]);
    endedAtMs = monotonicMs();
    // Work may leave more work.
    while (left.size > 0) await Promise.allSettled(left);
    await Promise.allSettled(closing.map((close) => close()));
  };
  context.waitUntil(rest());
  return running;
}
