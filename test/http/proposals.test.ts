import { randomUUID } from "node:crypto";
import type OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";

import { RUN_CALLS_MAX } from "../../src/core/limits.ts";
import { canonicalJson } from "../../src/lib/canonical-json.ts";
import { sha256Hex } from "../../src/lib/hash.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames, errorAnswer, responseAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import type { Json } from "../support/management.ts";

const USED = { input: 3, output: 2 };

type Called = { readonly id: string; readonly name: string; readonly arguments: string };

/** A chat that ends by calling tools, whole in every member. */
function calling(calls: readonly Called[]) {
  const answer = chatAnswer(MODEL, "", USED);
  const [choice] = answer.choices;
  const tool_calls = calls.map(({ id, ...called }) => ({ id, type: "function", function: called }));
  const message = { ...choice?.message, content: null, tool_calls };
  return { ...answer, choices: [{ ...choice, message, finish_reason: "tool_calls" }] };
}

/** The same in a stream: each call in two pieces, the second ones in the reverse order. */
function callingFrames(calls: readonly Called[]): string[] {
  const [head = "", content = "", finish = "", ...rest] = chatFrames(MODEL, ["."], USED);
  const frame = (index: number, call: object): string => {
    const chunk = JSON.parse(content.slice("data: ".length)) as { choices: object[] };
    const delta = { tool_calls: [{ index, ...call }] };
    chunk.choices = [{ index: 0, delta, logprobs: null, finish_reason: null }];
    return `data: ${JSON.stringify(chunk)}\n\n`;
  };
  const half = (text: string): number => Math.ceil(text.length / 2);
  const begun = calls.map(({ id, name, arguments: args }, index) =>
    frame(index, {
      id,
      type: "function",
      function: { name, arguments: args.slice(0, half(args)) },
    }),
  );
  const ended = calls.map(({ arguments: args }, index) =>
    frame(index, { function: { arguments: args.slice(half(args)) } }),
  );
  const finished = finish.replace('"finish_reason":"stop"', '"finish_reason":"tool_calls"');
  return [head, ...begun, ...ended.toReversed(), finished, ...rest];
}

const READ = {
  id: "call_read",
  name: "mcp__files__read_file",
  arguments: '{"path": "/a", "n": 1e0}',
};
const PAY = { id: "call_pay", name: "pay", arguments: '{"usd": 12345678901234567891}' };
const READ_SHA256 = sha256Hex(canonicalJson({ n: 1, path: "/a" }));

