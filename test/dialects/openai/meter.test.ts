import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Operation } from "../../../src/core/intent.ts";
import { ANSWER_BYTES_MAX, STREAM_LINE_BYTES_MAX } from "../../../src/core/limits.ts";
import type { Meter, Reading, Route } from "../../../src/dialects/dialect.ts";
import { addBytes, emptyBytes, joinParts, partsOf } from "../../../src/dialects/byte-store.ts";
import { createMeter } from "../../../src/dialects/openai/meter.ts";

function fixture(name: string): Uint8Array {
  return new Uint8Array(
    readFileSync(new URL(`../../fixtures/openai/${name}.sse`, import.meta.url)),
  );
}

function route(operation: Operation): Route {
  return { operation, billing: "metered", path: "/x", body: "json", pathModel: null };
}

type Heard = {
  readonly out: string;
  readonly reading: Reading;
  readonly text: string;
  readonly next: number;
};

function hear(meter: Meter, chunks: readonly Uint8Array[]): Heard {
  const out: Uint8Array[] = chunks.map((chunk) => meter.push(chunk));
  out.push(meter.flush());
  return {
    out: Buffer.concat(out).toString("utf8"),
    reading: meter.reading(),
    text: meter.deliveredText(),
    next: meter.nextSequence(),
  };
}

/** Each event in a chunk of its own, as an upstream sends them. */
function byEvent(bytes: Uint8Array): Uint8Array[] {
  const text = Buffer.from(bytes).toString("latin1");
  return text.split(/(?<=\n\n|\r\n\r\n|\r\r)/).map((event) => Buffer.from(event, "latin1"));
}

/** The whole at once, cut in two at every byte, and byte by byte: all must be heard alike. */
function hearEverySplit(make: () => Meter, bytes: Uint8Array): Heard {
  const whole = hear(make(), [bytes]);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(hear(make(), [bytes.subarray(0, cut), bytes.subarray(cut)]), `cut at ${cut}`).toEqual(
      whole,
    );
  }
  expect(
    hear(
      make(),
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
    ),
    "byte by byte",
  ).toEqual(whole);
  expect(hear(make(), byEvent(bytes)), "event by event").toEqual(whole);
  return whole;
}

describe("a client that did not ask for usage gets the bytes of an upstream that was not asked", () => {
  const rows: readonly [string, Operation, Reading["usage"]][] = [
    ["chat-tools", "chat", { input: 17, cache_read: 64, output: 17 }],
    ["chat-text", "chat", { input: 17, cache_read: 64, output: 17 }],
    ["azure", "chat", { input: 9, output: 2 }],
    ["chat-moderation", "chat", { input: 5, output: 1 }],
    ["chat-space", "chat", { input: 3, output: 2 }],
    ["completions", "text_completion", { input: 4, output: 1 }],
  ];
  test.each(rows)("%s, cut at any byte", (name, operation, usage) => {
    const make = (): Meter => createMeter(route(operation), { stream: true, hideUsage: true });
    const heard = hearEverySplit(make, fixture(`${name}.asked`));
    expect(heard.out).toBe(Buffer.from(fixture(`${name}.plain`)).toString("utf8"));
    expect(heard.reading).toMatchObject({ usage, progress: "complete", error: null });
  });

  test.each(rows)("%s: a client that asked gets every byte", (name, operation, usage) => {
    const bytes = fixture(`${name}.asked`);
    const make = (): Meter => createMeter(route(operation), { stream: true, hideUsage: false });
    const heard = hearEverySplit(make, bytes);
    expect(heard.out).toBe(Buffer.from(bytes).toString("utf8"));
    expect(heard.reading).toMatchObject({ usage, progress: "complete" });
  });

  test("whole events leave in one piece, an unfinished one not at all", () => {
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    for (const byte of fixture("chat-text.asked")) {
      const out = Buffer.from(meter.push(Uint8Array.of(byte))).toString("utf8");
      expect(out === "" || /^data: [^\n]*\n\n$/.test(out), out).toBe(true);
    }
  });
});

