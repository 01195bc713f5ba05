import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import {
  startScriptedUpstream,
  type Exchange,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { MODEL, startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { call, until, type Called } from "./http-call.ts";

/** The gate's no, as each kind of client takes it; and the yes that is less than was asked. */

type ErrorBody = {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string;
  readonly tollgate: Readonly<Record<string, unknown>>;
};

const errorOf = ({ text }: Called): ErrorBody =>
  (JSON.parse(text) as { readonly error: ErrorBody }).error;

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
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    upstream.otherwise(({ model }) => ({
      kind: "json",
      body: chatAnswer(model ?? "", "ok", { input: 3, output: 2 }),
    }));
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      upstreamConfig: { models: ["m*"] },
    });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const chat = (key: string, given: Partial<Pick<Row, "headers" | "body">> = {}): Promise<Called> =>
    call(`${tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        ...given.headers,
      },
      body: JSON.stringify({
        model: MODEL,
        messages: [{ role: "user", content: "Hi" }],
        ...given.body,
      }),
    });
  const decisionOf = async ({ headers }: Called): Promise<Record<string, unknown> | undefined> => {
    const id = String(headers["tollgate-decision"]).replace(/^dec_/u, "att_");
    const [row] = await tollgate.rows(
      "select verdict, reason, meters, record from decisions where attempt_id = $1",
      [id],
    );
    return row;
  };

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

  test("by one key's, customer's or model's budget does not touch another's", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "key", id: tenant.keyId, unit: "usd", limit: 0 });
    await tenant.limit({ scope: "each_customer", unit: "requests", limit: 1 });
    const other = await tenant.newKey();
    const acme = { headers: { "tollgate-customer": "acme" } };
    expect((await chat(tenant.key)).status).toBe(402);
    expect((await chat(other.key, acme)).status).toBe(200);
    expect((await chat(other.key, acme)).status).toBe(402);
    expect((await chat(other.key, { headers: { "tollgate-customer": "beta" } })).status).toBe(200);
    expect((await chat(other.key)).status).toBe(200);
  });

  test("by a rate is a 429 that says when, and the library's retry is due within a minute", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "requests", window: "minute", limit: 1 });
    await setClock(tollgate.db, new Date("2030-05-01T10:00:40Z"));
    expect((await chat(tenant.key)).status).toBe(200);
    const refused = await chat(tenant.key);
    expect(refused.status).toBe(429);
    expect(errorOf(refused)).toMatchObject({ type: "rate_limit_exceeded", code: "quota_exceeded" });
    expect(refused.headers).toMatchObject({
      "retry-after": "20",
      "retry-after-ms": "20000",
      "x-should-retry": "true",
    });
    await setClock(tollgate.db, new Date("2030-05-01T10:01:00Z"));
    expect((await chat(tenant.key)).status).toBe(200);
    await resetClock(tollgate.db);
  });

  test("by a day's quota ends at midnight where the limit lives", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({
      scope: "tenant",
      unit: "requests",
      window: "day",
      limit: 1,
      timeZone: "America/New_York",
    });
    const at = (iso: string) => setClock(tollgate.db, new Date(iso));
    // 2030-03-10 is 23 hours long there: the clocks go forward.
    await at("2030-03-10T05:00:00Z");
    expect((await chat(tenant.key)).status).toBe(200);
    await at("2030-03-11T03:59:59.999Z");
    const refused = await chat(tenant.key);
    expect(refused.status).toBe(402);
    expect(errorOf(refused).tollgate["resets_at"]).toBe("2030-03-11T04:00:00.000Z");
    await at("2030-03-11T04:00:00Z");
    expect((await chat(tenant.key)).status).toBe(200);
    await resetClock(tollgate.db);
  });

  test("leaves what was settled after midnight in the day that reserved it", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", window: "day", limit: 1 });
    const gate = Promise.withResolvers<void>();
    await setClock(tollgate.db, new Date("2030-06-30T23:59:59Z"));
    const before = upstream.journal.length;
    upstream.next({
      kind: "json",
      headersGate: gate.promise,
      body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
    });
    const late = chat(tenant.key);
    await upstream.arrived(before + 1);
    await setClock(tollgate.db, new Date("2030-07-01T00:00:01Z"));
    gate.resolve();
    expect((await late).status).toBe(200);
    expect((await chat(tenant.key)).status).toBe(200);
    const meters = await tollgate.ledger(
      "select window_start, committed, reserved from meters where tenant_id = $1 order by window_start",
      [tenant.id],
    );
    expect(meters).toEqual([
      { window_start: new Date("2030-06-30T00:00:00Z"), committed: "230", reserved: "0" },
      { window_start: new Date("2030-07-01T00:00:00Z"), committed: "230", reserved: "0" },
    ]);
    await resetClock(tollgate.db);
  });

  describe("by what is in flight", () => {
    const holdOne = async (tenant: Tenant) => {
      const gate = Promise.withResolvers<void>();
      const before = upstream.journal.length;
      upstream.next({
        kind: "json",
        headersGate: gate.promise,
        body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
      });
      const held = chat(tenant.key);
      await upstream.arrived(before + 1);
      return { release: gate.resolve, held };
    };
    /** Room for one reservation, and, once that is settled, for another. */
    const KINDS = [
      { unit: "usd", limit: "0.00000015", code: "budget_contended" },
      { unit: "in_flight", limit: 1, code: "concurrency_exceeded" },
      { unit: "tokens", limit: 1_500, code: "budget_contended" },
    ] as const;

    test.each(KINDS)("waits for it: $unit", async ({ unit, limit }) => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit, limit });
      const { release, held } = await holdOne(tenant);
      const waiting = Promise.all([chat(tenant.key), chat(tenant.key)]);
      release();
      expect((await held).status).toBe(200);
      expect((await waiting).map(({ status }) => status)).toEqual([200, 200]);
    });

    test.each(KINDS)("is a 429 worth repeating, not an exhaustion: $unit", async (kind) => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: kind.unit, limit: kind.limit });
      const { release, held } = await holdOne(tenant);
      const refused = await chat(tenant.key);
      expect([refused.status, errorOf(refused).code]).toEqual([429, kind.code]);
      expect(refused.headers).toMatchObject({ "x-should-retry": "true", "retry-after-ms": "500" });
      expect(await decisionOf(refused)).toMatchObject({ verdict: "block", reason: kind.code });
      release();
      expect((await held).status).toBe(200);
      // The library's own retry then finds room.
      expect((await chat(tenant.key)).status).toBe(200);
    });
  });

  describe("that a limit spares", () => {
    const bodyOf = ({ body }: Exchange) =>
      JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;

    test("by clamping lowers the maximum that the upstream gets, and says so", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: "0.00000003", onExceed: "clamp" });
      for (const field of [null, "max_tokens", "max_completion_tokens"]) {
        const body = field === null ? {} : { [field]: 900 };
        const clamped = await chat(tenant.key, { body });
        expect(clamped.status).toBe(200);
        const to = Number(clamped.headers["tollgate-output-clamped"]);
        expect(to).toBeGreaterThan(16);
        expect(to).toBeLessThan(300);
        const sent = bodyOf(upstream.journal.at(-1)!);
        expect(sent["max_completion_tokens"] ?? sent["max_tokens"]).toBe(to);
        expect(Object.values(sent)).not.toContain(900);
        const { reserved } = (
          await tollgate.ledger<{ reserved: string }>(
            `select reserved_picousd as reserved from settlements where tenant_id = $1
           order by settled_at desc, attempt_id desc limit 1`,
            [tenant.id],
          )
        )[0]!;
        expect(Number(reserved)).toBeLessThanOrEqual(30_000);
      }
      const small = await chat(tenant.key, { body: { max_tokens: 20 } });
      expect(small.headers["tollgate-output-clamped"]).toBe(undefined);
      expect(bodyOf(upstream.journal.at(-1)!)["max_tokens"]).toBe(20);
    });

    test("by clamping refuses where what is left makes no answer", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "tokens", limit: 40, onExceed: "clamp" });
      expect((await chat(tenant.key)).status).toBe(402);
    });

    test("as a shadow passes, and the decision tells what it would have refused", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: TOO_LITTLE, mode: "shadow" });
      const passed = await chat(tenant.key);
      expect(passed.status).toBe(200);
      expect(passed.headers["tollgate-budget-remaining"]).toBe(undefined);
      const decision = await decisionOf(passed);
      expect(decision).toMatchObject({
        verdict: "allow",
        meters: [{ mode: "shadow", limit: "10000", committed: "0" }],
      });
      const [meter] = await tollgate.ledger(
        "select committed, reserved from meters where tenant_id = $1",
        [tenant.id],
      );
      expect(meter).toEqual({ committed: "230", reserved: "0" });
    });

    test("is told by a dry run, which reserves and records nothing", async () => {
      const tenant = await tollgate.tenant();
      const before = upstream.journal.length;
      const dry = { headers: { "tollgate-dry-run": "true" } };
      const allowed = await chat(tenant.key, dry);
      expect(allowed).toMatchObject({ status: 200, headers: { "tollgate-dry-run": "true" } });
      expect(JSON.parse(allowed.text)).toMatchObject({
        object: "tollgate.dry_run",
        verdict: "allow",
        upstream: "up",
        model: MODEL,
      });
      await tenant.limit({ scope: "tenant", unit: "usd", limit: TOO_LITTLE });
      expect(JSON.parse((await chat(tenant.key, dry)).text)).toMatchObject({
        verdict: "block",
        reason: "budget_exceeded",
      });
      expect(upstream.journal.length).toBe(before);
      const rows = await tollgate.ledger(
        "select attempt_id from decisions where tenant_id = $1 union all select attempt_id from reservations where tenant_id = $1",
        [tenant.id],
      );
      expect(rows).toEqual([]);
    });

    test("is far from what the caller would pay at most", async () => {
      const tenant = await tollgate.tenant();
      const paid = await chat(tenant.key, { headers: { "tollgate-max-cost": "0.001" } });
      expect([paid.status, paid.headers["tollgate-cost"]]).toEqual([200, "0.00000000023"]);
    });
  });

  describe("of what is not a call", () => {
    type Mistake = {
      readonly name: string;
      readonly path?: string;
      readonly method?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
      readonly status: number;
      readonly code: string;
      readonly param?: string | null;
    };
    const MISTAKES: readonly Mistake[] = [
      { name: "no key", headers: { authorization: "" }, status: 401, code: "invalid_api_key" },
      {
        name: "a made-up key",
        headers: { authorization: "Bearer tg_live_nope" },
        status: 401,
        code: "invalid_api_key",
      },
      {
        name: "another scheme",
        headers: { authorization: "Basic dTpw" },
        status: 401,
        code: "invalid_api_key",
      },
      {
        name: "a model nobody serves",
        body: '{"model":"zzz"}',
        status: 404,
        code: "model_not_found",
        param: "model",
      },
      {
        name: "no model",
        body: '{"messages":[]}',
        status: 400,
        code: "missing_required_parameter",
        param: "model",
      },
      { name: "broken JSON", body: '{"model":', status: 400, code: "invalid_json" },
      { name: "no body", body: "", status: 400, code: "invalid_json" },
      { name: "no path", path: "/v1", status: 404, code: "unknown_url" },
      { name: "the root", path: "/", method: "GET", status: 404, code: "unknown_url" },
      {
        name: "administration",
        path: "/v1/organization/usage",
        method: "GET",
        status: 403,
        code: "forbidden",
      },
      {
        name: "an encoded body",
        headers: { "content-encoding": "gzip" },
        status: 415,
        code: "unsupported_encoding",
      },
      {
        name: "a form without a boundary",
        path: "/v1/audio/transcriptions",
        headers: { "content-type": "multipart/form-data" },
        status: 415,
        code: "unsupported_media_type",
      },
      {
        name: "a body that says it is too large",
        headers: { "content-length": String(70 * 1024 * 1024) },
        body: "",
        status: 413,
        code: "body_too_large",
      },
      {
        name: "a WebSocket",
        path: "/v1/responses",
        method: "GET",
        headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
        status: 426,
        code: "websocket_unsupported",
      },
      {
        name: "a maximum that is no amount",
        headers: { "tollgate-max-cost": "cheap" },
        status: 400,
        code: "invalid_value",
        param: "Tollgate-Max-Cost",
      },
      {
        name: "a dry run that is neither",
        headers: { "tollgate-dry-run": "maybe" },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Dry-Run",
      },
      {
        name: "a run that is too long",
        headers: { "tollgate-run": "r".repeat(257) },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Run",
      },
      {
        name: "labels without values",
        headers: { "tollgate-labels": "a=b, c" },
        status: 400,
        code: "invalid_header",
        param: "Tollgate-Labels",
      },
    ];

    test.each(MISTAKES)("says what is wrong: $name", async (mistake) => {
      const tenant = await tollgate.tenant();
      const before = upstream.journal.length;
      const { path = "/v1/chat/completions", method = "POST" } = mistake;
      const told = await call(`${tollgate.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          ...mistake.headers,
        },
        body: method === "GET" ? null : (mistake.body ?? `{"model":"${MODEL}","messages":[]}`),
      });
      const error = errorOf(told);
      expect([told.status, error.code]).toEqual([mistake.status, mistake.code]);
      if (mistake.param !== undefined) expect(error.param).toBe(mistake.param);
      expect(error.message.length).toBeGreaterThan(10);
      expect(told.headers["x-should-retry"]).toBe("false");
      expect(told.headers["x-request-id"]).toMatch(/^req_/);
      expect(upstream.journal.length).toBe(before);
    });

    test("of a key that was revoked, has expired, may not call, or is the installation's", async () => {
      const tenant = await tollgate.tenant();
      const revoked = await tenant.newKey();
      await tenant.revoke(revoked.id);
      const expired = await tenant.newKey({ expiresAt: new Date(Date.now() + 200) });
      const reporter = await tenant.newKey({ scopes: ["report"] });
      const codes = async (key: string) => {
        const refused = await chat(key);
        return [refused.status, errorOf(refused).code];
      };
      expect(await codes(revoked.key)).toEqual([401, "invalid_api_key"]);
      await until(async () => (await chat(expired.key)).status === 401);
      expect(await codes(expired.key)).toEqual([401, "invalid_api_key"]);
      expect(await codes(reporter.key)).toEqual([403, "scope_missing"]);
      expect(await codes(tollgate.adminKey)).toEqual([403, "forbidden"]);
    });
  });

  test("of an unknown price is a tolerant tenant's unpriced call", async () => {
    const tenant = await tollgate.tenant({ mode: "tolerant" });
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "1" });
    const passed = await chat(tenant.key, { body: { model: "m-unpriced", max_tokens: 5 } });
    expect([passed.status, passed.headers["tollgate-cost"]]).toEqual([200, undefined]);
    const [settled] = await tollgate.ledger(
      "select basis, cost_picousd, tokens::int from settlements where tenant_id = $1",
      [tenant.id],
    );
    expect(settled).toEqual({ basis: "unpriced", cost_picousd: null, tokens: 5 });
  });
});
