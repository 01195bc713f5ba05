/**
 * Closes connections in stages (RFC 9112, 9.6). A connection that is closed with bytes unread is reset by
 * the kernel, and the reset may overtake the answer: a client in the middle of its body would never learn
 * why it was refused. So our half is ended first, which tells the client that the answer is whole, and what
 * still comes is dropped until the client ends its half too, within a bound on time, bytes and connections.
 */
import type { Server } from "node:http";
import type { Socket } from "node:net";

import { LINGER_BYTES_MAX, LINGER_MS_MAX, LINGERERS_MAX } from "../core/limits.ts";

export type LingerTerms = {
  /** Milliseconds from the end of the answer. */
  readonly msMax: number;
  /** Bytes that are dropped. */
  readonly bytesMax: number;
  /** Connections that linger at once; others are closed as soon as their answer has left. */
  readonly connectionsMax: number;
};

const TERMS: LingerTerms = {
  msMax: LINGER_MS_MAX,
  bytesMax: LINGER_BYTES_MAX,
  connectionsMax: LINGERERS_MAX,
};

/** Every connection of the server that ends with an answer lingers: node:http ends it by `destroySoon`. */
export function lingerAtEnd(server: Server, terms: LingerTerms = TERMS): void {
  const { msMax, bytesMax, connectionsMax } = terms;
  let lingering = 0;
  const linger = (socket: Socket) => {
    if (socket.destroyed) return;
    if (lingering >= connectionsMax) {
      socket.destroy();
      return;
    }
    lingering += 1;
    const late = setTimeout(() => socket.destroy(), msMax);
    socket.once("close", () => {
      clearTimeout(late);
      lingering -= 1;
    });
  };
  server.on("connection", (socket: Socket) => {
    let isEnding = false;
    socket.destroySoon = () => {
      if (isEnding) return;
      isEnding = true;
      drop(socket, bytesMax);
      socket.end();
      // A long answer may be read slowly: only when all of it has left does the time begin.
      if (socket.writableFinished) linger(socket);
      else socket.once("finish", () => linger(socket));
    };
  });
}

/** What comes is read and forgotten. The parser of node:http sees none of it, so no request behind it is served. */
function drop(socket: Socket, bytesMax: number): void {
  let bytes = 0;
  socket.removeAllListeners("data");
  socket.on("data", (part: Buffer) => {
    bytes += part.length;
    if (bytes > bytesMax) socket.destroy();
  });
  socket.resume();
}
