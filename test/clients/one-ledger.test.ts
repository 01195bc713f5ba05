import { ChatOpenAI } from "@langchain/openai";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, chatFrames, errorAnswer } from "../support/openai-answers.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

/** One scenario by three clients: what the ledger says may differ in what it says of the client, and nowhere else. */

const USAGE = { input: 12, output: 7 };
const RUN = "report-7";
const OUTPUT_TOKENS_MAX = 100;

type Call = {
  readonly content: string;
  readonly stream: boolean;
  readonly headers: Readonly<Record<string, string>>;
};

/** Answers the text, or the status of the refusal or failure. */
type Client = (tenant: Tenant, url: string, call: Call) => Promise<string | number>;

const byHttp: Client = async ({ key }, url, { content, stream, headers }) => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify(bodyFor(content, stream)),
  });
  const text = await response.text();
  if (!response.ok) return response.status;
  if (!stream) return textIn(JSON.parse(text));
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  return events.map((event) => textIn(JSON.parse(event.slice("data: ".length)))).join("");
};

const byOpenAI: Client = async ({ key }, url, { content, stream, headers }) => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
  try {
    if (!stream) {
      const answer = await client.chat.completions.create(bodyFor(content, false), { headers });
      return answer.choices[0]?.message.content ?? "";
    }
    let text = "";
    const chunks = await client.chat.completions.create(bodyFor(content, true), { headers });
    for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
    return text;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return Number(error.status);
    throw error;
  }
};

const byLangChain: Client = async ({ key }, url, { content, stream, headers }) => {
  const model = new ChatOpenAI({
    model: MODEL,
    apiKey: key,
    maxRetries: 0,
    maxTokens: OUTPUT_TOKENS_MAX,
    // A stream of its passes on no headers that are given with the call.
    configuration: { baseURL: `${url}/v1`, defaultHeaders: headers },
  });
  try {
    if (!stream) return (await model.invoke(content)).text;
    let text = "";
    for await (const chunk of await model.stream(content)) {
      text += chunk.text;
    }
    return text;
  } catch (error) {
    if (error instanceof Error && "status" in error) return Number(error.status);
    throw error;
  }
};

function bodyFor<Stream extends boolean>(content: string, stream: Stream) {
  return {
    model: MODEL,
    stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}),
    max_tokens: OUTPUT_TOKENS_MAX,
    messages: [{ role: "user" as const, content }],
  };
}

/** The rows as text, with times left out, and ids numbered as they first appear: what names what stays told. */
function alike(rows: readonly Record<string, unknown>[]): string {
  const lines = rows.map((row) =>
    JSON.stringify(row, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
  );
  const ids = new Map<string, number>();
  return lines
    .join("\n")
    .replaceAll(/20\d\d-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)/gu, "a time")
    .replaceAll(/\b(?:att|lim)_[0-9a-z]{26}\b/gu, (id) => {
      ids.set(id, ids.get(id) ?? ids.size);
      return `id ${ids.get(id)}`;
    });
}

function matching(pattern: string | RegExp): unknown {
  return typeof pattern === "string" ? pattern : expect.stringMatching(pattern);
}

type Choices = {
  readonly choices: readonly {
    readonly message?: { readonly content: string };
    readonly delta?: { readonly content?: string };
  }[];
};

function textIn({ choices: [first] }: Choices): string {
  return first?.message?.content ?? first?.delta?.content ?? "";
}

describeOnPostgres("one scenario by three clients", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await tollgate?.close();
    await upstream?.close();
  });

  /** A call, a stream, a failure and its retry, a retry too many, a repeat, and a run that was stopped. */
  const play = async (client: Client): Promise<readonly (string | number)[]> => {
    const tenant = await tollgate.tenant({ mode: "tolerant" });
    await tenant.run(RUN);
    await tenant.limit({ scope: "run", id: RUN, unit: "attempts", limit: 1 });
    const answered: (string | number)[] = [];
    const call = async (step: string, more: Partial<Call> = {}): Promise<void> => {
      const { content = step, stream = false, headers = {} } = more;
      const named = { "tollgate-run": RUN, "tollgate-step": step, ...headers };
      answered.push(await client(tenant, tollgate.url, { content, stream, headers: named }));
      await tollgate.settled();
    };
    const ok = { kind: "json", body: chatAnswer(MODEL, "Hello", USAGE) } as const;
    const no = {
      kind: "json",
      status: 500,
      body: errorAnswer("no", "server_error", null),
    } as const;
    upstream.next(ok, { kind: "sse", frames: chatFrames(MODEL, ["Hel", "lo"], USAGE) }, no, ok, ok);
    await call("first");
    await call("streamed", { stream: true });
    await call("fails");
    await call("fails");
    await call("fails");
    const once = { content: "once", headers: { "idempotency-key": "once" } };
    await call("once", once);
    await call("once", once);
    await tenant.stop(RUN);
    await call("late");
    ledgers.push(alike(await ledgerOf(tenant)));
    userAgents.push(...(await userAgentsOf(tenant)));
    return answered;
  };
  const ledgers: string[] = [];
  const userAgents: unknown[] = [];
  const userAgentsOf = async (tenant: Tenant): Promise<readonly unknown[]> => {
    const rows = await tollgate.ledger(
      "select distinct record->'client'->>'user_agent' as agent from decisions where tenant_id = $1",
      [tenant.id],
    );
    return rows.map(({ agent }) => agent);
  };
  const ledgerOf = (tenant: Tenant): Promise<Record<string, unknown>[]> =>
    tollgate.ledger(
      `select d.run_id, d.step_id, d.attempt, d.door, d.operation, d.resource, d.upstream, d.model, d.verdict,
              d.reason, d.estimate_picousd, d.price_version, d.retry, d.meters, d.record::jsonb - 'client' as record,
              s.ending, s.basis, s.cost_picousd, s.tokens, s.usage
       from decisions d
       left join settlements s on s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id
       where d.tenant_id = $1 order by d.decided_at, d.attempt_id`,
      [tenant.id],
    );

  test("leaves three ledgers that are equal but for what they say of the client", async () => {
    const told = ["Hello", "Hello", 500, "Hello", 402, "Hello", "Hello", 403];
    for (const client of [byHttp, byOpenAI, byLangChain]) expect(await play(client)).toEqual(told);
    // To the upstream they were the same, byte for byte.
    const bodies = upstream.journal.map(({ body }) => Buffer.from(body).toString());
    expect(bodies.slice(5, 10)).toEqual(bodies.slice(0, 5));
    expect(bodies.slice(10)).toEqual(bodies.slice(0, 5));
    for (const other of ledgers.slice(1))
      expect(other.split("\n")).toEqual(ledgers[0]?.split("\n"));
    expect(ledgers[0]?.split("\n").length).toBe(told.length);
    expect(userAgents).toEqual(["node", /^OpenAI\/JS /u, /^langchainjs-openai\//u].map(matching));
  });
});
