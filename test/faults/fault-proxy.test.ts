import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "./fault-proxy.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

type Ends = {
  readonly proxy: FaultProxy;
  readonly port: number;
  /** All that the server was sent. */
  readonly heard: () => string;
};

/** A server behind a proxy that answers each thing said with the same in brackets. */
async function behindProxy(): Promise<Ends> {
  let text = "";
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      text += chunk.toString();
      socket.write(`[${chunk.toString()}]`);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  const proxy = await startFaultProxy(address.port);
  cleanups.push(async () => {
    await proxy.close();
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  });
  return { proxy, port: proxy.port, heard: () => text };
}

type Client = {
  readonly say: (text: string) => void;
  /** Resolves when exactly this has been heard. */
  readonly hears: (text: string) => Promise<void>;
  readonly heard: () => string;
  /** The code of the error that ended it, or "end". */
  readonly ended: Promise<string>;
};

async function clientOf(port: number): Promise<Client> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString();
  });
  const ended = new Promise<string>((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
    socket.on("end", () => resolve("end"));
  });
  await Promise.race([once(socket, "connect"), ended]);
  return {
    say: (words) => void socket.write(words),
    hears: (words) => until(() => text === words),
    heard: () => text,
    ended,
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 5));
}

describe("the fault proxy", () => {
  test("passes everything in order, slowed or not", async () => {
    const { proxy, port } = await behindProxy();
    const client = await clientOf(port);
    client.say("a");
    await client.hears("[a]");
    proxy.slow(20);
    client.say("b");
    await client.hears("[a][b]");
    proxy.heal();
    client.say("c");
    await client.hears("[a][b][c]");
  });

  test("resets what is open, and takes what comes after", async () => {
    const { proxy, port } = await behindProxy();
    const first = await clientOf(port);
    first.say("a");
    await first.hears("[a]");
    proxy.reset();
    expect(await first.ended).toBe("ECONNRESET");
    const second = await clientOf(port);
    second.say("b");
    await second.hears("[b]");
  });

  test("half-open passes nothing and closes nothing, until it is healed", async () => {
    const { proxy, port, heard } = await behindProxy();
    const open = await clientOf(port);
    open.say("a");
    await open.hears("[a]");
    proxy.freeze();
    open.say("b");
    const late = await clientOf(port);
    late.say("c");
    proxy.lead(null);
    proxy.heal();
    expect(await open.ended).toBe("ECONNRESET");
    expect(await late.ended).toBe("ECONNRESET");
    expect(heard()).toBe("a");
    expect(open.heard()).toBe("[a]");
  });

  test("swallows an answer: the server did what was asked, and the client never learns", async () => {
    const { proxy, port, heard } = await behindProxy();
    const client = await clientOf(port);
    client.say("a");
    await client.hears("[a]");
    const swallowing = proxy.swallow();
    client.say("b");
    expect(await client.ended).toBe("ECONNRESET");
    await until(() => heard() === "ab");
    expect(client.heard()).toBe("[a]");
    expect(swallowing.end()).toBe(1);
  });

  test("mute passes what is said and no answer, and closes nothing, until it is healed", async () => {
    const { proxy, port, heard } = await behindProxy();
    const open = await clientOf(port);
    open.say("a");
    await open.hears("[a]");
    proxy.mute();
    open.say("b");
    const late = await clientOf(port);
    late.say("c");
    await until(() => heard().length === 3);
    proxy.heal();
    expect(await open.ended).toBe("ECONNRESET");
    expect(await late.ended).toBe("ECONNRESET");
    expect([open.heard(), late.heard()]).toEqual(["[a]", ""]);
  });

  test("without anywhere to lead refuses", async () => {
    const { proxy, port } = await behindProxy();
    proxy.lead(null);
    const client = await clientOf(port);
    expect(await client.ended).toBe("ECONNRESET");
  });
});
