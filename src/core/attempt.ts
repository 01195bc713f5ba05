/** What became of an attempt, and what is told of it to whoever asks again. */

export const ATTEMPT_STATUSES = [
  "running",
  "unknown",
  "succeeded",
  "failed",
  "released",
  "aborted",
] as const;

/** `released`: it did not run, or its posting was given up; nothing is charged. */
export type AttemptStatus = (typeof ATTEMPT_STATUSES)[number];

/** By the state of its reservation, where it still has one, and the ending that was settled last. */
export function attemptStatus(attempt: {
  readonly reservation: string | null;
  readonly ending: string | null;
}): AttemptStatus {
  const { reservation, ending } = attempt;
  if (reservation === "open") return "running";
  if (reservation === "unknown") return "unknown";
  switch (ending) {
    case "succeeded":
    case "failed":
    case "aborted":
    case "unknown":
      return ending;
    // A posting that was given up released what it held.
    default:
      return "released";
  }
}

/** An attempt that came before, for who asks again. */
export type PriorAttempt = {
  readonly attemptId: string;
  readonly runId: string;
  readonly status: AttemptStatus;
  readonly decidedAt: Date;
  readonly endedAt: Date | null;
  readonly error: string | null;
  readonly result: PriorResult;
  /** Of its step. */
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
};

export type PriorResult =
  /** As JSON text. */
  | { readonly kind: "kept"; readonly json: string }
  | { readonly kind: "none" | "too_large" | "expired" | "not_asked" | "withheld" };
