/** The sentences of refusals by what the posting found. Most libraries show nothing else, so it holds every figure. */
import { RETRY_WINDOW_MS } from "./limits.ts";
import { dollars } from "./money.ts";
import { unreachable } from "../lib/assert.ts";
import type { Intent } from "./intent.ts";
import type { Approval } from "./policy-judge.ts";
import type { RetryFacts } from "./retry.ts";
import type { MeterFigures, Reason, Unit } from "./verdict.ts";

/** Chooses the meter that a reason is about: the first on the path that lacks room, as the posting does. */
export function meterAtFault(reason: Reason, meters: readonly MeterFigures[]): MeterFigures | null {
  const contended = reason === "budget_contended";
  for (const meter of meters) {
    // A retry budget that was lowered below what is used refuses retries only.
    if (meter.mode !== "enforce" || (meter.unit === "attempts" && meter.asked === 0n)) continue;
    const exhausted = meter.committed + meter.asked > meter.limit;
    const full = meter.committed + meter.reserved + meter.asked > meter.limit;
    if (reason === "retry_budget_exceeded") {
      if (full && meter.unit === "attempts") return meter;
    } else if (reason === "concurrency_exceeded") {
      if (full && meter.unit === "in_flight") return meter;
    } else if (contended ? full && !exhausted : exhausted) return meter;
  }
  return null;
}

export function meterMessage(
  reason: Reason,
  meter: MeterFigures,
  { operation }: Pick<Intent, "operation">,
): string {
  const left = meter.limit - meter.committed - meter.reserved;
  const remaining = left > 0n ? left : 0n;
  const name = `The ${limitName(meter)} of ${show(meter.unit, meter.limit)}${subjectOf(meter)}`;
  const figures =
    `${show(meter.unit, meter.committed)} is settled, ${show(meter.unit, meter.reserved)} is reserved by ` +
    `calls in flight, ${show(meter.unit, remaining)} is left, and this call could take ` +
    show(meter.unit, meter.asked);
  const reset =
    meter.resetsAt === null
      ? "It does not reset."
      : `It resets at ${meter.resetsAt.toISOString()}.`;
  return `${name} has no room: ${figures}. ${advice(reason, meter, { reset, operation })}`;
}

type Advised = { readonly reset: string; readonly operation: Intent["operation"] };

/** The member that bounds an answer. Nothing else has one: to lower it there is advice that nobody can follow. */
const OUTPUT_MEMBERS: Readonly<Record<string, string>> = {
  chat: "max_completion_tokens",
  responses: "max_output_tokens",
  text_completion: "max_tokens",
};

function advice(reason: Reason, meter: MeterFigures, { reset, operation }: Advised): string {
  if (reason === "budget_contended") return "Retry when calls in flight have settled.";
  if (reason === "concurrency_exceeded") return "Retry when a call in flight has ended.";
  const isOfAnswers = meter.unit === "usd" || meter.unit === "tokens";
  const member = isOfAnswers ? OUTPUT_MEMBERS[operation] : undefined;
  return `${reset} Raise the limit${member === undefined ? "" : ` or lower ${member}`}.`;
}

function limitName(meter: MeterFigures): string {
  const period = meter.window === "none" ? "" : `${PERIODS[meter.window]} `;
  if (meter.isShare)
    return `part of the ${limitName({ ...meter, isShare: false })} that one run may take`;
  const scope = meter.scope.startsWith("each_") ? meter.scope.slice("each_".length) : meter.scope;
  switch (meter.unit) {
    case "usd":
      return `${period}${scope} budget`;
    case "tokens":
      return `${period}${scope} token quota`;
    case "requests":
      return `${period}${scope} request quota`;
    case "attempts":
      return `${period}${scope} retry budget`;
    case "in_flight":
      return `${scope} concurrency limit`;
    default:
      return unreachable(meter.unit);
  }
}

const PERIODS = {
  minute: "per-minute",
  hour: "hourly",
  day: "daily",
  week: "weekly",
  month: "monthly",
} as const;

function subjectOf(meter: MeterFigures): string {
  return meter.subject === "" || meter.scope === "key" ? "" : ` for \`${meter.subject}\``;
}

