import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames, embeddingsAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

const USAGE = { input: 12, output: 7 };
const MB = 1024 * 1024;

/** Texts that the tokenizer finds hard: long runs without a boundary cost it quadratic time. */
const LONG = ["a", " ", "\n", "👋", "aA", "_", "0", "\u0001", "é", "字"];

/** Values of each JSON type; which of them a member takes is for the member to say. */
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  2 ** 53,
  "",
  "text",
  "\0",
  "\ud800",
  [],
  [null],
  [[]],
  [1e9],
  {},
  { a: {} },
  [{}],
  [{ type: 5 }],
  [{ role: 1, content: 2 }],
  { type: "x" },
];

/** The path on which each member is read, a body it is added to, and values of its own type that are wrong. */
const MEMBERS: readonly (readonly [path: string, member: string, wrong: readonly unknown[]])[] = [
  ["/chat/completions", "model", [5, true, [], {}, "", "m\0", "\ud800", "x".repeat(257)]],
  ["/chat/completions", "messages", [5, "x", true, {}]],
  ["/chat/completions", "stream", [5, "true", [], {}]],
  ["/chat/completions", "stream_options", [5, "x", true, []]],
  ["/chat/completions", "max_tokens", [-1, 0, 1.5, "5", true, [], {}]],
  ["/chat/completions", "max_completion_tokens", [-1, 0, 1.5, "5", true, [], {}]],
  ["/chat/completions", "n", [-1, 0, 1.5, 129, "5", true, [], {}]],
  ["/chat/completions", "metadata", [5, "x", true, []]],
  ["/chat/completions", "tools", [5, "x", true, {}]],
  ["/chat/completions", "functions", []],
  ["/chat/completions", "modalities", [5, "x", true, {}]],
  ["/chat/completions", "service_tier", [5, true, [], {}]],
  ["/chat/completions", "prediction", []],
  ["/chat/completions", "web_search_options", []],
  ["/responses", "input", [5, true, {}]],
  ["/responses", "instructions", []],
  ["/responses", "max_output_tokens", [-1, 1.5, "5", true, [], {}]],
  ["/responses", "background", [5, "x", [], {}]],
  ["/responses", "previous_response_id", []],
  ["/responses", "conversation", []],
  ["/responses", "prompt", []],
  ["/responses", "context_management", []],
  ["/completions", "prompt", []],
  ["/completions", "best_of", [-1, 0, 1.5, 129, "5", true, [], {}]],
  ["/embeddings", "input", []],
  ["/images/generations", "size", []],
  ["/images/generations", "quality", []],
  ["/images/generations", "n", [-1, 1.5, "5", true, [], {}]],
  ["/audio/speech", "input", [5, true, [], {}]],
  ["/moderations", "input", []],
];

const MINIMAL: Readonly<Record<string, object>> = {
  "/chat/completions": { model: MODEL, messages: [{ role: "user", content: "hi" }] },
  "/responses": { model: MODEL, input: "hi" },
  "/completions": { model: MODEL, prompt: "hi" },
  "/embeddings": { model: MODEL, input: "hi" },
  "/images/generations": { model: MODEL, prompt: "hi" },
  "/audio/speech": { model: MODEL, input: "hi", voice: "alloy" },
  "/moderations": { model: MODEL, input: "hi" },
};

