import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { priceOf } from "../support/prices.ts";
import { MODEL, startTollgate, UPSTREAM, type Tollgate } from "../support/tollgate.ts";
import { errorOf } from "./door.ts";
import { call } from "./http-call.ts";

/** What several tenants of one upstream account may reach, and which model a call runs as. */

const OBJECTS = [
  ["GET", "/files"],
  ["GET", "/files/file-1/content"],
  ["DELETE", "/files/file-1"],
  ["GET", "/responses/resp_1"],
  ["GET", "/chat/completions"],
  ["GET", "/conversations/conv_1"],
  ["POST", "/batches/batch_1/cancel"],
  ["POST", "/conversations/conv_1/items"],
  ["GET", "/vector_stores"],
  ["DELETE", "/models/ft:m:acme"],
] as const;

describeEachDatabase("an upstream account that tenants share", (database) => {
  let upstream: ScriptedUpstream;
  let apart: Tollgate;
  let together: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }) });
    const prices = [MODEL, "dear"].map((model) =>
      priceOf({ upstream: UPSTREAM, model, outputTokensMax: 1_000 }),
    );
    const options = { database, upstream: upstream.url, prices };
    apart = await startTollgate({ ...options, upstreamConfig: { sharedObjects: false } });
    together = await startTollgate({ ...options, upstreamConfig: { sharedObjects: true } });
    await apart.tenant();
  });
  afterAll(async () => {
    await apart.close();
    await together.close();
    await upstream.close();
  });

  test.each(OBJECTS)("keeps stored objects apart: %s %s", async (method, path) => {
    const { key } = await apart.tenant({ mode: "tolerant" });
    const before = upstream.journal.length;
    const refused = await call(`${apart.url}/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      body: null,
    });
    expect(refused.status).toBe(403);
    expect(errorOf(refused).code).toBe("route_not_allowed");
    expect(errorOf(refused).message).toContain("shared_objects");
    expect(upstream.journal.length).toBe(before);
  });

  test("shares them where the operator says so, and always lists models", async () => {
    const { key } = await together.tenant();
    const headers = { authorization: `Bearer ${key}` };
    const files = await call(`${together.url}/v1/files`, { method: "GET", headers, body: null });
    expect(files.status).toBe(200);
    const other = await apart.tenant();
    const models = await call(`${apart.url}/v1/models`, {
      method: "GET",
      headers: { authorization: `Bearer ${other.key}` },
      body: null,
    });
    expect(models.status).toBe(200);
  });

  test("runs a deployment of the path, whatever model its body names", async () => {
    const { key } = await apart.tenant();
    const path = `/openai/deployments/${MODEL}/chat/completions?api-version=2024-10-21`;
    const body = { model: "dear", max_tokens: 5, messages: [{ role: "user", content: "Hi" }] };
    const called = await call(`${apart.url}${path}`, {
      method: "POST",
      headers: { "api-key": key, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(called.status).toBe(200);
    const sent: unknown = JSON.parse(Buffer.from(upstream.journal.at(-1)!.body).toString());
    expect(sent).toMatchObject({ model: MODEL });
  });

  test("runs the request that was admitted, and none that a header names", async () => {
    const { key } = await together.tenant();
    const disguises = {
      "x-http-method-override": "POST",
      "x-original-url": "/v1/chat/completions",
      "x-rewrite-url": "/v1/chat/completions",
      // Orders to a gateway behind us.
      "x-portkey-config": "{}",
      "helicone-target-url": "http://elsewhere.example",
      "x-litellm-api-key": "sk-other",
      "cf-aig-custom-cost": "0",
      "x-envoy-max-retries": "9",
      "x-ai-eg-model": "dear",
    };
    await call(`${together.url}/v1/models`, {
      method: "GET",
      headers: { authorization: `Bearer ${key}`, ...disguises },
      body: null,
    });
    const { headers } = upstream.journal.at(-1)!;
    for (const name of Object.keys(disguises)) expect(headers).not.toHaveProperty(name);
  });
});
