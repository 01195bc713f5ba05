/**
 * Request bodies on Workers. An isolate has 128 MB for everything that it does at once, no threads, and
 * its end takes every call with it that it carries: so a body that must be read is bounded, all of them
 * together by a budget, and what JSON makes of one by `bodies-in-place.ts`.
 */
import { InputError } from "../../core/errors.ts";
import { BODY_BYTES_MAX } from "../../core/limits.ts";
import { Unavailable } from "../../gate/unavailable.ts";
import type { BodyShare } from "../body-node.ts";
import { isTooSlow, silent, tooSlow, type Pace } from "../body-pace.ts";
import { lengthFrom } from "./platform.ts";

/** A body that is read. A context of a million tokens is about 4 MB of text. */
export const WORKER_BODY_BYTES_MAX = 4 * 1024 * 1024;

/** Bodies that one isolate holds at once: two of the longest. */
export const WORKER_BODIES_BYTES_MAX = 8 * 1024 * 1024;

type Terms = {
  readonly bytesMax: number;
  readonly pace: Pace;
  readonly share: BodyShare;
};

/** Counts the bytes that come, whatever `content-length` claims. */
export async function readWhole(request: Request, terms: Terms): Promise<Uint8Array> {
  const { pace, share } = terms;
  const bytesMax = Math.min(terms.bytesMax, WORKER_BODY_BYTES_MAX);
  const claimed = lengthFrom(request.headers.get("content-length")) ?? 0;
  if (request.body === null) return new Uint8Array(0);
  const next = partsOf(request.body.getReader(), pace);
  const early = claimed > bytesMax ? tooLarge(bytesMax) : share.fits(claimed) ? null : noRoom();
  if (early !== null) {
    await discard(next);
    throw early;
  }
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const part = await next();
    if (part === null) return joined(parts, bytes);
    bytes += part.byteLength;
    const refusal =
      bytes > bytesMax ? tooLarge(bytesMax) : share.take(part.byteLength) ? null : noRoom();
    if (refusal !== null) {
      await discard(next);
      throw refusal;
    }
    parts.push(part);
  }
}

/**
 * Reads on without keeping anything, so that the client gets to read its answer: a connection whose
 * request was not read is closed while it still writes. Beyond the limit that is its own affair.
 */
async function discard(next: NextPart): Promise<void> {
  for (let bytes = 0; bytes < BODY_BYTES_MAX;) {
    const part = await next();
    if (part === null) return;
    bytes += part.byteLength;
  }
}

/** Ends with InputError only. */
export async function* streamed(
  body: ReadableStream<Uint8Array>,
  bytesMax: number,
  pace: Pace,
): AsyncGenerator<Uint8Array, void, void> {
  const reader = body.getReader();
  const next = partsOf(reader, pace);
  let bytes = 0;
  try {
    for (;;) {
      const part = await next();
      if (part === null) return;
      bytes += part.byteLength;
      if (bytes > bytesMax) throw tooLarge(bytesMax);
      yield part;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** Null at the end. */
type NextPart = () => Promise<Uint8Array | null>;

/** The clock runs only while bytes are waited for. */
function partsOf(reader: ReadableStreamDefaultReader<Uint8Array>, pace: Pace): NextPart {
  let bytes = 0;
  let waitedMs = 0;
  return async () => {
    const askedMs = performance.now();
    const part = await within(reader, pace);
    waitedMs += performance.now() - askedMs;
    bytes += part?.byteLength ?? 0;
    if (part !== null && isTooSlow(pace, bytes, waitedMs)) throw tooSlow(pace);
    return part;
  };
}

async function within(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  pace: Pace,
): Promise<Uint8Array | null> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(silent(pace)), pace.idleMsMax);
  try {
    const read = reader.read().catch(() => {
      throw cutOff();
    });
    const { done, value } = await Promise.race([read, late.promise]);
    return done ? null : value;
  } finally {
    clearTimeout(timer);
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

function tooLarge(bytesMax: number): InputError {
  const message =
    bytesMax === WORKER_BODY_BYTES_MAX
      ? `The request body is larger than ${bytesMax} bytes, the most that Tollgate reads on Workers, ` +
        "where 128 MB of memory serve all requests. Tollgate on Node takes larger ones."
      : `The request body is larger than ${bytesMax} bytes, the most that is taken here.`;
  return new InputError("body_too_large", null, message);
}

function cutOff(): InputError {
  return new InputError("invalid_value", null, "The request body was cut off by its client.");
}

function noRoom(): Unavailable {
  return new Unavailable("Request bodies fill the memory that they may have.");
}
