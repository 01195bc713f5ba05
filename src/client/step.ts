/** Runs what the gate allows, and tells it how that ended. */
import type { Ambient, Context } from "./ambient.ts";
import { within } from "./ambient.ts";
import { NotExecuted, NotRecorded, Refused, TollgateError } from "./errors.ts";
import { startHeartbeat } from "./heartbeat.ts";
import type { Transport } from "./transport.ts";
import { readAllowed, type Allowed, type RetryContext } from "./wire.ts";

/** What is asked of the gate. What is not said is taken from the context around it. */
export type StepCall = Context & {
  /** Default: `step`. A `tool` has a declaration: its effect class, its price, its operation. */
  readonly kind?: "tool" | "step";
  readonly name: string;
  /** JSON; what makes two calls the same. */
  readonly arguments?: unknown;
  /** The effect of the operation that this is; its name when absent. */
  readonly effect?: string;
  /** The most that it may cost, in dollars, as text so that nothing is rounded. */
  readonly estimateUsd?: string;
  readonly idempotencyKey?: string;
  /** The attempt that is repeated on purpose. */
  readonly repeats?: string;
  /** How long the gate takes it for alive without hearing of it (default 60). */
  readonly leaseSeconds?: number;
  /** How long to wait for another one that does the same, or for an approval. */
  readonly waitSeconds?: number;
  /** How long the lease is extended at most (default an hour). */
  readonly maxSeconds?: number;
  /** Whether something happened, when the function throws (default: `unknown`, or no for NotExecuted). */
  readonly executed?: (error: unknown) => "no" | "yes" | "unknown";
};

/** What the function of a step is given. */
export type Attempt = {
  readonly id: string;
  readonly decisionId: string;
  readonly runId: string;
  /** 1 for the first. */
  readonly number: number;
  readonly retryContext: RetryContext | null;
  /** Aborted when the gate says that this attempt is over. */
  readonly signal: AbortSignal;
  /** What it cost, in dollars, as text; the last one counts. */
  readonly reportCost: (usd: string) => void;
};

const LEASE_SECONDS = 60;
const SECONDS_MAX = 3_600;

export type StepParts = { readonly transport: Transport; readonly ambient: Ambient };

/** Throws Refused and what descends from it when the gate says no; what the function throws is thrown on. */
export async function runStep<Result>(
  { transport, ambient }: StepParts,
  call: StepCall,
  work: (attempt: Attempt) => Result | Promise<Result>,
): Promise<Awaited<Result>> {
  const context = ambient.get();
  const asked = await ask(transport, within(context, call), call);
  if (asked.kind === "prior") return asked.result;
  const { allowed } = asked;
  const leaseSeconds = allowed.leaseSeconds > 0 ? allowed.leaseSeconds : LEASE_SECONDS;
  const heartbeat = startHeartbeat(transport, {
    attemptId: allowed.attemptId,
    leaseSeconds,
    msMax: 1_000 * (call.maxSeconds ?? SECONDS_MAX),
  });
  let costUsd: string | null = null;
  const attempt: Attempt = {
    id: allowed.attemptId,
    decisionId: allowed.decisionId,
    runId: allowed.runId,
    number: allowed.attempt,
    retryContext: allowed.retryContext,
    signal: heartbeat.signal,
    reportCost: (usd) => {
      costUsd = usd;
    },
  };
  const { step: _, ...around } = within(context, pick(call));
  const inner = { ...around, run: allowed.runId, parentStep: call.step ?? call.name };
  let result: Awaited<Result>;
  try {
    result = await ambient.with(inner, () => work(attempt));
  } catch (error) {
    heartbeat.stop();
    await tellFailure(transport, {
      attemptId: attempt.id,
      error,
      costUsd,
      executed: call.executed,
    });
    throw error;
  }
  heartbeat.stop();
  await tellResult(transport, { attemptId: attempt.id, result, costUsd });
  return result;
}

