/**
 * Request bodies on Node: read whole or streamed, with a bound on their bytes, on the silence between
 * them, on how slowly they may come, and on the memory of all of them together.
 *
 * Memory is taken as bytes arrive, not as they are announced: announcing costs a client nothing, and
 * sixteen who announce and send nothing would shut everybody else out. One that could not fit is refused
 * before it is read. A streamed body holds next to nothing, for it waits for the one who takes it.
 */
import type { IncomingMessage } from "node:http";

import { InputError } from "../core/errors.ts";
import { Unavailable } from "../gate/unavailable.ts";
import { isTooSlow, silent, tooSlow, type Pace } from "./body-pace.ts";

export type BodyTerms = Pace & {
  /** Bytes of all bodies that are held at once. */
  readonly heldBytesMax: number;
};

/** The memory of all bodies of one process. */
export type BodyBudget = {
  readonly pace: Pace;
  /** What one exchange takes of it. */
  readonly share: () => BodyShare;
  readonly held: () => number;
};

export type BodyShare = {
  readonly fits: (bytes: number) => boolean;
  /** False: there is no room, and nothing was taken. */
  readonly take: (bytes: number) => boolean;
  /** Gives back all that was taken; once the exchange has ended nothing can be taken any more. */
  readonly end: () => void;
};

export function createBodyBudget({ heldBytesMax, ...pace }: BodyTerms): BodyBudget {
  let held = 0;
  const fits = (bytes: number) => held + bytes <= heldBytesMax;
  return {
    pace,
    held: () => held,
    share: () => {
      let taken = 0;
      let hasEnded = false;
      return {
        fits,
        take: (bytes) => {
          if (hasEnded || !fits(bytes)) return false;
          held += bytes;
          taken += bytes;
          return true;
        },
        end: () => {
          hasEnded = true;
          held -= taken;
          taken = 0;
        },
      };
    },
  };
}

export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers["transfer-encoding"] !== undefined) return true;
  return headers["content-length"] !== undefined && headers["content-length"] !== "0";
}

type ReadTerms = {
  readonly bytesMax: number;
  readonly pace: Pace;
  readonly share: BodyShare;
};

/** Counts the bytes that come, whatever `content-length` claims. */
export async function readBody(incoming: IncomingMessage, terms: ReadTerms): Promise<Uint8Array> {
  const { bytesMax, share } = terms;
  const claimed = Number(incoming.headers["content-length"] ?? 0);
  if (claimed > bytesMax) throw tooLarge(bytesMax);
  if (!share.fits(claimed)) throw noRoom();
  // Most bodies come with their head. Those are there as soon as the parser is done with the packet, and
  // need neither a timer nor listeners.
  await Promise.resolve();
  const whole: unknown =
    claimed > 0 && incoming.readableLength === claimed ? incoming.read() : null;
  if (!(whole instanceof Uint8Array)) return readParts(incoming, claimed, terms);
  if (!share.take(claimed)) throw noRoom();
  // Only its end is to come, which node:http must see before the connection takes a next request.
  incoming.resume();
  return whole;
}

function readParts(
  incoming: IncomingMessage,
  claimed: number,
  { bytesMax, pace, share }: ReadTerms,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const body = claimed > LARGE_BYTES ? oneBuffer(claimed) : manyParts();
    const fail = (error: Error) => {
      clearTimeout(late);
      incoming.off("data", onData);
      // What still comes is dropped, so that the client gets to read its answer.
      incoming.resume();
      reject(error);
    };
    const late = setTimeout(() => fail(silent(pace)), pace.idleMsMax);
    const onData = (part: Buffer) => {
      late.refresh();
      if (!share.take(part.length)) return fail(noRoom());
      const bytes = body.take(part);
      if (bytes > bytesMax) fail(tooLarge(bytesMax));
      else if (isTooSlow(pace, bytes, performance.now() - startedMs)) fail(tooSlow(pace));
    };
    incoming.on("data", onData);
    incoming.once("end", () => {
      clearTimeout(late);
      resolve(body.whole());
    });
    incoming.once("error", () => fail(cutOff()));
    incoming.once("close", () => {
      if (!incoming.complete) fail(cutOff());
    });
  });
}

/** Ends with InputError only. Whoever stops listening leaves the connection usable for an answer. */
export async function* streamBody(
  incoming: IncomingMessage,
  bytesMax: number,
  pace: Pace,
): AsyncGenerator<Uint8Array, void, void> {
  const parts: AsyncIterator<unknown> = incoming.iterator({ destroyOnReturn: false });
  let bytes = 0;
  let waitedMs = 0;
  try {
    for (;;) {
      const askedMs = performance.now();
      const next = await within(parts.next(), pace);
      waitedMs += performance.now() - askedMs;
      if (next.done === true) return;
      if (!(next.value instanceof Uint8Array)) continue;
      bytes += next.value.byteLength;
      if (bytes > bytesMax) throw tooLarge(bytesMax);
      if (isTooSlow(pace, bytes, waitedMs)) throw tooSlow(pace);
      yield next.value;
    }
  } finally {
    // Not waited for: an iterator that waits for bytes ends only with them.
    void parts.return?.();
    if (!incoming.complete) incoming.resume();
  }
}

/** The clock runs only while bytes are waited for: an upstream that takes them slowly is not the client's fault. */
function within<T>(next: Promise<T>, pace: Pace): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(silent(pace)), pace.idleMsMax);
    next.then(
      (value) => {
        clearTimeout(late);
        resolve(value);
      },
      () => {
        clearTimeout(late);
        reject(cutOff());
      },
    );
  });
}

/** Beyond this the parts are copied as they come: joining 50 MB at the end would block for 15 ms. */
const LARGE_BYTES = 1024 * 1024;

type Gathered = {
  /** Answers how many bytes there are now. */
  readonly take: (part: Buffer) => number;
  readonly whole: () => Uint8Array;
};

function oneBuffer(claimed: number): Gathered {
  const whole = new Uint8Array(claimed);
  let bytes = 0;
  return {
    take: (part) => {
      // node:http ends the message at its content-length, so there is never more.
      whole.set(part, bytes);
      bytes += part.length;
      return bytes;
    },
    whole: () => whole,
  };
}

function manyParts(): Gathered {
  const parts: Buffer[] = [];
  let bytes = 0;
  return {
    take: (part) => {
      parts.push(part);
      bytes += part.length;
      return bytes;
    },
    whole: () => {
      const [only] = parts;
      return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, bytes);
    },
  };
}

function tooLarge(bytesMax: number): InputError {
  return new InputError(
    "body_too_large",
    null,
    `The request body is larger than ${bytesMax} bytes, the most that is taken here.`,
  );
}

function cutOff(): InputError {
  return new InputError("invalid_value", null, "The request body was cut off by its client.");
}

function noRoom(): Unavailable {
  return new Unavailable("Request bodies fill the memory that they may have.");
}