function show(unit: Unit, amount: bigint): string {
  if (unit === "usd") return dollars(amount);
  return unit === "tokens" ? `${amount} tokens` : String(amount);
}

/** Of a request that is one of the same kind already; null for every other reason. */
export function duplicateMessage(
  reason: Reason,
  intent: Intent,
  retry: RetryFacts | null,
): string | null {
  const prior =
    retry?.priorAttempt === undefined || retry.priorAttempt === null
      ? ""
      : ` (${retry.priorAttempt})`;
  const effect =
    intent.effect === null
      ? ""
      : `\`${intent.effect.effect}\` of ${intent.effect.type}:${intent.effect.key}`;
  switch (reason) {
    case "idempotency_in_progress":
      return `The same request, with this Idempotency-Key, is still running${prior}. Ask again for its answer; it costs nothing.`;
    case "duplicate_request":
      return `The same request, with this Idempotency-Key, has succeeded already${prior}, and its answer is not kept any more. It was not run again.`;
    case "outcome_unknown":
      if (intent.idempotency === null) {
        return `The same call was sent, and nobody knows whether it ran${prior}. ${wayOut(intent)}`;
      }
      return `The same request, with this Idempotency-Key, was sent, and nobody knows whether it ran${prior}. ${wayOut(intent)}`;
    case "idempotency_key_reused":
      return "This Idempotency-Key belongs to a request with other content. Use another key for another request.";
    case "effect_applied":
      return `The effect ${effect} was applied already${prior}. To repeat it deliberately, name the attempt that is repeated.`;
    case "effect_in_flight":
      return `Another attempt${prior} is at work on the effect ${effect}. Ask again when it has ended.`;
    case "effect_uncertain":
      return `Nobody knows whether the effect ${effect} was applied${prior}, so it is not tried again. Find out, and reconcile that attempt.`;
    case "operation_conflict":
      return `The effect ${effect} stands with other content${prior}. An operation has each effect once: use another operation for another act.`;
    default:
      return null;
  }
}

/** At the step door the tool's effect class says whether an unknown act is tried again, and no header does. */
function wayOut({ door }: Intent): string {
  return door === "model"
    ? "Send `Tollgate-Retry-Unknown: accept` to run it again all the same."
    : "Find out, and reconcile that attempt.";
}

/** The guard against storms of retries that nobody named. */
export function attemptsMessage(attempt: number, attemptsMax: number): string {
  return (
    `This is attempt ${attempt} of the same request after failures, and at most ${attemptsMax} are made of a request whose ` +
    `step nobody named. It passes again when ${RETRY_WINDOW_MS / 60_000} minutes have gone by since the last failure. ` +
    "Find out why it fails; " +
    "to retry more often, name the step (Tollgate-Step) or raise the tenant's guard."
  );
}

/** What the caller is told of an approval; null for every other reason. */
export function approvalMessage(
  reason: Reason,
  approval: Approval | null,
  approvalId: string | null,
): string | null {
  const named = approvalId === null ? "" : ` ${approvalId}`;
  switch (reason) {
    case "approval_required":
      return `A person must approve this call first (${askedBy(approval)}). Approval${named} is asked for: ask again once it is approved, or wait for it with \`Prefer: wait=60\`.`;
    case "approval_denied":
      return `A person denied exactly this call (approval${named}), and that is final. Ask for something else.`;
    case "approval_expired":
      return `Approval${named} of exactly this call was not given, or not used, in time. A new step or run asks anew.`;
    case "approval_used":
      return `Approval${named} was used already, and holds for one call. A new step or run asks anew.`;
    case "approval_impossible":
      return `A person must approve this call (${askedBy(approval)}), and nobody can: too few keys have the scope \`approve\` and the role, its own aside (\`npx tollgate keys create NAME --scope approve\` makes one), or the call is too large to be shown.`;
    default:
      return null;
  }
}

function askedBy(approval: Approval | null): string {
  if (approval === null) return "a policy asks for it";
  return approval.policies.map(({ id, reason }) => `policy \`${id}\`: ${reason}`).join(" ");
}

/** Of a run that was stopped. */
export function runMessage(runId: string): string {
  return `The run \`${runId}\`, or a run above it, was stopped: it admits no further calls. Use a new run.`;
}
