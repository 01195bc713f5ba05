import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createUndiciUpstream } from "../../src/entry/upstream-undici.ts";
import type { UpstreamFailure, UpstreamPort } from "../../src/gate/ports.ts";

let server: Server;
let upstream: UpstreamPort;
const sockets: Socket[] = [];
let received = "";

beforeEach(async () => {
  received = "";
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on("data", (bytes) => {
      received += bytes.toString();
      // Answers the first request on each connection when it is whole, and holds the others.
      if (received.includes("end-me")) socket.end();
      if (received.includes("answer-me")) {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  // One connection: the second call waits for the first one's answer.
  upstream = createUndiciUpstream({ connections: 1 });
});

afterEach(async () => {
  await upstream.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

type Outcome =
  | { readonly kind: "answered" }
  | { readonly kind: "failed"; failure: UpstreamFailure };

function send(path: string, mayStart: () => boolean, scheme = "http"): Promise<Outcome> {
  const { port } = server.address() as AddressInfo;
  return new Promise((done) => {
    upstream.dispatch(
      {
        upstream: "up",
        origin: `${scheme}://127.0.0.1:${port}`,
        path,
        method: "POST",
        headers: [],
        body: new TextEncoder().encode("body"),
        mayStart,
      },
      {
        onHead: () => undefined,
        onData: () => true,
        onEnd: () => done({ kind: "answered" }),
        onFail: (failure) => done({ kind: "failed", failure }),
      },
    );
  });
}

test("a call whose permit lapses while it waits for a connection writes no byte, and the next one goes", async () => {
  let mayGo = true;
  const first = send("/hold", () => true);
  while (!received.includes("/hold")) await new Promise((done) => setImmediate(done));
  const second = send("/lapsed", () => mayGo);
  const third = send("/answer-me", () => true);
  mayGo = false;
  sockets[0]!.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  expect(await first).toEqual({ kind: "answered" });
  expect(await second).toEqual({
    kind: "failed",
    failure: { kind: "lapsed", sent: false, message: "its permit lapsed" },
  });
  expect(await third).toEqual({ kind: "answered" });
  expect(received).not.toContain("/lapsed");
});

test("a host that makes no connection is told of", async () => {
  // It accepts, and answers no handshake.
  expect(await send("/", () => true, "https")).toEqual({
    kind: "failed",
    failure: { kind: "refused", sent: false, message: "UND_ERR_CONNECT_TIMEOUT" },
  });
});

test("a connection that its upstream ended is told in words", async () => {
  expect(await send("/end-me", () => true)).toEqual({
    kind: "failed",
    failure: { kind: "reset", sent: true, message: "other side closed" },
  });
});