describe("what providers send is read, and passes untouched whether usage is hidden or not", () => {
  type Row = readonly [string, Operation, Partial<Reading>, string];
  const rows: readonly Row[] = [
    [
      "groq",
      "chat",
      { usage: { input: 36, output: 2 }, model: "llama-3.3-70b-versatile", progress: "complete" },
      "ok",
    ],
    [
      "groq-error",
      "chat",
      {
        usage: null,
        error: { code: "internal_server_error", message: "over capacity" },
        progress: "started",
      },
      "ok",
    ],
    [
      "mistral",
      "chat",
      { usage: { input: 6, cache_read: 4, output: 2 }, progress: "complete" },
      "Oui.",
    ],
    [
      "deepseek",
      "chat",
      { usage: { input: 4, cache_read: 8, output: 3, reasoning: 6 }, progress: "complete" },
      "hmm7",
    ],
    [
      "openrouter",
      "chat",
      { usage: { input: 20, output: 3 }, providerCostUsd: "0.0000048" },
      "yes",
    ],
    ["gemini", "chat", { usage: { input: 7, output: 54 }, responseId: "g1" }, "Hallo!"],
    [
      "xai",
      "chat",
      {
        usage: { input: 26, cache_read: 6, output: 9, reasoning: 94 },
        providerCostUsd: "0.00004235",
      },
      "42",
    ],
    ["cr-bom", "chat", { usage: { input: 1, output: 2 }, model: "m", progress: "complete" }, "a"],
    [
      "responses",
      "responses",
      {
        usage: { input: 36, output: 23, reasoning: 64 },
        model: "gpt-5-mini-2025-08-07",
        serviceTier: "default",
        responseId: "resp_68a",
        progress: "complete",
        error: null,
      },
      "response.completed 你好",
    ],
    [
      "responses-incomplete",
      "responses",
      { usage: { input: 36, output: 23, reasoning: 64 }, progress: "complete", error: null },
      "response.completed 你好",
    ],
    [
      "responses-failed",
      "responses",
      {
        usage: null,
        progress: "complete",
        error: { code: "rate_limit_exceeded", message: "Slow down" },
      },
      "response.completed 你好",
    ],
    [
      "transcript",
      "transcription",
      { usage: { input: 0, audio_input: 14, output: 31 }, progress: "complete" },
      "Hello",
    ],
    ["speech", "speech", { usage: { input: 14, audio_output: 101 }, progress: "complete" }, ""],
    [
      "image",
      "image_generation",
      { usage: { input: 10, image_input: 40, image_output: 50 }, progress: "complete" },
      "",
    ],
  ];
  test.each(rows)("%s, cut at any byte", (name, operation, reading, text) => {
    const bytes = fixture(name);
    const heard = hearEverySplit(
      () => createMeter(route(operation), { stream: true, hideUsage: false }),
      bytes,
    );
    expect(heard.out).toBe(Buffer.from(bytes).toString("utf8"));
    expect(heard.reading).toMatchObject(reading);
    expect(heard.text).toBe(text);
  });
  test.each(rows.filter(([name, operation]) => operation === "chat" && name !== "cr-bom"))(
    "%s comes through the hiding meter byte by byte as it is",
    (name, operation) => {
      const bytes = fixture(name);
      const make = (): Meter => createMeter(route(operation), { stream: true, hideUsage: true });
      expect(hearEverySplit(make, bytes).out).toBe(Buffer.from(bytes).toString("utf8"));
    },
  );
});

