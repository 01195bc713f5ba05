/** What the posting says of a further attempt, and `decisions.retry` keeps. */
import { assert, Fault } from "../lib/assert.ts";
import { isRecord, textOrNull } from "../lib/json.ts";

/**
 * step: its caller named the step, or an idempotency key did · fingerprint: the same content came again
 * after it had failed · sdk: the client's library says so · loop: the same content under another step ·
 * duplicate: no attempt at all, but a repeat of one that there is.
 */
export const RETRY_CAUSES = ["step", "fingerprint", "sdk", "loop", "duplicate"] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

export type RetryFacts = {
  readonly because: RetryCause;
  readonly priorAttempt: string | null;
  /** running, left, unknown, or its ending; null where nobody asked. */
  readonly priorStatus: string | null;
  readonly priorAt: string | null;
  readonly sdkRetries: number;
  /** The most attempts of a step that nobody named, where that is what refused it. */
  readonly attemptsMax: number | null;
};

export function retryFrom(value: unknown): RetryFacts | null {
  if (value === null || value === undefined) return null;
  const read: unknown = typeof value === "string" ? JSON.parse(value) : value;
  assert(isRecord(read), "a retry is an object");
  const because = RETRY_CAUSES.find((cause) => cause === read["because"]);
  if (because === undefined) throw new Fault(`unknown cause of a retry ${String(read["because"])}`);
  return {
    because,
    priorAttempt: textOrNull(read["prior_attempt"]),
    priorStatus: textOrNull(read["prior_status"]),
    priorAt: textOrNull(read["prior_at"]),
    sdkRetries: Number(read["sdk_retries"] ?? 0),
    attemptsMax: read["attempts_max"] === undefined ? null : Number(read["attempts_max"]),
  };
}
