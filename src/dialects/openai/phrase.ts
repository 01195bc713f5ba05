import type { ClientFacts } from "../../core/intent.ts";
import { usdOf } from "../../core/money.ts";
import type { MeterFigures, Reason, Refusal } from "../../core/verdict.ts";
import type { Phrased, Route } from "../dialect.ts";

/** Sent between events of a silent stream, so that nothing on the way takes it for dead. */
export const KEEP_ALIVE = ": keep-alive\n\n";

/** What a refusal is to the client: whose library then knows whether to try again. */
type Kind = "money" | "policy" | "rate" | "contention" | "in_progress" | "conflict" | "reused";

/** Every reason has its answer here: a new one does not compile until it has. */
const KINDS: Readonly<Record<Reason, Kind>> = {
  run_closed: "policy",
  run_stopped: "policy",
  scope_missing: "policy",
  // Told only where the prior answer is not kept: else that answer is given.
  duplicate_request: "conflict",
  idempotency_in_progress: "in_progress",
  outcome_unknown: "conflict",
  idempotency_key_reused: "reused",
  effect_applied: "conflict",
  effect_in_flight: "in_progress",
  effect_uncertain: "conflict",
  operation_conflict: "conflict",
  policy_denied: "policy",
  evaluator_unavailable: "policy",
  route_not_allowed: "policy",
  tool_not_allowed: "policy",
  tool_undeclared: "policy",
  tool_quarantined: "policy",
  price_unknown: "policy",
  cost_unbounded: "policy",
  max_cost_exceeded: "money",
  retry_budget_exceeded: "money",
  run_budget_exceeded: "money",
  run_share_exceeded: "money",
  budget_exceeded: "money",
  // A quota that fills up again within the hour is a rate: see `kindOf`.
  quota_exceeded: "money",
  concurrency_exceeded: "contention",
  budget_contended: "contention",
  approval_required: "policy",
  approval_denied: "policy",
  approval_expired: "policy",
  approval_used: "policy",
  approval_impossible: "policy",
};

/** SDKs ignore a longer wait and use their own. */
const RETRY_AFTER_MS_MAX = 60_000;

/** The first one of the same call is running: it takes seconds, and asking again costs nothing. */
const IN_PROGRESS_RETRY_MS = 1_000;

/** Reservations in flight end within a call's duration; half a second lets the shortest of them end. */
const CONTENTION_RETRY_MS = 500;

/** Members of `error.tollgate`, beside the figures. */
export type Extra = Readonly<Record<string, string | number | boolean | null>>;

/**
 * The gate's no as an OpenAI error. Money is 402 and not retried; a rate and contention are 429 and
 * retried; policy is 403. Codex repeats 402 and 403 five times but takes 429 `insufficient_quota` or
 * `usage_limit_reached` and 400 as final, so it gets those.
 * `at` is the time of the decision, from which the wait is counted.
 */
export function phrase(refusal: Refusal, client: ClientFacts, at: Date): Phrased {
  const kind = kindOf(refusal);
  const base = {
    code: refusal.reason,
    param: refusal.param,
    message: refusal.message,
    tollgate: figuresOf(refusal),
  };
  const decision = { "tollgate-decision": refusal.decisionId };
  switch (kind) {
    case "money":
      if (client.isCodex) return phraseForCodex(refusal, decision);
      return answer(402, { ...base, type: "insufficient_quota" }, { ...decision, ...NO_RETRY });
    case "policy": {
      const status = client.isCodex ? 400 : 403;
      return answer(status, { ...base, type: "policy_denied" }, { ...decision, ...NO_RETRY });
    }
    case "in_progress": {
      const headers = { ...decision, ...retryAfter(IN_PROGRESS_RETRY_MS) };
      return answer(409, { ...base, type: "conflict" }, headers);
    }
    case "conflict":
      return answer(409, { ...base, type: "conflict" }, { ...decision, ...NO_RETRY });
    case "reused":
      return answer(422, { ...base, type: "invalid_request_error" }, { ...decision, ...NO_RETRY });
    case "rate":
    case "contention": {
      const waitMs = kind === "rate" ? waitUntilReset(refusal.meter, at) : CONTENTION_RETRY_MS;
      const headers = { ...decision, ...retryAfter(waitMs) };
      return answer(429, { ...base, type: "rate_limit_exceeded" }, headers);
    }
  }
}

const NO_RETRY = { "x-should-retry": "false" };

/** The headers by which SDKs know when to try again. */
export function retryAfter(waitMs: number): Readonly<Record<string, string>> {
  const ms = Math.min(RETRY_AFTER_MS_MAX, Math.max(1, Math.ceil(waitMs)));
  return {
    "retry-after": String(Math.ceil(ms / 1_000)),
    "retry-after-ms": String(ms),
    "x-should-retry": "true",
  };
}

