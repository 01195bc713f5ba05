import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDemoUpstream, type DemoUpstream } from "../../src/demo/upstream.ts";

let demo: DemoUpstream;
let client: OpenAI;
beforeAll(async () => {
  demo = await startDemoUpstream();
  client = new OpenAI({ baseURL: demo.url, apiKey: "none", maxRetries: 0 });
});
afterAll(() => demo.close());

const model = "demo-chat";
const messages = [{ role: "user" as const, content: "Hello, how are you?" }];
const weather = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};
const tool = { type: "function" as const, function: { name: "get_weather", parameters: weather } };

const post = async (path: string, body: unknown): Promise<{ status: number; text: string }> => {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(`${demo.url}${path}`, { method: "POST", body: text });
  return { status: answer.status, text: await answer.text() };
};
/** The `data:` members of a stream, parsed; `[DONE]` as it stands. */
const events = async (path: string, body: object): Promise<Record<string, unknown>[]> => {
  const { text } = await post(path, { ...body, stream: true });
  return [...text.matchAll(/^data: (.*)$/gmu)].map((match) =>
    match[1] === "[DONE]"
      ? { done: true }
      : (JSON.parse(match[1] ?? "") as Record<string, unknown>),
  );
};

describe("chat completions", () => {
  test("are labelled, deterministic, and say what they used", async () => {
    const first = await client.chat.completions.create({ model, messages });
    const second = await client.chat.completions.create({ model, messages });
    expect(second).toEqual(first);
    expect(first.choices[0]?.message.content).toMatch(/^\[Tollgate demo\] .*Hello, how are you\?/u);
    expect(first).toMatchObject({ model, system_fingerprint: "tollgate-demo" });
    const content = first.choices[0]?.message.content ?? "";
    // "Hello, how are you?" and "user" are 23 bytes: six tokens of four.
    expect(first.usage).toMatchObject({
      prompt_tokens: 6,
      completion_tokens: Math.ceil(content.length / 4),
      total_tokens: 6 + Math.ceil(content.length / 4),
    });
  });

  test("stream the same text as they answer whole, through the official client", async () => {
    const whole = await client.chat.completions.create({ model, messages });
    const stream = client.chat.completions.stream({ model, messages });
    expect(await stream.finalContent()).toBe(whole.choices[0]?.message.content);
  });

  test("report usage on a stream exactly when asked, as OpenAI does", async () => {
    const silent = await events("/chat/completions", { model, messages });
    expect(silent.some((event) => "usage" in event)).toBe(false);
    expect(silent.at(-1)).toEqual({ done: true });

    const asked = { model, messages, stream_options: { include_usage: true } };
    const telling = await events("/chat/completions", asked);
    expect(telling.slice(0, -2).every((event) => event["usage"] === null)).toBe(true);
    expect(telling.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 6 } });
    expect(telling.at(-1)).toEqual({ done: true });
    expect(telling.length).toBe(silent.length + 1);
  });

  test.each(["max_completion_tokens", "max_tokens"])("%s cuts the text", async (name) => {
    const cut = await client.chat.completions.create({ model, messages, [name]: 5 });
    expect(cut.choices[0]?.finish_reason).toBe("length");
    expect(cut.choices[0]?.message.content).toBe("[Tollgate demo] You ");
    expect(cut.usage?.completion_tokens).toBe(5);
  });

  test("never count more output than the maximum, whatever the letters", async () => {
    const content = "日本語 🦊 emoji ".repeat(40);
    const asked = { model, messages: [{ role: "user" as const, content }] };
    for (let max = 1; max < 60; max += 7) {
      const cut = await client.chat.completions.create({ ...asked, max_completion_tokens: max });
      expect(cut.usage?.completion_tokens).toBeLessThanOrEqual(max);
      expect(cut.choices[0]?.message.content).not.toContain("\uFFFD");
    }
  });

  test("n gives so many choices, each its own", async () => {
    const three = await client.chat.completions.create({ model, messages, n: 3 });
    expect(new Set(three.choices.map((choice) => choice.message.content)).size).toBe(3);
    const streamed = await events("/chat/completions", { model, messages, n: 3 });
    const finished = streamed.flatMap((event) =>
      ((event["choices"] ?? []) as { index: number; finish_reason: string | null }[])
        .filter((choice) => choice.finish_reason !== null)
        .map((choice) => choice.index),
    );
    expect(finished).toEqual([0, 1, 2]);
  });

  test("stop ends the text before itself", async () => {
    const stopped = await client.chat.completions.create({ model, messages, stop: ["said"] });
    expect(stopped.choices[0]?.message.content).toBe("[Tollgate demo] You ");
    expect(stopped.choices[0]?.finish_reason).toBe("stop");
  });

  test("a JSON schema is answered with JSON that fits it", async () => {
    const response_format = {
      type: "json_schema" as const,
      json_schema: { name: "weather", schema: weather },
    };
    const answer = await client.chat.completions.create({ model, messages, response_format });
    expect(JSON.parse(answer.choices[0]?.message.content ?? "")).toEqual({
      city: "[Tollgate demo]",
      days: 1,
    });
  });
});

