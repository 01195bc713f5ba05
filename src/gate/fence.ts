/**
 * Whether a replica may still act on what it was allowed. Two clocks that nobody can set decide it, both
 * this process's monotonic one:
 *
 * - A permit is good for PERMIT_MS_MAX after its posting was asked for. A process that was stopped and
 *   goes on finds its permits lapsed, whatever others made of its reservations meanwhile.
 * - A replica that the database has not answered for FENCE_MS_MAX fences itself. What counts is when the
 *   question was asked: an answer that lay unread while the process was stopped proves nothing about now.
 *
 * It is asked at the last moment, when the first byte would be written: before that a call may wait
 * for its body and for a connection.
 */
import { FENCE_MS_MAX, PERMIT_MS_MAX } from "../core/limits.ts";

export type Fence = {
  /** The database has answered what it was asked at `askedAtMs`. */
  readonly answered: (askedAtMs: number) => void;
  /** Why a permit whose posting was asked for at `askedAtMs` may not be dispatched now, or null. */
  readonly refusal: (askedAtMs: number) => string | null;
  /** Whether the database has been heard of lately. */
  readonly isOpen: () => boolean;
};

/** Open at first: a replica is made by questions that the database answers. */
export function createFence(monotonicMs: () => number): Fence {
  let heardMs = monotonicMs();
  const isOpen = () => monotonicMs() - heardMs <= FENCE_MS_MAX;
  return {
    answered: (askedAtMs) => {
      heardMs = Math.max(heardMs, askedAtMs);
    },
    refusal: (askedAtMs) => {
      const ageMs = monotonicMs() - askedAtMs;
      if (ageMs > PERMIT_MS_MAX) return `the permit lapsed: it was ${Math.round(ageMs)} ms old`;
      return isOpen() ? null : `the database has not answered for ${FENCE_MS_MAX} ms`;
    },
    isOpen,
  };
}
