/**
 * The facts of a decision that have no column of their own, as one line of JSON in `decisions.record`:
 * with the columns, all that the judgement saw, so that it can be judged again (`recorded.ts` reads it
 * back). Bodies are not stored: their digest is. Names are snake_case, as in the API that shows them.
 * What is so for nearly every call is left out: each byte here is written, sent and kept once for every call.
 */
import type { Estimate, Verdict } from "./decide.ts";
import type { Findings } from "./detect.ts";
import type { Facts } from "./facts.ts";
import type { ActFacts, Intent, Json } from "./intent.ts";
import { wasLookedAt } from "./policy-values.ts";
import { ifAny } from "../lib/json.ts";
import type { Approval, Judged, PolicyResult } from "./policy-judge.ts";
import { DISPOSITIONS } from "./verdict.ts";

/** Of a verdict that can be recorded: one that goes elsewhere is judged again first. */
export type Final = Exclude<Verdict, { readonly kind: "reroute" }>;

export function decisionRecord(facts: Facts, intent: Intent, verdict: Final): string {
  const { client, context } = intent;
  const { caller, history, findings, rerouted } = facts;
  const { policies } = verdict;
  return JSON.stringify({
    ...judgedMembers(verdict),
    billing: intent.billing,
    stream: ifTrue(intent.stream),
    reaches_stored: ifTrue(intent.reachesStored),
    shares_account: ifTrue(facts.sharesAccount),
    tool: ifAny(intent.tool),
    input_sha256: intent.inputDigest,
    estimate: estimateMembers(facts, intent, verdict.kind === "ask" ? verdict.estimate : null),
    act: intent.act === null ? undefined : actMembers(intent.act),
    policies: policies?.results.map(policyMembers),
    policy_version: policies?.version,
    ...(policies === null ? {} : policyOutcome(policies)),
    approval: approvalAsked(verdict),
    rerouted: ifAny(rerouted),
    tenant_mode: caller.mode,
    scopes: caller.scopes,
    key_labels: ifSome(facts.keyLabels),
    context: {
      // Whether it was named cannot be told from the column, where every call has a run.
      run: ifAny(context.run),
      parent_step: ifAny(context.parentStep),
      operation: ifAny(context.operation),
      tool: ifAny(context.tool),
      customer: ifAny(context.customer),
      labels: ifSome(context.labels),
      max_cost_picousd: ifDigits(context.costPicousdMax),
    },
    history: history === null ? undefined : historyMembers(history),
    findings: findings === null ? undefined : findingsMembers(findings),
    arguments: keptArguments(facts, intent),
    trace_id: ifAny(context.traceId),
    client: {
      user_agent: client.userAgent === "" ? undefined : client.userAgent,
      sdk: ifAny(client.sdk),
      sdk_retry_count: ifNot(client.sdkRetryCount, 0),
    },
    judged_at: facts.now.toISOString(),
  });
}

// A member that is undefined is not written.

function ifTrue(value: boolean): true | undefined {
  return value || undefined;
}

function ifNot(value: number, usual: number): number | undefined {
  return value === usual ? undefined : value;
}

function ifDigits(value: bigint | null): string | undefined {
  return value === null ? undefined : String(value);
}

/** The members of it, or that there are none. */
function ifSome<Members extends object>(members: Members): Members | undefined {
  for (const _ in members) return members;
  return undefined;
}

/** What the judgement alone says; meters and the state of the run may say no after it. */
function judgedMembers(verdict: Final): object {
  if (verdict.kind === "ask") return { disposition: "execute" };
  const { reason, message, param } = verdict;
  return { disposition: DISPOSITIONS[reason], judged: reason, message, param };
}

function estimateMembers(facts: Facts, intent: Intent, estimate: Estimate | null): object {
  const { demand } = intent;
  return {
    basis: estimate?.basis,
    tokens: estimate?.tokens,
    input_bytes: demand.inputBytes,
    images: ifNot(demand.images, 0),
    audio_input: ifTrue(demand.audioInput),
    audio_output: ifTrue(demand.audioOutput),
    output_tokens_max: ifAny(demand.outputTokensMax),
    output_tokens_sent: estimate?.outputTokensMax ?? undefined,
    // What a limit lowered it to is a fact; what it was lowered to in the end is of the verdict.
    limit_clamped_to: ifAny(facts.clampedTo),
    clamped_to: estimate?.clampedTo ?? undefined,
    choices: ifNot(demand.choices, 1),
    produces_tokens: demand.producesTokens ? undefined : false,
    stated_picousd: ifDigits(intent.costStatedPicousd),
    service_tier: ifAny(demand.serviceTier),
    fixed: ifSome(demand.fixed),
    timeout_ms: ifAny(facts.timeoutMs),
    unbounded: demand.unbounded.length === 0 ? undefined : demand.unbounded,
  };
}

function policyMembers({ id, name, version, result, effect, mode, why }: PolicyResult): object {
  return { id, name, version, result, effect, mode, why: ifAny(why) };
}

function policyOutcome({ outcome, risk, shadow }: Judged): object {
  const obligations = outcome.kind === "pass" ? outcome.obligations : null;
  const hasObligations =
    obligations !== null && Object.values(obligations).some((each) => each !== null);
  return {
    risk: { score: risk.score, inputs: risk.inputs },
    shadow,
    obligations: hasObligations
      ? {
          max_output_tokens: ifAny(obligations.outputTokensMax),
          model: obligations.model?.model,
          redact: obligations.redact?.names,
        }
      : undefined,
  };
}

/** By policies and by the tool's declaration together; where something else said no, by policies alone. */
function approvalAsked(verdict: Final): object | undefined {
  const outcome = verdict.policies?.outcome;
  const byPolicies = outcome?.kind === "pass" ? outcome.approval : null;
  const approval = verdict.kind === "ask" ? verdict.approval : byPolicies;
  return approval === null ? undefined : approvalMembers(approval);
}

function approvalMembers({ quorum, role, expiresInMs, policies }: Approval): object {
  return { quorum, role, expires_in_ms: expiresInMs, policies };
}

function historyMembers(history: NonNullable<Facts["history"]>): object {
  return {
    run_age_seconds: history.runAgeSeconds,
    run_attempts: history.runAttempts,
    run_spend_picousd: String(history.runSpendPicousd),
    attempt: history.attempt,
    prior_status: history.priorStatus,
    tainted_by: ifAny(history.taintedBy),
  };
}

/** As every record tells findings: kinds and counts. */
export function findingsMembers({ found, complete, outside }: Findings): object {
  return { found, complete, outside: outside.length === 0 ? undefined : outside };
}

/**
 * Arguments are content: they are kept only where a policy reads them, for else nothing could be judged
 * again. Those that are too large to be judged are too large to be kept.
 */
function keptArguments(facts: Facts, intent: Intent): Json | undefined {
  const isRead = facts.bundle !== null && facts.bundle.needs.has("arguments");
  const { arguments: given } = intent;
  if (!isRead || given === undefined || intent.door === "model") return undefined;
  return wasLookedAt("arguments", { facts, intent, estimate: null }) ? given : undefined;
}

function actMembers({ effectClass, effect, extracted, listed, approval }: ActFacts): object {
  return {
    effect_class: effectClass,
    effect: ifAny(effect),
    extracted: ifAny(extracted),
    standing: listed?.standing,
    definition: listed?.definition,
    approval: ifAny(approval),
  };
}