describe("a stream meter", () => {
  test("numbers the event that follows the last whole one", () => {
    const bytes = fixture("responses");
    const meter = createMeter(route("responses"), { stream: true, hideUsage: false });
    const cut = Buffer.from(bytes).indexOf('"sequence_number":6') + 30;
    for (const byte of bytes.subarray(0, cut)) meter.push(Uint8Array.of(byte));
    expect(meter.nextSequence()).toBe(6);
    expect(meter.betweenEvents()).toBe(false);
    meter.push(bytes.subarray(cut));
    expect(meter.nextSequence()).toBe(10);
    expect(meter.betweenEvents()).toBe(true);
  });

  test("passes whole events without usage as the same object", () => {
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    const chunk = fixture("mistral");
    expect(meter.push(chunk)).toBe(chunk);
    const later = Buffer.from('data: {"choices":[{"delta":{"content":"x"}}]}\n\n');
    expect(meter.push(later)).toBe(later);
    expect(meter.reading().progress).toBe("complete");
  });

  test("knows a finish reason before the usage comes", () => {
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    const text = Buffer.from(fixture("chat-text.asked")).toString("utf8");
    meter.push(Buffer.from(text.slice(0, text.indexOf('"choices":[],'))));
    expect(meter.reading().progress).toBe("finishing");
    expect(meter.reading().usage).toBe(null);
  });

  test("passes an event that is too long, unread, and goes on reading behind it", () => {
    const head = 'data: {"model":"m","choices":[{"delta":{"content":"';
    const long = Buffer.from(
      `${head}${"a".repeat(STREAM_LINE_BYTES_MAX + 200_000)}"}}],"usage":null}\n\n`,
    );
    const tail = Buffer.from(
      'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n',
    );
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    const all = Buffer.concat([long, tail]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < all.length; at += 65_536) chunks.push(all.subarray(at, at + 65_536));
    const heard = hear(meter, chunks);
    expect(heard.out === `${long.toString()}data: [DONE]\n\n`).toBe(true);
    expect(heard.reading).toMatchObject({ usage: { input: 1, output: 1 }, progress: "complete" });
  });

  test("says when what it passed unread may have told the usage", () => {
    const long = `data: {"choices":[],"x":"${"a".repeat(2 * STREAM_LINE_BYTES_MAX)}"}\n\n`;
    const usage = 'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n';
    const broken = 'data: {"usage":{"prompt_tokens":1,\n\n';
    const absurd = 'data: {"usage":{"prompt_tokens":1,"completion_tokens":1e13}}\n\n';
    const heardOf = (text: string): Reading => {
      const meter = createMeter(route("chat"), { stream: true, hideUsage: false });
      // In two pieces, so that a long event is incomplete once.
      const half = Math.ceil(text.length / 3);
      return hear(meter, [Buffer.from(text.slice(0, half)), Buffer.from(text.slice(half))]).reading;
    };
    expect(heardOf("data: [DONE]\n\n")).toMatchObject({ usage: null, isUnread: false });
    expect(heardOf(long + long)).toMatchObject({ usage: null, isUnread: true });
    expect(heardOf(usage + long + long)).toMatchObject({
      usage: { input: 1, output: 1 },
      isUnread: false,
    });
    expect(heardOf(broken)).toMatchObject({ usage: null, isUnread: true });
    expect(heardOf(usage + absurd)).toMatchObject({ usage: null, isUnread: true });
    expect(heardOf(absurd + usage)).toMatchObject({ usage: { input: 1 }, isUnread: false });
  });

  test("reads a last event without its empty line", () => {
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    const heard = hear(meter, [Buffer.from('data: {"model":"m","choices":[]}\n\ndata: [DONE]')]);
    expect(heard.out).toBe('data: {"model":"m","choices":[]}\n\ndata: [DONE]');
    expect(heard.reading.progress).toBe("complete");
  });

  test("a stream cut before its marker is not complete", () => {
    const bytes = fixture("mistral");
    const meter = createMeter(route("chat"), { stream: true, hideUsage: false });
    expect(hear(meter, [bytes.subarray(0, bytes.length - 16)]).reading.progress).toBe("finishing");
  });
});

