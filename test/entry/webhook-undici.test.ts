import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  createWebhookPort,
  type Lookup,
  type NodeWebhookPort,
} from "../../src/entry/webhook-undici.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";

let receiver: Receiver;
const ports: NodeWebhookPort[] = [];
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  await Promise.all(ports.splice(0).map((port) => port.close()));
  await receiver.close();
});

function portWith(...options: Parameters<typeof createWebhookPort>): NodeWebhookPort {
  const port = createWebhookPort(...options);
  ports.push(port);
  return port;
}

const post = (port: NodeWebhookPort, url: string, body = "{}") =>
  port.post({ url, headers: { "webhook-id": "dlv_1" }, body });

/** Answers each look-up with the next of these lists, the last one again and again. */
function lookups(
  ...answers: readonly (readonly string[])[]
): Lookup & { readonly asked: string[] } {
  const asked: string[] = [];
  const lookup: Lookup = (hostname, tell) => {
    const list = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(hostname);
    tell(
      null,
      list.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  return Object.assign(lookup, { asked });
}

describe("a message", () => {
  test("arrives byte for byte, where the operator allows it", async () => {
    const body = `{"type":"ping","ü":"\\u0000 ✓"}`;
    const url = `${receiver.url}/hook?a=1`;
    const answer = await post(portWith({ allowsPrivate: true }), url, body);
    expect(answer).toEqual({ kind: "answered", status: 204 });
    expect(receiver.messages).toMatchObject([{ path: "/hook?a=1", body }]);
    expect(receiver.messages[0]?.headers).toMatchObject({
      "webhook-id": "dlv_1",
      "content-length": String(Buffer.byteLength(body)),
    });
  });

  test("travels on a connection of its own", async () => {
    const port = portWith({ allowsPrivate: true });
    await post(port, receiver.url);
    await post(port, receiver.url);
    const connections = receiver.messages.map(({ headers }) => headers["connection"]);
    expect(connections).toEqual(["close", "close"]);
  });

  test("follows no redirect", async () => {
    const headers = { location: `${receiver.url}/elsewhere` };
    for (const status of [301, 302, 303, 307, 308]) {
      receiver.plays({ kind: "answer", status, headers });
      const answer = await post(portWith({ allowsPrivate: true }), receiver.url);
      expect(answer).toEqual({ kind: "answered", status });
    }
    expect(receiver.messages.map(({ path }) => path)).toEqual(["/", "/", "/", "/", "/"]);
  });

  test("is given up when its receiver does not answer in time", async () => {
    receiver.plays({ kind: "hang" });
    const answer = await post(portWith({ allowsPrivate: true, msMax: 200 }), receiver.url);
    expect(answer).toEqual({ kind: "failed", message: "no answer within 0.2 s" });
    expect(receiver.messages).toHaveLength(1);
  });

  test("is told as failed, and says nothing of this network, when nobody takes it", async () => {
    const { url } = receiver;
    receiver.plays({ kind: "reset" });
    const port = portWith({ allowsPrivate: true });
    const cut = await post(port, url);
    await receiver.close();
    const away = await post(port, url);
    for (const answer of [cut, away]) {
      expect(answer).toEqual({
        kind: "failed",
        message: expect.stringMatching(/^no answer \(\w+\)$/),
      });
      expect(JSON.stringify(answer)).not.toContain("127.0.0.1");
    }
    receiver = await startReceiver();
  });

  test("reads little of an answer without an end, and believes its status", async () => {
    receiver.plays({ kind: "flood", status: 200 });
    const answer = await post(portWith({ allowsPrivate: true }), receiver.url);
    expect(answer).toEqual({ kind: "answered", status: 200 });
    expect(receiver.written()).toBeGreaterThan(0);
    // What was in flight when it was cut off is the system's: a few megabytes of buffers at most.
    expect(receiver.written()).toBeLessThan(32 * 1024 * 1024);
  });
});

describe("without the operator's leave", () => {
  test.each([
    ["an address", (port: number) => `http://127.0.0.1:${port}/`],
    ["one decimal", (port: number) => `http://2130706433:${port}/`],
    ["an IPv4 address in IPv6", (port: number) => `http://[::ffff:127.0.0.1]:${port}/`],
    ["this host", (port: number) => `http://0.0.0.0:${port}/`],
    ["a name", (port: number) => `http://localhost:${port}/`],
  ])("no connection is made to %s of this machine", async (_, urlOf) => {
    const answer = await post(portWith({ allowsPrivate: false }), urlOf(receiver.port));
    expect(answer).toEqual({
      kind: "failed",
      message: "not sent: its host has no public address",
    });
    expect(receiver.messages).toEqual([]);
    // The same is there for whoever may: it was the address that was refused.
    const allowed = await post(portWith({ allowsPrivate: true }), urlOf(receiver.port));
    expect(allowed.kind).toBe("answered");
  });

  test.each([
    ["loopback", ["127.0.0.1"]],
    ["IPv6 loopback", ["::1"]],
    ["a private network", ["10.0.0.1"]],
    ["cloud metadata", ["169.254.169.254"]],
    ["an IPv4 address in IPv6", ["::ffff:127.0.0.1"]],
    ["several, none public", ["192.168.0.1", "fd00::1"]],
    ["nothing", []],
  ])("a name that leads to %s is not connected to", async (_, addresses) => {
    const lookup = lookups(addresses);
    const port = portWith({ allowsPrivate: false, lookup });
    const answer = await post(port, `http://rebinding.example:${receiver.port}/`);
    expect(answer).toEqual({
      kind: "failed",
      message: "not sent: its host has no public address",
    });
    expect(lookup.asked).toEqual(["rebinding.example"]);
    expect(receiver.messages).toEqual([]);
  });

  test("a name is asked again for each message, so that one that changes gains nothing", async () => {
    // First an address of a range that nobody was given, where a connection fails; then this machine.
    const lookup = lookups(["2d00::1"], ["127.0.0.1"]);
    const port = portWith({ allowsPrivate: false, lookup, msMax: 300 });
    const url = `http://rebinding.example:${receiver.port}/`;
    const first = await post(port, url);
    expect(first).toMatchObject({ kind: "failed", message: expect.stringMatching(/^no answer/) });
    expect(await post(port, url)).toEqual({
      kind: "failed",
      message: "not sent: its host has no public address",
    });
    expect(lookup.asked).toHaveLength(2);
    expect(receiver.messages).toEqual([]);
  });

  test("of several addresses only the public ones are connected to", async () => {
    const lookup = lookups(["127.0.0.1", "2d00::1"]);
    const port = portWith({ allowsPrivate: false, lookup, msMax: 300 });
    const answer = await post(port, `http://rebinding.example:${receiver.port}/`);
    expect(answer).toMatchObject({ kind: "failed", message: expect.stringMatching(/^no answer/) });
    expect(receiver.messages).toEqual([]);
  });
});

test("what a name leads to is what is connected to", async () => {
  const lookup = lookups(["127.0.0.1"]);
  const port = portWith({ allowsPrivate: true, lookup });
  const answer = await post(port, `http://receiver.example:${receiver.port}/`);
  expect(answer.kind).toBe("answered");
  expect(receiver.messages[0]?.headers["host"]).toBe(`receiver.example:${receiver.port}`);
});
