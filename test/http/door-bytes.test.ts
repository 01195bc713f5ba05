import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatFrames, responseFrames, type Tokens } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Exchange,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { completionFrames } from "./endpoints.ts";
import { call, until, type Called } from "./http-call.ts";

/** Bytes pass as they are: what a client sees is what the upstream would have shown it. */

const USAGE: Tokens = { input: 11, output: 5 };
const DELTAS = ["Grüße, ", "日本 ", "🙂\\n", 'a "quote"'];

type Wire = {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly frames: (usage: Tokens | null) => readonly string[];
};

const CHAT: Wire = {
  path: "/chat/completions",
  body: { model: MODEL, messages: [{ role: "user", content: "Hi" }], max_tokens: 20, stream: true },
  frames: (usage) => chatFrames(MODEL, DELTAS, usage),
};
const COMPLETIONS: Wire = {
  path: "/completions",
  body: { model: MODEL, prompt: "Hi", max_tokens: 20, stream: true },
  frames: (usage) => completionFrames(MODEL, DELTAS, usage),
};
const RESPONSES: Wire = {
  path: "/responses",
  body: { model: MODEL, input: "Hi", max_output_tokens: 20, stream: true },
  frames: (usage) => responseFrames(MODEL, DELTAS, usage),
};

/** How upstreams write the same events. */
const STYLES: Readonly<Record<string, (text: string) => string>> = {
  "as OpenAI does": (text) => text,
  "with CRLF": (text) => text.replaceAll("\n", "\r\n"),
  "with CR": (text) => text.replaceAll("\n", "\r"),
  "with a byte order mark": (text) => `\u{feff}${text}`,
  "without a space": (text) => text.replaceAll("data: ", "data:"),
  "with comments and ids": (text) =>
    // A comment before the event of usage is the upstream's own, and stays when that event goes.
    text.replaceAll(/^data: (?!.*"choices":\[\])/gmu, ": ping\n\nid: 7\nretry: 100\ndata: "),
  "with a final event that lacks its empty line": (text) => text.trimEnd(),
};

/** Where chunks are cut: every byte alone, at primes, in the middle of everything. */
const CUTS: Readonly<Record<string, number>> = { "byte by byte": 1, "by 7": 7, "by 1000": 1_000 };

function cut(text: string, size: number): Uint8Array[] {
  const bytes = Buffer.from(text);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}

const bodyOf = ({ body }: Exchange): Record<string, unknown> =>
  JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;

const asksUsage = (exchange: Exchange): boolean => {
  const options = bodyOf(exchange)["stream_options"] as { include_usage?: boolean } | undefined;
  return options?.include_usage === true;
};

