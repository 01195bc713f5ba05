import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { exchange, head, type WireAnswer } from "./wire.ts";

/** One more than the longest body that is read. */
const TOO_LONG = String(64 * 1024 * 1024 + 1);

const BODY = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "hi" }] });

type Headers = Readonly<Record<string, string>>;

type Malformed = {
  readonly name: string;
  /** `auth` is an Authorization header that is valid. */
  readonly send: (auth: Headers) => readonly (string | Uint8Array)[];
  readonly status?: number;
  readonly code?: string;
  /** The client ends its half of the connection. */
  readonly half?: boolean;
};

const get = (target: string, headers: Headers = {}): string =>
  head(`GET ${target} HTTP/1.1`, headers);
const post = (headers: Headers): string => head("POST /v1/chat/completions HTTP/1.1", headers);
const many = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, "v"]));

const MALFORMED: readonly Malformed[] = [
  { name: "TLS", send: () => ["\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"], ...malformed() },
  { name: "an HTTP/2 preface", send: () => ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ...malformed() },
  { name: "an unknown method", send: (auth) => [head("BREW /v1 HTTP/1.1", auth)], ...malformed() },
  { name: "a carriage return in a header", ...header("a\rb") },
  { name: "a NUL in a header", ...header("a\0b") },
  { name: "a line feed in a header", ...header("a\nb") },
  { name: "no Host", send: () => ["GET /v1/models HTTP/1.1\r\n\r\n"], ...malformed() },
  { name: "a Host that is none", send: (auth) => [get("/v1", { ...auth, host: "a b" })] },
  { name: "an asterisk", send: (auth) => [head("OPTIONS * HTTP/1.1", auth)], ...malformed() },
  { name: "a backslash in the path", ...target("/v1/models\\..\\x") },
  { name: "a raw byte in the path", ...target("/v1/mod\xe9ls") },
  { name: "a control character in the query", ...target("/v1/models?\x01") },
  { name: "another scheme", ...target("file:///etc/passwd") },
  { name: "an absolute target", ...target("http://elsewhere.example/v1/models"), ...path() },
  { name: "an absolute https target", ...target("https://elsewhere.example/v1"), ...path() },
  { name: "a fragment", ...target("/v1/models#x"), ...path() },
  { name: "dot segments", ...target("/v1/../secret"), ...path() },
  { name: "encoded dot segments", ...target("/v1/%2e%2e/secret"), ...path() },
  { name: "twice encoded dot segments", ...target("/v1/%252e%252e/secret"), ...path() },
  { name: "dot segments behind an encoded slash", ...target("/v1/models/..%2f..%2fx"), ...path() },
  { name: "an encoded backslash", ...target("/v1/models/..%5c..%5cx"), ...path() },
  { name: "a path parameter after dots", ...target("/v1/models/..;a/x"), ...path() },
  { name: "an encoded NUL", ...target("/v1/models/%00"), ...path() },
  { name: "encoding that is not UTF-8", ...target("/v1/models/%ff"), ...path() },
  { name: "a lone percent sign", ...target("/v1/models/%"), ...path() },
  { name: "an authority in the path", ...target("//elsewhere.example/v1/models"), ...path() },
  { name: "a path beyond 2 KiB", ...target(`/v1/${"a".repeat(3_000)}`), ...path() },
  { name: "a run that is empty", ...target("/run//v1/models"), ...path() },
  { name: "a run of dots", ...target("/run/../v1/models"), ...path() },
  { name: "a run of control characters", ...target("/run/%00/v1/models"), ...path() },
  {
    name: "a method that is no API call",
    send: (auth) => [head("TRACE /v1/models HTTP/1.1", auth)],
    status: 404,
    code: "unknown_url",
  },
  {
    name: "CONNECT",
    send: () => [head("CONNECT elsewhere.example:443 HTTP/1.1")],
    status: 405,
    code: "method_not_allowed",
  },
  {
    name: "an unknown expectation",
    send: (auth) => [post({ ...auth, expect: "tea", "content-length": "0" })],
    status: 417,
    code: "unmet_expectation",
  },
  {
    name: "a WebSocket",
    send: (auth) => [get("/v1/realtime", { ...auth, connection: "upgrade", upgrade: "websocket" })],
    status: 426,
    code: "websocket_unsupported",
  },
  { name: "a header of 70 KB", ...target("/v1/models", { "x-a": "a".repeat(70_000) }), ...large() },
  { name: "1,200 headers", ...target("/v1/models", many(1_200)), ...large() },
  { name: "10,000 headers", ...target("/v1/models", many(10_000)), ...large() },
  { name: "both kinds of length", ...length({ "transfer-encoding": "chunked" }, "0\r\n\r\n") },
  { name: "two lengths", ...length({ "Content-Length": "6" }, "hello") },
  { name: "a negative length", ...length({ "content-length": "-5" }, "hello") },
  { name: "a length beyond numbers", ...length({ "content-length": "9".repeat(40) }, "hello") },
  { name: "a chunk without a length", ...chunked("zz\r\nhello\r\n") },
  { name: "a chunk of an impossible length", ...chunked("fffffffffffffffffff\r\nhello\r\n") },
  { name: "a chunk longer than it says", ...chunked("1\r\nhello\r\n0\r\n\r\n") },
  { name: "a body shorter than it says", ...length({ "content-length": "999" }, BODY), half: true },
  {
    name: "a body shorter than JSON",
    send: (auth) => [post({ ...auth, "content-length": "10" }), BODY.slice(0, 10)],
    status: 400,
    code: "invalid_json",
  },
  {
    name: "a body longer than is read, by its own word",
    send: (auth) => [post({ ...auth, "content-length": TOO_LONG }), "x"],
    status: 413,
    code: "body_too_large",
  },
  {
    name: "an upload longer than is passed on, by its own word",
    send: (auth) => [
      head("POST /v1/files HTTP/1.1", { ...auth, "content-length": String(512 * 1024 * 1024 + 1) }),
      "x",
    ],
    status: 413,
    code: "body_too_large",
  },
  {
    name: "a compressed body",
    send: (auth) => [post({ ...auth, "content-encoding": "gzip", "content-length": "2" }), "{}"],
    status: 415,
    code: "unsupported_encoding",
  },
  {
    name: "a transfer coding besides chunks",
    send: (auth) => [post({ ...auth, "transfer-encoding": "gzip, chunked" }), "0\r\n\r\n"],
    status: 415,
    code: "unsupported_encoding",
  },
  { name: "a key of 50 KB", ...target("/v1/models", bearer("k".repeat(50_000))), ...noKey() },
  { name: "two words for a key", ...target("/v1/models", bearer("a b")), ...noKey() },
  { name: "another scheme of credentials", ...target("/v1/models", basic()), ...noKey() },
];

