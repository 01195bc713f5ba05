import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { classifyMultipart } from "../../../src/dialects/openai/media.ts";
import { ask, route } from "./ask.ts";

const CHAT = { model: "gpt-5-mini", messages: [{ role: "user", content: "hi" }] };
const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

describe("a request is read for what it could use", () => {
  const rows: readonly [string, string, object | string, object][] = [
    [
      "plain",
      "/chat/completions",
      CHAT,
      { choices: 1, outputTokensMax: null, images: 0, producesTokens: true, unbounded: [] },
    ],
    [
      "the larger limit",
      "/chat/completions",
      { ...CHAT, max_tokens: 5, max_completion_tokens: 9 },
      { outputTokensMax: 9 },
    ],
    [
      "a limit that a chat ignores",
      "/chat/completions",
      { ...CHAT, max_output_tokens: 1 },
      { outputTokensMax: null },
    ],
    [
      "a limit that responses ignore",
      "/responses",
      { model: "m", input: "x", max_tokens: 1, max_completion_tokens: 1 },
      { outputTokensMax: null },
    ],
    [
      "a limit that completions ignore",
      "/completions",
      { model: "m", prompt: "x", max_completion_tokens: 1, max_output_tokens: 1 },
      { outputTokensMax: null },
    ],
    [
      "a limit that compaction ignores",
      "/responses/compact",
      { model: "m", input: "x", max_output_tokens: 1 },
      { outputTokensMax: null },
    ],
    [
      "nulls",
      "/chat/completions",
      { ...CHAT, max_tokens: null, n: null, tools: null, stream: null, metadata: null },
      { outputTokensMax: null, choices: 1 },
    ],
    ["n", "/chat/completions", { ...CHAT, n: 4 }, { choices: 4 }],
    [
      "images",
      "/chat/completions",
      {
        ...CHAT,
        messages: [{ role: "user", content: [image, { type: "text", text: "x" }, image] }],
      },
      { images: 2 },
    ],
    [
      "audio in and out",
      "/chat/completions",
      {
        ...CHAT,
        modalities: ["text", "audio"],
        messages: [
          {
            role: "user",
            content: [{ type: "input_audio", input_audio: { data: "A", format: "wav" } }],
          },
        ],
      },
      { audioInput: true, audioOutput: true, unbounded: [] },
    ],
    [
      "kept audio",
      "/chat/completions",
      { ...CHAT, messages: [{ role: "assistant", audio: { id: "audio_1" } }] },
      { unbounded: ["stored_context"] },
    ],
    [
      "a file",
      "/chat/completions",
      {
        ...CHAT,
        messages: [{ role: "user", content: [{ type: "file", file: { file_id: "file-1" } }] }],
      },
      { unbounded: ["file"] },
    ],
    [
      "function tools",
      "/chat/completions",
      {
        ...CHAT,
        tools: [
          { type: "function", function: { name: "f" } },
          { type: "custom", custom: { name: "g" } },
        ],
      },
      { unbounded: [] },
    ],
    [
      "web search",
      "/chat/completions",
      { ...CHAT, web_search_options: {} },
      { unbounded: ["hosted_tool:web_search"] },
    ],
    [
      "a searching model, which only its route tells",
      "/chat/completions",
      { ...CHAT, model: "gpt-4o-search-preview" },
      { unbounded: [] },
    ],
    [
      "priority",
      "/chat/completions",
      { ...CHAT, service_tier: "priority" },
      { unbounded: [], serviceTier: "priority" },
    ],
    [
      "a tier that is no name",
      "/chat/completions",
      { ...CHAT, service_tier: "a b\n" },
      { serviceTier: "a_b_" },
    ],
    ["no tier", "/chat/completions", CHAT, { serviceTier: null }],
    [
      "prediction",
      "/chat/completions",
      { ...CHAT, prediction: { type: "content", content: "x" } },
      { unbounded: ["prediction"] },
    ],
    [
      "fallback models",
      "/chat/completions",
      { ...CHAT, models: ["a", "b"] },
      { unbounded: ["model_fallback"] },
    ],
    [
      "responses",
      "/responses",
      { model: "m", input: "x", max_output_tokens: 7 },
      { outputTokensMax: 7, unbounded: [] },
    ],
    [
      "stored",
      "/responses",
      { model: "m", input: "x", previous_response_id: "r" },
      { unbounded: ["stored_context"] },
    ],
    [
      "conversation",
      "/responses",
      { model: "m", conversation: { id: "c" } },
      { unbounded: ["stored_context"] },
    ],
    [
      "item by id",
      "/responses",
      { model: "m", input: [{ type: "item_reference", id: "i" }] },
      { unbounded: ["stored_context"] },
    ],
    [
      "own items with ids",
      "/responses",
      {
        model: "m",
        input: [
          {
            type: "message",
            id: "msg_1",
            role: "assistant",
            content: [{ type: "output_text", text: "x" }],
          },
          { id: "msg_2", role: "assistant", content: "x" },
          { type: "function_call", id: "fc_1", call_id: "c", name: "f", arguments: "" },
          { type: "function_call_output", id: "fco_1", call_id: "c", output: "x" },
          { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "x" },
        ],
      },
      { unbounded: [] },
    ],
    [
      "an id alone",
      "/responses",
      { model: "m", input: [{ id: "msg_1" }] },
      { unbounded: ["stored_context"] },
    ],
    [
      "an id and no content",
      "/responses",
      { model: "m", input: [{ id: "msg_1", role: "assistant", content: [] }] },
      { unbounded: ["stored_context"] },
    ],
    [
      "kept reasoning",
      "/responses",
      { model: "m", input: [{ type: "reasoning", id: "rs_1", summary: [] }] },
      { unbounded: ["stored_context"] },
    ],
    [
      "a kept search",
      "/responses",
      {
        model: "m",
        input: [
          { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search" } },
        ],
      },
      { unbounded: ["stored_context"] },
    ],
    [
      "both payloads of an image",
      "/chat/completions",
      {
        ...CHAT,
        messages: [
          {
            role: "user",
            content: [
              { type: "text", text: "x", image_url: { url: "a" }, image: "b", input_image: "c" },
            ],
          },
        ],
      },
      { images: 3 },
    ],
    [
      "more names than are told",
      "/responses",
      {
        model: "m",
        input: "x",
        tools: Array.from({ length: 50 }, (_, index) => ({ type: `t${index}${"x".repeat(99)}` })),
      },
      {
        unbounded: expect.toSatisfy(
          (names: readonly string[]) =>
            names.length === 9 &&
            names[8] === "+42 more" &&
            names.every((name) => name.length <= 64),
        ),
      },
    ],
    ...[
      "enable_search",
      "web_search",
      "search",
      "extra_body",
      "tool_resources",
      "cached_content",
      "search_settings",
      "search_options",
      "compound_custom",
      "enable_code_interpreter",
      "connectors",
      "mcp_servers",
      "fallbacks",
      "route",
      "provider",
      "preset",
      "deferred",
      "chat_template",
      "mm_processor_kwargs",
      "media_io_kwargs",
    ].flatMap((name): [string, string, object, object][] => [
      [name, "/chat/completions", { ...CHAT, [name]: {} }, { unbounded: [expect.any(String)] }],
      [`no ${name}`, "/chat/completions", { ...CHAT, [name]: false }, { unbounded: [] }],
    ]),
    [
      "beams",
      "/chat/completions",
      { ...CHAT, use_beam_search: true, best_of: 4, n: 2 },
      { choices: 8 },
    ],
    ["the best of a chat", "/chat/completions", { ...CHAT, best_of: 4 }, { choices: 4 }],
    [
      "names of a schema in any case",
      "/chat/completions",
      {
        ...CHAT,
        tools: [
          {
            type: "function",
            function: {
              name: "f",
              parameters: { type: "object", properties: { Type: { type: "string" }, ID: {} } },
            },
          },
        ],
      },
      { unbounded: [], images: 0 },
    ],
    [
      "input image",
      "/responses",
      { model: "m", input: [{ role: "user", content: [{ type: "input_image", file_id: "f" }] }] },
      { images: 1, unbounded: [] },
    ],
    [
      "input file",
      "/responses",
      {
        model: "m",
        input: [{ role: "user", content: [{ type: "input_file", file_data: "data:x" }] }],
      },
      { unbounded: ["file"] },
    ],
    [
      "a citation",
      "/responses",
      {
        model: "m",
        input: [
          {
            type: "message",
            role: "assistant",
            content: [
              {
                type: "output_text",
                text: "x",
                annotations: [{ type: "file_citation", file_id: "f", index: 0, filename: "a" }],
              },
            ],
          },
        ],
      },
      { unbounded: [] },
    ],
    [
      "hosted tools",
      "/responses",
      {
        model: "m",
        input: "x",
        max_tool_calls: 1,
        tools: [
          { type: "web_search" },
          { type: "mcp", server_url: "u" },
          { type: "function", name: "f" },
          { type: "local_shell" },
        ],
      },
      { unbounded: ["hosted_tool:mcp", "hosted_tool:web_search"] },
    ],
    ["deferred", "/chat/completions", { ...CHAT, deferred: true }, { unbounded: ["deferred"] }],
    [
      "a template of its own",
      "/chat/completions",
      { ...CHAT, chat_template_kwargs: { chat_template: "{% for i in range(9) %}" } },
      { unbounded: ["chat_template"] },
    ],
    [
      "what the server's template is told",
      "/chat/completions",
      { ...CHAT, chat_template_kwargs: { enable_thinking: false } },
      { unbounded: [] },
    ],
    [
      "tools by a member",
      "/chat/completions",
      {
        ...CHAT,
        tools: [{ google_search: {} }, { type: null, web_search: {} }, { code_execution: {} }],
      },
      {
        unbounded: expect.arrayContaining([
          "hosted_tool:untyped",
          "hosted_tool:google_search",
          "hosted_tool:web_search",
          "hosted_tool:code_execution",
        ]),
      },
    ],
    [
      "a tool by a member beside a function",
      "/chat/completions",
      { ...CHAT, tools: [{ type: "function", function: { name: "f" }, google_search: {} }] },
      { unbounded: ["hosted_tool:google_search"] },
    ],
    [
      "a tool by a member in another spelling",
      "/chat/completions",
      { ...CHAT, tools: [{ type: "function", function: { name: "f" }, codeExecution: {} }] },
      { unbounded: ["hosted_tool:codeExecution"] },
    ],
    [
      "tools by name alone",
      "/chat/completions",
      { ...CHAT, tools: ["web_search"] },
      { unbounded: ["hosted_tool:untyped"] },
    ],
    [
      "a tool without a type and a name",
      "/chat/completions",
      { ...CHAT, tools: [{}] },
      { unbounded: ["hosted_tool:untyped"] },
    ],
    [
      "functions without a type",
      "/chat/completions",
      {
        ...CHAT,
        tools: [
          { function: { name: "f", parameters: {} } },
          { name: "g", description: "x", input_schema: {}, strict: null },
        ],
      },
      { unbounded: [] },
    ],
    [
      "tools in a namespace",
      "/responses",
      {
        model: "m",
        input: "x",
        tools: [{ type: "namespace", name: "n", tools: [{ type: "code_interpreter" }] }],
      },
      { unbounded: ["hosted_tool:code_interpreter"] },
    ],
    [
      "tools in the input",
      "/responses",
      { model: "m", input: [{ type: "additional_tools", tools: [{ type: "file_search" }] }] },
      { unbounded: ["hosted_tool:file_search"] },
    ],
    [
      "background",
      "/responses",
      { model: "m", input: "x", background: true },
      { unbounded: ["background"] },
    ],
    [
      "prompts",
      "/completions",
      { model: "m", prompt: ["a", "b", "c"], n: 2, best_of: 4, max_tokens: 0 },
      { choices: 12, outputTokensMax: 0 },
    ],
    ["one prompt of tokens", "/completions", { model: "m", prompt: [1, 2, 3] }, { choices: 1 }],
    [
      "embeddings",
      "/embeddings",
      { model: "m", input: [[1, 2], [3]] },
      { producesTokens: false, unbounded: [], inputBytes: 33 },
    ],
    [
      "images of any model",
      "/images/generations",
      { model: "gpt-image-1", prompt: "x", n: 2 },
      { fixed: { images: 2 }, choices: 2, producesTokens: false, images: 0, unbounded: [] },
    ],
    [
      "images of images",
      "/images/generations",
      { model: "m", prompt: "x", image: "https://x.test/a.png" },
      { fixed: { images: 1 }, images: 1, unbounded: [] },
    ],
    [
      "images of a list of images",
      "/images/generations",
      { model: "m", prompt: "x", images: ["https://x.test/a.png"] },
      { unbounded: ["images"] },
    ],
    [
      "speech of any model",
      "/audio/speech",
      { model: "gpt-4o-mini-tts", input: "a🌧b", voice: "alloy" },
      { fixed: { characters: 3 }, producesTokens: false, unbounded: [] },
    ],
    [
      "speech of nothing that is read here",
      "/audio/speech",
      { model: "m", ssml: "<speak>Hello</speak>" },
      { unbounded: ["characters"] },
    ],
  ];
  test.each(rows)("%s", (_name, path, body, demand) => {
    expect(ask(path, body).demand).toMatchObject(demand);
  });

  test("bytes bound the text, with room for what templates and tools add", () => {
    const bytes = JSON.stringify(CHAT).length;
    expect(ask("/chat/completions", CHAT).demand.inputBytes).toBe(bytes + 256);
    const tooled = { ...CHAT, tools: [{ type: "function", function: { name: "f" } }] };
    expect(ask("/chat/completions", tooled).demand.inputBytes).toBe(
      JSON.stringify(tooled).length + 1_280,
    );
  });

  test("stream, usage, model and metadata", () => {
    const asked = ask("/chat/completions", {
      ...CHAT,
      stream: true,
      stream_options: { include_usage: true },
      metadata: { tollgate_run: "r", a: "b" },
    });
    expect(asked).toMatchObject({
      model: "gpt-5-mini",
      stream: true,
      wantsUsage: true,
      metadata: { run: "r" },
    });
    expect(
      ask("/chat/completions", { ...CHAT, stream: true, stream_options: { include_usage: false } })
        .wantsUsage,
    ).toBe(false);
    expect(ask("/openai/deployments/dep/chat/completions", CHAT).model).toBe("dep");
    expect(ask("/openai/deployments/dep/chat/completions", { messages: [] }).model).toBe("dep");
    expect(ask("/moderations", { input: "x" }).model).toBe(null);
    const odd = ask(
      "/chat/completions",
      '{"model":"m","metadata":{"tollgate___proto__":"x"}}',
    ).metadata;
    expect(Object.hasOwn(odd, "__proto__")).toBe(true);
    expect(Object.getPrototypeOf(odd)).toBe(Object.prototype);
  });
});

test("members that nothing bounds stand there once, and in lower case", () => {
  for (const name of ["deferred", "preset", "route", "provider", "chat_template"]) {
    const doubled = `{"model":"m","messages":[],"${name}":false,"${name}":true}`;
    expect(() => ask("/chat/completions", doubled)).toThrow(InputError);
    const shouted = `{"model":"m","messages":[],"${name.toUpperCase()}":true}`;
    expect(() => ask("/chat/completions", shouted)).toThrow(InputError);
  }
});

test("forms are read for model and number, and a recording's length is told as unbounded", () => {
  expect(
    classifyMultipart(route("/audio/transcriptions"), { model: "whisper-1", stream: "True" }),
  ).toMatchObject({
    model: "whisper-1",
    stream: true,
    demand: { audioInput: true, unbounded: ["audio_duration"] },
  });
  expect(
    classifyMultipart(route("/images/edits"), { model: "gpt-image-1", n: "3" }).demand,
  ).toMatchObject({ choices: 3, images: 17, unbounded: [] });
  expect(() => classifyMultipart(route("/images/edits"), { n: "x" })).toThrow(InputError);
  expect(() => classifyMultipart(route("/audio/translations"), {})).toThrow(InputError);
});
