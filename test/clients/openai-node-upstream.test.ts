import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import * as answers from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import {
  MODEL,
  startTollgate,
  UPSTREAM_KEY,
  type Tenant,
  type Tollgate,
} from "../support/tollgate.ts";

/** Endings are written behind the answer: they are awaited in the ledger. */
const POLL = { timeout: 20_000, interval: 20 };

const USAGE = { input: 12, output: 7 };

/** The official library in front of an upstream that fails, stalls, and serves files, images and sound. */
describeOnPostgres("openai-node on an upstream", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant({ mode: "tolerant", guards: "off" });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });
  const ask = () => ({ model: MODEL, messages: [{ role: "user" as const, content: "Hello" }] });
  const endings = async (): Promise<string[]> => {
    const rows = await tollgate.ledger<{ ending: string }>(
      "select ending from settlements where tenant_id = $1 order by settled_at",
      [tenant.id],
    );
    return rows.map(({ ending }) => ending);
  };

  test("files are uploaded, listed and downloaded byte by byte", async () => {
    const bytes = Buffer.alloc(300_000, "0123456789abcdef");
    const file = {
      id: "file_1",
      object: "file",
      bytes: 300_000,
      created_at: 1,
      filename: "a.bin",
      purpose: "user_data",
      status: "processed",
    };
    upstream.next(
      { kind: "json", body: file },
      { kind: "json", body: { object: "list", data: [file], has_more: false } },
      {
        kind: "bytes",
        frames: [bytes.subarray(0, 100_001), bytes.subarray(100_001)],
        headers: { "content-type": "application/octet-stream" },
      },
    );
    const stored = await tenant.client.files.create({
      file: await toFile(bytes, "a.bin"),
      purpose: "user_data",
    });
    expect(stored.id).toBe("file_1");
    const upload = upstream.journal.at(-1);
    expect(upload?.headers["content-type"]).toMatch(/^multipart\/form-data; ?boundary=/);
    expect(Buffer.from(upload?.body ?? []).includes(bytes)).toBe(true);
    expect(await Array.fromAsync(tenant.client.files.list())).toMatchObject([{ id: "file_1" }]);
    const content = await tenant.client.files.content("file_1");
    expect(Buffer.from(await content.arrayBuffer()).equals(bytes)).toBe(true);
  });

  test("moderations, images and sound pass the gate and come back as they are", async () => {
    const image = { created: 1, data: [{ b64_json: "aGk=" }] };
    upstream.onModel("omni-moderation-latest", {
      kind: "json",
      body: { id: "modr", model: "omni-moderation-latest", results: [{ flagged: false }] },
    });
    upstream.onModel("dall-e-3", { kind: "json", body: image });
    upstream.onModel("tts-1", {
      kind: "bytes",
      frames: [Uint8Array.of(0xff, 0xf3, 0x00, 0x0d)],
      headers: { "content-type": "audio/mpeg" },
    });
    const moderation = await tenant.client.moderations.create({
      model: "omni-moderation-latest",
      input: "hello",
    });
    expect(moderation.results[0]?.flagged).toBe(false);
    expect((await tenant.client.images.generate({ model: "dall-e-3", prompt: "x" })).data).toEqual(
      image.data,
    );
    const speech = await tenant.client.audio.speech.create({
      model: "tts-1",
      voice: "alloy",
      input: "hello",
    });
    expect(new Uint8Array(await speech.arrayBuffer())).toEqual(Uint8Array.of(255, 243, 0, 13));
    upstream.next({
      kind: "json",
      body: { text: "hello", usage: { type: "duration", seconds: 3 } },
    });
    const file = await toFile(Buffer.from("RIFF"), "a.wav");
    const heard = await tenant.client.audio.transcriptions.create({ model: "whisper-1", file });
    expect(heard.text).toBe("hello");
    upstream.next({ kind: "json", body: image });
    const edited = await tenant.client.images.edit({
      model: "gpt-image-1",
      prompt: "x",
      image: file,
    });
    expect(edited.data).toEqual(image.data);
  });

  test("a moderation that names no model is judged, and sent, as the one that OpenAI takes then", async () => {
    upstream.next({ kind: "json", body: { id: "modr", model: "m", results: [] } });
    expect((await tenant.client.moderations.create({ input: "hello" })).id).toBe("modr");
    expect(JSON.parse(Buffer.from(upstream.journal.at(-1)?.body ?? []).toString())).toEqual({
      input: "hello",
      model: "omni-moderation-latest",
    });
  });

  const FAILURES = [
    [400, OpenAI.BadRequestError],
    [401, OpenAI.AuthenticationError],
    [403, OpenAI.PermissionDeniedError],
    [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError],
    [422, OpenAI.UnprocessableEntityError],
    [429, OpenAI.RateLimitError],
    [500, OpenAI.InternalServerError],
    [503, OpenAI.InternalServerError],
  ] as const;

  test.each(FAILURES)("an upstream's %i is the library's own error class", async (status, kind) => {
    const body = answers.errorAnswer("said so", "some_type", "some_code");
    for (const stream of [false, true]) {
      upstream.next({ kind: "json", status, body, headers: { "x-ratelimit-limit-requests": "5" } });
      const error = await failure(tenant.client.chat.completions.create({ ...ask(), stream }));
      expect(error).toBeInstanceOf(kind);
      expect(error).toMatchObject({ status, code: "some_code", type: "some_type" });
      expect(error.message).toContain("said so");
      expect(error.requestID).toBe("req_scripted");
      expect(error.headers?.get("x-ratelimit-limit-requests")).toBe("5");
    }
  });

  test("a broken stream raises in the library, chat and responses", async () => {
    const chat = answers.chatFrames(MODEL, ["a", "b"], USAGE).slice(0, 2);
    const response = answers.responseFrames(MODEL, ["a", "b"], USAGE).slice(0, 5);
    for (const last of ["end", "truncate"] as const) {
      upstream.next({ kind: "sse", frames: chat, last });
      const chunks = await tenant.client.chat.completions.create({ ...ask(), stream: true });
      expect(await failure(Array.fromAsync(chunks))).toBeInstanceOf(OpenAI.APIError);
      upstream.next({ kind: "sse", frames: response, last });
      const stream = tenant.client.responses.stream({ model: MODEL, input: "x" });
      expect((await failure(stream.finalResponse())).message).toContain("upstream");
    }
  });

  test("a client's timeout raises; what the upstream still finishes is paid as it is", async () => {
    const late = Promise.withResolvers<void>();
    const body = answers.chatAnswer(MODEL, "late", USAGE);
    upstream.next({ kind: "json", body, headersGate: late.promise });
    const before = await endings();
    const given = tenant.client.chat.completions.create(ask(), { timeout: 200 });
    expect(await failure(given)).toBeInstanceOf(OpenAI.APIConnectionTimeoutError);
    late.resolve();
    await expect.poll(endings, POLL).toEqual([...before, "succeeded"]);
    const tokens = await tollgate.ledger("select tokens from settlements order by settled_at");
    expect(tokens.at(-1)).toEqual({ tokens: 19n });
  });

  test("a stream that its client's timeout gave up is broken off at the upstream, and settled", async () => {
    const late = Promise.withResolvers<void>();
    const [first = ""] = answers.chatFrames(MODEL, ["one"], USAGE);
    upstream.next({ kind: "sse", frames: [first], last: "stall", headersGate: late.promise });
    const before = await endings();
    const given = tenant.client.chat.completions.create(
      { ...ask(), stream: true },
      { timeout: 200 },
    );
    expect(await failure(given)).toBeInstanceOf(OpenAI.APIConnectionTimeoutError);
    late.resolve();
    await expect.poll(endings, POLL).toEqual([...before, "aborted"]);
    await upstream.quiet();
    expect(upstream.journal.at(-1)?.ended).toBe("closed_by_client");
  });

  test("a client that breaks off a stream stops the upstream and pays what it got", async () => {
    const held = Promise.withResolvers<void>();
    const frames = answers.chatFrames(MODEL, ["one", "two", "three"], USAGE);
    upstream.next({
      kind: "sse",
      frames: [...frames.slice(0, 3), { bytes: frames.slice(3).join(""), gate: held.promise }],
    });
    const before = await endings();
    const exchanges = upstream.journal.length;
    const stream = await tenant.client.chat.completions.create({ ...ask(), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === "two") break;
    }
    await upstream.quiet();
    expect(upstream.journal[exchanges]?.ended).toBe("closed_by_client");
    held.resolve();
    await expect.poll(endings, POLL).toEqual([...before, "aborted"]);
  });

  test("a strict tenant's client that breaks off a stream pays what the upstream bills for all of it", async () => {
    const strict = await tollgate.tenant({ mode: "strict" });
    const held = Promise.withResolvers<void>();
    const frames = answers.chatFrames(MODEL, ["one", "two", "three"], USAGE);
    upstream.next({
      kind: "sse",
      frames: [...frames.slice(0, 3), { bytes: frames.slice(3).join(""), gate: held.promise }],
    });
    const stream = await strict.client.chat.completions.create({ ...ask(), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === "two") break;
    }
    held.resolve();
    const settled = () =>
      tollgate.ledger("select ending, basis, tokens from settlements where tenant_id = $1", [
        strict.id,
      ]);
    await expect
      .poll(settled, POLL)
      .toEqual([{ ending: "succeeded", basis: "computed", tokens: 19n }]);
    expect(upstream.journal.at(-1)?.ended).toBe("complete");
  });

  test("an abort before the first byte raises in the library", async () => {
    const late = Promise.withResolvers<void>();
    upstream.next({ kind: "sse", frames: [], headersGate: late.promise });
    const controller = new AbortController();
    const exchanges = upstream.journal.length;
    const asked = failure(
      tenant.client.chat.completions.create(
        { ...ask(), stream: true },
        { signal: controller.signal },
      ),
    );
    await upstream.arrived(exchanges + 1);
    controller.abort();
    expect(await asked).toBeInstanceOf(OpenAI.APIUserAbortError);
    late.resolve();
    await upstream.quiet();
  });

  test("the upstream sees its own key and never the client's, nor the client's organization", async () => {
    upstream.next({ kind: "json", body: answers.chatAnswer(MODEL, "ok", USAGE) });
    const client = new OpenAI({
      baseURL: `${tollgate.url}/v1`,
      apiKey: tenant.key,
      organization: "org-mine",
      project: "proj-mine",
    });
    await client.chat.completions.create(ask());
    const sent = upstream.journal.at(-1);
    expect(sent?.headers["authorization"]).toBe(`Bearer ${UPSTREAM_KEY}`);
    expect(sent?.headers["openai-organization"]).toBeUndefined();
    expect(JSON.stringify(sent?.rawHeaders)).not.toContain(tenant.key);
    expect(sent?.headers["x-stainless-lang"]).toBe("js");
  });
});

async function failure(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  return await work.then(
    () => {
      throw new Error("did not fail");
    },
    (error: unknown) => error as InstanceType<typeof OpenAI.APIError>,
  );
}
