/** The hot path's `Exchange` on Node: the raw request and response of node:http. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";

import { InputError } from "../core/errors.ts";
import type { Reply } from "../gate/ports.ts";
import type { Exchange } from "../http/exchange.ts";

export function createNodeExchange(incoming: IncomingMessage, outgoing: ServerResponse): Exchange {
  return {
    method: incoming.method ?? "GET",
    url: incoming.url ?? "/",
    rawHeaders: incoming.rawHeaders,
    header: (name) => {
      const value = incoming.headers[name];
      if (value === undefined) return null;
      return typeof value === "string" ? value : value.join(", ");
    },
    readBody: (bytesMax) => readBody(incoming, bytesMax),
    streamBody: (bytesMax) => (hasBody(incoming) ? streamBody(incoming, bytesMax) : null),
    isGone: () => isGone(outgoing),
    reply: () => createReply(outgoing),
    handled: RESPONSE_ALREADY_SENT,
  };
}

function hasBody({ headers }: IncomingMessage): boolean {
  if (headers["transfer-encoding"] !== undefined) return true;
  return headers["content-length"] !== undefined && headers["content-length"] !== "0";
}

function tooLarge(bytesMax: number): InputError {
  return new InputError(
    "body_too_large",
    null,
    `The request body is larger than ${bytesMax} bytes, the most that is taken here.`,
  );
}

/** Counts the bytes that come, whatever `content-length` claims. */
function readBody(incoming: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const claimed = Number(incoming.headers["content-length"] ?? 0);
    if (claimed > bytesMax) {
      reject(tooLarge(bytesMax));
      return;
    }
    const body = claimed > LARGE_BYTES ? oneBuffer(claimed) : manyParts();
    const onData = (part: Buffer) => {
      if (body.take(part) <= bytesMax) return;
      incoming.off("data", onData);
      reject(tooLarge(bytesMax));
    };
    incoming.on("data", onData);
    incoming.once("end", () => resolve(body.whole()));
    incoming.once("error", () => reject(cutOff()));
    incoming.once("close", () => {
      if (!incoming.complete) reject(cutOff());
    });
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

function cutOff(): InputError {
  return new InputError("invalid_value", null, "The request body was cut off by its client.");
}

async function* streamBody(
  incoming: IncomingMessage,
  bytesMax: number,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  for await (const part of incoming) {
    if (!(part instanceof Uint8Array)) continue;
    bytes += part.byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    yield part;
  }
}

function isGone(outgoing: ServerResponse): boolean {
  return outgoing.destroyed || outgoing.socket?.destroyed === true;
}

/**
 * Everything that is written in one turn leaves as one write: an upstream's packet holds many events, and
 * each write of its own would cost a frame of chunked encoding and its part of a system call. Nothing
 * waits for it, for the turn ends before the next packet can be read.
 */
function createReply(outgoing: ServerResponse): Reply {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let isHeldUp = false;
  let onDrain = () => {};
  const drained = () => {
    if (!isHeldUp) return;
    isHeldUp = false;
    onDrain();
  };
  const flush = () => {
    const [first] = pending;
    if (first === undefined) return;
    const bytes = pending.length === 1 ? first : Buffer.concat(pending, pendingBytes);
    pending = [];
    pendingBytes = 0;
    // Node tells of a drain only after a write that it called full itself.
    if (outgoing.write(bytes)) drained();
  };
  outgoing.on("drain", drained);
  return {
    head: (status, headers, isStream) => {
      outgoing.writeHead(status, [...headers]);
      if (isStream) outgoing.flushHeaders();
    },
    write: (chunk) => {
      if (pending.length === 0) process.nextTick(flush);
      pending.push(chunk);
      pendingBytes += chunk.byteLength;
      isHeldUp = outgoing.writableLength + pendingBytes >= outgoing.writableHighWaterMark;
      return !isHeldUp;
    },
    end: () => {
      flush();
      outgoing.end();
    },
    destroy: () => {
      outgoing.destroy();
    },
    onDrain: (listener) => {
      onDrain = listener;
    },
    onGone: (listener) => {
      if (isGone(outgoing)) listener();
      else
        outgoing.once("close", () => {
          if (!outgoing.writableFinished) listener();
        });
    },
    isGone: () => isGone(outgoing),
  };
}