describe("tool calls", () => {
  const asking = [{ role: "user" as const, content: "Please call get_weather for Paris." }];

  test("are made when the message names the tool, and their result is read", async () => {
    const asked = await client.chat.completions.create({ model, messages: asking, tools: [tool] });
    expect(asked.choices[0]?.finish_reason).toBe("tool_calls");
    const message = asked.choices[0]!.message;
    const call = message.tool_calls?.[0];
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    const answered = await client.chat.completions.create({
      model,
      tools: [tool],
      messages: [...asking, message, { role: "tool", tool_call_id: call!.id, content: "sunny" }],
    });
    expect(answered.choices[0]?.message.content).toContain('The tool answered: "sunny"');
  });

  test("are not made otherwise, nor when forbidden; are made when required", async () => {
    const finish = async (extra: object): Promise<string | undefined> => {
      const asked = { model, messages, tools: [tool], ...extra };
      return (await client.chat.completions.create(asked)).choices[0]?.finish_reason;
    };
    expect(await finish({})).toBe("stop");
    expect(await finish({ messages: asking, tool_choice: "none" })).toBe("stop");
    expect(await finish({ tool_choice: "required" })).toBe("tool_calls");
    const named = { type: "function", function: { name: "get_weather" } };
    expect(await finish({ tool_choice: named })).toBe("tool_calls");
  });

  test("stream as the official client assembles them", async () => {
    const stream = client.chat.completions.stream({ model, messages: asking, tools: [tool] });
    const call = (await stream.finalMessage()).tool_calls?.[0];
    expect(call?.type === "function" ? JSON.parse(call.function.arguments) : null).toEqual({
      city: "[Tollgate demo]",
      days: 1,
    });
  });

  test("work in the Responses API, whole and streamed", async () => {
    const { name, parameters } = tool.function;
    const asked = {
      model,
      input: "Please call get_weather.",
      tools: [{ type: "function" as const, name, parameters, strict: false }],
    };
    const whole = await client.responses.create(asked);
    expect(whole.output[0]).toMatchObject({ type: "function_call", name: "get_weather" });
    const streamed = await client.responses.stream(asked).finalResponse();
    expect(streamed.output[0]).toMatchObject({ type: "function_call", name: "get_weather" });
  });
});

describe("responses", () => {
  test("are labelled and say what they used", async () => {
    const response = await client.responses.create({ model, input: "Hello, how are you?" });
    expect(response.output_text).toMatch(/^\[Tollgate demo\] /u);
    expect(response.usage).toMatchObject({
      input_tokens: 5,
      output_tokens: Math.ceil(response.output_text.length / 4),
    });
  });

  test("stream the full sequence of events, numbered, without [DONE]", async () => {
    const told = await events("/responses", { model, input: "Hi" });
    expect(told.map((event) => event["sequence_number"])).toEqual(told.map((_, index) => index));
    expect([...new Set(told.map((event) => event["type"]))]).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    const final = await client.responses.stream({ model, input: "Hi" }).finalResponse();
    const whole = await client.responses.create({ model, input: "Hi" });
    expect(final.output_text).toBe(whole.output_text);
  });

  test("that are cut are incomplete", async () => {
    const cut = await client.responses.create({ model, input: "Hi", max_output_tokens: 4 });
    expect(cut).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      usage: { output_tokens: 4 },
    });
    const told = await events("/responses", { model, input: "Hi", max_output_tokens: 4 });
    expect(told.at(-1)).toMatchObject({ type: "response.incomplete" });
  });
});

describe("legacy completions", () => {
  test("answer each prompt with n choices, sixteen tokens unless told", async () => {
    const answer = await client.completions.create({ model, prompt: ["a", "b"], n: 2 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3]);
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 64 });
  });

  test.each([
    ["tokens", [1, 2, 3], 3],
    ["lists of tokens", [[1, 2], [3]], 3],
  ])("take %s", async (_name, prompt, tokens) => {
    const answer = await client.completions.create({ model, prompt });
    expect(answer.usage?.prompt_tokens).toBe(tokens);
  });

  test("stream", async () => {
    const told = await events("/completions", {
      model,
      prompt: "a",
      stream_options: { include_usage: true },
    });
    expect(told.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 1 } });
    const text = told
      .flatMap((event) => (event["choices"] ?? []) as { text: string }[])
      .map((choice) => choice.text)
      .join("");
    const whole = await client.completions.create({ model, prompt: "a" });
    expect(text).toBe(whole.choices[0]?.text);
  });
});