describeOnPostgres("bytes through the door", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const post = (base: string, path: string, body: string): Promise<Called> =>
    call(`${base}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body,
    });
  const both = async (path: string, body: string): Promise<[direct: Called, through: Called]> => [
    await post(upstream.url, path, body),
    await post(`${tollgate.url}/v1`, path, body),
  ];
  const last = (): Exchange => upstream.journal.at(-1)!;

  describe.each(Object.entries(STYLES))("of a stream written %s", (style, write) => {
    test.each(Object.entries(CUTS))("cut %s are those of the direct upstream", async (_, size) => {
      for (const wire of [CHAT, COMPLETIONS, RESPONSES]) {
        upstream.otherwise((exchange) => {
          const isTold = wire === RESPONSES || asksUsage(exchange);
          const text = write(wire.frames(isTold ? USAGE : null).join(""));
          return { kind: "sse", frames: cut(text, size) };
        });
        const [direct, through] = await both(wire.path, JSON.stringify(wire.body));
        expect([through.status, through.end]).toEqual([200, "whole"]);
        expect(through.text).toBe(direct.text);
        expect(through.bytes.equals(direct.bytes)).toBe(true);
        // Else the comparison proves nothing: usage was asked for and told.
        if (wire !== RESPONSES) expect(asksUsage(last())).toBe(true);
        const [settled] = await tollgate.ledger<{ usage: unknown; basis: string }>(
          "select usage, basis from settlements where tenant_id = $1 order by settled_at desc, attempt_id desc limit 1",
          [tenant.id],
        );
        expect({ style, settled }).toEqual({
          style,
          settled: { usage: { input: 11, output: 5 }, basis: "computed" },
        });
      }
    });
  });

  test.each([CHAT, COMPLETIONS])("show usage to a client that asked: $path", async (wire) => {
    upstream.otherwise((exchange) => ({
      kind: "sse",
      frames: wire.frames(asksUsage(exchange) ? USAGE : null),
    }));
    const body = { ...wire.body, stream_options: { include_usage: true } };
    const [direct, through] = await both(wire.path, JSON.stringify(body));
    expect(through.bytes.equals(direct.bytes)).toBe(true);
    expect(through.text).toContain('"completion_tokens":5');
    // Nothing had to be added, so the caller's bytes went up as they were.
    expect(Buffer.from(last().body).toString()).toBe(JSON.stringify(body));
  });

  test("keep the other stream options of a client that declined usage", async () => {
    upstream.otherwise((exchange) => ({
      kind: "sse",
      frames: CHAT.frames(asksUsage(exchange) ? USAGE : null),
    }));
    const stream_options = { include_obfuscation: false, include_usage: false };
    const [direct, through] = await both(
      CHAT.path,
      JSON.stringify({ ...CHAT.body, stream_options }),
    );
    expect(through.bytes.equals(direct.bytes)).toBe(true);
    expect(bodyOf(last())["stream_options"]).toEqual({
      include_obfuscation: false,
      include_usage: true,
    });
  });

  test("keep an event without choices that carries more than usage", async () => {
    const event = { id: "x", object: "chat.completion.chunk", model: MODEL, choices: [] };
    const moderation = { ...event, moderation: { flagged: false }, usage: null };
    const filtered = { ...event, prompt_filter_results: [{ prompt_index: 0 }], usage: USAGE };
    const frames = [moderation, filtered].map((data) => `data: ${JSON.stringify(data)}\n\n`);
    upstream.otherwise({ kind: "sse", frames: [...frames, ...CHAT.frames(USAGE)] });
    const { text } = await post(`${tollgate.url}/v1`, CHAT.path, JSON.stringify(CHAT.body));
    expect(text).toContain('"moderation":{"flagged":false}');
    expect(text).toContain('"prompt_filter_results":[{"prompt_index":0}]');
  });

  test("of a request go up as they came, numbers beyond 2^53 and spaces included", async () => {
    upstream.otherwise({ kind: "json", body: { id: "x" } });
    const body = `{ "seed" : 12345678901234567890, "model":"${MODEL}",\n "x":1.0e0,"max_tokens":20,
      "messages":[{"content":"\\u00e9\\/","role":"user"}] }`;
    await post(`${tollgate.url}/v1`, CHAT.path, body);
    expect(Buffer.from(last().body).toString()).toBe(body);
  });

  test("of a request that must be changed differ in nothing else", async () => {
    upstream.otherwise({ kind: "sse", frames: CHAT.frames(USAGE) });
    const body = `{ "seed" : 12345678901234567890, "model":"${MODEL}",\n "stream" : true,
      "messages":[{"content":"\\u00e9\\/","role":"user"}] }`;
    await post(`${tollgate.url}/v1`, CHAT.path, body);
    const sent = Buffer.from(last().body).toString();
    // The maximum of the price and the wish for usage were added; the caller's own text is all there.
    expect(bodyOf(last())).toMatchObject({
      max_completion_tokens: 1_000,
      stream_options: { include_usage: true },
    });
    for (const piece of ['"seed" : 12345678901234567890', "\\u00e9\\/", `"stream" : true`]) {
      expect(sent).toContain(piece);
    }
  });

  test("of a stream's head come before its first event, and no proxy may hold them", async () => {
    const first = Promise.withResolvers<void>();
    const [head, ...rest] = CHAT.frames(null);
    upstream.otherwise({
      kind: "sse",
      frames: [{ bytes: head ?? "", gate: first.promise }, ...rest],
    });
    const answer = await fetch(`${tollgate.url}/v1${CHAT.path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify(CHAT.body),
    });
    expect(answer.headers.get("x-accel-buffering")).toBe("no");
    expect(answer.headers.get("content-length")).toBe(null);
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(answer.headers.get("tollgate-reserved")).toMatch(/^0\.0000/);
    first.resolve();
    expect(await answer.text()).toBe(CHAT.frames(null).join(""));
  });

  test("wait upstream while their reader does not read", async () => {
    const event = `data: {"choices":[{"delta":{"content":"${"x".repeat(60_000)}"}}]}\n\n`;
    const endless = function* () {
      for (let n = 0; n < 4_000; n += 1) yield event;
    };
    upstream.otherwise({ kind: "sse", frames: endless() });
    // A strict tenant's stream would be read to its end once its client has left.
    const { key } = await tollgate.tenant({ mode: "tolerant" });
    const slow = request(`${tollgate.url}/v1${CHAT.path}`, {
      method: "POST",
      agent: false,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    });
    const answered = new Promise<{ pause: () => void }>((done) => slow.once("response", done));
    slow.on("error", () => undefined);
    slow.end(JSON.stringify(CHAT.body));
    (await answered).pause();
    const { delivered } = last();
    let before = -1;
    await until(async () => {
      const isStill = before === delivered.bytes;
      before = delivered.bytes;
      await new Promise((done) => setTimeout(done, 100));
      return isStill && before > 0;
    });
    expect(delivered.bytes).toBeLessThan(60_000 * 1_000);
    slow.destroy();
    await upstream.quiet();
    expect(last().ended).toBe("closed_by_client");
  });

  test("of an upload reach the upstream while they come, boundary and all", async () => {
    const file = randomBytes(5 * 1024 * 1024);
    const head = Buffer.from(
      '--edge\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n' +
        '--edge\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n\r\n',
    );
    const whole = Buffer.concat([head, file, Buffer.from("\r\n--edge--\r\n")]);
    const receiver = await startReceiver();
    const own = await startTollgate({ database, upstream: receiver.url });
    await own.gateway.authority.refresh();
    const sent = request(`${own.url}/v1/files`, {
      method: "POST",
      agent: false,
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "multipart/form-data; boundary=edge",
      },
    });
    const answered = new Promise<number>((done) =>
      sent.once("response", (answer) => {
        answer.resume();
        done(answer.statusCode ?? 0);
      }),
    );
    sent.write(whole.subarray(0, 1_000_000));
    // The upstream has part of it, though the rest was not sent yet.
    await receiver.begun;
    sent.end(whole.subarray(1_000_000));
    expect(await answered).toBe(200);
    const { body, contentType } = await receiver.received;
    expect(digest(body)).toBe(digest(whole));
    expect(contentType).toBe("multipart/form-data; boundary=edge");
    await own.close();
    await receiver.close();
  });

  test("of a download are the upstream's, with its headers", async () => {
    const file = randomBytes(5 * 1024 * 1024);
    const headers = {
      "content-type": "application/octet-stream",
      "content-disposition": 'attachment; filename="a.bin"',
    };
    upstream.otherwise({
      kind: "bytes",
      frames: [file],
      headers,
      contentLength: file.length,
    });
    const got = await call(`${tollgate.url}/v1/files/file-1/content`, {
      headers: { authorization: `Bearer ${tenant.key}` },
    });
    expect(got).toMatchObject({ status: 200, end: "whole", headers });
    expect(digest(got.bytes)).toBe(digest(file));
    expect(last().path).toBe("/v1/files/file-1/content");
  });

  test("of a list of models are the upstream's, query and all", async () => {
    const body = { object: "list", data: [{ id: MODEL, object: "model" }] };
    upstream.otherwise({ kind: "json", body });
    const got = await call(`${tollgate.url}/v1/models?limit=2&after=a%20b`, {
      headers: { authorization: `Bearer ${tenant.key}` },
    });
    expect([got.status, got.text]).toEqual([200, JSON.stringify(body)]);
    expect(last().path).toBe("/v1/models?limit=2&after=a%20b");
  });

  describe("the official library", () => {
    test("raises where a stream was cut, politely or not", async () => {
      for (const end of ["end", "truncate"] as const) {
        upstream.otherwise({ kind: "sse", frames: CHAT.frames(null).slice(0, 3), last: end });
        const chat = await tenant.client.chat.completions.create({
          model: MODEL,
          messages: [],
          stream: true,
        });
        const read = async () => await Array.fromAsync(chat);
        await expect(read()).rejects.toThrow(APIError);

        upstream.otherwise({ kind: "sse", frames: RESPONSES.frames(null).slice(0, 5), last: end });
        const response = await tenant.client.responses.create({
          model: MODEL,
          input: "x",
          stream: true,
        });
        await expect(Array.fromAsync(response)).rejects.toThrow(APIError);
      }
    });
  });
});

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

type Received = { readonly body: Uint8Array; readonly contentType: string | undefined };

/** An upstream that tells when the first byte of a body is there, and when all of it is. */
async function startReceiver() {
  const begun = Promise.withResolvers<void>();
  const received = Promise.withResolvers<Received>();
  const server = createServer((incoming, outgoing) => {
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => {
      parts.push(part);
      begun.resolve();
    });
    incoming.on("end", () => {
      received.resolve({
        body: Buffer.concat(parts),
        contentType: incoming.headers["content-type"],
      });
      outgoing.end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    begun: begun.promise,
    received: received.promise,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