describeOnPostgres("hostile HTTP", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 1, output: 1 }) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });
  const auth = () => ({
    authorization: `Bearer ${tenant.key}`,
    "content-type": "application/json",
  });

  test.each(MALFORMED)("$name is answered by JSON that says what is wrong", async (row) => {
    const before = upstream.journal.length;
    const [answer] = await exchange(tollgate.url, row.send(auth()), { half: row.half ?? false });
    const { status, code } = { ...malformed(), ...row };
    expectError(answer, status, code);
    expect(upstream.journal.length).toBe(before);
  });

  test("requests in a row on one connection are answered in that order", async () => {
    const requests = ["one", "two", "three"].map((content) => chat(auth(), content));
    upstream.next(...["one", "two", "three"].map((text) => slower(text)));
    const answers = await exchange(tollgate.url, [requests.join("")], { answers: 3 });
    expect(answers.map(({ body }) => textOf(body))).toEqual(["one", "two", "three"]);
  });

  test("garbage behind a streamed request is not answered into the stream", async () => {
    const gate = Promise.withResolvers<void>();
    upstream.next({
      kind: "sse",
      frames: ["data: {}\n\n", { bytes: "data: [DONE]\n\n", gate: gate.promise }],
    });
    const stream = chat(auth(), "x", { stream: true });
    const came = await readRaw(tollgate.url, stream, (text) => text.includes("data: {}"), "\0\r\n");
    gate.resolve();
    expect(came.match(/HTTP\/1\.1/gu)).toHaveLength(1);
    await upstream.quiet();
  });

  test("a client that waits for 100 Continue is told to go on", async () => {
    const body = BODY;
    const headers = { ...auth(), expect: "100-continue", "content-length": String(body.length) };
    const [answer] = await exchange(tollgate.url, [post(headers), body]);
    expect(answer?.status).toBe(200);
  });

  test("a body that comes byte by byte is read whole", async () => {
    const bytes = [...Buffer.from(BODY)].map((byte) => Uint8Array.of(byte));
    const headers = { ...auth(), "content-length": String(bytes.length) };
    const [answer] = await exchange(tollgate.url, [post(headers), ...bytes]);
    expect(answer?.status).toBe(200);
  });

  test("a body in chunks that grows beyond what is read is answered 413, and the connection ends", async () => {
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), Buffer.alloc(1 << 20, 0x61), CRLF]);
    let sent = 0;
    // A pause between two chunks: the client is in the middle of its body when it is refused.
    async function* endless(): AsyncGenerator<string | Uint8Array, void, void> {
      yield post({ ...auth(), "transfer-encoding": "chunked" });
      for (; sent < 1_000; sent += 1) {
        yield chunk;
        await pause(2);
      }
    }
    const [answer] = await exchange(tollgate.url, endless(), { answers: 2 });
    expectError(answer, 413, "body_too_large");
    expect(sent).toBeLessThan(1_000);
  });

  test("a body that is announced, refused and never comes holds no connection", async () => {
    const headers = { authorization: "Bearer tg_no", "content-length": "1000000" };
    const [answer, second] = await exchange(tollgate.url, [post(headers)], { answers: 2 });
    // It waited for a second answer, and was cut off instead.
    expect(answer?.status).toBe(401);
    expect(second).toBeUndefined();
  });

  test.each(["é", "日本", "👋", "a b", "%25", '"'])(
    "a run named %j in the path is told in ASCII, admitted or not",
    async (name) => {
      const poor = await tollgate.tenant();
      await poor.limit({ scope: "tenant", unit: "requests", limit: 1 });
      const path = `/run/${encodeURIComponent(name)}/v1/models`;
      const headers = { authorization: `Bearer ${poor.key}` };
      for (const status of [200, 402]) {
        const answer = await fetch(tollgate.url + path, { headers });
        expect(answer.status).toBe(status);
        expect(decodeURIComponent(answer.headers.get("tollgate-run") ?? "")).toBe(
          /^[ -~]+$/u.test(name) ? decodeURIComponent(name) : name,
        );
      }
    },
  );

  test("900 headers and bytes beyond ASCII cross to the upstream as they came", async () => {
    const headers = { ...many(900), "x-latin": "caf\xe9" };
    const [answer] = await exchange(tollgate.url, [chat({ ...auth(), ...headers }, "x")]);
    expect(answer?.status).toBe(200);
    const sent = upstream.journal.at(-1);
    expect(sent?.headers["x-899"]).toBe("v");
    expect(sent?.rawHeaders).toContain("caf\xe9");
  });
});

