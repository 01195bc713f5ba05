import { describe, expect, test } from "vitest";

import type { Operation } from "../../../src/core/intent.ts";
import {
  STREAM_LINE_BYTES_MAX,
  TOOL_CALL_WORD_CHARS_MAX,
  TOOL_CALLS_CHARS_MAX,
  TOOL_CALLS_MAX,
  TOOL_CALLS_READ_BYTES_MAX,
} from "../../../src/core/limits.ts";
import type { Proposal } from "../../../src/core/proposal.ts";
import type { Route } from "../../../src/dialects/dialect.ts";
import { createMeter } from "../../../src/dialects/openai/meter.ts";
import { proposalsOf } from "../../../src/dialects/proposed.ts";
import { canonicalJson } from "../../../src/lib/canonical-json.ts";
import { parseExactJson } from "../../../src/lib/exact-json.ts";
import { sha256Hex } from "../../../src/lib/hash.ts";

function route(operation: Operation): Route {
  return { operation, billing: "metered", path: "/x", body: "json", pathModel: null };
}

type Heard = { readonly proposals: readonly Proposal[] | null; readonly hasMore: boolean };

/** What a meter heard of chunks, all of which must have passed as they were. */
function hear(operation: Operation, stream: boolean, chunks: readonly Uint8Array[]): Heard {
  const meter = createMeter(route(operation), { stream, hideUsage: false });
  const out = chunks.map((chunk) => Buffer.from(meter.push(chunk)));
  out.push(Buffer.from(meter.flush()));
  expect(Buffer.concat(out).equals(Buffer.concat(chunks))).toBe(true);
  const { proposed } = meter.reading();
  if (proposed === null || proposed === undefined) return { proposals: null, hasMore: false };
  return { proposals: proposalsOf(proposed), hasMore: proposed.hasMore };
}

const answered = (operation: Operation, json: object): Heard =>
  hear(operation, false, [Buffer.from(JSON.stringify(json))]);

const events = (jsons: readonly object[], end = "data: [DONE]\n\n"): string =>
  `${jsons.map((json) => `data: ${JSON.stringify(json)}\n\n`).join("")}${end}`;

/** Whole, cut in two at every byte, and byte by byte: all must be heard alike. */
function streamed(operation: Operation, text: string): Heard {
  const bytes = Buffer.from(text);
  const whole = hear(operation, true, [bytes]);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const parts = [bytes.subarray(0, cut), bytes.subarray(cut)];
    expect(hear(operation, true, parts), `cut at ${cut}`).toEqual(whole);
  }
  const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
  expect(hear(operation, true, single), "byte by byte").toEqual(whole);
  return whole;
}

/** As the step door digests the arguments of a call. */
function digest(args: string): string {
  return sha256Hex(canonicalJson(parseExactJson(args)?.value));
}

const proposal = (id: string | null, name: string, args: string | null): Proposal => ({
  id,
  name,
  argumentsSha256: args === null ? null : digest(args),
});

const call = (id: string, name: string, args: string): object => ({
  id,
  type: "function",
  function: { name, arguments: args },
});

const message = (calls: readonly unknown[], content: string | null = null): object => ({
  model: "m",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content, tool_calls: calls },
      finish_reason: "tool_calls",
    },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
});

const delta = (calls: readonly object[], choice = 0): object => ({
  model: "m",
  choices: [{ index: choice, delta: { tool_calls: calls }, finish_reason: null }],
});

const piece = (index: number, args: string, begin: object = {}): object => ({
  index,
  ...begin,
  function: { arguments: args },
});

const first = (index: number, id: string, name: string, args = ""): object => ({
  index,
  id,
  type: "function",
  function: { name, arguments: args },
});

const finish = {
  model: "m",
  choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }],
};

