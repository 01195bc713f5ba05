import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPglite } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
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
      aliases: {
        fast: "openai/gpt-4o-search-preview",
        plain: "openai/gpt-4o-mini",
        voice: "openai/gpt-4o-mini-tts",
        picture: "openai/gpt-image-2",
        "gpt-image-1": "openai/gpt-image-2",
      },
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
    call(`${tollgate.url}${path.startsWith("/openai") ? "" : "/v1"}${path}`, {
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

  test("a maximum of output is advised where it is all that is missing", async () => {
    const body = { model: "gpt-3.5-turbo-instruct", prompt: "x" };
    const advised = /\(output_tokens\).*Set a maximum of output tokens/;
    expect(errorOf(await ask(tenant, ["/completions", body])).message).toMatch(advised);
    const more = errorOf(await ask(tenant, ["/completions", { ...body, prompt_embeds: "AAAA" }]));
    expect(more.message).toMatch(/\(.+, output_tokens\)/);
    expect(more.message).not.toContain("Set a maximum");
  });

  const INSTEAD: readonly [string, object, RegExp, string | null][] = [
    ["what is stored", { previous_response_id: "resp_1" }, /Send the input in full/, null],
    ["the background", { background: true }, /Ask without `background`/, "background"],
  ];
  test.each(INSTEAD)("of %s it is said what to send instead", async (_, more, advised, param) => {
    const asked = { model: RATES, input: "Hi", max_output_tokens: 9, ...more };
    const error = errorOf(await ask(tenant, ["/responses", asked]));
    expect([error.message, error.param]).toEqual([expect.stringMatching(advised), param]);
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

  const HIDDEN: readonly [string, Ask, string][] = [
    ["a model that searches", chatOf("openai/gpt-4o-search-preview"), "hosted_tool:web_search"],
    ["an alias of one", chatOf("fast"), "hosted_tool:web_search"],
    [
      "a deployment of one",
      ["/openai/deployments/fast/chat/completions", { messages: MESSAGES, max_tokens: 9 }],
      "hosted_tool:web_search",
    ],
    [
      "a response of one",
      ["/responses", { model: "fast", input: "Hi", max_output_tokens: 9 }],
      "hosted_tool:web_search",
    ],
    ["an alias of a voice", ["/audio/speech", { model: "voice", input: "Hi" }], "audio_output"],
    [
      "an alias of a painter",
      ["/images/generations", { model: "picture", prompt: "x" }],
      "image_output",
    ],
    [
      "a painter by the name of another",
      ["/images/generations", { model: "gpt-image-1", prompt: "x" }],
      "image_output",
    ],
  ];
  test.each(HIDDEN)("%s is refused", async (_, asked, name) => {
    const before = upstream.journal.length;
    const answer = await ask(tenant, asked);
    expect([answer.status, errorOf(answer).code]).toEqual([403, "cost_unbounded"]);
    expect(errorOf(answer).message).toContain(`(${name})`);
    expect(upstream.journal).toHaveLength(before);
  });

  test("a policy that has a call go to a model that searches has it refused", async () => {
    const routed = await tollgate.tenant();
    const manage = async (path: string, body: object): Promise<Record<string, string>> => {
      const answer = await call(`${tollgate.url}/api${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tollgate.adminKey}`,
          "content-type": "application/json",
        },
        body: JSON.stringify({ tenant: routed.id, ...body }),
      });
      return JSON.parse(answer.text);
    };
    const source = policies(
      policy("r", "resource.name == 'plain'", "effect: allow, obligations: { model: fast }"),
    );
    const { version } = await manage("/policies", { source });
    await manage(`/policies/${String(version)}/activate`, {});
    const answer = await ask(routed, chatOf("plain"));
    expect([answer.status, errorOf(answer).code]).toEqual([403, "cost_unbounded"]);
    expect((await ask(routed, chatOf("openai/gpt-4o-mini"))).status).toBe(200);
  });

  test("images by the token are bounded by what their model draws at most", async () => {
    const asked: Ask = ["/images/generations", { model: "openai/gpt-image-1", prompt: "x", n: 2 }];
    const answer = await ask(tenant, asked);
    expect(answer.status).toBe(200);
    const [row] = await tollgate.ledger<{ held: string }>(
      `select s.reserved_picousd::text as held from settlements s join decisions d using (tenant_id, attempt_id)
       where d.tenant_id = $1 and d.resource = $2`,
      [tenant.id, "openai/gpt-image-1"],
    );
    expect(BigInt(row?.held ?? 0)).toBeGreaterThan(2n * 6_540n * 40_000_000n);
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
