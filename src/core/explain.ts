/** One decision in sentences: what was asked, what was answered and why, and what became of it. */
import {
  type ExplainedApproval,
  type ExplainedPolicies,
  policySentences,
} from "./explain-policies.ts";
import { dollars } from "./money.ts";
import type { RetryFacts } from "./retry.ts";
import { REPEAT_REASONS, type MeterFigures, type Reason, type Unit } from "./verdict.ts";

export type DecisionStatus =
  | "admitted"
  | "unknown"
  | "succeeded"
  | "failed"
  | "aborted"
  | "released"
  | "blocked"
  | "repeated"
  | "awaiting_approval";

/** What an explanation looks at; amounts are pico-dollars. */
export type Explained = {
  readonly decisionId: string;
  readonly keyId: string;
  readonly run: string;
  readonly step: string | null;
  readonly attempt: number;
  readonly retry: RetryFacts | null;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly decidedAt: Date;
  readonly estimatePicousd: bigint | null;
  readonly estimateBasis: string | null;
  readonly clampedTo: number | null;
  readonly priceVersion: string | null;
  readonly reason: Reason | null;
  /** The sentence the caller was told, where the judgement alone refused. */
  readonly message: string | null;
  readonly meters: readonly MeterFigures[];
  /** Null: its tenant had no policies in force. */
  readonly policies: ExplainedPolicies | null;
  /** The approval that it asked for, waits for or used up. */
  readonly approval: ExplainedApproval | null;
  readonly status: DecisionStatus;
  readonly basis: string | null;
  readonly corrected: boolean;
  readonly costPicousd: bigint | null;
  readonly overagePicousd: bigint;
  readonly heldPicousd: bigint | null;
  readonly tokens: bigint | null;
  /** Of what is paid by the hour; else null. */
  readonly milliseconds: number | null;
  readonly settledAt: Date | null;
  readonly unknownAt: Date | null;
};

export function explain(decision: Explained): readonly string[] {
  const meters = decision.meters.map((meter) => meterSentence(meter, decision.reason));
  const policies = policySentences(decision.policies, decision.approval);
  const head = [asked(decision), ...again(decision), answered(decision)];
  return [...head, ...policies, ...meters, ...became(decision)];
}

const REASON_SENTENCES: Readonly<Record<Reason, string>> = {
  run_closed: "its run is closed",
  run_stopped: "its run, or a run above it, was stopped",
  scope_missing: "its key lacks the scope `invoke`",
  duplicate_request: "the same request had succeeded already, and its answer was returned",
  idempotency_in_progress: "the same request was still running",
  outcome_unknown: "nobody knows whether the same request had run",
  idempotency_key_reused: "its idempotency key belongs to a request with other content",
  effect_applied: "its operation has had this effect already",
  effect_in_flight: "another attempt is at work on this effect of its operation",
  effect_uncertain: "nobody knows whether this effect of its operation was applied",
  operation_conflict: "its operation has this effect with other content",
  policy_denied: "a policy blocks it",
  evaluator_unavailable: "a policy could not be evaluated, and what cannot be judged does not pass",
  route_not_allowed: "its route is not known here and its tenant is strict",
  tool_not_allowed: "its key was made for other tools",
  tool_undeclared: "nobody had approved the tool's definition",
  tool_quarantined: "the tool's definition was not the one that was approved",
  price_unknown: "no price is known for it and its tenant is strict",
  cost_unbounded: "nothing bounds what it could cost and its tenant is strict",
  max_cost_exceeded: "it could cost more than the caller's own `Tollgate-Max-Cost`",
  retry_budget_exceeded: "its retries are used up",
  run_share_exceeded: "its run has had the part of a daily limit that one run may take",
  run_budget_exceeded: "the budget of its run has no room for what it could cost",
  budget_exceeded: "a budget on its path has no room for what it could cost",
  quota_exceeded: "a quota on its path has no room for it",
  concurrency_exceeded: "as many calls as a limit allows were in flight",
  budget_contended: "calls in flight had reserved the room that it needed",
  approval_required: "a person must approve it first",
  approval_denied: "a person denied exactly this call",
  approval_expired: "nobody approved exactly this call in time, or used the approval in time",
  approval_used: "its approval was used already, and holds once",
  approval_impossible: "nobody can approve it",
};

function asked(decision: Explained): string {
  const step = decision.step === null ? "" : `, step ${decision.step}, attempt ${decision.attempt}`;
  const routed =
    decision.upstream === null || decision.model === null
      ? ""
      : ` (served by ${decision.upstream} as ${decision.model})`;
  return (
    `On ${decision.decidedAt.toISOString()} key ${decision.keyId} asked for ${decision.operation} on ` +
    `${decision.resource}${routed} in run ${decision.run}${step}.`
  );
}

function again({ attempt, retry }: Explained): readonly string[] {
  if (retry === null) return [];
  const prior = retry.priorAttempt === null ? "an earlier attempt" : retry.priorAttempt;
  const stood = retry.priorStatus === null ? "" : ` (${retry.priorStatus})`;
  switch (retry.because) {
    case "duplicate":
      return [`It repeats ${prior}, and is no attempt of its own.`];
    case "step":
      return [`It was attempt ${attempt} of its step, after ${prior}${stood}.`];
    case "fingerprint":
      return [
        `Nobody named its step: by its content it was attempt ${attempt}, a retry of ${prior}${stood}.`,
      ];
    case "sdk":
      return [`It was attempt ${attempt}: its client's library says that it retried.`];
    case "loop":
      return [`Its content is that of ${prior} in the same run, under another step: a loop.`];
  }
}

