import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { setClock, resetClock } from "../support/clock.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { chatAnswer, errorAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { requestsTo } from "./traffic.ts";

const OK: Script = { kind: "json", body: chatAnswer(MODEL, "ok", { input: 10, output: 10 }) };

type Error = InstanceType<typeof OpenAI.APIError>;

/** How one call of the library with its default retries ends, and how many requests it sent for it. */
type Row = {
  readonly name: string;
  readonly prepare: (tenant: Tenant) => Promise<unknown>;
  readonly model?: string;
  readonly path?: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly plays?: readonly Script[];
  readonly mode?: "strict" | "tolerant";
  readonly status: number;
  readonly code: string;
  readonly kind: abstract new (...args: never[]) => unknown;
  readonly requests: number;
  /** Of those, how many the upstream saw. */
  readonly dispatched?: number;
};

const nothing = () => Promise.resolve();

const upstreamSays = (status: number, headers: Readonly<Record<string, string>> = {}): Script => ({
  kind: "json",
  status,
  headers: { "retry-after-ms": "1", ...headers },
  body: errorAnswer("said so", "some_type", "some_code"),
});

const ROWS: readonly Row[] = [
  {
    name: "an empty budget",
    prepare: (tenant) => tenant.limit({ scope: "tenant", unit: "usd", limit: "0" }),
    ...refusal(402, "budget_exceeded", OpenAI.APIError),
  },
  {
    name: "an empty budget of a run",
    prepare: (tenant) => tenant.run("run_a", { budgetUsd: "0" }),
    headers: { "tollgate-run": "run_a" },
    ...refusal(402, "run_budget_exceeded", OpenAI.APIError),
  },
  {
    name: "a call beyond the caller's own maximum",
    prepare: nothing,
    headers: { "tollgate-max-cost": "0.000000000001" },
    ...refusal(402, "max_cost_exceeded", OpenAI.APIError),
  },
  {
    name: "a quota of the day that is used up",
    prepare: (tenant) =>
      tenant.limit({ scope: "tenant", unit: "requests", window: "day", limit: 0 }),
    ...refusal(402, "quota_exceeded", OpenAI.APIError),
  },
  {
    name: "a model without a price",
    prepare: nothing,
    model: "nobody-knows",
    ...refusal(403, "price_unknown", OpenAI.PermissionDeniedError),
  },
  {
    name: "a run that was stopped",
    prepare: async (tenant) => {
      await tenant.run("run_b");
      await tenant.stop("run_b");
    },
    headers: { "tollgate-run": "run_b" },
    ...refusal(403, "run_stopped", OpenAI.PermissionDeniedError),
  },
  {
    name: "a key that is none",
    prepare: nothing,
    key: "sk-not-a-key",
    ...refusal(401, "invalid_api_key", OpenAI.AuthenticationError),
  },
  {
    name: "a header of ours that makes no sense",
    prepare: nothing,
    headers: { "tollgate-max-cost": "much" },
    ...refusal(400, "invalid_value", OpenAI.BadRequestError),
  },
  {
    name: "a path of administration",
    prepare: nothing,
    path: "/v1/organization",
    ...refusal(403, "forbidden", OpenAI.PermissionDeniedError),
  },
  {
    name: "a path of ours that is none",
    prepare: nothing,
    path: "/api/v1",
    ...refusal(404, "unknown_url", OpenAI.NotFoundError),
  },
  {
    name: "a quota of the minute, which waiting mends",
    prepare: (tenant) =>
      tenant.limit({ scope: "tenant", unit: "requests", window: "minute", limit: 1 }),
    // The first request of the call finds the quota used by another: see the test.
    ...refusal(429, "quota_exceeded", OpenAI.RateLimitError, 3),
  },
  {
    name: "an upstream that is overloaded",
    prepare: nothing,
    plays: [upstreamSays(503), upstreamSays(503), upstreamSays(503)],
    ...passed(503, OpenAI.InternalServerError, 3),
  },
  {
    name: "an upstream that is overloaded and says not to try again",
    prepare: nothing,
    plays: [upstreamSays(503, { "x-should-retry": "false" })],
    ...passed(503, OpenAI.InternalServerError, 1),
  },
  {
    name: "an upstream's rate limit",
    prepare: nothing,
    plays: [upstreamSays(429), upstreamSays(429), upstreamSays(429)],
    ...passed(429, OpenAI.RateLimitError, 3),
  },
  {
    name: "an upstream's bad request",
    prepare: nothing,
    plays: [upstreamSays(400)],
    ...passed(400, OpenAI.BadRequestError, 1),
  },
  {
    name: "an upstream's bad request that it wants again",
    prepare: nothing,
    plays: [1, 2, 3].map(() => upstreamSays(400, { "x-should-retry": "true" })),
    ...passed(400, OpenAI.BadRequestError, 3),
  },
];