const CRLF = Buffer.from("\r\n");

function chat(headers: Headers, content: string, more: object = {}): string {
  const body = JSON.stringify({ model: MODEL, messages: [{ role: "user", content }], ...more });
  return post({ ...headers, "content-length": String(body.length) }) + body;
}

/** The first of a row takes the longest, so that only order of sending can put it first. */
function slower(text: string): Script {
  const body = chatAnswer(MODEL, text, { input: 1, output: 1 });
  return { kind: "json", body, headersDelayMs: text === "one" ? 100 : 0 };
}

function textOf(body: string): string | undefined {
  const answer = JSON.parse(body) as { choices: { message: { content: string } }[] };
  return answer.choices[0]?.message.content;
}

/** Sends `first`, then `second` once the answer shows what is waited for; all that came until the end. */
async function readRaw(
  url: string,
  first: string,
  isReady: (text: string) => boolean,
  second: string,
): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let text = "";
  let isSent = false;
  socket.on("error", () => {});
  socket.on("data", (part: Buffer) => {
    text += part.toString("latin1");
    if (isSent || !isReady(text)) return;
    isSent = true;
    socket.write(second);
  });
  socket.write(first);
  await once(socket, "close");
  return text;
}

/** Every answer to a mistake is JSON in OpenAI's shape, with a request id and a sentence. */
function expectError(answer: WireAnswer | undefined, status: number, code: string): void {
  expect(answer).toMatchObject({ status });
  const { error } = JSON.parse(answer?.body ?? "") as { error: Record<string, unknown> };
  expect(error).toMatchObject({ code, type: expect.any(String) });
  expect(String(error["message"]).length).toBeGreaterThan(20);
  expect(answer?.headers["content-type"]).toContain("application/json");
  expect(answer?.headers["x-request-id"]).toMatch(/^req_/);
}

function malformed() {
  return { status: 400, code: "malformed_request" };
}

function path() {
  return { status: 400, code: "invalid_value" };
}

function large() {
  return { status: 431, code: "headers_too_large" };
}

function noKey() {
  return { status: 401, code: "invalid_api_key" };
}

function target(text: string, headers: Headers = {}) {
  return { send: (auth: Headers) => [get(text, { ...auth, ...headers })] };
}

function header(value: string) {
  return { ...target("/v1/models", { "tollgate-run": value }), ...malformed() };
}

function length(headers: Headers, body: string) {
  return {
    send: (auth: Headers) => [post({ ...auth, "content-length": "5", ...headers }), body],
  };
}

function chunked(body: string) {
  return {
    send: (auth: Headers) => [post({ ...auth, "transfer-encoding": "chunked" }), body],
  };
}

function bearer(key: string) {
  return { authorization: `Bearer ${key}` };
}

function basic() {
  return { authorization: "Basic YTpi" };
}