/** Bodies that are no request, as bytes. */
const BROKEN: readonly (readonly [name: string, body: string | Uint8Array, code?: string])[] = [
  ["nothing", ""],
  ["spaces", "   \n"],
  ["half an object", `{"model":"${MODEL}","messages":[`],
  ["a trailing comma", `{"model":"${MODEL}",}`],
  ["two objects", "{}{}"],
  ["single quotes", "{'model':'m'}"],
  ["a comment", `{"model":"${MODEL}"/* x */}`],
  ["a raw line feed in a string", `{"model":"a\nb"}`],
  ["an impossible escape", `{"model":"\\x41"}`],
  ["bytes that are no UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ["UTF-16", Buffer.from(`{"model":"${MODEL}"}`, "utf16le")],
  ["NULs", new Uint8Array(1_000)],
  ["a number", "5", "invalid_value"],
  ["null", "null", "invalid_value"],
  ["a list", "[]", "invalid_value"],
  ["a member twice", `{"model":"a","model":"${MODEL}","messages":[]}`],
  ["a member twice, escaped", `{"model":"a","\\u006dodel":"${MODEL}","messages":[]}`],
  ["a member in capitals", `{"Model":"${MODEL}","messages":[]}`, "unknown_parameter"],
  ["129 levels", `{"model":"${MODEL}","x":${"[".repeat(129)}${"]".repeat(129)}}`],
  ["10,001 members in one object", `{"model":"${MODEL}","messages":[{"x":{${members(10_001)}}}]}`],
  ["a million levels", `{"model":"${MODEL}","x":${"[".repeat(1e6)}${"]".repeat(1e6)}}`],
  ["a million levels, left open", `{"a":`.repeat(1e6)],
];

/** Bodies of 50 MB: [name, body, status]. Made when they are sent, one at a time. */
const HUGE: readonly (readonly [name: string, body: () => string, status: number])[] = [
  ["one string", () => chat("x".repeat(50 * MB)), 200],
  ["escapes", () => chat("\u0001".repeat((50 * MB) / 6)), 200],
  [
    "small messages",
    () =>
      JSON.stringify({
        model: MODEL,
        messages: Array.from({ length: (50 * MB) / 34 }, () => ({ role: "user", content: "hi" })),
      }),
    200,
  ],
  ["brackets", () => `{"model":"${MODEL}","x":${"[".repeat(25 * MB)}${"]".repeat(25 * MB)}}`, 400],
  ["members", () => `{"model":"${MODEL}","messages":[],"x":{${members((50 * MB) / 14)}}}`, 400],
  ["no JSON", () => "{".repeat(50 * MB), 400],
  ["66 MB of spaces", () => " ".repeat(66 * MB), 413],
];

describeOnPostgres("hostile bodies", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", USAGE) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant({ mode: "tolerant" });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const post = (path: string, body: string | Uint8Array, key = tenant.key): Promise<Response> =>
    fetch(`${tollgate.url}/v1${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: new Uint8Array(Buffer.from(body)),
    });
  /** Sends it, and expects either the upstream's answer or an error of ours that says what is wrong. */
  const check = async (path: string, body: string | Uint8Array): Promise<Seen> => {
    const answer = await post(path, body);
    const text = await answer.text();
    if (answer.status === 200) return { status: 200, code: null, param: null, message: "" };
    const { error } = JSON.parse(text) as { error: Omit<Seen, "status"> & { type: string } };
    expect(answer.status, text).toBeLessThan(500);
    expect(answer.headers.get("x-request-id")).toMatch(/^req_/u);
    expect(error.message.length).toBeGreaterThan(20);
    expect(error.message.length).toBeLessThan(2_000);
    return { ...error, status: answer.status };
  };

  test.each(LONG)("100 KB of %j are counted when the upstream tells no usage", async (text) => {
    const content = text.repeat(102_400 / text.length);
    const mine = await tollgate.tenant();
    for (const usage of [USAGE, null]) {
      upstream.next({ kind: "json", body: chatAnswer(MODEL, "ok", usage) });
      upstream.next({ kind: "sse", frames: chatFrames(MODEL, ["ok"], usage) });
      for (const stream of [false, true]) {
        const answer = await post("/chat/completions", chat(content, { stream }), mine.key);
        expect(answer.status).toBe(200);
        await answer.text();
      }
    }
    const rows = await tollgate.ledger<{ basis: string; tokens: bigint }>(
      "select basis, tokens from settlements where tenant_id = $1 order by settled_at, attempt_id",
      [mine.id],
    );
    expect(rows.map(({ basis }) => basis).toSorted()).toEqual([
      "computed",
      "computed",
      "estimated",
      "estimated",
    ]);
    for (const { basis, tokens } of rows) {
      // As JSON: of a body that was read in a worker, the bytes themselves are the bound.
      const bytes = BigInt(Buffer.byteLength(JSON.stringify(content)));
      if (basis === "computed") expect(tokens).toBe(19n);
      else expect(tokens > 100n && tokens < bytes + 1_000n, `${tokens} of ${bytes}`).toBe(true);
    }
  });

  test.each(MEMBERS)(
    "%s: `%s` of a wrong type is named or left alone",
    async (path, member, wrong) => {
      for (const value of [...VALUES, ...wrong]) {
        const body = JSON.stringify({ ...MINIMAL[path], [member]: value });
        const seen = await check(path, body);
        if (seen.status !== 200) expect(`${seen.param} ${seen.message}`).toContain(member);
      }
      for (const value of wrong) {
        const body = JSON.stringify({ ...MINIMAL[path], [member]: value });
        const seen = await check(path, body);
        expect([400, 404], `${body}: ${seen.message}`).toContain(seen.status);
      }
    },
  );

  test.each(BROKEN)("a body of %s is refused", async (_, body, code = "invalid_json") => {
    const before = upstream.journal.length;
    expect(await check("/chat/completions", body ?? "")).toMatchObject({ status: 400, code });
    expect(upstream.journal.length).toBe(before);
  });

  test.each(HUGE)("50 MB: %s", { timeout: 120_000 }, async (_, body, status) => {
    expect((await check("/chat/completions", body())).status).toBe(status);
  });

  test("names with NUL and lone surrogates are refused in metadata, and pass as text", async () => {
    for (const value of ["a\0b", "\ud800", "é", " ", "x".repeat(300)]) {
      const seen = await check(
        "/chat/completions",
        chat("hi", { metadata: { tollgate_run: value } }),
      );
      expect(seen).toMatchObject({ status: 400, param: "metadata.tollgate_run" });
    }
    for (const content of ["a\0b", "\ud800", "\udfff\ud800", "\ufeff", "<|endoftext|>"]) {
      upstream.next({ kind: "json", body: chatAnswer(MODEL, content, null) });
      expect((await check("/chat/completions", chat(content))).status).toBe(200);
    }
    await tollgate.settled();
  });

  test("10,000 members in each of several objects pass", async () => {
    const wide = `{${members(10_000)}}`;
    const body = `{"model":"${MODEL}","messages":[{"role":"user","content":"hi"}],"x":[${wide},${wide}]}`;
    expect((await check("/chat/completions", body)).status).toBe(200);
  });

  test("an embedding of a million numbers is bounded and passes", async () => {
    upstream.next({ kind: "json", body: embeddingsAnswer(MODEL, [[1]], 1_000_000) });
    const input = Array.from({ length: 1_000_000 }, () => 7);
    expect((await check("/embeddings", JSON.stringify({ model: MODEL, input }))).status).toBe(200);
  });

  test("the gate still serves after all that", async () => {
    const answer = await tenant.client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: "still there?" }],
    });
    expect(answer.choices[0]?.message.content).toBe("ok");
  });
});

type Seen = {
  readonly status: number;
  readonly code: string | null;
  readonly param: string | null;
  readonly message: string;
};

function members(count: number): string {
  return Array.from({ length: count }, (_, at) => `"m${String(at).padStart(8, "0")}":1`).join();
}

function chat(content: string, more: object = {}): string {
  return JSON.stringify({ model: MODEL, messages: [{ role: "user", content }], ...more });
}
