import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { errorOf, startDoor, type Door } from "./door.ts";
import { call } from "./http-call.ts";

/** The gate's no, as each kind of client takes it. */

const CODEX = { "user-agent": "codex_cli_rs/0.169.0", originator: "codex_cli_rs" };
const DECISION = /^dec_[0-9a-z]{26}$/;

/** 1,000 output tokens are injected and cost 100,000 pico-dollars: what this budget never has. */
const TOO_LITTLE = "0.00000001";
const A_CALL_COULD_TAKE = /this call could take \$0\.000000\d+/;

type Row = {
  readonly name: string;
  readonly given: (tenant: Tenant) => Promise<unknown>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly status: number;
  readonly type: string;
  readonly code: string;
  readonly param?: string;
  readonly retry: "no" | "contention" | "rate";
  /** What stands in the message: most libraries show nothing else. */
  readonly says: readonly RegExp[];
  readonly figures?: Readonly<Record<string, unknown>>;
  /** Status and code for Codex, which repeats a 402 and a 403 five times. */
  readonly codex: readonly [number, string];
};

const MONEY = { status: 402, type: "insufficient_quota", retry: "no" } as const;
const POLICY = { status: 403, type: "policy_denied", retry: "no" } as const;

const ROWS: readonly Row[] = [
  {
    name: "a tenant's budget",
    given: (tenant) => tenant.limit({ scope: "tenant", unit: "usd", limit: TOO_LITTLE }),
    ...MONEY,
    code: "budget_exceeded",
    says: [
      /^The tenant budget of \$0\.00000001 has no room: \$0\.00 is settled, \$0\.00 is reserved/,
      /\$0\.00000001 is left/,
      A_CALL_COULD_TAKE,
      /It does not reset\. Raise the limit or lower max_completion_tokens\.$/,
    ],
    figures: {
      scope: "tenant",
      unit: "usd",
      limit: "0.00000001",
      committed: "0.00",
      resets_at: null,
    },
    codex: [429, "insufficient_quota"],
  },
  {
    name: "a daily budget",
    given: (tenant) =>
      tenant.limit({ scope: "tenant", unit: "usd", window: "day", limit: TOO_LITTLE }),
    ...MONEY,
    code: "budget_exceeded",
    says: [/^The daily tenant budget of/, /It resets at \d{4}-\d\d-\d\dT00:00:00\.000Z\./],
    codex: [429, "usage_limit_reached"],
  },
  {
    name: "a run's budget",
    given: (tenant) => tenant.run("r-1", { budgetUsd: TOO_LITTLE }),
    headers: { "tollgate-run": "r-1" },
    ...MONEY,
    code: "run_budget_exceeded",
    says: [/^The run budget of \$0\.00000001 for `r-1` has no room/],
    figures: { scope: "run", subject: "r-1" },
    codex: [429, "insufficient_quota"],
  },
  {
    name: "the budget of a run above",
    given: async (tenant) => {
      await tenant.run("above", { budgetUsd: TOO_LITTLE });
      await tenant.run("below", { parent: "above" });
    },
    headers: { "tollgate-run": "below" },
    ...MONEY,
    code: "run_budget_exceeded",
    says: [/for `above`/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "each run's budget, of a run that nobody named",
    given: (tenant) => tenant.limit({ scope: "each_run", unit: "usd", limit: TOO_LITTLE }),
    ...MONEY,
    code: "run_budget_exceeded",
    says: [/^The run budget of \$0\.00000001 for `run_/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "each customer's budget",
    given: (tenant) => tenant.limit({ scope: "each_customer", unit: "usd", limit: TOO_LITTLE }),
    headers: { "tollgate-customer": "acme" },
    ...MONEY,
    code: "budget_exceeded",
    says: [/^The customer budget of \$0\.00000001 for `acme`/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "a key's budget",
    given: (tenant) =>
      tenant.limit({ scope: "key", id: tenant.keyId, unit: "usd", limit: TOO_LITTLE }),
    ...MONEY,
    code: "budget_exceeded",
    says: [/^The key budget of/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "a model's budget",
    given: (tenant) => tenant.limit({ scope: "model", id: MODEL, unit: "usd", limit: TOO_LITTLE }),
    ...MONEY,
    code: "budget_exceeded",
    says: [/^The model budget of \$0\.00000001 for `m`/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "a quota of tokens",
    given: (tenant) =>
      tenant.limit({ scope: "tenant", unit: "tokens", window: "month", limit: 10 }),
    ...MONEY,
    code: "quota_exceeded",
    says: [/^The monthly tenant token quota of 10 tokens/, /this call could take \d+ tokens/],
    codex: [429, "usage_limit_reached"],
  },
  {
    name: "a quota of calls",
    given: (tenant) => tenant.limit({ scope: "tenant", unit: "requests", window: "day", limit: 0 }),
    ...MONEY,
    code: "quota_exceeded",
    says: [/^The daily tenant request quota of 0 has no room/],
    codex: [429, "usage_limit_reached"],
  },
  {
    name: "what the caller would pay at most",
    given: async () => undefined,
    headers: { "tollgate-max-cost": TOO_LITTLE },
    ...MONEY,
    code: "max_cost_exceeded",
    param: "Tollgate-Max-Cost",
    says: [/0\.000000\d+/],
    codex: [429, "insufficient_quota"],
  },
  {
    name: "a model without a price",
    given: async () => undefined,
    body: { model: "m-unpriced" },
    ...POLICY,
    code: "price_unknown",
    param: "model",
    says: [/`m-unpriced` at upstream `up`/, /tollgate\.yaml/],
    codex: [400, "price_unknown"],
  },
  {
    name: "a cost without a bound",
    given: async () => undefined,
    body: { web_search_options: {} },
    ...POLICY,
    code: "cost_unbounded",
    says: [/no upper bound \(/],
    codex: [400, "cost_unbounded"],
  },
  {
    name: "a stopped run",
    given: async (tenant) => {
      await tenant.run("r-2");
      await tenant.stop("r-2");
    },
    headers: { "tollgate-run": "r-2" },
    ...POLICY,
    code: "run_stopped",
    says: [/`r-2`, or a run above it, was stopped/],
    codex: [400, "run_stopped"],
  },
];

describeEachDatabase("a refusal", (database) => {
  let door: Door;
  let upstream: Door["upstream"];
  let tollgate: Door["tollgate"];
  let chat: Door["chat"];
  let decisionOf: Door["decisionOf"];
  beforeAll(async () => {
    door = await startDoor(database);
    ({ upstream, tollgate, chat, decisionOf } = door);
  });
  afterAll(() => door.close());

  test.each(ROWS)(
    "by $name is told with its figures, recorded, and opens no connection",
    async (row) => {
      const tenant = await tollgate.tenant();
      await row.given(tenant);
      const before = upstream.journal.length;
      const refused = await chat(tenant.key, row);
      const error = errorOf(refused);
      expect([refused.status, error.type, error.code]).toEqual([row.status, row.type, row.code]);
      if (row.param !== undefined) expect(error.param).toBe(row.param);
      for (const says of row.says) expect(error.message).toMatch(says);
      expect(error.tollgate).toMatchObject({ reason: row.code, ...row.figures });
      expect(refused.headers["content-type"]).toBe("application/json");
      expect(refused.headers["x-should-retry"]).toBe("false");
      expect(refused.headers["tollgate-decision"]).toMatch(DECISION);
      expect(refused.headers["tollgate-verdict"]).toBe("block");
      expect(refused.headers["x-request-id"]).toMatch(/^req_/);
      expect(error.tollgate["decision_id"]).toBe(refused.headers["tollgate-decision"]);
      expect(await decisionOf(refused)).toMatchObject({ verdict: "block", reason: row.code });

      const codex = await chat(tenant.key, { ...row, headers: { ...row.headers, ...CODEX } });
      const told = errorOf(codex);
      expect([codex.status, told.code]).toEqual(row.codex);
      if (told.code === "usage_limit_reached") {
        const { resets_at: resetsAt } = JSON.parse(codex.text).error as { resets_at: number };
        expect(new Date(resetsAt * 1_000).toISOString()).toBe(told.tollgate["resets_at"]);
      }
      expect(codex.headers["x-should-retry"]).toBe("false");
      expect(await decisionOf(codex)).toMatchObject({ verdict: "block", reason: row.code });

      // The same again is the same answer, and nothing was consumed by any of them.
      expect(errorOf(await chat(tenant.key, row)).code).toBe(row.code);
      expect(upstream.journal.length).toBe(before);
      const touched = await tollgate.ledger(
        "select from meters where tenant_id = $1 and (committed > 0 or reserved > 0)",
        [tenant.id],
      );
      expect(touched).toEqual([]);
    },
  );

  const ADVICE = [
    ["chat/completions", /or lower max_completion_tokens\.$/],
    ["responses", /or lower max_output_tokens\.$/],
    ["completions", /or lower max_tokens\.$/],
    ["embeddings", /Raise the limit\.$/],
  ] as const;
  test.each(ADVICE)("of money for %s advises what can be done there", async (path, advice) => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "0.0000000001" });
    const refused = await call(`${tollgate.url}/v1/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages: [], input: "Hi", prompt: "Hi" }),
    });
    expect([refused.status, errorOf(refused).code]).toEqual([402, "budget_exceeded"]);
    expect(errorOf(refused).message).toMatch(advice);
  });
});
