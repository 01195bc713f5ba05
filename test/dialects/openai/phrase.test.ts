import { describe, expect, test } from "vitest";
import type { ClientFacts } from "../../../src/core/intent.ts";
import { REASONS } from "../../../src/core/verdict.ts";
import type { MeterFigures, Reason, Refusal } from "../../../src/core/verdict.ts";
import type { Route } from "../../../src/dialects/dialect.ts";
import { phrase, phraseError, phraseStreamError } from "../../../src/dialects/openai/phrase.ts";

const AT = new Date("2026-01-01T00:00:00.000Z");
const SDK: ClientFacts = {
  userAgent: "OpenAI/JS 7.57.0",
  sdk: "openai-node",
  sdkRetryCount: 0,
  isCodex: false,
};
const CODEX: ClientFacts = { ...SDK, userAgent: "codex_cli_rs/0.169", sdk: null, isCodex: true };

function meter(changes: Partial<MeterFigures>): MeterFigures {
  return {
    limitId: "lim_1",
    scope: "run",
    subject: "nightly",
    unit: "usd",
    window: "none",
    mode: "enforce",
    onExceed: "refuse",
    isShare: false,
    limit: 1_000_000_000_000n,
    committed: 900_000_000_000n,
    reserved: 150_000_000_000n,
    asked: 412_500_000n,
    resetsAt: null,
    ...changes,
  };
}

function refusal(reason: Reason, figures: MeterFigures | null = null): Refusal {
  return {
    reason,
    message: "The run budget is used up.",
    meter: figures,
    param: null,
    decisionId: "dec_1",
    retry: null,
    approvalId: null,
  };
}

const MINUTE = {
  unit: "requests",
  window: "minute",
  limit: 60n,
  committed: 60n,
  reserved: 0n,
  asked: 1n,
  resetsAt: new Date("2026-01-01T00:00:20.250Z"),
} as const;
const DAY = { ...MINUTE, window: "day", resetsAt: new Date("2026-01-02T00:00:00Z") } as const;

type Row = readonly [string, Refusal, number, string, Record<string, string>, number, string];
const no = { "x-should-retry": "false" };
const soon = { "retry-after": "1", "retry-after-ms": "500", "x-should-retry": "true" };
const inASecond = { "retry-after": "1", "retry-after-ms": "1000", "x-should-retry": "true" };
const rows: readonly Row[] = [
  ...(
    [
      "run_closed",
      "run_stopped",
      "scope_missing",
      "route_not_allowed",
      "tool_not_allowed",
      "tool_undeclared",
      "tool_quarantined",
      "price_unknown",
      "cost_unbounded",
      "policy_denied",
      "evaluator_unavailable",
      "approval_required",
      "approval_denied",
      "approval_expired",
      "approval_used",
      "approval_impossible",
    ] as const
  ).map((reason): Row => [reason, refusal(reason), 403, "policy_denied", no, 400, reason]),
  ...(
    [
      "duplicate_request",
      "outcome_unknown",
      "effect_applied",
      "effect_uncertain",
      "operation_conflict",
    ] as const
  ).map((reason): Row => [reason, refusal(reason), 409, "conflict", no, 409, reason]),
  ...(["idempotency_in_progress", "effect_in_flight"] as const).map((reason): Row => [
    reason,
    refusal(reason),
    409,
    "conflict",
    inASecond,
    409,
    reason,
  ]),
  [
    "idempotency_key_reused",
    refusal("idempotency_key_reused"),
    422,
    "invalid_request_error",
    no,
    422,
    "idempotency_key_reused",
  ],
  ...(
    [
      "max_cost_exceeded",
      "retry_budget_exceeded",
      "run_budget_exceeded",
      "run_share_exceeded",
      "budget_exceeded",
    ] as const
  ).map((reason): Row => [
    reason,
    refusal(reason, meter({})),
    402,
    "insufficient_quota",
    no,
    429,
    "insufficient_quota",
  ]),
  [
    "quota per day",
    refusal("quota_exceeded", meter(DAY)),
    402,
    "insufficient_quota",
    no,
    429,
    "usage_limit_reached",
  ],
  [
    "quota per minute",
    refusal("quota_exceeded", meter(MINUTE)),
    429,
    "rate_limit_exceeded",
    { "retry-after": "21", "retry-after-ms": "20250", "x-should-retry": "true" },
    429,
    "quota_exceeded",
  ],
  [
    "quota per hour",
    refusal(
      "quota_exceeded",
      meter({ ...MINUTE, window: "hour", resetsAt: new Date("2026-01-01T01:00:00Z") }),
    ),
    429,
    "rate_limit_exceeded",
    { "retry-after": "60", "retry-after-ms": "60000", "x-should-retry": "true" },
    429,
    "quota_exceeded",
  ],
  [
    "a call larger than the whole rate",
    refusal("quota_exceeded", meter({ ...MINUTE, unit: "tokens", asked: 61n })),
    402,
    "insufficient_quota",
    no,
    429,
    "usage_limit_reached",
  ],
  [
    "concurrency_exceeded",
    refusal("concurrency_exceeded"),
    429,
    "rate_limit_exceeded",
    soon,
    429,
    "concurrency_exceeded",
  ],
  [
    "budget_contended",
    refusal("budget_contended", meter({})),
    429,
    "rate_limit_exceeded",
    soon,
    429,
    "budget_contended",
  ],
];

