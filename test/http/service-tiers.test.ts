import { afterAll, beforeAll, expect, test } from "vitest";
import { picousdFromUsd } from "../../src/core/money.ts";
import { describeEachDatabase } from "../support/databases.ts";
import type { Json } from "../support/management.ts";
import { chatAnswer, chatFrames, responseAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call } from "./http-call.ts";

/** 86 uncached tokens, 1,920 from the cache, 300 out: `test/fixtures/usage/openai-chat.json`. */
const USAGE = { input: 2_006, cached: 1_920, output: 300, reasoning: 192 };
const DATED = "gpt-5-2025-08-07";
const MESSAGES = [{ role: "user" as const, content: "Hi" }];
const ASKED = { model: "gpt-5", messages: MESSAGES, max_completion_tokens: 400 };

/** What OpenAI's list says of that usage, by the tier that the answer states. */
const COSTS = { default: "0.0033475", flex: "0.00167375", priority: "0.006695" } as const;
type Tier = keyof typeof COSTS;

describeEachDatabase("a shipped service tier", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      upstreamConfig: { models: ["gpt-*"], priceList: "openai" },
    });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const attemptOf = async (decision: string | null): Promise<Json> => {
    await tollgate.settled();
    const headers = { authorization: `Bearer ${tenant.key}` };
    const url = `${tollgate.url}/api/decisions/${String(decision)}`;
    return JSON.parse((await call(url, { method: "GET", headers, body: null })).text);
  };
  const isCharged = async (decision: string | null, served: Tier) => {
    const attempt = await attemptOf(decision);
    expect([attempt.basis, attempt.cost_usd]).toEqual(["computed", COSTS[served]]);
    expect(picousdFromUsd(attempt.estimate_usd)).toBeGreaterThan(picousdFromUsd(COSTS[served]));
    return attempt;
  };

  const SERVED: readonly [Tier, Tier][] = [
    ["flex", "flex"],
    ["flex", "default"],
    ["priority", "priority"],
    ["priority", "default"],
  ];
  test.each(SERVED)("asked for as %s and served as %s costs the latter", async (asked, served) => {
    const body = { ...chatAnswer(DATED, "Yes.", USAGE), service_tier: served };
    upstream.next(() => ({ kind: "json", body }));
    const { data, response } = await tenant.client.chat.completions
      .create({ ...ASKED, service_tier: asked })
      .withResponse();
    expect(data.service_tier).toBe(served);
    await isCharged(response.headers.get("tollgate-decision"), served);
  });

  test("is read from a stream, whose chunks state it", async () => {
    const frames = chatFrames(DATED, ["Ye", "s."], USAGE).map((frame) =>
      frame.replaceAll('"service_tier":"default"', '"service_tier":"flex"'),
    );
    upstream.next(() => ({ kind: "sse", frames }));
    const { data, response } = await tenant.client.chat.completions
      .create({ ...ASKED, service_tier: "flex", stream: true })
      .withResponse();
    for await (const chunk of data) expect(chunk.service_tier ?? "flex").toBe("flex");
    await isCharged(response.headers.get("tollgate-decision"), "flex");
  });

  test("is read from a response object", async () => {
    const body = { ...responseAnswer(DATED, "Yes.", USAGE), service_tier: "flex" };
    upstream.next(() => ({ kind: "json", body }));
    const { response } = await tenant.client.responses
      .create({ model: "gpt-5", input: "Hi", max_output_tokens: 400, service_tier: "flex" })
      .withResponse();
    await isCharged(response.headers.get("tollgate-decision"), "flex");
  });

  test("that is dearer is reserved at its own rates, one that is cheaper at the ordinary ones", async () => {
    const estimates: bigint[] = [];
    for (const tier of ["default", "flex", "priority"] as const) {
      const body = { ...chatAnswer(DATED, "Yes.", USAGE), service_tier: tier };
      upstream.next(() => ({ kind: "json", body }));
      const { response } = await tenant.client.chat.completions
        .create({ ...ASKED, service_tier: tier })
        .withResponse();
      const { record, estimate_usd } = await attemptOf(response.headers.get("tollgate-decision"));
      const bytes = BigInt(record.estimate.input_bytes);
      estimates.push(
        picousdFromUsd(estimate_usd) - bytes * (tier === "priority" ? 2_500_000n : 1_250_000n),
      );
    }
    expect(estimates).toEqual([4_000_000_000n, 4_000_000_000n, 8_000_000_000n]);
  });
});
