import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";

import { afterEach, describe, expect, test } from "vitest";

import type { BodyTerms } from "../../src/entry/body-node.ts";
import { isTooSlow, PACE } from "../../src/entry/body-pace.ts";
import { createNodeExchanges } from "../../src/entry/exchange-node.ts";
import { createUndiciUpstream } from "../../src/entry/upstream-undici.ts";
import type { UpstreamFailure } from "../../src/gate/ports.ts";
import type { Exchange } from "../../src/http/exchange.ts";
import { phraseFailure, phraseThrown } from "../../src/http/errors.ts";
import { exchange, head, type WireAnswer } from "../hostile/wire.ts";

const BYTES_MAX = 1_000;
const TERMS: BodyTerms = { ...PACE, heldBytesMax: 10_000 };
/** So short that a client which sends nothing is told at once. */
const IMPATIENT: BodyTerms = { ...TERMS, idleMsMax: 100 };
/** Silence is nothing to it, but what takes longer than a tenth of a second has come at a kilobyte in one. */
const HURRIED: BodyTerms = { ...TERMS, graceMs: 100, bytesPerSecondMin: 1_000 };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

type Work = (exchange: Exchange, response: ServerResponse) => Promise<void>;

/** A server whose bodies are read as Tollgate's are; what is thrown is answered in Tollgate's words. */
async function serve(terms: BodyTerms, work: Work): Promise<string> {
  const exchanges = createNodeExchanges(terms);
  const server = createServer((incoming, outgoing) => {
    void work(exchanges(incoming, outgoing), outgoing).catch((error: unknown) => {
      const { status, headers, body } = phraseThrown(error, "req_1");
      outgoing.writeHead(status, { ...headers }).end(body);
    });
  });
  return listening(server);
}

async function listening(server: ReturnType<typeof createServer>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const whole: Work = async ({ readBody }, response) => {
  const bytes = await readBody(BYTES_MAX);
  response.end(String(bytes.byteLength));
};

type Sink = { readonly url: string; readonly received: IncomingMessage[] };

async function startSink(): Promise<Sink> {
  const received: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    received.push(request);
    request.on("error", () => {});
    request.resume();
    request.once("end", () => response.end("done"));
  });
  return { url: await listening(server), received };
}

/** Passes the body on to `origin` as the model door does, and tells how that failed. */
function passOn(origin: string, failures: UpstreamFailure[]): Work {
  const upstream = createUndiciUpstream({ connections: 4 });
  cleanups.push(upstream.close);
  return ({ streamBody }, response) =>
    new Promise((done) => {
      const request = {
        upstream: "up",
        origin,
        path: "/",
        method: "POST",
        headers: [],
        body: streamBody(BYTES_MAX),
        mayStart: () => true,
      };
      upstream.dispatch(request, {
        onHead: () => {},
        onData: () => true,
        onEnd: () => {
          response.end("passed");
          done();
        },
        onFail: (failure) => {
          failures.push(failure);
          const { status, headers, body } = phraseFailure(failure, "up", "req_1");
          response.writeHead(status, { ...headers }).end(body);
          done();
        },
      });
    });
}

const announced = (length: number): string =>
  head("POST / HTTP/1.1", { "content-length": String(length) });
const CHUNKED = head("POST / HTTP/1.1", { "transfer-encoding": "chunked" });
const chunk = (bytes: number): string => `${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`;

/** A body of a byte at a time, for as long as somebody reads it. */
async function* drops(before: string, drop: string): AsyncGenerator<string, void, void> {
  yield before;
  for (let bytes = 0; bytes < 500; bytes += 1) {
    yield drop;
    await new Promise((done) => setTimeout(done, 20));
  }
}

function check(answer: WireAnswer | undefined, status: number, code: string): void {
  expect(answer?.status, answer?.body).toBe(status);
  expect(JSON.parse(answer?.body ?? "")).toMatchObject({ error: { code } });
}

describe("a body that is read whole", () => {
  test.each([
    ["by its length", [announced(500), "x".repeat(500)]],
    ["in chunks", [CHUNKED, chunk(300), chunk(200), "0\r\n\r\n"]],
  ])("%s arrives", async (_, pieces) => {
    const [answer] = await exchange(await serve(TERMS, whole), pieces);
    expect(answer).toMatchObject({ status: 200, body: "500" });
  });

  test.each([
    ["never begins", [announced(500)]],
    ["falls silent", [announced(500), "x"]],
    ["falls silent between chunks", [CHUNKED, chunk(1)]],
  ])("that %s is answered 408, and the connection ends", async (_, pieces) => {
    const [answer] = await exchange(await serve(IMPATIENT, whole), pieces, { answers: 2 });
    check(answer, 408, "request_timeout");
    expect(answer?.headers["connection"]).toBe("close");
  });

  test.each([
    ["by its length", announced(500), "x"],
    ["in chunks", CHUNKED, chunk(1)],
  ])("that drips %s is answered 408 however long it would go on", async (_, before, drop) => {
    const url = await serve(HURRIED, whole);
    const [answer] = await exchange(url, drops(before, drop), { answers: 2 });
    check(answer, 408, "request_timeout");
    expect(answer?.headers["connection"]).toBe("close");
    expect(JSON.parse(answer?.body ?? "").error.message).toContain("1000 bytes a second");
  });

  test("that comes at the rate which is asked of it arrives, though it takes longer than the grace", async () => {
    async function* steadily() {
      yield announced(600);
      for (let part = 0; part < 6; part += 1) {
        yield "x".repeat(100);
        await new Promise((done) => setTimeout(done, 30));
      }
    }
    const terms = { ...TERMS, graceMs: 50, bytesPerSecondMin: 100 };
    const [answer] = await exchange(await serve(terms, whole), steadily());
    expect(answer).toMatchObject({ status: 200, body: "600" });
  });

  test("may take an hour for 50 MB, and no minute more than its bytes are worth", () => {
    const [megabytes, minute] = [1_000_000, 60_000];
    expect(isTooSlow(PACE, 50 * megabytes, 51 * minute)).toBe(false);
    expect(isTooSlow(PACE, 50 * megabytes, 52 * minute)).toBe(true);
    expect(isTooSlow(PACE, 1, minute)).toBe(false);
    expect(isTooSlow(PACE, 2, 1.01 * minute)).toBe(true);
  });

  test("that grows beyond its bound in chunks is answered 413", async () => {
    const [answer] = await exchange(await serve(TERMS, whole), [CHUNKED, chunk(1_001)]);
    check(answer, 413, "body_too_large");
  });
});

