import { request as httpRequest } from "node:http";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Picousd } from "../../src/core/money.ts";
import { chatAnswer, chatFrames, responseFrames } from "./openai-answers.ts";
import { startScriptedUpstream, type Script, type ScriptedUpstream } from "./scripted-upstream.ts";

let upstream: ScriptedUpstream;
beforeEach(async () => {
  upstream = await startScriptedUpstream();
});
afterEach(() => upstream.close());

const post = (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${upstream.url}/chat/completions`, {
    method: "POST",
    body: JSON.stringify(body),
    headers,
  });

/** What a plain client sees of one script: the status, the bytes, and whether it ended in order. */
async function see(script: Script): Promise<{ status: number; body: string; clean: boolean }> {
  upstream.next(script);
  const seen = { status: 0, body: "", clean: false };
  await new Promise<void>((resolve) => {
    const request = httpRequest(`${upstream.url}/x`, { method: "POST", agent: false }, (answer) => {
      seen.status = answer.statusCode ?? 0;
      answer.on("data", (chunk: Buffer) => (seen.body += chunk.toString()));
      answer.on("end", () => {
        seen.clean = answer.complete;
      });
      answer.on("error", () => undefined);
      answer.on("close", () => resolve());
    });
    request.on("error", () => resolve());
    request.end("{}");
  });
  return seen;
}

describe("what a client sees of a script", () => {
  const rows: [string, Script, { status: number; body: string; clean: boolean }, string][] = [
    [
      "json",
      { kind: "json", status: 418, body: { a: 1 } },
      { status: 418, body: '{"a":1}', clean: true },
      "complete",
    ],
    [
      "a stream",
      { kind: "sse", frames: ["data: 1\n\n", Buffer.from("da"), "ta: 2\n\n"] },
      { status: 200, body: "data: 1\n\ndata: 2\n\n", clean: true },
      "complete",
    ],
    [
      "a reset at byte 12",
      { kind: "sse", frames: ["data: 1\n\n", "data: 2\n\n"], resetAtByte: 12 },
      { status: 200, body: "data: 1\n\ndat", clean: false },
      "cut_by_script",
    ],
    [
      "a truncation",
      { kind: "sse", frames: ["data: 1\n\n"], last: "truncate" },
      { status: 200, body: "data: 1\n\n", clean: false },
      "cut_by_script",
    ],
    [
      "a length that lies",
      { kind: "bytes", frames: ["abc"], contentLength: 10 },
      { status: 200, body: "abc", clean: false },
      "cut_by_script",
    ],
    [
      "a close before headers",
      { kind: "close" },
      { status: 0, body: "", clean: false },
      "cut_by_script",
    ],
    [
      "a reset before headers",
      { kind: "reset" },
      { status: 0, body: "", clean: false },
      "cut_by_script",
    ],
  ];
  test.each(rows)("%s", async (_name, script, expected, ended) => {
    expect(await see(script)).toEqual(expected);
    await upstream.quiet();
    expect(upstream.journal.map((exchange) => exchange.ended)).toEqual([ended]);
    expect(upstream.connections()).toBe(1);
  });

  test("headers and frames are held until their gates open", async () => {
    const headers = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const frames = ["data: 1\n\n", { bytes: "data: 2\n\n", gate: second.promise }];
    upstream.next({ kind: "sse", headersGate: headers.promise, frames });
    const answering = post({});
    await upstream.arrived(1);
    headers.resolve();
    const reader = (await answering).body?.getReader();
    const first = await reader?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe("data: 1\n\n");
    expect(upstream.journal[0]?.ended).toBe("running");
    second.resolve();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 2\n\n");
    await upstream.quiet();
  });
});

describe("the journal", () => {
  test("keeps each request as it came, and a client's leaving", async () => {
    const never = new Promise<never>(() => undefined);
    upstream.next({
      kind: "sse",
      frames: ["data: 1\n\n", { bytes: "data: 2\n\n", gate: never }],
      bill: { input: 5 },
    });
    const abort = new AbortController();
    const answer = await fetch(`${upstream.url}/chat/completions?a=%2F`, {
      method: "POST",
      headers: { "X-Mixed-Case": "yes" },
      body: '{"model":"m","n":9007199254740993}',
      signal: abort.signal,
    });
    await answer.body?.getReader().read();
    abort.abort();
    await upstream.quiet();
    const exchange = upstream.journal[0];
    expect(exchange).toMatchObject({
      method: "POST",
      path: "/v1/chat/completions?a=%2F",
      model: "m",
      delivered: { frames: 1, bytes: 9 },
      billed: { input: 5 },
      ended: "closed_by_client",
    });
    expect(Buffer.from(exchange?.body ?? []).toString()).toBe('{"model":"m","n":9007199254740993}');
    expect(exchange?.rawHeaders).toContain("X-Mixed-Case");
  });

  test("bills to the pico-dollar, by amount or by what was delivered", async () => {
    upstream.onModel("whole", { kind: "json", body: {}, bill: { input: 3, output: 2 } });
    upstream.onHeader("by-frame", {
      kind: "sse",
      frames: ["a", "b", "c"],
      resetAtByte: 2,
      bill: ({ frames, bytes }) => ({ input: frames, output: bytes }),
    });
    await (await post({ model: "whole" })).text();
    await (await post({ model: "whole" }, { "x-script": "by-frame" })).text().catch(() => "cut");
    await upstream.quiet();
    const rates = { input: 150_000n as Picousd, output: 600_000n as Picousd };
    expect(upstream.bill(rates)).toBe(3n * 150_000n + 2n * 600_000n + 150_000n + 2n * 600_000n);
    expect(() => upstream.bill({ input: 1n as Picousd })).toThrow("unpriced output");
  });

  test("a request without a script is answered 500 unscripted", async () => {
    const answer = await post({ model: "nobody" });
    expect(answer.status).toBe(500);
    expect(await answer.text()).toContain("unscripted");
  });
});

describe("the answers are what the official client understands", () => {
  const tokens = { input: 9, output: 4 };

  test("chat, streamed chat and streamed responses", async () => {
    const client = new OpenAI({ baseURL: upstream.url, apiKey: "sk-test", maxRetries: 0 });
    const messages = [{ role: "user" as const, content: "hi" }];
    upstream.next(
      { kind: "json", body: chatAnswer("m", "hello", tokens) },
      { kind: "sse", frames: chatFrames("m", ["hel", "lo"], tokens) },
      { kind: "sse", frames: responseFrames("m", ["hel", "lo"], tokens) },
    );
    const whole = await client.chat.completions.create({ model: "m", messages });
    expect(whole.choices[0]?.message.content).toBe("hello");
    const streamed = client.chat.completions.stream({
      model: "m",
      messages,
      stream_options: { include_usage: true },
    });
    expect(await streamed.finalContent()).toBe("hello");
    expect((await streamed.totalUsage()).total_tokens).toBe(13);
    const response = await client.responses.stream({ model: "m", input: "hi" }).finalResponse();
    expect(response.output_text).toBe("hello");
    expect(response.usage?.total_tokens).toBe(13);
  });
});