describe("an answer in one document", () => {
  type Row = readonly [string, Operation, string, Partial<Reading>];
  const rows: readonly Row[] = [
    [
      "chat",
      "chat",
      '{"id":"c","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12},"service_tier":"default"}',
      {
        usage: { input: 10, output: 2 },
        model: "gpt-4o-2024-08-06",
        serviceTier: "default",
        progress: "complete",
      },
    ],
    [
      "zero usage is zero",
      "chat",
      '{"model":"m","usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}',
      { usage: { input: 0, output: 0 } },
    ],
    [
      "no usage is null",
      "chat",
      '{"model":"m","choices":[]}',
      { usage: null, progress: "complete" },
    ],
    [
      "embeddings",
      "embeddings",
      '{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAA"}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}',
      { usage: { input: 8 } },
    ],
    [
      "images by piece",
      "image_generation",
      '{"created":1,"data":[{"url":"a"},{"url":"b"}]}',
      { usage: { images: 2 } },
    ],
    [
      "whisper",
      "transcription",
      '{"text":"a","usage":{"type":"duration","seconds":3.2}}',
      { usage: { seconds: 4 } },
    ],
    [
      "an error of status 200",
      "chat",
      '{"error":{"message":"no","code":502}}',
      { error: { code: "502", message: "no" } },
    ],
    [
      "cut",
      "chat",
      '{"model":"m","choices":[{"message":{"content":"hel',
      { usage: null, progress: "started" },
    ],
    [
      "plain text",
      "transcription",
      "WEBVTT\n\n00:00",
      { usage: null, progress: "complete", isUnread: false },
    ],
    [
      "a byte order mark",
      "chat",
      `\u{feff}{"pad":"${"x".repeat(4_100)}","usage":{"prompt_tokens":3,"completion_tokens":4}}`,
      { usage: { input: 3, output: 4 }, progress: "complete" },
    ],
    [
      "usage of the choice",
      "chat",
      '{"choices":[{"index":0,"usage":{"prompt_tokens":3,"completion_tokens":4}}],"usage":null}',
      { usage: { input: 3, output: 4 } },
    ],
    [
      "usage of the choice, of a longer one",
      "chat",
      `{"choices":[{"text":"${"x".repeat(4_100)}","usage":{"prompt_tokens":3,"completion_tokens":4}}]}`,
      { usage: { input: 3, output: 4 } },
    ],
    [
      "usage of two choices",
      "chat",
      '{"choices":[{"usage":{"prompt_tokens":3}},{"usage":{"prompt_tokens":3}}]}',
      { usage: null, isUnread: true },
    ],
    ["a deferred call", "chat", '{"request_id":"f15c"}', { usage: null, isUnread: true }],
    [
      "a deferred call, told at length",
      "responses",
      `{"request_id":"${"x".repeat(4_100)}","output":null}`,
      { usage: null, isUnread: true },
    ],
    [
      "no usage at length",
      "text_completion",
      `{"choices":[{"text":"${"x".repeat(4_100)}"}]}`,
      { usage: null, isUnread: false },
    ],
    ["no usage of a response", "responses", '{"output":[]}', { usage: null, isUnread: false }],
    ["no choices of what has none", "embeddings", '{"data":[]}', { isUnread: false }],
    ["an error in place of choices", "chat", '{"error":{"code":502}}', { isUnread: false }],
    ["no object", "chat", "[1]", { usage: null, isUnread: true, progress: "complete" }],
    ["a page", "embeddings", "<html>", { usage: null, isUnread: true, progress: "complete" }],
  ];
  test.each(rows)("%s", (_name, operation, text, reading) => {
    const make = (): Meter => createMeter(route(operation), { stream: false, hideUsage: false });
    const heard = hearEverySplit(make, Buffer.from(text));
    expect(heard.out).toBe(text);
    expect(heard.reading).toMatchObject(reading);
  });
});

describe("an answer of which nothing is seen", () => {
  test("is not read, nor taken for a document that is cut, where it is encoded", () => {
    for (const bytes of [Buffer.from("1f8b0800", "hex"), Buffer.from("{\u0001")]) {
      const meter = createMeter(route("chat"), {
        stream: false,
        hideUsage: false,
        isEncoded: true,
      });
      expect(hear(meter, [bytes]).reading).toMatchObject({ isUnread: true, progress: "complete" });
    }
  });

  test("is not read where there is nothing", () => {
    const meter = createMeter(route("chat"), { stream: false, hideUsage: false });
    expect(hear(meter, []).reading).toMatchObject({ isUnread: true, progress: "none" });
  });

  test("is read all the same where its encoding was undone", () => {
    const meter = createMeter(route("chat"), { stream: false, hideUsage: false, isEncoded: true });
    const told = Buffer.from('{"usage":{"prompt_tokens":3,"completion_tokens":4}}');
    const read = { usage: { input: 3, output: 4 }, isUnread: false };
    expect(hear(meter, [told]).reading).toMatchObject(read);
  });
});

