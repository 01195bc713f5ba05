import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LOOPBACK, messageOf, startModule, type Child } from "./child.ts";
import type { Job, LoadResult } from "./load.ts";

const BODY = '{"ok":true}';
const CONNECTIONS = 4;
let generator: Child;
let server: Server | null = null;

beforeEach(() => {
  generator = startModule("./load.ts", []);
});

afterEach(async () => {
  await generator.stop();
  server?.closeAllConnections();
  server?.close();
  server = null;
});

/** Load on a server that answers like this. */
const loadOn = async (answer: RequestListener, job: Partial<Job>): Promise<LoadResult> => {
  const listening = createServer(answer);
  server = listening;
  listening.listen(0, LOOPBACK);
  await once(listening, "listening");
  const { port } = listening.address() as AddressInfo;
  const whole: Job = {
    origin: `http://${LOOPBACK}:${port}`,
    path: "/",
    headers: [],
    scenario: "json",
    connections: CONNECTIONS,
    warmupMs: 0,
    measureMs: 200,
    ratePerSecond: 1_000,
    isOverload: true,
    expectedBytes: BODY.length,
    expectedTail: BODY.slice(-4),
    pids: [],
    ...job,
  };
  generator.process.send(whole);
  return (await messageOf(generator, 30_000)) as LoadResult;
};

/** Turns every second call away. */
const shedding = (): RequestListener => {
  let calls = 0;
  return (_, response) => {
    calls += 1;
    if (calls % 2 === 0) response.writeHead(503, { "retry-after": "1" }).end("{}");
    else response.end(BODY);
  };
};

test("in overload a call that is turned away is a shed, and neither an answer nor a failure", async () => {
  const told = await loadOn(shedding(), {});
  expect(told).toMatchObject({ failed: 0, firstFailure: null, reopened: 0 });
  expect(told.completed).toBeGreaterThan(0);
  // Every second one, but for those under way on each connection when the window ends.
  expect(Math.abs(told.shed - told.completed)).toBeLessThanOrEqual(CONNECTIONS + 1);
  expect(told.shedMicros.p50).not.toBeNull();
});

test("anywhere else it is a failure", async () => {
  for (const ratePerSecond of [null, 1_000]) {
    const told = await loadOn(shedding(), { isOverload: false, ratePerSecond });
    expect(told.failed).toBeGreaterThan(0);
    expect(told.firstFailure).toContain("status 503");
    expect(told).toMatchObject({ shed: 0, leftOut: 0, shedMicros: { p50: null, p99: null } });
    server?.closeAllConnections();
    server?.close();
  }
});

test("in overload a call that falls due while all connections are busy is left out; else it waits", async () => {
  // Four connections answer 200 calls a second at the most, and ten times as many fall due.
  const slow: RequestListener = (_, response) => void setTimeout(() => response.end(BODY), 20);
  const told = await loadOn(slow, { ratePerSecond: 2_000 });
  expect(told.leftOut).toBeGreaterThan(told.completed);
  server?.closeAllConnections();
  server?.close();
  const waiting = await loadOn(slow, { ratePerSecond: 2_000, isOverload: false });
  expect(waiting.completed).toBeGreaterThan(0);
  expect(waiting.leftOut).toBe(0);
});
