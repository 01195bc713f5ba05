import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { describeEachDatabase } from "../support/databases.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

/** The official library, unmodified but for base URL and key, on the first call that anybody makes. */
describeEachDatabase("openai-node on the demo upstream", (database) => {
  let tollgate: Tollgate;
  let tenant: Tenant;
  beforeAll(async () => {
    tollgate = await startTollgate({ database });
    tenant = await tollgate.tenant();
  });
  afterAll(() => tollgate?.close());
  const ask = (content: string) => ({
    model: "demo/chat",
    messages: [{ role: "user" as const, content }],
  });

  test("a chat is answered with usage and our headers", async () => {
    const { data, response, request_id } = await tenant.client.chat.completions
      .create(ask("Hello"))
      .withResponse();
    expect(data.choices[0]?.message.content).toContain('You said: "Hello"');
    expect(data.usage?.total_tokens).toBeGreaterThan(0);
    expect(request_id).toBe("req_tollgate_demo");
    expect(response.headers.get("tollgate-decision")).toMatch(/^dec_/);
    const [row] = await tollgate.ledger(
      "select ending, basis, tokens from settlements where tenant_id = $1",
      [tenant.id],
    );
    expect(row).toEqual({
      ending: "succeeded",
      basis: "computed",
      tokens: BigInt(data.usage?.total_tokens ?? 0),
    });
  });

  test("a stream comes in pieces and without usage that nobody asked for", async () => {
    const stream = await tenant.client.chat.completions.create({ ...ask("Hello"), stream: true });
    let text = "";
    let chunks = 0;
    for await (const chunk of stream) {
      chunks += 1;
      text += chunk.choices[0]?.delta.content ?? "";
      expect(chunk).not.toHaveProperty("usage");
      expect(chunk.choices).toHaveLength(1);
    }
    expect(chunks).toBeGreaterThan(5);
    expect(text).toContain('You said: "Hello"');
  });

  test("a stream shows usage to a client that asks for it", async () => {
    const stream = await tenant.client.chat.completions.create({
      ...ask("Hello"),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    const last = chunks.at(-1);
    expect(last?.choices).toEqual([]);
    expect(last?.usage?.completion_tokens).toBeGreaterThan(0);
    expect(chunks.slice(0, -1).map(({ usage }) => usage)).toEqual(
      Array.from({ length: chunks.length - 1 }, () => null),
    );
  });

  test("the stream helper gathers the same completion as a plain call", async () => {
    const whole = await tenant.client.chat.completions.create(ask("Hello"));
    const stream = tenant.client.chat.completions.stream(ask("Hello"));
    const gathered = await stream.finalChatCompletion();
    expect(gathered.choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
    expect(gathered.choices[0]?.finish_reason).toBe("stop");
  });

  test("a tool is called, plain and streamed, and its answer is taken", async () => {
    const params = { ...ask("Use get_weather please"), tools: [WEATHER] };
    const whole = await tenant.client.chat.completions.create(params);
    const call = whole.choices[0]?.message.tool_calls?.[0];
    expect(whole.choices[0]?.finish_reason).toBe("tool_calls");
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    const streamed = await tenant.client.chat.completions.stream(params).finalMessage();
    expect(streamed.tool_calls?.[0]).toMatchObject({
      function: call?.type === "function" ? call.function : {},
    });
    const answered = await tenant.client.chat.completions.create({
      ...params,
      messages: [
        ...params.messages,
        whole.choices[0]!.message,
        { role: "tool", tool_call_id: call?.id ?? "", content: "Sunny" },
      ],
    });
    expect(answered.choices[0]?.message.content).toContain("Sunny");
  });

  test("the tool runner runs its loop to the end", async () => {
    let runs = 0;
    const runner = tenant.client.chat.completions.runTools({
      ...ask("Use get_weather please"),
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            ...WEATHER.function,
            parse: JSON.parse,
            function: () => {
              runs += 1;
              return "Sunny";
            },
          },
        },
      ],
    });
    expect(await runner.finalContent()).toContain("Sunny");
    expect(runs).toBe(1);
  });

  test("structured output is parsed", async () => {
    const shape = z.object({ name: z.string(), count: z.number() });
    const parsed = await tenant.client.chat.completions.parse({
      ...ask("Fill it in"),
      response_format: zodResponseFormat(shape, "thing"),
    });
    expect(shape.safeParse(parsed.choices[0]?.message.parsed).success).toBe(true);
  });

  test("several choices come each with its index", async () => {
    const answer = await tenant.client.chat.completions.create({ ...ask("Hello"), n: 3 });
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
  });

  test("a response is answered, plain and streamed, with its whole sequence of events", async () => {
    const params = { model: "demo/chat", input: "Hello" };
    const whole = await tenant.client.responses.create(params);
    expect(whole.output_text).toContain('You said: "Hello"');
    expect(whole.usage?.output_tokens).toBeGreaterThan(0);
    const events = await Array.fromAsync(
      await tenant.client.responses.create({ ...params, stream: true }),
    );
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
    expect(events[0]?.type).toBe("response.created");
    expect(events.at(-1)?.type).toBe("response.completed");
    const gathered = await tenant.client.responses.stream(params).finalResponse();
    expect(gathered.output_text).toBe(whole.output_text);
  });

  test("embeddings are the same numbers as base64, which the library asks for, and as floats", async () => {
    const params = { model: "demo/embedding", input: ["a", "b"] };
    const encoded = await tenant.client.embeddings.create(params);
    const plain = await tenant.client.embeddings.create({ ...params, encoding_format: "float" });
    expect(encoded.data).toHaveLength(2);
    expect(encoded.data[0]?.embedding).toHaveLength(256);
    expect([...encoded.data[1]!.embedding]).toEqual(plain.data[1]?.embedding);
    for (const input of ["one", [1, 2, 3], [[1, 2], [3]]]) {
      const answer = await tenant.client.embeddings.create({ model: "demo/embedding", input });
      expect(answer.usage.prompt_tokens).toBeGreaterThan(0);
    }
  });

  test("a legacy completion is answered, plain and streamed", async () => {
    const params = { model: "demo/chat", prompt: "Hello" };
    const whole = await tenant.client.completions.create(params);
    const chunks = await Array.fromAsync(
      await tenant.client.completions.create({ ...params, stream: true }),
    );
    const text = chunks.map(({ choices }) => choices[0]?.text ?? "").join("");
    expect(text).toBe(whole.choices[0]?.text);
    expect(text).toContain("Hello");
  });

  test("models are listed and retrieved", async () => {
    const models = await Array.fromAsync(tenant.client.models.list());
    expect(models.map(({ id }) => id)).toContain("demo-chat");
    expect((await tenant.client.models.retrieve("demo-chat")).owned_by).toBe("tollgate-demo");
  });

  test("a base URL with a slash at its end, without /v1, and with a run work alike", async () => {
    for (const path of ["", "/", "/v1/", "/run/run_a/v1", "/run/run_a/step/one/v1"]) {
      const client = new OpenAI({ baseURL: `${tollgate.url}${path}`, apiKey: tenant.key });
      const answer = await client.chat.completions.create(ask("Hello"));
      expect(answer.object).toBe("chat.completion");
    }
    const rows = await tollgate.ledger(
      "select step_id from decisions where tenant_id = $1 and run_id = 'run_a' order by decided_at",
      [tenant.id],
    );
    expect(rows).toEqual([{ step_id: null }, { step_id: "one" }]);
  });
});

const WEATHER = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
};
