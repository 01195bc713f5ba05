import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

import { afterEach, describe, expect, test } from "vitest";

import { lingerAtEnd, type LingerTerms } from "../../src/entry/linger.ts";
import { answerMalformed } from "../../src/entry/malformed.ts";
import { exchange, head } from "../hostile/wire.ts";

/** Long and large enough that nothing but what a test lowers ends a connection. */
const TERMS: LingerTerms = { msMax: 60_000, bytesMax: 2 ** 40, connectionsMax: 1_000 };
const CHUNKED = head("POST / HTTP/1.1", { "transfer-encoding": "chunked" });
const CHUNK = Buffer.concat([
  Buffer.from("10000\r\n"),
  Buffer.alloc(0x10000, 0x61),
  Buffer.from("\r\n"),
]);

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

type Served = {
  readonly url: string;
  readonly server: Server;
  /** Paths of the requests that came. */
  readonly paths: string[];
  /** Our side of the connections, in order. */
  readonly sockets: Socket[];
};

/** Answers at the first byte of a body, and wants no more of it. */
const refuse: RequestListener = (incoming, outgoing) => {
  incoming.once("data", () => {
    incoming.resume();
    outgoing.writeHead(413, { connection: "close", "content-length": "2" }).end("no");
  });
};

async function serve(terms: Partial<LingerTerms>): Promise<Served> {
  const paths: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((incoming, outgoing) => {
    paths.push(incoming.url ?? "");
    refuse(incoming, outgoing);
  });
  server.on("connection", (socket) => sockets.push(socket));
  lingerAtEnd(server, { ...TERMS, ...terms });
  answerMalformed(server, () => "1");
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    paths,
    sockets,
  };
}

/** A client that has read its answer to the end and does not close. */
async function holdOn({ url }: Served, first = CHUNKED + "1\r\nx\r\n"): Promise<Socket> {
  const socket = connect({ port: Number(new URL(url).port), allowHalfOpen: true });
  cleanups.push(() => socket.destroy());
  socket.on("error", () => {});
  socket.write(first);
  socket.resume();
  await once(socket, "end");
  return socket;
}

/** Resets are errors on our side, and no failure here. */
async function closed(socket: Socket | undefined): Promise<void> {
  if (socket?.closed === false)
    await new Promise<void>((done) => socket.once("close", () => done()));
}

async function* endless(first: string): AsyncGenerator<string | Uint8Array, void, void> {
  yield first;
  for (;;) {
    yield CHUNK;
    await pause(1);
  }
}

describe("a connection that ends with an answer", () => {
  test.each([
    ["is refused in the middle of its body", CHUNKED, 413],
    ["sends what is no HTTP", `${CHUNKED}zz\r\n`, 400],
    ["asks for a tunnel", head("CONNECT elsewhere.example:443 HTTP/1.1"), 405],
  ])("lets a client read it that %s and writes on", async (_, first, status) => {
    const { url } = await serve({});
    for (let time = 0; time < 10; time += 1) {
      const [answer] = await exchange(url, endless(first), { answers: 2 });
      expect(answer?.status).toBe(status);
    }
  });

  test("is cut after so many bytes, whoever goes on sending", async () => {
    const served = await serve({ bytesMax: 1_000_000 });
    const socket = await holdOn(served);
    const [ours] = served.sockets;
    const before = ours?.bytesRead ?? 0;
    while (!socket.destroyed) {
      socket.write(CHUNK);
      await pause(1);
    }
    expect(ours?.destroyed).toBe(true);
    const dropped = (ours?.bytesRead ?? 0) - before;
    expect(dropped).toBeGreaterThan(900_000);
    expect(dropped).toBeLessThan(2_000_000);
  });

  test.each([
    ["after a refusal", undefined],
    ["after a mistake", "\0\r\n\r\n"],
    ["after CONNECT", head("CONNECT elsewhere.example:443 HTTP/1.1")],
  ])("is cut after its time %s, whoever holds on to it", async (_, first) => {
    const served = await serve({ msMax: 50 });
    await holdOn(served, first);
    const [ours] = served.sockets;
    await closed(ours);
    expect(ours?.closed).toBe(true);
  });

  test("lingers only beside so many others, and gives its place back", async () => {
    const served = await serve({ connectionsMax: 1 });
    const first = await holdOn(served);
    await holdOn(served);
    const [held, beyond] = served.sockets;
    await closed(beyond);
    expect(held?.destroyed).toBe(false);
    first.end();
    await closed(held);
    const third = await holdOn(served);
    // What it writes is still read: it has the place.
    third.write("x");
    const [, , next] = served.sockets;
    if (next !== undefined) await once(next, "data");
    expect(next?.destroyed).toBe(false);
  });

  test("serves no request behind it", async () => {
    const served = await serve({});
    const socket = await holdOn(served);
    socket.end(`0\r\n\r\n${head("POST /behind HTTP/1.1", { "content-length": "1" })}x`);
    // Our side has read all of it when it closes.
    await closed(served.sockets[0]);
    expect(served.paths).toEqual(["/"]);
  });

  test("ends with its client, when that resets it", async () => {
    const served = await serve({});
    for (const first of [undefined, "\0\r\n\r\n", head("CONNECT a.example:443 HTTP/1.1")]) {
      const socket = await holdOn(served, first);
      const ours = served.sockets.at(-1);
      socket.resetAndDestroy();
      await closed(ours);
      expect(ours?.closed).toBe(true);
    }
  });
});
