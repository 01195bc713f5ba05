/**
 * How slowly a client may send a body. Silence alone bounds nothing: a byte a minute would hold a connection, and a
 * part of the memory for bodies, for as long as somebody likes.
 */
import { InputError } from "../core/errors.ts";
import { BODY_BYTES_PER_SECOND_MIN, BODY_GRACE_MS, BODY_IDLE_MS_MAX } from "../core/limits.ts";

export type Pace = {
  /** Milliseconds without a byte. */
  readonly idleMsMax: number;
  /** How long a body may take at any rate; what takes longer comes at this one, from its beginning. */
  readonly graceMs: number;
  readonly bytesPerSecondMin: number;
};

export const PACE: Pace = {
  idleMsMax: BODY_IDLE_MS_MAX,
  graceMs: BODY_GRACE_MS,
  bytesPerSecondMin: BODY_BYTES_PER_SECOND_MIN,
};

/** To be asked at each part: one that never comes is silence. `waitedMs` in all, for so many bytes. */
export function isTooSlow(
  { graceMs, bytesPerSecondMin }: Pace,
  bytes: number,
  waitedMs: number,
): boolean {
  return waitedMs > graceMs + (1_000 * bytes) / bytesPerSecondMin;
}

export function silent({ idleMsMax }: Pace): InputError {
  const message = `No byte of the request body came for ${idleMsMax} ms: send the whole body.`;
  return new InputError("request_timeout", null, message);
}

export function tooSlow({ graceMs, bytesPerSecondMin }: Pace): InputError {
  const message = `The request body came too slowly: after ${graceMs} ms it must have come at ${bytesPerSecondMin} bytes a second.`;
  return new InputError("request_timeout", null, message);
}
