import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { LOOPBACK } from "./child.ts";
import { newConnection, requestBytes, type Connection } from "./connection.ts";

const BODY = '{"ok":true}';
const answer = (extra = ""): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${BODY.length}\r\n${extra}\r\n${BODY}`;
const REQUEST = requestBytes("http://h:1", "/p", ["x-a", "b"], Buffer.from("{}"));

let server: Server | null = null;
let sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  server?.close();
  server = null;
});

type Client = {
  readonly connection: Connection;
  /** Sends the request; answers what was wrong with the answer. */
  readonly call: () => Promise<string | null>;
  readonly firstBytes: () => number;
  readonly unasked: Promise<void>;
};

/** A connection to a server that does this with each request. */
const startWith = async (
  onRequest: (socket: Socket) => void,
  countsSheds = false,
): Promise<Client> => {
  const listening = createServer((socket) => {
    sockets.push(socket);
    let sent = "";
    socket.on("data", (bytes: Buffer) => {
      sent += bytes.toString("latin1");
      if (sent !== REQUEST.toString("latin1")) return;
      sent = "";
      onRequest(socket);
    });
    socket.on("error", () => socket.destroy());
  });
  server = listening;
  listening.listen(0, LOOPBACK);
  await once(listening, "listening");
  const { port } = listening.address() as AddressInfo;
  let firstBytes = 0;
  let ended: (fault: string | null) => void = () => undefined;
  const unasked = Promise.withResolvers<void>();
  const connection = newConnection(
    {
      host: LOOPBACK,
      port,
      request: REQUEST,
      expectedBytes: BODY.length,
      expectedTail: Buffer.from(BODY.slice(-4)),
    },
    {
      onFirstByte: () => (firstBytes += 1),
      onEnd: (fault) => ended(fault),
      onUnasked: unasked.resolve,
      ...(countsSheds ? { onShed: () => ended("shed") } : {}),
    },
  );
  const call = (): Promise<string | null> =>
    new Promise((resolve) => {
      ended = resolve;
      connection.send();
    });
  return { connection, call, firstBytes: () => firstBytes, unasked: unasked.promise };
};

test("the request is one POST with its length", () => {
  expect(REQUEST.toString()).toBe(
    "POST /p HTTP/1.1\r\nhost: h:1\r\nconnection: keep-alive\r\nx-a: b\r\n" +
      "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
  );
});

test("calls follow each other on one connection", async () => {
  const client = await startWith((socket) => socket.write(answer()));
  for (let i = 0; i < 5; i += 1) expect(await client.call()).toBeNull();
  expect(sockets).toHaveLength(1);
  expect(client.firstBytes()).toBe(5);
  expect(client.connection.reopened()).toBe(0);
  client.connection.abandon("the test is over");
});

test("a connection opened beforehand is the one that calls use, and none is opened to nobody", async () => {
  const client = await startWith((socket) => socket.write(answer()));
  await client.connection.open();
  await client.connection.open();
  expect(await client.call()).toBeNull();
  expect(sockets).toHaveLength(1);
  expect(client.connection.reopened()).toBe(0);
  client.connection.abandon("the test is over");
  server?.close();
  if (server !== null) await once(server, "close");
  await expect(client.connection.open()).rejects.toThrow("ECONNREFUSED");
});

test("a connection that the server closes is opened anew, and counted", async () => {
  const client = await startWith((socket) => socket.end(answer("connection: close\r\n")));
  for (let i = 0; i < 3; i += 1) expect(await client.call()).toBeNull();
  expect(sockets).toHaveLength(3);
  expect(client.connection.reopened()).toBe(2);
});

test("an idle connection that the server closes is opened anew for the next call", async () => {
  const client = await startWith((socket) => socket.write(answer()));
  expect(await client.call()).toBeNull();
  const [socket] = sockets;
  socket?.end();
  if (socket !== undefined) await once(socket, "close");
  expect(await client.call()).toBeNull();
  expect(client.connection.reopened()).toBe(1);
  client.connection.abandon("the test is over");
});

test("a call fails, and the next one does not, when the answer is cut, refused, wrong or missing", async () => {
  const bad = [
    { act: (socket: Socket) => socket.end(answer().slice(0, -1)), fault: "cut after 10" },
    { act: (socket: Socket) => socket.end(), fault: "closed before the answer" },
    { act: (socket: Socket) => socket.resetAndDestroy(), fault: "ECONNRESET" },
    { act: (socket: Socket) => socket.write(answer().replace("200", "500")), fault: BODY },
    {
      act: (socket: Socket) => socket.write(answer().replace("true", "trux")),
      fault: "another end",
    },
    { act: (socket: Socket) => socket.write(`${answer()}${answer()}`), fault: "bytes after" },
  ];
  let act: (socket: Socket) => unknown = () => undefined;
  const client = await startWith((socket) => act(socket));
  for (const each of bad) {
    act = each.act;
    expect(await client.call()).toContain(each.fault);
    act = (socket) => socket.write(answer());
    expect(await client.call()).toBeNull();
  }
  expect(client.connection.reopened()).toBe(bad.length);
  client.connection.abandon("the test is over");
});

test("a 503 that says when to retry is a shed to whoever counts them, and keeps its connection", async () => {
  const shed = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\ncontent-length: 2\r\n\r\n{}";
  const cases = [
    { text: shed, countsSheds: true, told: "shed", reopened: 0 },
    { text: shed, countsSheds: false, told: "status 503", reopened: 1 },
    { text: shed.replace("Retry", "Other"), countsSheds: true, told: "status 503", reopened: 1 },
    { text: shed.replace("503", "500"), countsSheds: true, told: "status 500", reopened: 1 },
    { text: `${shed}{`, countsSheds: true, told: "bytes after", reopened: 1 },
  ];
  for (const { text, countsSheds, told, reopened } of cases) {
    sockets = [];
    let next = text;
    const client = await startWith((socket) => socket.write(next), countsSheds);
    expect(await client.call()).toContain(told);
    next = answer();
    expect(await client.call()).toBeNull();
    expect(client.connection.reopened()).toBe(reopened);
    client.connection.abandon("the test is over");
    server?.close();
  }
});

test("bytes between calls are told, and the connection is not used again", async () => {
  const client = await startWith((socket) => socket.write(answer()));
  expect(await client.call()).toBeNull();
  sockets[0]?.write("HTTP/1.1 408 Request Timeout\r\n\r\n");
  await client.unasked;
  expect(await client.call()).toBeNull();
  expect(client.connection.reopened()).toBe(1);
  client.connection.abandon("the test is over");
});

test("a call that is abandoned fails for the reason told, once", async () => {
  const client = await startWith(() => undefined);
  const call = client.call();
  expect(client.connection.isBusy()).toBe(true);
  client.connection.abandon("took too long");
  expect(await call).toBe("took too long");
  expect(client.connection.isBusy()).toBe(false);
  client.connection.abandon("again");
});

test("a server that is not there fails the call and says why", async () => {
  const client = await startWith(() => undefined);
  server?.close();
  if (server !== null) await once(server, "close");
  expect(await client.call()).toContain("ECONNREFUSED");
});
