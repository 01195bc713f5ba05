/**
 * The step door's own wire: what a caller asks before it acts itself, and what it is told. The shape of
 * a request is checked by its route; here stands what it means. See `docs/steps.md`.
 */
import type { PriorAttempt } from "../core/attempt.ts";
import { InputError } from "../core/errors.ts";
import { decisionIdOf } from "../core/ids.ts";
import type { Act, ActFacts, Context, EffectAsked, IdempotencyAsked } from "../core/intent.ts";
import { ARGUMENTS_BYTES_MAX, TOOL_KEY_KEPT_MS } from "../core/limits.ts";
import {
  extractOperation,
  operationText,
  parseOperation,
  RUN_OPERATION,
  type OperationName,
} from "../core/operation.ts";
import { usdOrNull } from "../core/money.ts";
import type { RetryFacts } from "../core/retry.ts";
import type { Tool } from "../core/tool.ts";
import { DISPOSITIONS, type MeterFigures, type Refusal } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { isRecord } from "../lib/json.ts";
import type { Phrased } from "./dialect.ts";
import { phrase } from "./openai/phrase.ts";

export type StepAsked = {
  readonly kind: "tool" | "step";
  readonly name: string;
  /** Any JSON; undefined for none. */
  readonly arguments: unknown;
  /** The effect of the operation that this is, or null for one of its own name. */
  readonly effect: string | null;
  readonly estimatePicousd: bigint | null;
  readonly repeats: string | null;
  readonly idempotencyKey: string | null;
};

/** What is asked of the gate, beside the context and the client. */
export type StepIntent = {
  readonly doing: Act;
  readonly inputDigest: string;
  /** The operation that it belongs to; null where it belongs to its run alone. */
  readonly business: OperationName | null;
  readonly idempotency: IdempotencyAsked | null;
  readonly effect: EffectAsked | null;
  readonly costStatedPicousd: bigint | null;
  readonly act: ActFacts;
};

/**
 * What a request means, with what the operator declares of the tool. A tool that nobody declared is
 * effectful: the caller cannot say that running it twice is harmless, for it is the caller that would run it.
 */
export function classifyStep(asked: StepAsked, context: Context, tool: Tool | null): StepIntent {
  const effectClass = tool?.effectClass ?? "effectful";
  const args = asked.arguments === undefined ? "" : canonicalJson(asked.arguments);
  if (Buffer.byteLength(args) > ARGUMENTS_BYTES_MAX) {
    const message = `Arguments are at most ${ARGUMENTS_BYTES_MAX} bytes of JSON.`;
    throw new InputError("body_too_large", "arguments", message);
  }
  const named = context.operation === null ? null : parseOperation(context.operation, "operation");
  const extracted = extractedOf(asked, tool);
  const operation = operationOf(named, extracted);
  const content = sha256Hex(JSON.stringify([asked.kind, asked.name, args]));
  const mayRepeat = effectClass !== "effectful";
  const slot = effectClass === "pure" ? null : slotOf(asked, context, { operation, extracted });
  return {
    doing: asked.kind === "tool" ? "execute_tool" : "step",
    inputDigest: inputDigest(asked, args),
    business: operation,
    idempotency: idempotencyOf(asked, { content, operation, mayRepeat }),
    effect:
      slot === null
        ? null
        : { ...slot, content, mayRepeatUnknown: mayRepeat, repeats: asked.repeats },
    costStatedPicousd: costOf(asked, tool),
    act: {
      effectClass,
      effect: slot === null ? null : `${slot.type}:${slot.key} ${slot.effect}`,
      extracted: extracted?.facts ?? null,
      listed: null,
      approval: tool?.approval ?? null,
    },
  };
}

/** Of the canonical arguments; and where it is said, of which effect it is and what it repeats: those are not tries of one act. */
function inputDigest({ effect, repeats }: StepAsked, args: string): string {
  const isPlain = effect === null && repeats === null;
  return sha256Hex(isPlain ? args : JSON.stringify([args, effect, repeats]));
}

