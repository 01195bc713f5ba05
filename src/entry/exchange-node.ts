/** The hot path's `Exchange` on Node: the raw request and response of node:http. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";

import { BODIES_HELD_BYTES_MAX, BODY_IDLE_MS_MAX } from "../core/limits.ts";
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

export type NodeExchanges = (incoming: IncomingMessage, outgoing: ServerResponse) => Exchange;

const TERMS: BodyTerms = {
  idleMsMax: BODY_IDLE_MS_MAX,
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
      return readBody(incoming, { bytesMax, idleMsMax: bodies.idleMsMax, share });
    },
    streamBody: (bytesMax) =>
      hasBody(incoming) ? streamBody(incoming, bytesMax, bodies.idleMsMax) : null,
    isGone: () => isGone(outgoing),
    reply: () => createReply(outgoing),
    handled: RESPONSE_ALREADY_SENT,
  };
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