describe("the memory for bodies", () => {
  const held = { ...TERMS, heldBytesMax: 600 };

  test("refuses what could not fit with 503 and when to come again, before it is read", async () => {
    const url = await serve(held, whole);
    const [refused] = await exchange(url, [announced(601)]);
    check(refused, 503, "admission_unavailable");
    expect(refused?.headers["retry-after"]).toBe("1");
  });

  test("refuses what grows into the others, and keeps the connection in step", async () => {
    const url = await serve(held, whole);
    const pieces = [CHUNKED, chunk(400), chunk(400), "0\r\n\r\n", announced(5), "hello"];
    const [refused, next] = await exchange(url, pieces, { answers: 2 });
    check(refused, 503, "admission_unavailable");
    expect(next).toMatchObject({ status: 200, body: "5" });
  });

  test("is taken by bytes that came, not by announcements, and given back by each ending", async () => {
    const arrived = Promise.withResolvers<void>();
    const answers: (() => void)[] = [];
    const url = await serve(held, async ({ readBody }, response) => {
      const { byteLength } = await readBody(BYTES_MAX);
      if (byteLength === 5) response.end("5");
      else {
        answers.push(() => response.end(String(byteLength)));
        arrived.resolve();
      }
    });
    const idle = connect(Number(new URL(url).port), "127.0.0.1");
    idle.write(announced(600));
    cleanups.push(async () => idle.destroy());
    const first = exchange(url, [announced(598), "x".repeat(598)]);
    await arrived.promise;
    check((await exchange(url, [announced(5), "hello"]))[0], 503, "admission_unavailable");
    for (const answer of answers) answer();
    expect((await first)[0]).toMatchObject({ status: 200, body: "598" });
    // The first exchange has ended on its own connection: its room is there again.
    expect((await exchange(url, [announced(5), "hello"]))[0]).toMatchObject({ body: "5" });
  });
});

describe("a body that streams through", () => {
  test("arrives", async () => {
    const sink = await startSink();
    const failures: UpstreamFailure[] = [];
    const url = await serve(TERMS, passOn(sink.url, failures));
    const [answer] = await exchange(url, [announced(900), "x".repeat(900)]);
    expect(answer?.body).toBe("passed");
    expect(failures).toEqual([]);
  });

  test.each([
    ["grows beyond its bound", TERMS, [CHUNKED, chunk(600), chunk(600)], 413, "body_too_large"],
    ["falls silent", IMPATIENT, [announced(500), "x"], 408, "request_timeout"],
    ["falls silent at once", IMPATIENT, [announced(500)], 408, "request_timeout"],
    ["drips", HURRIED, drops(announced(500), "x"), 408, "request_timeout"],
  ] as const)("that %s is the caller's own failure", async (_, terms, pieces, status, code) => {
    const sink = await startSink();
    const failures: UpstreamFailure[] = [];
    const url = await serve(terms, passOn(sink.url, failures));
    const [answer] = await exchange(url, pieces, { answers: 2 });
    check(answer, status, code);
    expect(answer?.headers["connection"]).toBe("close");
    expect(failures).toMatchObject([{ kind: "body", sent: false, cause: { code } }]);
    for (const request of sink.received) expect(request.complete).toBe(false);
  });

  test("whose client leaves is the caller's own failure", async () => {
    const sink = await startSink();
    const failures: UpstreamFailure[] = [];
    const work = passOn(sink.url, failures);
    const failed = Promise.withResolvers<void>();
    const url = await serve(TERMS, (given, response) => work(given, response).then(failed.resolve));
    const client = connect(Number(new URL(url).port), "127.0.0.1");
    client.write(announced(500) + "x");
    await once(client, "connect");
    while (sink.received.length === 0) await new Promise((done) => setTimeout(done, 5));
    client.destroy();
    await failed.promise;
    expect(failures).toMatchObject([{ kind: "body", sent: false }]);
  });

  test("whose upstream is away leaves the connection in step", async () => {
    const gone = createServer();
    gone.listen(0, "127.0.0.1");
    await once(gone, "listening");
    const { port } = gone.address() as AddressInfo;
    await new Promise((done) => gone.close(done));
    const failures: UpstreamFailure[] = [];
    const url = await serve(TERMS, passOn(`http://127.0.0.1:${port}`, failures));
    const pieces = [announced(500), "x".repeat(400), "x".repeat(100), announced(5), "hello"];
    const answers = await exchange(url, pieces, { answers: 2 });
    expect(answers.map(({ status }) => status)).toEqual([502, 502]);
    expect(failures).toMatchObject([{ kind: "refused" }, { kind: "refused" }]);
  });
});
