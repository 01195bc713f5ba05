/** Events that are like those before are not read through: what comes out is what reading each byte gives. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventsAlike, templateOf } from "../../../src/dialects/openai/alike.ts";
import { createMeter } from "../../../src/dialects/openai/meter.ts";

const ROUTE = {
  operation: "chat",
  billing: "metered",
  path: "/x",
  body: "json",
  pathModel: null,
} as const;

/** What stands in a word, or looks as if it ended it. */
const WORDS = fc.oneof(
  { weight: 6, arbitrary: fc.string({ maxLength: 12 }) },
  fc.constantFrom(
    '","usage":null}',
    '"},"usage":null}',
    "usage",
    '"usage"',
    "\\",
    '\\"',
    "[DONE]",
    "data: [DONE]",
    "event: error",
    '"error":{"message":"m"}',
    '"tool_calls":[{"index":0}]',
    "\r",
    "\r\r",
    "\n\n",
    "ü€😀",
  ),
);

const NULLS = [',"usage":null', ', "usage" : null', "", ',"usage":null,"x":1'] as const;

/** One event of a chat: mostly plain, at times one that says something. */
function eventsOf(null_: (typeof NULLS)[number]) {
  const plain = WORDS.map(
    (word) =>
      `data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":${JSON.stringify(word)}},"finish_reason":null}]${null_}}\n\n`,
  );
  const other = fc.constantFrom(
    'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n',
    'data: {"id":"c-1","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a","tool_calls":[{"index":0,"id":"i","function":{"name":"f","arguments":"{}"}}]},"finish_reason":null}],"usage":null}\n\n',
    'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"length"}],"usage":null}\n\n',
    'data: {"usage":null,"id":"c-1","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    'data: {"id":"c-1","object":"chat.completion.chunk",\ndata: "created":1,"model":"m","choices":[],"usage":null}\n\n',
    'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"crlf"},"finish_reason":null}],"usage":null}\r\n\r\n',
    'event: error\ndata: {"error":{"message":"m"}}\n\n',
    ": ping\n\n",
    "data: [DONE]\n\n",
    "data: {broken\n\n",
  );
  return fc.oneof({ weight: 8, arbitrary: plain }, other);
}

const streams = fc.constantFrom(...NULLS).chain((null_) =>
  fc.record({
    events: fc.array(eventsOf(null_), { minLength: 1, maxLength: 30 }),
    sizes: fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 12 }),
    hides: fc.boolean(),
  }),
);

function hear(bytes: Uint8Array, hides: boolean, sizes: readonly number[]) {
  const meter = createMeter(ROUTE, { stream: true, hideUsage: hides });
  const out: Uint8Array[] = [];
  for (let from = 0, at = 0; from < bytes.length; at += 1) {
    const size = sizes[at % sizes.length] ?? 1;
    out.push(Uint8Array.from(meter.push(bytes.subarray(from, from + size))));
    from += size;
  }
  out.push(meter.flush());
  return {
    out: Buffer.concat(out).toString("latin1"),
    reading: meter.reading(),
    text: meter.deliveredText(),
  };
}

describe("a stream meter that has seen such events before", () => {
  test("gives, reads and counts what it does byte by byte", () => {
    fc.assert(
      fc.property(streams, ({ events, sizes, hides }) => {
        const bytes = Buffer.from(events.join(""));
        expect(hear(bytes, hides, sizes)).toEqual(hear(bytes, hides, [1]));
      }),
      { numRuns: 3_000 },
    );
  });
});

const event = (word: string, more = "") =>
  `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"${word}"}${more}}],"usage":null}\n\n`;

const templateFrom = (...events: readonly string[]) => {
  const template = templateOf(Buffer.from(events.join("")), true);
  if (template === null) throw new Error("two such events are alike");
  return template;
};

describe("a template of two plain events", () => {
  const template = templateFrom(event("one"), event("two"));
  const alike = (text: string, from = 0) => eventsAlike(template, Buffer.from(text), from);

  test("takes all events that differ in a word, and cuts their null usage", () => {
    const text = event("a") + event("") + event("somewhat longer");
    const { end, cuts } = alike(text);
    expect(end).toBe(text.length);
    let shown = "";
    let from = 0;
    for (let at = 0; at < cuts.length; at += 2) {
      shown += text.slice(from, cuts[at]);
      from = cuts[at + 1] ?? 0;
    }
    expect(shown + text.slice(from)).toBe(text.replaceAll(',"usage":null', ""));
  });

  test.each([
    ["calls a tool", event("a", ',"tool_calls":[{"index":0}]')],
    ["ends", event("a", ',"finish_reason":"stop"')],
    ["says what was used", event("a").replace('"usage":null', '"usage":{"total_tokens":1}')],
    ["has another line", event('a"\ndata: "')],
    ["has another line end", event("a").replaceAll("\n", "\r\n")],
    ["is cut", event("a").slice(0, -1)],
    ["has another model", event("a").replace("chatcmpl-1", "chatcmpl-2")],
  ])("leaves an event that %s, and what follows it", (_, other) => {
    const text = event("a") + other + event("b");
    expect(alike(text).end).toBe(event("a").length);
  });

  test("is not made of one event, of others, or of line ends of two kinds", () => {
    expect(templateOf(Buffer.from(event("one")), true)).toBeNull();
    expect(templateOf(Buffer.from(`: ping\n\n${event("one")}`), true)).toBeNull();
    expect(
      templateOf(Buffer.from(event("a") + event("b").replaceAll("\n", "\r\n")), true),
    ).toBeNull();
  });
});
