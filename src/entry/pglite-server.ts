/**
 * Serves PGlite on a unix socket. PGlite is one backend with one session: an unnamed statement, a portal
 * and a transaction belong to whoever spoke last. So the connections take turns, and a turn lasts from a
 * connection's first message until the backend is ready for the next query outside any transaction. A
 * server that takes turns by message instead lets one connection execute what another has bound.
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

import type { PGlite } from "@electric-sql/pglite";

import { assert } from "../lib/assert.ts";

export type PgliteServer = { readonly close: () => Promise<void> };

/** Clients are this program's own; a longer message is a broken one. PostgreSQL's own limit is 1 GB. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;

const SSL_REQUEST = 80_877_103;
const CANCEL_REQUEST = 80_877_102;
const QUERY = 0x51;
const SYNC = 0x53;
const TERMINATE = 0x58;
const SYNC_MESSAGE = new Uint8Array([SYNC, 0, 0, 0, 4]);
const NO_SSL = "N";

export async function servePglite(database: PGlite, path: string): Promise<PgliteServer> {
  const turns = createTurns();
  const sockets = new Set<Socket>();
  const conversations = new Set<Promise<void>>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const conversation = converse(database, turns, socket).finally(() => {
      socket.destroy();
      sockets.delete(socket);
      conversations.delete(conversation);
    });
    conversations.add(conversation);
  });
  server.listen(path);
  await once(server, "listening");
  return {
    close: async () => {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all(conversations);
      await closed;
    },
  };
}

/** One connection from its start to its end; whatever ends it, its turn ends clean. */
async function converse(database: PGlite, turns: Turns, socket: Socket): Promise<void> {
  const run = (message: Uint8Array, tell: (data: Uint8Array) => void): Promise<void> =>
    database.runExclusive(() => database.execProtocolRawStream(message, { onRawData: tell }));
  const answer = (data: Uint8Array): void => {
    // A copy, because PGlite writes its next answer where this one stands.
    if (socket.writable) socket.write(Uint8Array.from(data));
  };
  try {
    let isStarted = false;
    for await (const message of messagesOf(socket)) {
      if (!isStarted) {
        const code = message.readInt32BE(4);
        if (code === CANCEL_REQUEST) return;
        if (code === SSL_REQUEST) {
          socket.write(NO_SSL);
          continue;
        }
      } else if (message[0] === TERMINATE) return;
      await turns.take(socket);
      await run(message, answer);
      const ends = !isStarted || message[0] === QUERY || message[0] === SYNC;
      isStarted = true;
      if (ends && !database.isInTransaction()) turns.release(socket);
    }
  } catch (error) {
    // The client is this program: it reports a lost connection itself.
    socket.destroy(error instanceof Error ? error : undefined);
  } finally {
    await turns.take(socket);
    await run(SYNC_MESSAGE, () => undefined);
    if (database.isInTransaction()) await database.exec("rollback");
    turns.release(socket);
  }
}

/** Whole messages: the first has no type byte, every other one has. SSL and cancel requests come first. */
async function* messagesOf(socket: Socket): AsyncGenerator<Buffer> {
  let held = Buffer.alloc(0);
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let needed = 8;
  let typeBytes = 0;
  for await (const chunk of socket) {
    assert(chunk instanceof Buffer, "no encoding is set on the socket");
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (held.length + waitingBytes < needed) continue;
    held = Buffer.concat([held, ...waiting]);
    waiting = [];
    waitingBytes = 0;
    while (held.length >= typeBytes + 4) {
      needed = typeBytes + held.readInt32BE(typeBytes);
      assert(needed >= typeBytes + 4 && needed <= MESSAGE_BYTES_MAX, "a message has a sane length");
      if (held.length < needed) break;
      const message = held.subarray(0, needed);
      held = held.subarray(needed);
      needed = typeBytes + 4;
      const isRequest = typeBytes === 0 && isBeforeStart(message);
      if (!isRequest) typeBytes = 1;
      yield message;
    }
  }
}

function isBeforeStart(message: Buffer): boolean {
  const code = message.length >= 8 ? message.readInt32BE(4) : 0;
  return code === SSL_REQUEST || code === CANCEL_REQUEST;
}

type Turns = {
  /** Resolves when the turn is this connection's; at once when it has it already. */
  readonly take: (who: Socket) => Promise<void>;
  readonly release: (who: Socket) => void;
};

function createTurns(): Turns {
  let owner: Socket | null = null;
  const waiting: { readonly who: Socket; readonly go: () => void }[] = [];
  return {
    take: async (who) => {
      if (owner === who) return;
      if (owner === null) {
        owner = who;
        return;
      }
      await new Promise<void>((go) => waiting.push({ who, go }));
    },
    release: (who) => {
      if (owner !== who) return;
      const next = waiting.shift();
      owner = next?.who ?? null;
      next?.go();
    },
  };
}