function answered(decision: Explained): string {
  if (decision.reason !== null) {
    const told = decision.message === null ? "" : ` The caller was told: ${decision.message}`;
    const why = REASON_SENTENCES[decision.reason];
    if (REPEAT_REASONS.includes(decision.reason)) {
      return `It was a repeat, and not run again (${decision.reason}): ${why}; nothing was sent and nothing reserved.`;
    }
    return `It was blocked (${decision.reason}), because ${why}; nothing was sent and nothing reserved.${told}`;
  }
  const clamp =
    decision.clampedTo === null
      ? ""
      : ` Its output was lowered to ${decision.clampedTo} tokens, which is what a limit had room for or a policy allows.`;
  return `It was admitted: ${estimateSentence(decision)}.${clamp}`;
}

function estimateSentence(decision: Explained): string {
  const { estimatePicousd, priceVersion } = decision;
  if (decision.estimateBasis === "free") return "such a call costs nothing";
  if (estimatePicousd === null) {
    return "no bound of its cost was known and its tenant tolerates that, so no money was reserved";
  }
  const price = priceVersion === null ? "" : ` at price ${priceVersion}`;
  return `it could cost at most ${dollars(estimatePicousd)}${price}, and that was reserved`;
}

/** A meter as the posting met it, before this ask. */
function meterSentence(meter: MeterFigures, reason: Reason | null): string {
  const { unit, committed, reserved, limit } = meter;
  const window = meter.window === "none" ? "" : ` per ${meter.window}`;
  const left = limit - committed - reserved;
  const figures =
    `Limit ${meter.limitId} (${show(unit, limit)}${window} for ${whomOf(meter)}) had ${show(unit, committed)} ` +
    `settled and ${show(unit, reserved)} reserved`;
  const fits = meter.asked <= left;
  const verdict = fits
    ? `room for the ${show(unit, meter.asked)} asked`
    : `${show(unit, left > 0n ? left : 0n)} left where ${show(unit, meter.asked)} was asked`;
  const shadow = !fits && meter.mode === "shadow" ? "; it is a shadow limit and only watches" : "";
  const unused = fits && reason !== null ? ", but was not drawn on" : "";
  return `${figures}: ${verdict}${shadow}${unused}.`;
}

function whomOf({ scope, subject }: MeterFigures): string {
  if (subject === "") return "the tenant";
  // The part of a tenant's limit that one named run may take.
  const isShare = scope === "tenant" && subject.startsWith("run:");
  return isShare ? `the share of run ${subject.slice("run:".length)}` : `${scope} ${subject}`;
}

function became(decision: Explained): readonly string[] {
  switch (decision.status) {
    case "blocked":
    case "repeated":
    case "awaiting_approval":
      return [];
    case "admitted":
      return [`It has not ended yet, and holds ${held(decision)}.`];
    case "unknown":
      return [unknownSentence(decision)];
    case "released":
      return [`It never reached the upstream: all that it held was released.`];
    case "succeeded":
      return [`It succeeded${endedAt(decision)} and ${cost(decision)}.`, ...overage(decision)];
    case "failed":
      return [
        `The upstream failed${endedAt(decision)}; it ${cost(decision)}.`,
        ...overage(decision),
      ];
    case "aborted":
      return [`It was cut off${endedAt(decision)} and ${cost(decision)}.`, ...overage(decision)];
  }
}

function unknownSentence(decision: Explained): string {
  if (decision.basis !== null) {
    return `Nobody knows how it ended: it was presumed${endedAt(decision)} and ${cost(decision)}.`;
  }
  const since = decision.unknownAt === null ? "" : ` since ${decision.unknownAt.toISOString()}`;
  return `Nobody knows how it ended${since}: it keeps ${held(decision)} until evidence or presumption ends it.`;
}

function held(decision: Explained): string {
  return decision.heldPicousd === null ? "no money" : dollars(decision.heldPicousd);
}

function cost(decision: Explained): string {
  if (decision.costPicousd === null) return "used what has no known price, so its cost is unknown";
  const { milliseconds, tokens } = decision;
  const used = [
    ...(milliseconds === null ? [] : [`${milliseconds} ms`]),
    ...(tokens === null || tokens === 0n ? [] : [`${tokens} tokens`]),
  ];
  const what = used.length === 0 ? "" : ` for ${used.join(" and ")}`;
  const basis = milliseconds === null ? basisWords(decision) : "its time, paid by the hour";
  const corrected = decision.corrected ? ", corrected by later evidence" : "";
  return `cost ${dollars(decision.costPicousd)}${what} (${basis}${corrected})`;
}

function basisWords({ basis, upstream, model }: Explained): string {
  switch (basis) {
    case "computed":
      // What a server serves without a model is a tool.
      return upstream !== null && model === null
        ? "the declared price of one call"
        : "computed from the usage the upstream told";
    case "estimated":
      return "estimated, for the upstream told no usage";
    case "presumed":
      return "presumed in full";
    case "none":
      return "nothing was used";
    default:
      return "basis unknown";
  }
}

function overage(decision: Explained): readonly string[] {
  const { overagePicousd, door } = decision;
  if (overagePicousd === 0n) return [];
  const why =
    door === "step" ? "as its caller reported it" : "which should not happen: please report it";
  return [`That is ${dollars(overagePicousd)} above its reservation, ${why}.`];
}

function endedAt(decision: Explained): string {
  return decision.settledAt === null ? "" : ` on ${decision.settledAt.toISOString()}`;
}

function show(unit: Unit, amount: bigint): string {
  switch (unit) {
    case "usd":
      return dollars(amount);
    case "tokens":
      return `${amount} tokens`;
    case "requests":
      return `${amount} requests`;
    case "attempts":
      return `${amount} retries`;
    case "in_flight":
      return `${amount} calls in flight`;
  }
}