describe("the tool calls of a chat", () => {
  test("are heard of a whole answer, short or long, with the digest of their canonical arguments", () => {
    const calls = [
      call("call_1", "read_file", '{"path": "/a", "b": 1e0}'),
      call("call_2", "pay", '{"usd":1}'),
    ];
    const expected = {
      proposals: [
        proposal("call_1", "read_file", '{"b":1,"path":"/a"}'),
        proposal("call_2", "pay", '{"usd":1}'),
      ],
      hasMore: false,
    };
    expect(answered("chat", message(calls))).toEqual(expected);
    expect(answered("chat", message(calls, "a".repeat(10_000)))).toEqual(expected);
  });

  test("keep numbers exact that no float holds", () => {
    const longer = '{"id":12345678901234567891}';
    const rounded = '{"id":12345678901234567890}';
    const heard = answered("chat", message([call("a", "f", longer), call("b", "f", rounded)]));
    expect(heard.proposals).toEqual([proposal("a", "f", longer), proposal("b", "f", rounded)]);
    expect(digest(longer)).not.toBe(digest(rounded));
  });

  test("are assembled from a stream by choice and index, however it is cut", () => {
    const text = events([
      delta([first(0, "call_1", "read_file")]),
      delta([piece(0, '{"path":"/a"')]),
      delta([first(1, "call_2", "pay", '{"usd"')]),
      delta([piece(0, "}"), piece(1, ":12.50")]),
      delta([first(0, "call_3", "pay", '{"usd":')], 1),
      delta([piece(1, "}")]),
      delta([piece(0, "2}")], 1),
      finish,
    ]);
    expect(streamed("chat", text)).toEqual({
      proposals: [
        proposal("call_1", "read_file", '{"path":"/a"}'),
        proposal("call_2", "pay", '{"usd":12.5}'),
        proposal("call_3", "pay", '{"usd":2}'),
      ],
      hasMore: false,
    });
  });

  test("that are told whole under one index are told apart by their ids", () => {
    const text = events([
      delta([first(0, "g1", "f", '{"a":1}')]),
      delta([first(0, "g2", "f", '{"a":2}')]),
      finish,
    ]);
    expect(streamed("chat", text).proposals).toEqual([
      proposal("g1", "f", '{"a":1}'),
      proposal("g2", "f", '{"a":2}'),
    ]);
  });

  test("of the older form have no id, and custom ones no digest", () => {
    const older = { choices: [{ delta: { function_call: { name: "f", arguments: '{"a"' } } }] };
    const more = { choices: [{ delta: { function_call: { arguments: ":1}" } } }] };
    expect(streamed("chat", events([older, more])).proposals).toEqual([
      proposal(null, "f", '{"a":1}'),
    ]);
    const custom = { id: "c", type: "custom", custom: { name: "shell", input: '{"a":1}' } };
    expect(answered("chat", message([custom])).proposals).toEqual([proposal("c", "shell", null)]);
  });

  const NO_DIGEST: readonly (readonly [string, string])[] = [
    ["nothing", ""],
    ["no JSON", "{path: 1}"],
    ["not whole", '{"path":"/a"'],
    ["no object, which could be a piece of one", "12"],
    ["ambiguous", '{"a":1,"a":2}'],
    ["half a character", '{"a":"\\ud83d"}'],
    ["too deep", `{"a":${"[".repeat(200)}${"]".repeat(200)}}`],
    ["too many values", `{"a":[${"1,".repeat(10_000)}1]}`],
    ["a number of too many digits", `{"a":1e${"1".repeat(100)}}`],
  ];
  test.each(NO_DIGEST)("have no digest where the arguments are %s", (_what, args) => {
    expect(answered("chat", message([call("a", "f", args)])).proposals).toEqual([
      proposal("a", "f", null),
    ]);
  });

  test("have no digest where a stream ended, or passed unread, in the middle of them", () => {
    const begun = [delta([first(0, "a", "f", '{"x":"1')])];
    expect(streamed("chat", events(begun, "")).proposals).toEqual([proposal("a", "f", null)]);
    const broken = 'data: {"choices":[{"delta":{"tool_calls":[{"index":0,\n\n';
    const rest = events([delta([piece(0, '2"}')]), finish]);
    expect(streamed("chat", `${events(begun, "")}${broken}${rest}`).proposals).toEqual([
      proposal("a", "f", null),
    ]);
    const long = `data: {"x":"${"a".repeat(2 * STREAM_LINE_BYTES_MAX)}"}\n\n`;
    const text = Buffer.from(`${events(begun, "")}${long}${rest}`);
    const cut = [text.subarray(0, text.length - 600), text.subarray(text.length - 600)];
    expect(hear("chat", true, cut).proposals).toEqual([proposal("a", "f", null)]);
  });

  test("are recorded up to a limit, in words up to a limit, and it is told that there were more", () => {
    const many = Array.from({ length: TOOL_CALLS_MAX + 2 }, (_, at) => call(`c${at}`, "f", "{}"));
    const whole = answered("chat", message(many));
    expect(whole.hasMore).toBe(true);
    expect(whole.proposals).toHaveLength(TOOL_CALLS_MAX);
    const pieces = many.map((_, at) => delta([first(at, `c${at}`, "f", "{}")]));
    expect(hear("chat", true, [Buffer.from(events(pieces))])).toEqual(whole);
    const long = answered(
      "chat",
      message([call("i".repeat(10_000), "n\0\ud83d".repeat(1e3), "{}")]),
    );
    expect(long.proposals?.[0]?.id).toHaveLength(TOOL_CALL_WORD_CHARS_MAX);
    expect(long.proposals?.[0]?.name.slice(0, 4)).toBe("n\uFFFD\uFFFDn");
  });

  test("hold no more of arguments than a limit, and what is shorter keeps its digest", () => {
    const half = `{"x":"${"a".repeat(TOOL_CALLS_CHARS_MAX / 2)}`;
    const text = events([
      delta([first(0, "a", "f", half)]),
      delta([piece(0, "b".repeat(TOOL_CALLS_CHARS_MAX / 2))]),
      delta([piece(0, '"}')]),
      delta([first(1, "b", "f", '{"y":1}')]),
      finish,
    ]);
    const meter = createMeter(route("chat"), { stream: true, hideUsage: false });
    meter.push(Buffer.from(text));
    const { proposed } = meter.reading();
    expect(proposed?.chars).toBe('{"y":1}'.length);
    expect(hear("chat", true, [Buffer.from(text)]).proposals).toEqual([
      proposal("a", "f", null),
      proposal("b", "f", '{"y":1}'),
    ]);
  });

  test("stand not read in an answer that is too long to be built, which is told", () => {
    const long = message([call("a", "f", "{}")], "a".repeat(TOOL_CALLS_READ_BYTES_MAX));
    expect(answered("chat", long)).toEqual({ proposals: [], hasMore: true });
  });
});