describeOnPostgres("the retries of openai-node", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise(OK);
    tollgate = await startTollgate({ database, upstream: upstream.url });
  });
  afterAll(async () => {
    await resetClock(database.db);
    await tollgate?.close();
    await upstream?.close();
  });

  test.each(ROWS)("$name: $status and $requests request(s)", async (row) => {
    const tenant = await tollgate.tenant();
    await row.prepare(tenant);
    if (row.code === "quota_exceeded" && row.status === 429) {
      // A tenth of a second before the window ends, where the clock then stands still.
      await setClock(database.db, new Date("2030-01-01T00:00:59.900Z"));
      await tenant.client.chat.completions.create(ask(MODEL));
    }
    const client = new OpenAI({
      baseURL: `${tollgate.url}${row.path ?? "/v1"}`,
      apiKey: row.key ?? tenant.key,
      defaultHeaders: row.headers ?? {},
    });
    upstream.next(...(row.plays ?? []));
    const journal = upstream.journal.length;
    let failure: Error | undefined;
    const sent = await requestsTo(tollgate.url, async () => {
      failure = await client.chat.completions.create(ask(row.model ?? MODEL)).then(
        () => undefined,
        (error: unknown) => error as Error,
      );
    });
    expect(failure).toBeInstanceOf(row.kind);
    expect(failure).toMatchObject({ status: row.status, code: row.code });
    expect(sent).toHaveLength(row.requests);
    expect(upstream.journal.length - journal).toBe(row.dispatched ?? 0);
    await resetClock(database.db);
  });

  test("a wait of contention ends with the call that was in the way", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "in_flight", limit: 1 });
    const held = Promise.withResolvers<void>();
    upstream.next({ ...OK, headersGate: held.promise });
    const journal = upstream.journal.length;
    const client = tollgate.client(tenant.key, { maxRetries: 2 });
    const first = client.chat.completions.create(ask(MODEL));
    await upstream.arrived(journal + 1);
    let isRefused: Promise<unknown> | undefined;
    const sent = await requestsTo(tollgate.url, async () => {
      isRefused = tenant.client.chat.completions
        .create(ask(MODEL))
        .catch((error: unknown) => error);
      expect(await isRefused).toMatchObject({ status: 429, code: "concurrency_exceeded" });
      const second = client.chat.completions.create(ask(MODEL));
      held.resolve();
      expect((await second).choices[0]?.message.content).toBe("ok");
    });
    expect((await first).object).toBe("chat.completion");
    expect(sent).toHaveLength(2);
  });

  test("a gate whose database is away is asked again, and answers 503", async () => {
    // What it would write when it ends it cannot write: there is nothing to wait for.
    const away = await startTollgate({ database, upstream: upstream.url, drainMsMax: 200 });
    const tenant = await away.tenant();
    await away.db.close();
    const journal = upstream.journal.length;
    let failure: unknown;
    const sent = await requestsTo(away.url, async () => {
      failure = await away
        .client(tenant.key, { maxRetries: 2 })
        .chat.completions.create(ask(MODEL))
        .catch((error: unknown) => error);
    });
    expect(failure).toBeInstanceOf(OpenAI.InternalServerError);
    expect(failure).toMatchObject({ status: 503, code: "admission_unavailable" });
    expect(sent).toHaveLength(3);
    expect(upstream.journal.length).toBe(journal);
    // Its lease cannot be given back either, and the operator is told.
    await expect(away.close()).rejects.toThrow("CONNECTION_ENDED");
  });
});

function ask(model: string) {
  return { model, messages: [{ role: "user" as const, content: "Hello" }], max_tokens: 10 };
}

function refusal(status: number, code: string, kind: Row["kind"], requests = 1) {
  return { status, code, kind, requests, dispatched: 0 };
}

function passed(status: number, kind: Row["kind"], requests: number) {
  return { status, code: "some_code", kind, requests, dispatched: requests };
}