type Extraction = {
  readonly facts: NonNullable<ActFacts["extracted"]>;
  readonly operation: OperationName | null;
};

function extractedOf({ arguments: args }: StepAsked, tool: Tool | null): Extraction | null {
  const extractor = tool?.extractor ?? null;
  if (extractor === null) return null;
  const { mode } = extractor;
  const extracted = extractOperation(extractor, args);
  if (extracted.kind === "missing") {
    return { facts: { mode, operation: null, why: extracted.why }, operation: null };
  }
  const { operation } = extracted;
  return { facts: { mode, operation: operationText(operation), why: null }, operation };
}

/** What the operator enforces is not to be talked out of by a header. */
function operationOf(
  named: OperationName | null,
  extraction: Extraction | null,
): OperationName | null {
  if (extraction === null || extraction.facts.mode === "observe") return named;
  const { operation, facts } = extraction;
  if (operation === null) {
    throw new InputError("invalid_value", "arguments", facts.why ?? "No operation is named.");
  }
  if (named === null || operationText(named) === operationText(operation)) return operation;
  const message =
    `The arguments name the operation \`${operationText(operation)}\`, and the request ` +
    `\`${operationText(named)}\`: leave the latter away.`;
  throw new InputError("conflict", "operation", message);
}

/**
 * The effect that it claims: of its operation, else of its run where the step has a name there. Of what the
 * operator enforces it is the tool's own: under another name the same act would pass once more.
 */
function slotOf(
  { name, effect }: StepAsked,
  { run, step }: Context,
  of: { readonly operation: OperationName | null; readonly extracted: Extraction | null },
): Pick<EffectAsked, "type" | "key" | "effect"> | null {
  const { operation, extracted } = of;
  if (operation !== null && extracted?.facts.mode === "enforce") {
    return { ...operation, effect: name };
  }
  if (operation !== null) return { ...operation, effect: effect ?? name };
  if (run === null || (step === null && effect === null)) return null;
  return { type: RUN_OPERATION, key: run, effect: effect ?? step ?? name };
}

function idempotencyOf(
  { idempotencyKey: key }: StepAsked,
  same: {
    readonly content: string;
    readonly operation: OperationName | null;
    readonly mayRepeat: boolean;
  },
): IdempotencyAsked | null {
  if (key === null) return null;
  const operation = same.operation === null ? null : operationText(same.operation);
  return {
    key,
    content: sha256Hex(JSON.stringify([same.content, operation])),
    // Its effect class says so, and no caller.
    acceptsUnknown: same.mayRepeat,
    keptMs: TOOL_KEY_KEPT_MS,
  };
}

/** The most that it may cost. A step by itself costs nothing: what it calls pays at its own door. */
function costOf({ kind, estimatePicousd: stated }: StepAsked, tool: Tool | null): bigint | null {
  const declared = tool?.pricePicousd ?? null;
  if (stated === null) return declared ?? (kind === "step" ? 0n : null);
  return declared !== null && declared > stated ? declared : stated;
}

/** What both answers tell of the attempts there were, and of the operation. */
export type Told = {
  readonly runId: string;
  readonly stepId: string | null;
  readonly attempt: number;
  readonly retry: RetryFacts | null;
  readonly prior: PriorAttempt | null;
  readonly meters: readonly MeterFigures[];
  /** As the API shows an operation; null without one. */
  readonly operation: object | null;
};

export type GrantTold = Told & {
  /** `1.25; scope=run`: what the tightest budget has left, or null where there is none. */
  readonly budgetRemaining: string | null;
  readonly attemptId: string;
  readonly decisionId: string;
  readonly leaseSeconds: number;
  readonly leaseExpiresAt: Date;
  /** Null where no price is known. */
  readonly reservedPicousd: bigint | null;
};

