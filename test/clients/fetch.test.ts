import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import * as answers from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Exchange,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

const USAGE = { input: 12, output: 7 };

/**
 * An upstream that tells usage only to who asks for it, in the way of OpenAI: so what a client sees
 * directly can differ from what the gateway sees.
 */
const TEXTS = ["Hé", "llo 👋", "\n", ' "usage":null ', "data: [DONE]"];

type Served = {
  readonly name: string;
  readonly path: string;
  readonly body: object;
  readonly of: Choose;
};
type Choose = (asked: boolean) => readonly string[];

const CHAT = { model: MODEL, messages: [{ role: "user", content: "hi" }] };

const SERVED: readonly Served[] = [
  {
    name: "chat",
    path: "/chat/completions",
    body: CHAT,
    of: (asked) => answers.chatFrames(MODEL, TEXTS, asked ? USAGE : null),
  },
  {
    name: "chat, CRLF and comments",
    path: "/chat/completions",
    body: CHAT,
    of: (asked) => dressed(answers.chatFrames(MODEL, TEXTS, asked ? USAGE : null)),
  },
  {
    name: "legacy completions",
    path: "/completions",
    body: { model: MODEL, prompt: "hi" },
    of: completionFrames,
  },
  {
    name: "responses",
    path: "/responses",
    body: { model: MODEL, input: "hi" },
    of: () => answers.responseFrames(MODEL, TEXTS, USAGE),
  },
];

describeOnPostgres("a client that is no library", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });
  const read = async (base: string, path: string, body: object): Promise<string> => {
    const answer = await fetch(base + path, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(200);
    return Buffer.from(await answer.arrayBuffer()).toString("latin1");
  };

  describe.each(SERVED)("streaming $name", ({ path, body, of }) => {
    test.each([1, 7, 100_000])(
      "cut every %i bytes sees the bytes of the upstream",
      async (size) => {
        upstream.otherwise((exchange) => stream(cut(of(asksUsage(exchange)).join(""), size)));
        const direct = await read(upstream.url, path, { ...body, stream: true });
        const through = await read(`${tollgate.url}/v1`, path, { ...body, stream: true });
        expect(through).toBe(direct);
      },
    );

    test("that asks for usage sees it", async () => {
      upstream.otherwise((exchange) => stream(cut(of(asksUsage(exchange)).join(""), 50)));
      const asking = { ...body, stream: true, stream_options: { include_usage: true } };
      const direct = await read(upstream.url, path, asking);
      expect(await read(`${tollgate.url}/v1`, path, asking)).toBe(direct);
      expect(direct).toContain("total_tokens");
    });
  });

  test("an answer that is no stream comes byte by byte as it was sent", async () => {
    const odd =
      ' {"id" : 9007199254740993, "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},\n\t"x":1.0e2}';
    upstream.otherwise({ kind: "bytes", frames: [odd] });
    expect(await read(`${tollgate.url}/v1`, "/chat/completions", CHAT)).toBe(odd);
  });

  test("a body that needs no edit crosses unchanged: numbers, order and spaces", async () => {
    upstream.otherwise({ kind: "json", body: answers.chatAnswer(MODEL, "ok", USAGE) });
    const body = ` {"seed":  9007199254740993, "messages":[{"role":"user","content":"\\u00e9"}],"max_completion_tokens":5,"model":"${MODEL}"} `;
    const answer = await fetch(`${tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body,
    });
    expect(answer.status).toBe(200);
    expect(Buffer.from(upstream.journal.at(-1)?.body ?? []).toString()).toBe(body);
  });

  test("the query and the client's own headers cross, and hop-by-hop ones do not", async () => {
    upstream.otherwise({ kind: "json", body: { object: "list", data: [] } });
    const sent = request(`${tollgate.url}/v1/files?after=a%20b&limit=2`, {
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "x-mine": "yes",
        connection: "close, x-nominated",
        "x-nominated": "no",
        cookie: "session=1",
      },
    }).end();
    await new Promise((resolve) =>
      sent.once("response", (answer) => answer.resume().once("end", resolve)),
    );
    const seen = upstream.journal.at(-1);
    expect(seen?.path).toBe("/v1/files?after=a%20b&limit=2");
    expect(seen?.headers).toMatchObject({ "x-mine": "yes" });
    for (const name of ["x-nominated", "cookie"]) expect(seen?.headers[name]).toBeUndefined();
  });
});

function stream(frames: readonly string[]): Script {
  return { kind: "sse", frames: frames.map((frame) => Buffer.from(frame, "latin1")) };
}

/** The UTF-8 bytes in pieces of one size, so that cuts fall inside characters too. */
function cut(text: string, size: number): string[] {
  const bytes = Buffer.from(text).toString("latin1");
  return bytes.match(new RegExp(`[^]{1,${size}}`, "gu")) ?? [];
}

function asksUsage({ body }: Exchange): boolean {
  const asked = JSON.parse(Buffer.from(body).toString()) as {
    stream_options?: { include_usage?: boolean };
  };
  return asked.stream_options?.include_usage === true;
}

/** The same events as other servers write them. */
function dressed(frames: readonly string[]): string[] {
  return [": hello\r\n\r\n", ...frames.map((frame) => frame.replaceAll("\n", "\r\n"))];
}

function completionFrames(asked: boolean): string[] {
  const chunk = (choices: readonly unknown[], usage: unknown): string => {
    const common = { id: "cmpl-scripted", object: "text_completion", created: 1, choices };
    return `data: ${JSON.stringify({ ...common, model: MODEL, ...(asked ? { usage } : {}) })}\n\n`;
  };
  const choice = (text: string, finish_reason: string | null) => [
    { text, index: 0, logprobs: null, finish_reason },
  ];
  return [
    ...TEXTS.map((text) => chunk(choice(text, null), null)),
    chunk(choice("", "stop"), null),
    ...(asked ? [chunk([], answers.chatUsage(USAGE))] : []),
    "data: [DONE]\n\n",
  ];
}
