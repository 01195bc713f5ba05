import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPglite } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { priceOf } from "../support/prices.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { startTollgate, UPSTREAM_KEY, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { errorOf } from "./door.ts";
import { call, type Called } from "./http-call.ts";

/** What no price and no figure of the request bounds reaches no upstream for a strict tenant. */

type Ask = readonly [path: string, body: object];

const MESSAGES = [{ role: "user", content: "Hi" }];
const chatOf = (model: string, more: object = {}): Ask => [
  "/chat/completions",
  { model, messages: MESSAGES, max_tokens: 8_000, ...more },
];
/** A price by tokens of all that is asked here, so that nothing but what is asked is unbounded. */
const RATES = "m";

describeOnPglite("for a strict tenant", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise(({ model }) => ({
      kind: "json",
      body: chatAnswer(model ?? "", "ok", { input: 1_000, output: 2_000 }),
    }));
    const more = {
      kind: "openai",
      baseUrl: upstream.url,
      apiKey: UPSTREAM_KEY,
      headers: {},
      timeoutMs: 60_000,
      outputLimitField: "max_tokens",
      sharedObjects: true,
    } as const;
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      upstreamConfig: { models: [RATES] },
      prices: [priceOf({ model: RATES, outputTokensMax: 1_000 })],
      moreUpstreams: [
        { ...more, name: "mistral", models: ["mistral-*", "voxtral-*"], priceList: "mistral" },
        { ...more, name: "openai", models: ["gpt-*"], priceList: "openai" },
      ],
    });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const ask = ({ key }: Tenant, [path, body]: Ask): Promise<Called> =>
    call(`${tollgate.url}/v1${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const isRefused = async (asked: Ask): Promise<string> => {
    const before = upstream.journal.length;
    const answer = await ask(tenant, asked);
    expect([answer.status, upstream.journal.length - before], answer.text).toEqual([403, 0]);
    return errorOf(answer).code;
  };

  const COUNTED: readonly [string, Ask][] = [
    ["a chat by the second", chatOf("voxtral-mini-latest")],
    ["a chat by the second, elsewhere", chatOf("openai/whisper-1")],
    ["a chat by the character", chatOf("openai/tts-1")],
    [
      "a response",
      ["/responses", { model: "voxtral-mini-latest", input: "Hi", max_output_tokens: 9 }],
    ],
    ["an embedding", ["/embeddings", { model: "voxtral-mini-latest", input: "Hi" }]],
    ["speech by the second", ["/audio/speech", { model: "openai/whisper-1", input: "Hi" }]],
    ["images by the character", ["/images/generations", { model: "openai/tts-1", prompt: "Hi" }]],
    [
      "a chat with sound",
      chatOf("voxtral-mini-latest", {
        messages: [
          {
            role: "user",
            content: [{ type: "input_audio", input_audio: { data: "UklGRg", format: "wav" } }],
          },
        ],
      }),
    ],
  ];
  test.each(COUNTED)("a price by the piece is none of %s", async (_, asked) => {
    expect(await isRefused(asked)).toBe("price_unknown");
  });

  test("a deferred call is refused, as one in the background is", async () => {
    const answer = await ask(tenant, chatOf(RATES, { deferred: true }));
    expect([answer.status, errorOf(answer).param]).toEqual([403, "deferred"]);
  });

  const MEMBERS: readonly [string, object][] = [
    ["chat_template", { chat_template: "{% for i in range(1000000) %}hello {% endfor %}" }],
    ["preset", { preset: "x" }],
    ["hosted_tool:google_search", { tools: [{ google_search: {} }] }],
    ["hosted_tool:web_search", { search_settings: { include_domains: ["a"] } }],
  ];
  test.each(MEMBERS)("%s is refused", async (name, more) => {
    const answer = await ask(tenant, chatOf(RATES, more));
    expect([answer.status, errorOf(answer).code]).toEqual([403, "cost_unbounded"]);
    expect(errorOf(answer).message).toContain(name);
  });

  const SOURCES: readonly [string, object, string][] = [
    [
      "sound by its address",
      { type: "audio_url", audio_url: { url: "http://x/10h.wav" } },
      "audio",
    ],
    ["an address as sound", { type: "input_audio", input_audio: "https://x/10h.mp3" }, "audio"],
    [
      "a film as an image",
      { type: "image_url", image_url: { url: "data:video/mp4;base64,AAAA" } },
      "video",
    ],
  ];
  test.each(SOURCES)("%s is refused, in a chat and to embed", async (_, part, name) => {
    const more = { messages: [{ role: "user", content: [part] }] };
    for (const asked of [
      chatOf(RATES, more),
      ["/embeddings", { model: RATES, ...more }] as const,
    ]) {
      const answer = await ask(tenant, asked);
      expect([answer.status, errorOf(answer).code]).toEqual([403, "cost_unbounded"]);
      expect(errorOf(answer).message).toContain(`(${name})`);
    }
  });

  test("under a tolerant one its cost is unknown, and not nothing", async () => {
    const tolerant = await tollgate.tenant({ mode: "tolerant" });
    const answer = await ask(tolerant, chatOf("voxtral-mini-latest"));
    expect(answer.status).toBe(200);
    const rows = await tollgate.ledger(
      "select basis, cost_picousd, tokens from settlements where tenant_id = $1",
      [tolerant.id],
    );
    expect(rows).toEqual([{ basis: "unpriced", cost_picousd: null, tokens: 3_000n }]);
  });

  test("speech is bounded by its characters", async () => {
    const answer = await ask(tenant, ["/audio/speech", { model: "openai/tts-1", input: "Hello" }]);
    expect([answer.status, answer.headers["tollgate-cost"]]).toEqual([200, "0.000075"]);
  });
});
