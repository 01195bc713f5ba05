/** The hot path's `Exchange` on Node: the raw request and response of node:http. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";

import { BODIES_HELD_BYTES_MAX } from "../core/limits.ts";
import type { Reply } from "../gate/ports.ts";
import type { Exchange } from "../http/exchange.ts";
import {
  createBodyBudget,
  hasBody,
  readBody,
  streamBody,
  type BodyBudget,
  type BodyTerms,
} from "./body-node.ts";
import { PACE } from "./body-pace.ts";

export type NodeExchanges = (incoming: IncomingMessage, outgoing: ServerResponse) => Exchange;

export const TERMS: BodyTerms = {
  ...PACE,
  heldBytesMax: BODIES_HELD_BYTES_MAX,
};

/** One for the process: its exchanges share the memory for request bodies. */
export function createNodeExchanges(terms: BodyTerms = TERMS): NodeExchanges {
  const bodies = createBodyBudget(terms);
  return (incoming, outgoing) => createExchange(bodies, incoming, outgoing);
}

function createExchange(
  bodies: BodyBudget,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Exchange {
  return {
    method: incoming.method ?? "GET",
    url: incoming.url ?? "/",
    rawHeaders: incoming.rawHeaders,
    header: (name) => {
      const value = incoming.headers[name];
      if (value === undefined) return null;
      return typeof value === "string" ? value : value.join(", ");
    },
    readBody: (bytesMax) => {
      const share = bodies.share();
      if (isGone(outgoing)) share.end();
      // A body is held until its exchange ends, for it may be sent again or counted.
      else outgoing.once("close", share.end);
      return readBody(incoming, { bytesMax, pace: bodies.pace, share });
    },
    streamBody: (bytesMax) =>
      hasBody(incoming) ? streamBody(incoming, bytesMax, bodies.pace) : null,
    isGone: () => isGone(outgoing),
    reply: () => createReply(outgoing),
    handled: RESPONSE_ALREADY_SENT,
  };
}

/** How long a client may go on sending a body after its answer, which nobody reads, in ms. */
const UNREAD_MS_MAX = 500;

/** To be called when an exchange is over: node:http would drop the rest of its body for as long as it comes. */
export function endUnread(incoming: IncomingMessage): void {
  if (incoming.complete) return;
  const end = () => {
    if (!incoming.complete) incoming.socket.destroySoon();
  };
  setTimeout(end, UNREAD_MS_MAX).unref();
}

function isGone(outgoing: ServerResponse): boolean {
  return outgoing.destroyed || outgoing.socket?.destroyed === true;
}

/** Up to here bytes are given to node:http as a string, which leaves in one buffer with what stands before it. */
const JOINED_BYTES_MAX = 16 * 1024;

/**
 * An answer in as few writes as it can have: node:http would write the head, the length of a chunk, the chunk
 * and its end one by one, as a vector of five, and that was a sixth of the cost of a stream. So the chunks
 * are framed here, and a piece leaves in one buffer with its frame and the head.
 */
function createReply(outgoing: ServerResponse): Reply {
  let isFramed = false;
  let hasWritten = false;
  let isHeldUp = false;
  let onDrain: (() => void) | null = null;
  const drained = () => {
    isHeldUp = false;
    onDrain?.();
  };
  const write = (text: string) => outgoing.write(text, "latin1");
  const writeLarge = (chunk: Uint8Array): boolean => {
    if (!isFramed) return outgoing.write(chunk);
    outgoing.cork();
    write(`${chunk.byteLength.toString(16)}\r\n`);
    outgoing.write(chunk);
    const flows = write("\r\n");
    outgoing.uncork();
    return flows;
  };
  const framed = (chunk: Uint8Array): string => {
    const text = textOf(chunk);
    return isFramed ? `${text.length.toString(16)}\r\n${text}\r\n` : text;
  };
  return {
    head: (status, headers, isStream) => {
      outgoing.writeHead(status, headers);
      isFramed = outgoing.chunkedEncoding;
      outgoing.chunkedEncoding = false;
      // The first bytes of a body may come in this turn, and then need no write of their own.
      if (isStream)
        process.nextTick(() => {
          if (!hasWritten) outgoing.flushHeaders();
        });
    },
    write: (chunk) => {
      hasWritten = true;
      const isSmall = chunk.byteLength <= JOINED_BYTES_MAX;
      const flows = isSmall ? write(framed(chunk)) : writeLarge(chunk);
      if (flows || isHeldUp) return flows;
      isHeldUp = true;
      outgoing.once("drain", drained);
      return false;
    },
    end: (last) => {
      hasWritten = true;
      const isSmall = last === undefined || last.byteLength <= JOINED_BYTES_MAX;
      if (!isSmall) writeLarge(last);
      const text = isSmall && last !== undefined && last.byteLength > 0 ? framed(last) : "";
      outgoing.end(isFramed ? `${text}0\r\n\r\n` : text, "latin1");
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

function textOf({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
}
