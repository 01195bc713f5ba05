import { connect } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LOOPBACK } from "./child.ts";
import {
  faultOf,
  jsonAnswer,
  MODEL,
  nowMicros,
  SCENARIOS,
  sseEvents,
  STAMP_DIGITS,
  STAMP_MARK,
  STAMPED_EVENTS,
} from "./scenario.ts";
import { servedBy, startTarget, startUpstream, type Target } from "./targets.ts";

const ends: (() => Promise<void>)[] = [];
let port = 0;
let raw: Target;

beforeAll(async () => {
  ({ port } = await startUpstream((end) => ends.push(end)));
  raw = await startTarget("raw", port, (end) => ends.push(end));
});

afterAll(async () => {
  for (const end of ends.toReversed()) await end();
});

const client = (): OpenAI =>
  new OpenAI({ apiKey: "sk-bench", baseURL: `http://${LOOPBACK}:${port}/v1`, maxRetries: 0 });
const messages = [{ role: "user" as const, content: "Hello." }];

test("the official client reads the mock's answer and its usage", async () => {
  const answer = await client().chat.completions.create({ model: MODEL, messages });
  expect(answer.choices[0]?.finish_reason).toBe("stop");
  expect(answer.usage).toEqual({ prompt_tokens: 480, completion_tokens: 58, total_tokens: 538 });
});

test("the mock's stream holds usage exactly when it was asked for", async () => {
  for (const asked of [true, false]) {
    const stream = await client().chat.completions.create({
      model: MODEL,
      messages,
      stream: true,
      ...(asked ? { stream_options: { include_usage: true } } : {}),
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const usages = chunks.flatMap((chunk) => chunk.usage ?? []);
    expect(usages.map((usage) => usage.total_tokens)).toEqual(asked ? [538] : []);
    expect(chunks.filter((chunk) => chunk.choices.length > 0)).toHaveLength(60);
    expect("usage" in chunks[0]!).toBe(asked);
  }
});

test("a paced stream says of each event when it was sent, by this process's clock too", async () => {
  const paced = await startUpstream((end) => ends.push(end), "paced");
  const before = nowMicros();
  const stream = await new OpenAI({
    apiKey: "sk-bench",
    baseURL: `http://${LOOPBACK}:${paced.port}/v1`,
  }).chat.completions.create({ model: MODEL, messages, stream: true });
  const stamps: number[] = [];
  for await (const chunk of stream) {
    const content = chunk.choices[0]?.delta.content ?? "";
    if (content === "") continue;
    expect(content).toMatch(new RegExp(`^${STAMP_MARK}\\d{${STAMP_DIGITS}}$`, "u"));
    stamps.push(Number(content.slice(STAMP_MARK.length)));
  }
  expect(stamps).toHaveLength(STAMPED_EVENTS);
  const inOrder = [before, ...stamps, nowMicros()];
  expect(inOrder.toSorted((a, b) => a - b)).toEqual(inOrder);
});

test("requests and answers have the sizes that the scenarios name", () => {
  expect(SCENARIOS.map(({ body }) => body.length)).toEqual([2_048, 2_048]);
  const sizes = sseEvents(false).map((event) => event.length);
  expect(sizes).toHaveLength(61);
  for (const size of sizes.slice(0, 59)) expect(Math.abs(size - 200)).toBeLessThanOrEqual(10);
});

test("the raw proxy hands on the upstream's bytes, and the upstream counts the call", async () => {
  for (const { name, body } of SCENARIOS) {
    const before = await servedBy(port);
    const call = async (origin: string): Promise<Buffer> => {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body };
      const response = await fetch(`${origin}${raw.path}`, init);
      return Buffer.from(await response.arrayBuffer());
    };
    const through = await call(raw.origin);
    expect(through.equals(await call(`http://${LOOPBACK}:${port}`))).toBe(true);
    expect(faultOf(name, 200, through)).toBeNull();
    expect(await servedBy(port)).toBe(before + 2);
  }
});

/** All that the mock writes until it closes the connection, to requests sent in these parts. */
const exchanged = (parts: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port, noDelay: true });
    let text = "";
    socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    const next = (at: number): void => {
      const part = parts[at];
      if (part !== undefined) socket.write(part, () => setImmediate(() => next(at + 1)));
    };
    next(0);
  });

const post = (body: string, headers: string): string =>
  `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${headers}\r\n${body}`;

test("requests in one packet, in chunks or byte by byte are answered in their order", async () => {
  const stream = '{"stream":true}';
  const requests = [
    post(stream, `content-length: ${stream.length}\r\n`),
    post("2\r\n{}\r\n0\r\n\r\n", "transfer-encoding: chunked\r\n"),
    post("{}", "content-length: 2\r\nconnection: close\r\n"),
  ].join("");
  const whole = await exchanged([requests]);
  const answers = whole.split("HTTP/1.1 200 OK").slice(1);
  expect(answers).toHaveLength(3);
  expect(answers[0]).toContain("[DONE]\n\n\r\n0\r\n\r\n");
  const json = jsonAnswer().toString("latin1");
  expect(answers.slice(1).every((answer) => answer.endsWith(json))).toBe(true);
  expect(await exchanged(requests.split(""))).toBe(whole);
  expect(await exchanged(["hello\r\n\r\n"])).toContain("HTTP/1.1 400 ");
});

test("an answer that is cut, garbled, empty or refused is not taken for a whole one", () => {
  const stream = Buffer.concat(sseEvents(false));
  expect(faultOf("sse", 200, stream)).toBeNull();
  expect(faultOf("sse", 200, stream.subarray(0, -14))).toContain("[DONE]");
  expect(faultOf("sse", 200, stream.subarray(0, 5_000))).not.toBeNull();
  const garbled = Buffer.from(stream.toString("utf8").replace("budget", "gadget"));
  expect(garbled.equals(stream)).toBe(false);
  expect(faultOf("sse", 200, garbled)).toContain("text");
  expect(faultOf("sse", 200, Buffer.alloc(0))).not.toBeNull();
  expect(faultOf("sse", 402, stream)).toContain("402");
  expect(faultOf("json", 200, Buffer.from("{}"))).not.toBeNull();
});
