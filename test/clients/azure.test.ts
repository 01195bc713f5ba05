import { AzureOpenAI, OpenAI } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames, embeddingsAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

const USAGE = { input: 12, output: 7 };
const API_VERSION = "2026-02-01";

/** The official library's Azure client: `api-key`, and the deployment in the path. */
describeOnPostgres("openai-node's Azure client", (database) => {
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
  const azure = (apiKey: string) =>
    new AzureOpenAI({ endpoint: tollgate.url, apiKey, apiVersion: API_VERSION, maxRetries: 0 });
  const ask = () => ({ model: MODEL, messages: [{ role: "user" as const, content: "Hello" }] });

  test("the deployment is the model that is priced, and stays out of the forwarded path", async () => {
    upstream.next({ kind: "json", body: chatAnswer(MODEL, "ok", USAGE) });
    const answer = await azure(tenant.key).chat.completions.create(ask());
    expect(answer.choices[0]?.message.content).toBe("ok");
    const sent = upstream.journal.at(-1);
    expect(sent?.path).toBe(`/v1/chat/completions?api-version=${API_VERSION}`);
    expect(sent?.headers["api-key"]).toBeUndefined();
    expect(JSON.stringify(sent?.rawHeaders)).not.toContain(tenant.key);
    const [row] = await tollgate.ledger(
      "select model, operation, cost_picousd from decisions join settlements using (tenant_id, attempt_id) where tenant_id = $1",
      [tenant.id],
    );
    expect(row).toMatchObject({ model: MODEL, operation: "chat" });
  });

  test("a stream shows no usage that was not asked for", async () => {
    upstream.next({ kind: "sse", frames: chatFrames(MODEL, ["a", "b"], USAGE) });
    const chunks = await Array.fromAsync(
      await azure(tenant.key).chat.completions.create({ ...ask(), stream: true }),
    );
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("ab");
    expect(chunks.every(({ choices, usage }) => choices.length === 1 && !usage)).toBe(true);
  });

  test("embeddings of a deployment pass", async () => {
    upstream.next({ kind: "json", body: embeddingsAnswer(MODEL, [[1, 2]], 3) });
    const params = { model: MODEL, input: "x", encoding_format: "float" as const };
    expect((await azure(tenant.key).embeddings.create(params)).data[0]?.embedding).toEqual([1, 2]);
  });

  test("its refusals are the library's own errors", async () => {
    const error = await azure("nobody")
      .chat.completions.create(ask())
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    const poor = await tollgate.tenant();
    await poor.limit({ scope: "model", id: MODEL, unit: "usd", limit: "0" });
    const refused = await azure(poor.key)
      .chat.completions.create(ask())
      .catch((thrown) => thrown);
    expect(refused).toMatchObject({ status: 402, code: "budget_exceeded" });
  });
});