describe("usage that is told with the choices of a stream", () => {
  const choice = (index: number): string =>
    `data: {"choices":[{"index":${index},"usage":{"prompt_tokens":3,"completion_tokens":4}}]}\n\n`;
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n';
  const rows: readonly [string, string, Partial<Reading>][] = [
    ["is the answer's where there is one", choice(0), { usage: { input: 3, output: 4 } }],
    ["is of none where there are two", choice(0) + choice(1), { usage: null, isUnread: true }],
    ["is of none in any order", choice(1) + choice(0), { usage: null, isUnread: true }],
    [
      "gives way to the answer's own",
      choice(1) + choice(0) + usage,
      { usage: { input: 3, output: 9 }, isUnread: false },
    ],
  ];
  test.each(rows)("%s", (_name, text, reading) => {
    const meter = createMeter(route("chat"), { stream: true, hideUsage: true });
    expect(hear(meter, [Buffer.from(text)]).reading).toMatchObject(reading);
  });
});

describe("an answer longer than is kept", () => {
  const long = "x".repeat(ANSWER_BYTES_MAX);
  const usage = '"usage":{"prompt_tokens":3,"completion_tokens":4}';
  const read: Partial<Reading> = {
    usage: { input: 3, output: 4 },
    isUnread: false,
    progress: "complete",
  };
  const unread: Partial<Reading> = { usage: null, isUnread: true };
  const rows: readonly [string, string, Partial<Reading>][] = [
    ["usage behind", `{"model":"m","choices":["${long}"],${usage}}`, { ...read, model: "m" }],
    [
      "usage behind, with space and strings around",
      `{"choices":["${long}"] , "a\\"":"}\\\\", "us\\u0061ge":1, "usage" : {"prompt_tokens":3,"completion_tokens":4,"a":["]\\""]} , "service_tier":"flex"}\n`,
      { ...read, serviceTier: "flex" },
    ],
    ["usage before", `{${usage},"choices":["${long}"]}`, read],
    ["usage below the top", `{"choices":["${long}"],"x":{${usage}}}`, unread],
    ["usage in a text", `{"choices":["${long}","${usage.replaceAll('"', '\\"')}"]}`, unread],
    ["usage of a document cut short", `{"choices":["${long}"],${usage}`, unread],
    ["an array", `["${long}",{${usage}}]`, unread],
    [
      "usage too long for the end",
      `{"choices":["${long}"],${usage},"y":"${"z".repeat(70_000)}"}`,
      unread,
    ],
  ];
  test.each(rows)("%s", (_name, text, reading) => {
    const bytes = Buffer.from(text);
    const make = (): Meter => createMeter(route("chat"), { stream: false, hideUsage: false });
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 40_000) chunks.push(bytes.subarray(at, at + 40_000));
    for (const pieces of [chunks, [bytes]]) {
      const meter = make();
      for (const piece of pieces) expect(meter.push(piece)).toBe(piece);
      meter.flush();
      expect(meter.reading()).toMatchObject(reading);
    }
  });

  test("and sound says nothing that could have been read", () => {
    const meter = createMeter(route("speech"), { stream: false, hideUsage: false });
    meter.push(new Uint8Array(ANSWER_BYTES_MAX + 1));
    meter.flush();
    expect(meter.reading()).toMatchObject({ usage: null, isUnread: false });
  });
});

test("single bytes are kept in few blocks", () => {
  const store = emptyBytes();
  for (let index = 0; index < 300_000; index += 1) addBytes(store, Uint8Array.of(index % 251));
  const large = new Uint8Array(100_000).fill(7);
  addBytes(store, large);
  addBytes(store, Uint8Array.of(9));
  const parts = partsOf(store);
  expect(parts.length).toBeLessThan(20);
  expect(parts.includes(large)).toBe(true);
  const whole = joinParts(store);
  expect(whole.length).toBe(400_001);
  expect(whole.every((byte, at) => byte === (at < 300_000 ? at % 251 : at < 400_000 ? 7 : 9))).toBe(
    true,
  );
});