describeOnPostgres("a tool call that a model proposes", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: chatAnswer(MODEL, "done", USED) });
    tollgate = await startTollgate({ database, upstream: upstream.url });
    tenant = await tollgate.tenant();
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  const ask = (content: string): OpenAI.ChatCompletionCreateParamsNonStreaming => ({
    model: MODEL,
    messages: [{ role: "user", content }],
  });
  const inRun = (run: string) => ({ headers: { "tollgate-run": run } });
  const api = async (method: string, path: string, body?: string): Promise<Json> => {
    const answer = await fetch(`${tollgate.url}/api/${path}`, {
      method,
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body }),
    });
    return (await answer.json()) as Json;
  };
  /** As an agent carries it out: the arguments are the model's own text. */
  const carryOut = async (run: string, name: string, args: string): Promise<string> => {
    const asked = { kind: "tool", name, run, step: `${name} ${randomUUID()}`, estimate_usd: "0" };
    const body = `${JSON.stringify(asked).slice(0, -1)},"arguments":${args}}`;
    const { attempt_id: attempt } = await api("POST", "gate", body);
    await api("POST", `attempts/${attempt}/complete`, "{}");
    return String(attempt);
  };
  const attemptsOf = async (run: string, page = ""): Promise<readonly Json[]> => {
    await tollgate.gateway.settled();
    return (await api("GET", `runs/${run}${page}`)).attempts as readonly Json[];
  };
  const recordOf = async (run: string): Promise<unknown> => {
    const [row] = await tollgate.ledger<{ record: unknown }>(
      `select s.record from settlements s join decisions d using (tenant_id, attempt_id)
       where d.tenant_id = $1 and d.run_id = $2 and d.door = 'model' order by d.decided_at limit 1`,
      [tenant.id, run],
    );
    return row?.record;
  };

  test("stands in the run between the model that asked and the tool that was given it", async () => {
    const run = "agent";
    upstream.next({ kind: "json", body: calling([READ, PAY]) });
    const { choices } = await tenant.client.chat.completions.create(ask("Read /a"), inRun(run));
    const [read] = choices[0]?.message.tool_calls ?? [];
    const args = read?.type === "function" ? read.function.arguments : "";
    await tollgate.gateway.settled();
    const tool = await carryOut(run, "files/read_file", args);
    await tenant.client.chat.completions.create(ask("It says a"), inRun(run));
    const [first, second, third] = await attemptsOf(run);
    const proposals = [
      { id: READ.id, name: READ.name, arguments_sha256: READ_SHA256, attempt: tool },
      { id: PAY.id, name: PAY.name, attempt: null },
    ];
    expect(first).toMatchObject({ door: "model", proposals, proposed_by: null });
    expect(second).toMatchObject({
      id: tool,
      resource: "files/read_file",
      status: "succeeded",
      proposals: [],
      proposed_by: { attempt: first?.id, call: READ.id },
    });
    expect(third).toMatchObject({ door: "model", proposals: [], proposed_by: null });
    const told = await api("GET", `decisions/${first?.decision}`);
    expect(told).toMatchObject({ proposals, proposed_by: null });
    expect(told.explanation).toContain(
      `Its model asked for the tool ${READ.name} (${READ.id}); ${tool} took that up.`,
    );
    expect((await api("GET", `decisions/${tool}`)).explanation).toContain(
      `A model had asked for it (${READ.id}), in ${first?.id}.`,
    );
  });

  test("is found though the attempts stand on different pages", async () => {
    const run = "paged";
    upstream.next({ kind: "json", body: calling([PAY]) });
    await tenant.client.chat.completions.create(ask("Pay"), inRun(run));
    await tollgate.gateway.settled();
    const tool = await carryOut(run, "pay", PAY.arguments);
    const [model] = await attemptsOf(run, "?limit=1");
    expect(model).toMatchObject({ proposals: [{ id: PAY.id, attempt: tool }] });
    const [paid] = await attemptsOf(run, `?limit=1&cursor=${model?.id}`);
    expect(paid).toMatchObject({ id: tool, proposed_by: { attempt: model?.id, call: PAY.id } });
  });

  test("is carried out by an attempt of its own run and tenant only", async () => {
    upstream.next({ kind: "json", body: calling([PAY]) });
    await tenant.client.chat.completions.create(ask("Pay"), inRun("mine"));
    await tollgate.gateway.settled();
    await carryOut("yours", "pay", PAY.arguments);
    const rounded = await carryOut("mine", "pay", PAY.arguments.replace("91}", "90}"));
    const [model, other] = await attemptsOf("mine");
    expect(model).toMatchObject({ proposals: [{ id: PAY.id, attempt: null }] });
    expect(other).toMatchObject({ id: rounded, proposed_by: null });
    expect((await attemptsOf("yours"))[0]).toMatchObject({ proposed_by: null });
  });

  test("is recorded by its digest, and its arguments are stored nowhere", async () => {
    const secret = `canary-${randomUUID()}`;
    const call = { id: "c", name: "say", arguments: JSON.stringify({ text: secret }) };
    upstream.next({ kind: "json", body: calling([call]) });
    await tenant.client.chat.completions.create(ask("Say it"), inRun("secret"));
    const digest = sha256Hex(canonicalJson({ text: secret }));
    const record = await recordOf("secret");
    expect(record).toMatchObject({
      tool_calls: [{ id: "c", name: "say", arguments_sha256: digest }],
    });
    expect(JSON.stringify(record)).not.toContain("canary");
  });

  test("is recorded of a stream and of Responses alike, and of what calls nothing there is none", async () => {
    const expected = {
      tool_calls: [
        { id: READ.id, name: READ.name, arguments_sha256: READ_SHA256 },
        { id: PAY.id, name: PAY.name },
      ],
    };
    upstream.next({ kind: "sse", frames: callingFrames([READ, PAY]) });
    const stream = await tenant.client.chat.completions.create(
      { ...ask("Read, pay"), stream: true },
      inRun("streamed"),
    );
    const chunks = await Array.fromAsync(stream);
    expect(chunks.some(({ choices }) => choices[0]?.finish_reason === "tool_calls")).toBe(true);
    expect(await recordOf("streamed")).toMatchObject(expected);
    const output = [READ, PAY].map(({ id, ...called }) => ({
      type: "function_call",
      id: `fc_${id}`,
      call_id: id,
      status: "completed",
      ...called,
    }));
    upstream.next({ kind: "json", body: { ...responseAnswer(MODEL, "", USED), output } });
    await tenant.client.responses.create({ model: MODEL, input: "Read, pay" }, inRun("responses"));
    expect(await recordOf("responses")).toMatchObject(expected);
    await tenant.client.chat.completions.create(ask("Hello"), inRun("plain"));
    expect(await recordOf("plain")).not.toHaveProperty("tool_calls");
  });

  test("does not keep its run from being read, whatever characters its provider writes", async () => {
    const call = { id: "c\0", name: `${"n".repeat(255)}😀`, arguments: "{}" };
    upstream.next({ kind: "json", body: calling([call]) });
    await tenant.client.chat.completions.create(ask("Odd"), inRun("odd"));
    const said = `\0${"e".repeat(498)}😀`;
    upstream.next({ kind: "json", status: 400, body: errorAnswer(said, "odd\0", "odd\0") });
    await expect(tenant.client.chat.completions.create(ask("Fails"), inRun("odd"))).rejects.toThrow(
      "400",
    );
    // What had failed is looked up where the same is asked again.
    await tollgate.gateway.settled();
    await tenant.client.chat.completions.create(ask("Fails"), inRun("odd"));
    expect(await attemptsOf("odd")).toMatchObject([
      { proposals: [{ id: "c\uFFFD", name: `${"n".repeat(255)}\uFFFD`, attempt: null }] },
      { status: "failed" },
      { status: "succeeded", retry: { because: "fingerprint" } },
    ]);
  });

  test("is not matched behind the first of a very long run, and that is told", async () => {
    const run = "long";
    upstream.next({ kind: "json", body: calling([PAY]) });
    await tenant.client.chat.completions.create(ask("Pay"), inRun(run));
    await tollgate.gateway.settled();
    const [model] = await attemptsOf(run);
    await copies(run, RUN_CALLS_MAX);
    const tool = await carryOut(run, "pay", PAY.arguments);
    const [first] = await attemptsOf(run, "?limit=1");
    expect(first).toMatchObject({ id: model?.id, proposals: [{ id: PAY.id }] });
    const last = await api("GET", `decisions/${tool}`);
    expect(last).toMatchObject({ proposals: null, proposed_by: null });
    expect(last.explanation).toContain(
      "Its run has more than 4096 proposals and tool calls: this one is not matched.",
    );
  });

  /** So many other tool calls of the run, recorded as the first one was. */
  const copies = async (run: string, count: number): Promise<void> => {
    await carryOut(run, "search", "{}");
    await tollgate.rows(
      `insert into decisions
       select copy.* from decisions d
       cross join generate_series(1, ${count}) n
       cross join lateral jsonb_populate_record(
         d, jsonb_build_object('attempt_id', 'att_' || lpad(n::text, 26, '0'))) as copy
       where d.tenant_id = $1 and d.run_id = $2 and d.resource = 'search'`,
      [tenant.id, run],
    );
  };
});