type Asked =
  | { readonly kind: "allowed"; readonly allowed: Allowed }
  // The stored JSON stands for what the function would have given.
  // oxlint-disable-next-line typescript/no-explicit-any -- its type is the caller's to know
  | { readonly kind: "prior"; readonly result: any };

async function ask(transport: Transport, context: Context, call: StepCall): Promise<Asked> {
  const { waitSeconds } = call;
  const body = {
    kind: call.kind ?? "step",
    name: call.name,
    run: context.run,
    step: context.step,
    parent_step: context.parentStep,
    operation: context.operation,
    customer: context.customer,
    labels: context.labels,
    effect: call.effect,
    arguments: call.arguments,
    estimate_usd: call.estimateUsd,
    idempotency_key: call.idempotencyKey,
    repeats: call.repeats,
    lease_seconds: call.leaseSeconds,
    wait: waitSeconds,
    include_result: true,
  };
  try {
    const answer = await transport.post(
      "/api/gate",
      body,
      waitSeconds === undefined ? {} : { waitSeconds },
    );
    const allowed = readAllowed(answer);
    if (allowed !== null) return { kind: "allowed", allowed };
    throw new TollgateError("The gate answered something else than a verdict.", {
      status: 200,
      code: "unexpected_answer",
      retryable: false,
    });
  } catch (error) {
    if (!(error instanceof Refused) || error.disposition !== "return_prior") throw error;
    const { prior } = error;
    if (prior?.resultState === "kept") return { kind: "prior", result: prior.result };
    if (prior?.resultState === "none") return { kind: "prior", result: undefined };
    // It was done, and what it gave is not kept: to answer anything would be a guess.
    throw error;
  }
}

async function tellResult(
  transport: Transport,
  told: {
    readonly attemptId: string;
    readonly result: unknown;
    readonly costUsd: string | null;
  },
): Promise<void> {
  const { attemptId, result, costUsd } = told;
  try {
    await transport.post(
      `/api/attempts/${encodeURIComponent(attemptId)}/complete`,
      { result, ...(costUsd === null ? {} : { cost_usd: costUsd }) },
      { repeats: true },
    );
  } catch (cause) {
    const { status, code, retryable } = termsOf(cause);
    const message = `It ran, and Tollgate could not be told so: attempt ${attemptId}. ${String(cause)}`;
    throw new NotRecorded(message, { status, code, retryable, cause, attemptId, result });
  }
}

async function tellFailure(
  transport: Transport,
  told: {
    readonly attemptId: string;
    readonly error: unknown;
    readonly costUsd: string | null;
    readonly executed: StepCall["executed"];
  },
): Promise<void> {
  const { attemptId, error, costUsd, executed } = told;
  // Anything else may have come after something was done, a refusal of an inner step included.
  const happened = executed?.(error) ?? (error instanceof NotExecuted ? "no" : "unknown");
  const cost = costUsd === null || happened === "unknown" ? {} : { cost_usd: costUsd };
  try {
    await transport.post(
      `/api/attempts/${encodeURIComponent(attemptId)}/fail`,
      {
        error: wellFormed(String(error).slice(0, ERROR_LENGTH_MAX)),
        executed: happened,
        ...cost,
      },
      { repeats: true },
    );
  } catch (telling) {
    // The function's own error is what its caller must see; the gate learns from the lease that ends.
    if (!(telling instanceof TollgateError)) throw telling;
  }
}

const ERROR_LENGTH_MAX = 1_000;

/** A character that was cut in two has no UTF-8, and would be refused. */
function wellFormed(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text));
}

function termsOf(cause: unknown): {
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
} {
  if (cause instanceof TollgateError) return cause;
  return { status: 0, code: "not_recorded", retryable: false };
}

function pick({ run, operation, customer, labels }: StepCall): Context {
  return {
    ...(run === undefined ? {} : { run }),
    ...(operation === undefined ? {} : { operation }),
    ...(customer === undefined ? {} : { customer }),
    ...(labels === undefined ? {} : { labels }),
  };
}