describe("a refusal is said in the words that make a client do the right thing", () => {
  test("every reason has a row here", () => {
    expect(new Set(rows.map(([, { reason }]) => reason))).toEqual(new Set(REASONS));
  });

  test.each(rows)("%s", (_name, said, status, type, headers, codexStatus, codexCode) => {
    const phrased = phrase(said, SDK, AT);
    expect(phrased.status).toBe(status);
    expect(phrased.headers).toEqual({
      "content-type": "application/json",
      "tollgate-decision": "dec_1",
      ...headers,
    });
    const body = JSON.parse(phrased.body);
    expect(Object.keys(body)).toEqual(["error"]);
    expect(Object.keys(body.error)).toEqual(["message", "type", "param", "code", "tollgate"]);
    expect(body.error).toMatchObject({
      message: said.message,
      type,
      code: said.reason,
      tollgate: { reason: said.reason, decision_id: "dec_1" },
    });
    const codex = phrase(said, CODEX, AT);
    expect(codex.status).toBe(codexStatus);
    expect(JSON.parse(codex.body).error.code).toBe(codexCode);
  });

  test("the figures stand in it as exact strings", () => {
    const { tollgate } = JSON.parse(
      phrase(refusal("run_budget_exceeded", meter({ resetsAt: AT })), SDK, AT).body,
    ).error;
    expect(tollgate).toEqual({
      reason: "run_budget_exceeded",
      decision_id: "dec_1",
      limit_id: "lim_1",
      scope: "run",
      subject: "nightly",
      unit: "usd",
      window: "none",
      limit: "1.00",
      committed: "0.90",
      reserved: "0.15",
      asked: "0.0004125",
      remaining: "0.00",
      resets_at: "2026-01-01T00:00:00.000Z",
    });
    const counted = JSON.parse(
      phrase(refusal("quota_exceeded", meter({ ...DAY, committed: 50n })), SDK, AT).body,
    );
    expect(counted.error.tollgate).toMatchObject({ limit: "60", remaining: "10", asked: "1" });
  });

  test("codex is told when a limit resets, in seconds", () => {
    const { error } = JSON.parse(phrase(refusal("quota_exceeded", meter(DAY)), CODEX, AT).body);
    expect(error).toMatchObject({ type: "usage_limit_reached", resets_at: 1_767_312_000 });
  });
});

test.each([
  [400, "invalid_request_error"],
  [401, "invalid_request_error"],
  [403, "permission_denied"],
  [404, "invalid_request_error"],
  [409, "conflict"],
  [413, "invalid_request_error"],
  [429, "rate_limit_exceeded"],
  [503, "server_error"],
])("an error of status %i has the type %s", (status, type) => {
  const error = { code: "some_code", param: "model", message: "No." };
  const phrased = phraseError(status, error, { request_id: "req_1" }, { "retry-after": "5" });
  expect(phrased).toMatchObject({
    status,
    headers: { "content-type": "application/json", "retry-after": "5" },
  });
  expect(JSON.parse(phrased.body)).toEqual({
    error: {
      message: "No.",
      type,
      param: "model",
      code: "some_code",
      tollgate: { request_id: "req_1" },
    },
  });
});

test("an error inside a stream is one whole event of the client's dialect", () => {
  const route: Route = {
    operation: "chat",
    billing: "metered",
    path: "/chat/completions",
    body: "json",
    pathModel: null,
  };
  const error = { code: "upstream_truncated", message: "Cut\nshort." };
  const chat = new TextDecoder().decode(phraseStreamError(route, error, 0));
  expect(chat).toBe(
    'data: {"error":{"message":"Cut\\nshort.","type":"server_error","param":null,"code":"upstream_truncated"}}\n\n',
  );
  const responses = new TextDecoder().decode(
    phraseStreamError({ ...route, operation: "responses" }, error, 7),
  );
  expect(responses).toBe(
    'event: error\ndata: {"type":"error","code":"upstream_truncated","message":"Cut\\nshort.","param":null,"sequence_number":7}\n\n',
  );
});