/**
 * A quota of calls or tokens per minute or hour is a rate limit, which waiting mends; by the day or longer
 * it is a sum that is used up. What one call alone exceeds, no waiting mends.
 */
function kindOf({ reason, meter }: Refusal): Kind {
  if (reason !== "quota_exceeded" || meter === null) return KINDS[reason];
  const isShort = meter.window === "minute" || meter.window === "hour";
  return isShort && meter.asked <= meter.limit ? "rate" : "money";
}

function waitUntilReset(meter: MeterFigures | null, at: Date): number {
  const resetsAt = meter?.resetsAt ?? null;
  return resetsAt === null ? RETRY_AFTER_MS_MAX : resetsAt.getTime() - at.getTime();
}

/** Codex shows when a `usage_limit_reached` resets; it takes the moment in seconds. */
function phraseForCodex(refusal: Refusal, headers: Readonly<Record<string, string>>): Phrased {
  const resetsAt = refusal.meter?.resetsAt ?? null;
  const error = {
    message: refusal.message,
    type: resetsAt === null ? "insufficient_quota" : "usage_limit_reached",
    param: refusal.param,
    code: resetsAt === null ? "insufficient_quota" : "usage_limit_reached",
    ...(resetsAt === null ? {} : { resets_at: Math.ceil(resetsAt.getTime() / 1_000) }),
    tollgate: figuresOf(refusal),
  };
  return write(429, error, { ...headers, ...NO_RETRY });
}

/** The figures behind a refusal, amounts as decimal strings: a JSON number would round them. */
function figuresOf({ reason, decisionId, meter, retry, approvalId }: Refusal): Extra {
  const named = {
    reason,
    decision_id: decisionId,
    ...(approvalId === null ? {} : { approval_id: approvalId }),
    ...(typeof retry?.priorAttempt === "string" ? { prior_attempt: retry.priorAttempt } : {}),
    ...(typeof retry?.attemptsMax === "number" ? { attempts_max: retry.attemptsMax } : {}),
  };
  if (meter === null) return named;
  const left = meter.limit - meter.committed - meter.reserved;
  const text = (amount: bigint): string =>
    meter.unit === "usd" ? usdOf(amount) : amount.toString();
  return {
    ...named,
    limit_id: meter.limitId,
    scope: meter.scope,
    subject: meter.subject,
    unit: meter.unit,
    window: meter.window,
    limit: text(meter.limit),
    committed: text(meter.committed),
    reserved: text(meter.reserved),
    asked: text(meter.asked),
    remaining: text(left > 0n ? left : 0n),
    resets_at: meter.resetsAt === null ? null : meter.resetsAt.toISOString(),
  };
}

/** The `type` that goes with a status, in the provider's words. */
function typeOf(status: number): string {
  if (status === 403) return "permission_denied";
  if (status === 409) return "conflict";
  if (status === 429) return "rate_limit_exceeded";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** An error of ours that is no refusal. `extra` stands in `error.tollgate`, `headers` beside the content type. */
export function phraseError(
  status: number,
  error: { readonly code: string; readonly param: string | null; readonly message: string },
  extra: Extra = {},
  headers: Readonly<Record<string, string>> = {},
): Phrased {
  return answer(status, { ...error, type: typeOf(status), tollgate: extra }, headers);
}

type Answered = {
  readonly code: string;
  readonly type: string;
  readonly param: string | null;
  readonly message: string;
  readonly tollgate: Extra;
};

function answer(
  status: number,
  error: Answered,
  headers: Readonly<Record<string, string>>,
): Phrased {
  const { message, type, param, code, tollgate } = error;
  return write(status, { message, type, param, code, tollgate }, headers);
}

function write(
  status: number,
  error: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>>,
): Phrased {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ error }),
  };
}

/**
 * The event that tells a client that its stream broke, as its library expects it: a chat client reads `error`,
 * a Responses client an event `error` that continues the numbering. It goes out between events, and
 * `[DONE]` does not follow. Where the stream was cut inside an event, `KEEP_ALIVE` must not be used:
 * write two line feeds first, which close the broken event.
 */
export function phraseStreamError(
  route: Route,
  error: { readonly code: string; readonly message: string },
  sequence: number,
): Uint8Array {
  const { code, message } = error;
  if (route.operation === "responses") {
    const flat = { type: "error", code, message, param: null, sequence_number: sequence };
    return new TextEncoder().encode(`event: error\ndata: ${JSON.stringify(flat)}\n\n`);
  }
  const nested = { error: { message, type: "server_error", param: null, code } };
  return new TextEncoder().encode(`data: ${JSON.stringify(nested)}\n\n`);
}
