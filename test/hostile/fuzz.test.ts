import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { exchange, head, type WireAnswer } from "./wire.ts";

/** Bounded, so that the suite stays short; a failure prints its seed and the smallest such request. */
const RUNS = { numRuns: 200 };

const PATHS = [
  "/v1/chat/completions",
  "/v1/responses",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/images/generations",
  "/v1/images/edits",
  "/v1/audio/speech",
  "/v1/audio/transcriptions",
  "/v1/moderations",
  "/openai/deployments/m/chat/completions",
  "/v1/files",
  "/api/keys",
  "/api/runs/r",
];

/** Every header by which a client can say something to us. */
const HEADERS = [
  "authorization",
  "api-key",
  "x-api-key",
  "tollgate-run",
  "tollgate-step",
  "tollgate-parent-step",
  "tollgate-operation",
  "tollgate-tool",
  "tollgate-customer",
  "tollgate-labels",
  "tollgate-max-cost",
  "tollgate-dry-run",
  "tollgate-anything",
  "baggage",
  "traceparent",
  "session_id",
  "originator",
  "user-agent",
  "x-stainless-retry-count",
  "x-stainless-lang",
  "content-type",
  "content-encoding",
  "content-length",
  "transfer-encoding",
  "connection",
  "upgrade",
  "expect",
  "host",
  "cookie",
];

const bytes = (max: number) =>
  fc.uint8Array({ maxLength: max }).map((each) => Buffer.from(each).toString("latin1"));
/** Bytes that a header may carry, so that they get past Node's parser and reach ours. */
const headerText = fc
  .array(fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff })), {
    maxLength: 300,
  })
  .map((codes) => String.fromCharCode(...codes).trim());

const body = () => ({ model: MODEL, messages: [{ role: "user", content: "hi" }] });

describeOnPostgres("any bytes", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 1, output: 1 }) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant({ mode: "tolerant" });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });
  const auth = () => ({
    authorization: `Bearer ${tenant.key}`,
    "content-type": "application/json",
  });
  const post = (path: string, text: string, headers: Readonly<Record<string, string>> = {}) => [
    head(`POST ${path} HTTP/1.1`, { ...auth(), "content-length": String(text.length), ...headers }),
    text,
  ];

  test("as a body are answered below 500", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...PATHS), bytes(500), async (path, text) => {
        expectCalm(await exchange(tollgate.url, post(path, text)), 1);
      }),
      RUNS,
    );
  });

  test("in the middle of a good body are answered below 500", async () => {
    const good = JSON.stringify({
      ...body(),
      metadata: { tollgate_run: "r" },
      stream: false,
      n: 1,
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length), fc.nat(4), bytes(4), async (at, cut, put) => {
        const text = good.slice(0, at) + put + good.slice(at + cut);
        expectCalm(await exchange(tollgate.url, post("/v1/chat/completions", text)), 1);
      }),
      RUNS,
    );
  });

  test("any JSON in any member is answered below 500", async () => {
    const members = fc.constantFrom(
      ..."model messages stream stream_options max_tokens n best_of tools metadata input".split(
        " ",
      ),
      ..."prompt modalities service_tier size quality instructions background".split(" "),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        fc.dictionary(members, fc.jsonValue({ maxDepth: 4 }), { maxKeys: 4 }),
        async (path, extra) => {
          const text = Buffer.from(
            JSON.stringify({ ...body(), input: "x", prompt: "x", ...extra }),
          );
          expectCalm(await exchange(tollgate.url, post(path, text.toString("latin1"))), 1);
        },
      ),
      RUNS,
    );
  });

  test("that a header may carry, in any header that is read, are answered below 500", async () => {
    const text = JSON.stringify(body());
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...HEADERS), headerText, { maxKeys: 4 }),
        async (headers) => {
          const request = post("/v1/chat/completions", text, headers);
          // A length or coding of its own choosing may announce more than comes: then we end.
          expectCalm(await exchange(tollgate.url, request, { half: true }), 0);
        },
      ),
      RUNS,
    );
  });

  test("as headers are answered below 500", async () => {
    await fc.assert(
      fc.asyncProperty(bytes(50), bytes(200), async (name, value) => {
        const request = head("GET /v1/models HTTP/1.1", { ...auth(), [name]: value });
        expectCalm(await exchange(tollgate.url, [request], { half: true }), 0);
      }),
      RUNS,
    );
  });

  test("as a path, plain or percent-encoded, are answered below 500", async () => {
    const encoded = fc
      .uint8Array({ maxLength: 40 })
      .map((each) => [...each].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
    const path = fc
      .array(
        fc.oneof(
          bytes(20),
          encoded,
          fc.constantFrom("/", "/v1", "/run/", "/step/", "..", "%2f", "/api/", "models", "?", "//"),
        ),
        { maxLength: 8 },
      )
      .map((parts) => `/${parts.join("")}`);
    await fc.assert(
      fc.asyncProperty(path, fc.constantFrom("GET", "POST", "DELETE"), async (target, method) => {
        const request = head(`${method} ${target} HTTP/1.1`, { ...auth(), "content-length": "0" });
        expectCalm(await exchange(tollgate.url, [request], { half: true }), 0);
      }),
      RUNS,
    );
  });

  test("as a whole connection are answered below 500", async () => {
    await fc.assert(
      fc.asyncProperty(bytes(300), async (text) => {
        expectCalm(await exchange(tollgate.url, [text, "\r\n\r\n"], { half: true }), 0);
      }),
      RUNS,
    );
  });
});

/** Each answer is below 500, and where it is an error, it is JSON that says what is wrong. */
function expectCalm(answers: readonly WireAnswer[], least: number): void {
  expect(answers.length).toBeGreaterThanOrEqual(least);
  for (const { status, body: text } of answers) {
    expect(status, text).toBeLessThan(500);
    if (status < 400 || text === "") continue;
    expect(JSON.parse(text)).toMatchObject({ error: { message: expect.any(String) } });
  }
}