describe("an answer that calls nothing", () => {
  const none = { proposals: null, hasMore: false };

  test("has none, though it names the members, or speaks of them", () => {
    expect(answered("chat", message([], '"tool_calls":[{"id":"a"}]'))).toEqual(none);
    expect(answered("chat", message([], `"function_call" ${"a".repeat(5_000)}`))).toEqual(none);
    const said = '{"tool_calls":[{"id":"a","function":{"name":"f"}}]}';
    const deltas = [null, []].map((calls) => ({
      choices: [{ index: 0, delta: { content: said, tool_calls: calls, function_call: null } }],
    }));
    expect(streamed("chat", events(deltas))).toEqual(none);
  });

  test.each(["embeddings", "text_completion", "moderation"] as const)(
    "of %s has none whatever it holds",
    (operation) => {
      expect(answered(operation, message([call("a", "f", "{}")]))).toEqual(none);
    },
  );
});

describe("the tool calls of Responses", () => {
  const item = (id: string, name: string, args: string, status = "completed"): object => ({
    type: "function_call",
    id: `fc_${id}`,
    call_id: id,
    name,
    arguments: args,
    status,
  });
  const response = (output: readonly object[], status = "completed"): object => ({
    id: "resp_1",
    model: "m",
    status,
    output,
    usage: { input_tokens: 1, output_tokens: 1 },
  });
  const executed = { type: "mcp_call", id: "mcp_1", name: "read_file", arguments: "{}" };

  test("are the items for the caller to carry out, and not what the provider has executed", () => {
    const custom = { type: "custom_tool_call", call_id: "c", name: "shell", input: "ls" };
    const output = [item("call_1", "pay", '{"usd":1}'), executed, custom];
    const expected = [proposal("call_1", "pay", '{"usd":1}'), proposal("c", "shell", null)];
    expect(answered("responses", response(output)).proposals).toEqual(expected);
    const long = { ...executed, output: "a".repeat(10_000) };
    expect(answered("responses", response([...output, long])).proposals).toEqual(expected);
    expect(answered("responses", response([executed])).proposals).toBe(null);
  });

  const begun = {
    type: "response.output_item.added",
    output_index: 0,
    item: item("call_1", "pay", "", "in_progress"),
  };
  const part = {
    type: "response.function_call_arguments.delta",
    output_index: 0,
    delta: '{"usd":1}',
  };
  const whole = {
    type: "response.output_item.done",
    output_index: 0,
    item: item("call_1", "pay", '{"usd":1}'),
  };
  const completed = {
    type: "response.completed",
    response: response([
      item("call_1", "pay", '{"usd":1}'),
      executed,
      item("call_2", "f", '{"a":[1.0]}'),
    ]),
  };

  test("are heard of a stream once each, however it is cut", () => {
    const text = events([begun, part, whole, completed], "");
    expect(streamed("responses", text).proposals).toEqual([
      proposal("call_1", "pay", '{"usd":1}'),
      proposal("call_2", "f", '{"a":[1]}'),
    ]);
  });

  test("are known when a stream breaks off: by digest where an item was told whole", () => {
    expect(streamed("responses", events([begun, part], "")).proposals).toEqual([
      proposal("call_1", "pay", null),
    ]);
    expect(streamed("responses", events([begun, part, whole], "")).proposals).toEqual([
      proposal("call_1", "pay", '{"usd":1}'),
    ]);
    const cut = {
      type: "response.incomplete",
      response: response([item("call_1", "pay", '{"us', "incomplete")], "incomplete"),
    };
    expect(streamed("responses", events([begun, cut], "")).proposals).toEqual([
      proposal("call_1", "pay", null),
    ]);
  });
});
