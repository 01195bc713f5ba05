import type { Meter, Reading } from "../dialects/dialect.ts";
import { CONTENT_FILTER } from "../dialects/openai/reading.ts";
import type { Permit } from "./admit.ts";

/** How an attempt ended, as its dispatcher saw it. Every attempt has exactly one. */
export type Ending = {
  readonly durationMs: number;
  /** Until the first byte of the answer, or null when none came. */
  readonly firstByteMs: number | null;
  /** The upstream's status, or null when it gave none. */
  readonly status: number | null;
  readonly error: string | null;
  readonly upstreamRequestId: string | null;
  /** Its client was gone before it had the answer: to the client it failed, whatever it came to. */
  readonly clientLeft: boolean;
  /** SHA-256, hex, of a body in which something was replaced on its way; absent where its digest is the caller's. */
  readonly sentSha256?: string;
  /** Further members of its record, in snake_case: what is known of a tool's result. */
  readonly details?: Readonly<Record<string, unknown>>;
} & (
  | {
      readonly kind: "succeeded" | "failed" | "aborted";
      readonly reading: Reading;
      readonly text: () => string;
    }
  /** No byte of the request reached the upstream: nothing ran, nothing is owed. */
  | { readonly kind: "released" }
  /** It may have run and nobody can say: its money stays held. */
  | { readonly kind: "unknown" }
);

/** Whether what may have run costs anything, and whether it is read to its end when its client has left. */
export function termsOf({ estimate, isStrict, answerKeptMs }: Permit) {
  const isFree = estimate.basis === "free";
  return { isFree, drains: (isStrict || answerKeptMs !== null) && !isFree };
}

/**
 * Whether an answer leaves open if the model ran: the upstream failed, or something in front of it gave up
 * waiting. A 503 says that it did not, and so does every other 4xx but the 400 of a filter: Azure bills the
 * prompt that its filter has read, and what was generated before it stopped.
 */
function mayHaveRun(status: number | null, { error }: Reading): boolean {
  if (status === null || status === 501 || status === 503) return false;
  if (status === 400) return error?.code === CONTENT_FILTER;
  return status === 408 || status >= 500;
}

/**
 * Whether an answer has a cost though it tells no usage: where a machine is paid by the hour, one that failed
 * of its own has taken the time that was measured. One that was refused has taken nothing to speak of.
 */
export function costsItsTime(
  { price }: Pick<Permit, "price">,
  reading: Reading,
  status: number | null,
): boolean {
  return price !== null && price.hourly !== null && mayHaveRun(status, reading);
}

/** Whether nobody can say what a whole answer costs: a strict tenant's money then stays held. */
export function isUnknown(permit: Permit, reading: Reading, status: number | null): boolean {
  const { estimate, isStrict } = permit;
  if (!isStrict || reading.usage !== null || estimate.basis === "free") return false;
  return mayHaveRun(status, reading) && !costsItsTime(permit, reading, status);
}

/** Whether an answer that was cut had told its usage for the whole of it: some tell it with every event. */
export function isToldWhole({ usage, progress }: Reading): boolean {
  return usage !== null && (progress === "finishing" || progress === "complete");
}

/** When its client left, and whether it was to get more. */
export type Gone = { readonly atMs: number; readonly isUnread: boolean };

/** Of an answer that is held to be whole a client that leaves has had nothing, of a stream what has passed. */
export function goneAt(atMs: number, stream: Meter | null): Gone {
  return { atMs, isUnread: !DELIVERED.has(stream?.reading().progress ?? "none") };
}

/** Nothing is to come that the reader of a stream would wait for. */
const DELIVERED: ReadonlySet<Reading["progress"]> = new Set(["finishing", "complete"]);

/** The reading of an answer of which nothing was read. */
export const NOTHING_READ = {
  usage: null,
  model: null,
  serviceTier: null,
  responseId: null,
  providerCostUsd: null,
  progress: "none",
  error: null,
} as const;

/** The ending of an attempt of which no byte was to be written any more. */
export function neverSent(error: string, clientLeft = false): Ending {
  return {
    kind: "released",
    durationMs: 0,
    firstByteMs: null,
    status: null,
    error,
    upstreamRequestId: null,
    clientLeft,
  };
}