export function phraseGrant(told: GrantTold): Phrased {
  const { reservedPicousd, leaseSeconds, leaseExpiresAt } = told;
  const body = {
    verdict: "allow",
    disposition: "execute",
    ...common(told),
    attempt_id: told.attemptId,
    decision: told.decisionId,
    lease_seconds: leaseSeconds,
    lease_expires_at: leaseExpiresAt.toISOString(),
    budget_remaining: told.budgetRemaining,
    reserved_usd: usdOrNull(reservedPicousd),
    retry_context: retryContext(told, "execute"),
  };
  const headers = { "tollgate-decision": told.decisionId, "tollgate-verdict": "allow" };
  return {
    status: 200,
    headers: { ...headers, ...JSON_HEADERS },
    body: withResult(JSON.stringify(body), told.prior),
  };
}

/** The gate's no: its status and its error are those of the model door, and beside them what to do. */
export function phraseRefusal(refusal: Refusal, told: Told, at: Date): Phrased {
  const disposition = DISPOSITIONS[refusal.reason];
  const verdict = refusal.reason === "approval_required" ? "require_approval" : "block";
  const phrased = phrase({ ...refusal, message: messageOf(refusal, told) }, CLIENT, at);
  const error: unknown = JSON.parse(phrased.body);
  assert(isRecord(error), "an error is an object");
  const body = {
    ...error,
    verdict,
    disposition,
    ...common(told),
    decision: refusal.decisionId,
    approval: refusal.approvalId === null ? null : { id: refusal.approvalId },
    retry_context: retryContext(told, disposition),
  };
  return {
    status: phrased.status,
    headers: { ...phrased.headers, "tollgate-verdict": verdict },
    body: withResult(JSON.stringify(body), told.prior),
  };
}

/** No library of a provider: nothing here depends on how one of them retries. */
const CLIENT = { userAgent: "", sdk: null, sdkRetryCount: 0, isCodex: false };

const JSON_HEADERS = { "content-type": "application/json" };

/** On this door the prior answer is not given in place of a new one: it stands beside the refusal. */
function messageOf({ reason, message }: Refusal, { prior }: Told): string {
  if (reason !== "duplicate_request" || prior === null) return message;
  return (
    `The same request, with this Idempotency-Key, has succeeded already (${prior.attemptId}), so it was not ` +
    "allowed again. What it gave is in `retry_context.prior`, where it was asked for and is kept."
  );
}

function common({ runId, stepId, attempt, operation }: Told): object {
  return { run: runId, step: stepId, attempt, operation };
}

function retryContext(told: Told, disposition: string): object {
  const { attempt, retry, prior, meters } = told;
  return {
    attempt,
    because: retry?.because ?? null,
    disposition,
    first_at: prior?.firstAt?.toISOString() ?? null,
    last_at: prior?.lastAt?.toISOString() ?? null,
    sdk_retries: retry?.sdkRetries ?? 0,
    attempts_max: retry?.attemptsMax ?? null,
    budgets: meters.filter(({ unit }) => unit === "attempts").map(budgetView),
    // Last, for `withResult`.
    prior: prior === null ? null : priorView(prior),
  };
}

function budgetView(meter: MeterFigures): object {
  return {
    limit_id: meter.limitId,
    scope: meter.scope,
    subject: meter.subject,
    window: meter.window,
    mode: meter.mode,
    limit: Number(meter.limit),
    used: Number(meter.committed + meter.reserved),
    asked: Number(meter.asked),
    resets_at: meter.resetsAt?.toISOString() ?? null,
  };
}

function priorView(prior: PriorAttempt): object {
  return {
    attempt_id: prior.attemptId,
    decision: decisionIdOf(prior.attemptId),
    run: prior.runId,
    status: prior.status,
    at: prior.decidedAt.toISOString(),
    ended_at: prior.endedAt?.toISOString() ?? null,
    error: prior.error,
    result_state: prior.result.kind,
  };
}

/**
 * The answer with the prior result in it, which is JSON already and whose numbers no float may touch: as the
 * last member of the last member of the last one.
 */
function withResult(text: string, prior: PriorAttempt | null): string {
  if (prior === null || prior.result.kind !== "kept") return text;
  assert(text.endsWith(`"result_state":"kept"}}}`), "the prior attempt stands last");
  return `${text.slice(0, -3)},"result":${prior.result.json}}}}`;
}
