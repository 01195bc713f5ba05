/** The libraries that people use, each as it comes: run and step travel through them by the fetch alone. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { DynamicStructuredTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import {
  Agent,
  OpenAIProvider,
  Runner,
  setTracingDisabled,
  tool as agentTool,
} from "@openai/agents";
import { generateText, streamText, tool as aiTool, stepCountIs } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { createClient, type Gate } from "../../src/client/client.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

const USAGE = { input: 12, output: 7 };

/** What a model answers that calls the tool `add` with these arguments. */
function toolCall(args: object) {
  const answer = chatAnswer(MODEL, "", USAGE);
  const call = {
    id: "call_1",
    type: "function",
    function: { name: "add", arguments: JSON.stringify(args) },
  };
  const message = { role: "assistant", content: null, tool_calls: [call] };
  return { ...answer, choices: [{ index: 0, message, finish_reason: "tool_calls" }] };
}

describeOnPostgres("through the client's fetch", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  let gate: Gate;
  beforeAll(async () => {
    setTracingDisabled(true);
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  beforeEach(async () => {
    tenant = await tollgate.tenant();
    gate = createClient({ baseURL: tollgate.url, apiKey: tenant.key });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const travelled = async (): Promise<readonly (readonly unknown[])[]> => {
    const rows = await tollgate.ledger(
      `select d.door, d.resource, d.run_id, d.record->'context'->>'parent_step' as parent, d.verdict
       from decisions d where d.tenant_id = $1 order by d.decided_at, d.attempt_id`,
      [tenant.id],
    );
    return rows.map((row) => Object.values(row));
  };
  const openai = () =>
    new OpenAI({ baseURL: `${tollgate.url}/v1`, apiKey: tenant.key, fetch: gate.fetch });
  const add = () =>
    gate.wrapTool("add", ({ a, b }: { readonly a: number; readonly b: number }) => String(a + b), {
      estimateUsd: "0",
    });
  const SUM = z.object({ a: z.number(), b: z.number() });
  const within = <Result>(work: () => Promise<Result>) =>
    gate.run({ run: "report-7" }, () => gate.step({ name: "draft" }, work));
  const MODEL_CALL = ["model", MODEL, "report-7", "draft", "allow"];
  const STEP = ["step", "draft", "report-7", null, "allow"];
  const TOOL = ["step", "add", "report-7", "draft", "allow"];

  test("the OpenAI library's calls belong to their run and step, streams too", async () => {
    upstream.next(
      { kind: "json", body: chatAnswer(MODEL, "Hello", USAGE) },
      { kind: "sse", frames: chatFrames(MODEL, ["Hel", "lo"], USAGE) },
    );
    const client = openai();
    const texts = await within(async () => {
      const ask = { model: MODEL, messages: [{ role: "user" as const, content: "Hi" }] };
      const whole = await client.chat.completions.create(ask);
      let streamed = "";
      const stream = await client.chat.completions.create({ ...ask, seed: 1, stream: true });
      for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? "";
      return [whole.choices[0]?.message.content, streamed];
    });
    expect(texts).toEqual(["Hello", "Hello"]);
    expect(await travelled()).toEqual([STEP, MODEL_CALL, MODEL_CALL]);
  });

  test("LangChain's model and tool do", async () => {
    upstream.next({ kind: "json", body: chatAnswer(MODEL, "Hello", USAGE) });
    const model = new ChatOpenAI({
      model: MODEL,
      apiKey: tenant.key,
      maxRetries: 0,
      configuration: { baseURL: `${tollgate.url}/v1`, fetch: gate.fetch },
    });
    const tool = new DynamicStructuredTool({
      name: "add",
      description: "adds",
      schema: SUM,
      func: add(),
    });
    const given = await within(async () => [
      (await model.invoke("Hi")).content,
      (await tool.invoke({ a: 1, b: 2 })) as unknown,
    ]);
    expect(given).toEqual(["Hello", "3"]);
    expect(await travelled()).toEqual([STEP, MODEL_CALL, TOOL]);
  });

  test("the AI SDK's model, stream and tool do", async () => {
    const provider = createOpenAICompatible({
      name: "tollgate",
      baseURL: `${tollgate.url}/v1`,
      apiKey: tenant.key,
      fetch: gate.fetch,
    });
    upstream.next(
      { kind: "json", body: toolCall({ a: 2, b: 3 }) },
      { kind: "json", body: chatAnswer(MODEL, "5", USAGE) },
      { kind: "sse", frames: chatFrames(MODEL, ["fi", "ve"], USAGE) },
    );
    const given = await within(async () => {
      const answer = await generateText({
        model: provider(MODEL),
        prompt: "2 + 3?",
        maxRetries: 0,
        tools: { add: aiTool({ description: "adds", inputSchema: SUM, execute: add() }) },
        stopWhen: stepCountIs(3),
      });
      const stream = streamText({ model: provider(MODEL), prompt: "In words?", maxRetries: 0 });
      return [answer.text, await stream.text];
    });
    expect(given).toEqual(["5", "five"]);
    expect(await travelled()).toEqual([STEP, MODEL_CALL, TOOL, MODEL_CALL, MODEL_CALL]);
  });

  test("an agent's of OpenAI Agents do, its tools included", async () => {
    upstream.next(
      { kind: "json", body: toolCall({ a: 2, b: 3 }) },
      { kind: "json", body: chatAnswer(MODEL, "5", USAGE) },
    );
    const agent = new Agent({
      name: "adder",
      instructions: "Add.",
      model: MODEL,
      tools: [agentTool({ name: "add", description: "adds", parameters: SUM, execute: add() })],
    });
    const modelProvider = new OpenAIProvider({ openAIClient: openai(), useResponses: false });
    const runner = new Runner({ modelProvider, tracingDisabled: true });
    const result = await within(() => runner.run(agent, "2 + 3?").then((r) => r.finalOutput));
    expect(result).toBe("5");
    expect(await travelled()).toEqual([STEP, MODEL_CALL, TOOL, MODEL_CALL]);
  });
});