describe("embeddings", () => {
  const embedding = "demo-embedding";

  test("are unit vectors, the same in both encodings", async () => {
    const asked = { model: embedding, input: "hello" };
    // The client asks for base64 by itself and decodes it.
    const decoded = (await client.embeddings.create(asked)).data[0]!.embedding;
    const float = await post("/embeddings", { ...asked, encoding_format: "float" });
    const told = JSON.parse(float.text) as { data: { embedding: number[] }[] };
    expect(told.data[0]?.embedding).toEqual(decoded);
    expect(decoded.length).toBe(256);
    expect(Math.hypot(...decoded)).toBeCloseTo(1, 5);
  });

  test.each([
    ["a text", "hello", 1, 2],
    ["texts", ["hello", "world"], 2, 4],
    ["tokens", [1, 2, 3], 1, 3],
    ["lists of tokens", [[1, 2], [3]], 2, 3],
  ])("take %s", async (_name, input, count, tokens) => {
    const answer = await client.embeddings.create({ model: embedding, input, dimensions: 8 });
    expect(answer.data.map((one) => one.index)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(answer.data.every((one) => one.embedding.length === 8)).toBe(true);
    expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
  });
});

describe("models", () => {
  test("are listed and read, with and without /v1", async () => {
    const listed = await client.models.list();
    expect(listed.data.map(({ id }) => id)).toEqual(["demo-chat", "demo-small", "demo-embedding"]);
    expect(await client.models.retrieve("demo-small")).toMatchObject({ id: "demo-small" });
    const bare = await fetch(`${demo.url.replace(/\/v1$/u, "")}/models`);
    expect(await bare.json()).toEqual({ object: "list", data: listed.data });
  });
});

describe("a mistake is answered in OpenAI's shape", () => {
  const rows: [string, string, unknown, number, string | null, string | null][] = [
    [
      "unknown model",
      "/chat/completions",
      { model: "gpt-5", messages },
      404,
      "model",
      "model_not_found",
    ],
    [
      "embedding model in a chat",
      "/chat/completions",
      { model: "demo-embedding", messages },
      404,
      "model",
      "model_not_found",
    ],
    ["no model", "/chat/completions", { messages }, 400, "model", null],
    ["no messages", "/chat/completions", { model }, 400, "messages", "missing_required_parameter"],
    [
      "empty messages",
      "/chat/completions",
      { model, messages: [] },
      400,
      "messages",
      "invalid_value",
    ],
    [
      "a message that is none",
      "/chat/completions",
      { model, messages: [1] },
      400,
      "messages[0]",
      "invalid_type",
    ],
    ["n beyond 128", "/chat/completions", { model, messages, n: 129 }, 400, "n", "invalid_value"],
    ["no input", "/responses", { model }, 400, "input", "missing_required_parameter"],
    ["no prompt", "/completions", { model }, 400, "prompt", "missing_required_parameter"],
    [
      "empty embedding input",
      "/embeddings",
      { model: "demo-embedding", input: "" },
      400,
      "input",
      "invalid_value",
    ],
    ["broken JSON", "/chat/completions", '{"model":', 400, null, null],
    ["JSON that is no object", "/chat/completions", "[]", 400, null, null],
    ["unknown URL", "/nothing", {}, 404, null, "unknown_url"],
    ["a member of Object's prototype", "/../constructor", {}, 404, null, "unknown_url"],
    [
      "more than a megabyte",
      "/chat/completions",
      "x".repeat(1024 * 1024 + 1),
      413,
      null,
      "request_too_large",
    ],
  ];
  test.each(rows)("%s", async (_name, path, body, status, param, code) => {
    const answer = await post(path, body);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toEqual({
      error: { message: expect.stringMatching(/\w/u), type: "invalid_request_error", param, code },
    });
  });

  test("and the official client throws it as its own error", async () => {
    const asking = client.chat.completions.create({ model: "gpt-5", messages });
    await expect(asking).rejects.toBeInstanceOf(APIError);
    await expect(asking).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });

  test("nesting that would break a recursive reader is only text", async () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const body = `{"model":"demo-chat","messages":[{"role":"user","content":"a","x":${deep}}]}`;
    expect((await post("/chat/completions", body)).status).toBe(200);
  });
});
