/**
 * The facts of a decision that have no column of their own, as one line of JSON in `decisions.record`:
 * with the columns, all that the judgement saw, so that it can be judged again (`recorded.ts` reads it
 * back). Bodies are not stored: their digest is. Names are snake_case, as in the API that shows them.
 * What is so for nearly every call is left out.
 */
import type { Estimate, Verdict } from "./decide.ts";
import type { Findings } from "./detect.ts";
import type { Facts } from "./facts.ts";
import type { ActFacts, Intent } from "./intent.ts";
import { wasLookedAt } from "./policy-values.ts";
import type { Approval, Judged, PolicyResult } from "./policy-judge.ts";
import { DISPOSITIONS } from "./verdict.ts";

/** Of a verdict that can be recorded: one that goes elsewhere is judged again first. */
export type Final = Exclude<Verdict, { readonly kind: "reroute" }>;

export function decisionRecord(facts: Facts, intent: Intent, verdict: Final): string {
  const { client, context } = intent;
  const { caller, keyLabels, history, findings, rerouted } = facts;
  const estimate = verdict.kind === "ask" ? verdict.estimate : null;
  return JSON.stringify({
    ...judgedMembers(verdict),
    billing: intent.billing,
    stream: intent.stream,
    ...(intent.reachesStored ? { reaches_stored: true } : {}),
    ...(facts.sharesAccount ? { shares_account: true } : {}),
    ...(intent.tool === null ? {} : { tool: intent.tool }),
    input_sha256: intent.inputDigest,
    estimate: estimateMembers(facts, intent, estimate),
    ...(intent.act === null ? {} : { act: actMembers(intent.act) }),
    policies: verdict.policies?.results.map(policyMembers) ?? [],
    policy_version: verdict.policies?.version ?? null,
    ...(verdict.policies === null ? {} : policyOutcome(verdict.policies)),
    ...approvalAsked(verdict),
    ...(rerouted === null ? {} : { rerouted }),
    tenant_mode: caller.mode,
    scopes: caller.scopes,
    ...(Object.keys(keyLabels).length === 0 ? {} : { key_labels: keyLabels }),
    context: {
      // Whether it was named cannot be told from the column, where every call has a run.
      run: context.run,
      parent_step: context.parentStep,
      operation: context.operation,
      tool: context.tool,
      customer: context.customer,
      labels: context.labels,
      ...(context.costPicousdMax === null
        ? {}
        : { max_cost_picousd: String(context.costPicousdMax) }),
    },
    ...(history === null ? {} : { history: historyMembers(history) }),
    ...(findings === null ? {} : { findings: findingsMembers(findings) }),
    ...keptArguments(facts, intent),
    trace_id: context.traceId,
    client: {
      user_agent: client.userAgent,
      sdk: client.sdk,
      sdk_retry_count: client.sdkRetryCount,
    },
    judged_at: facts.now.toISOString(),
  });
}

/** What the judgement alone says; meters and the state of the run may say no after it. */
function judgedMembers(verdict: Final): object {
  if (verdict.kind === "ask") return { disposition: "execute" };
  const { reason, message, param } = verdict;
  return { disposition: DISPOSITIONS[reason], judged: reason, message, param };
}

function estimateMembers(facts: Facts, intent: Intent, estimate: Estimate | null): object {
  const { demand, costStatedPicousd: stated } = intent;
  return {
    basis: estimate?.basis ?? null,
    tokens: estimate?.tokens ?? null,
    input_bytes: demand.inputBytes,
    images: demand.images,
    ...(demand.audioInput ? { audio_input: true } : {}),
    ...(demand.audioOutput ? { audio_output: true } : {}),
    output_tokens_max: demand.outputTokensMax,
    output_tokens_sent: estimate?.outputTokensMax ?? null,
    // What a limit lowered it to is a fact; what it was lowered to in the end is of the verdict.
    limit_clamped_to: facts.clampedTo,
    clamped_to: estimate?.clampedTo ?? null,
    choices: demand.choices,
    ...(demand.producesTokens ? {} : { produces_tokens: false }),
    ...(stated === null ? {} : { stated_picousd: String(stated) }),
    ...(demand.serviceTier === null ? {} : { service_tier: demand.serviceTier }),
    ...(Object.keys(demand.fixed).length === 0 ? {} : { fixed: demand.fixed }),
    ...(facts.timeoutMs === null ? {} : { timeout_ms: facts.timeoutMs }),
    unbounded: demand.unbounded,
  };
}

function policyMembers({ id, name, version, result, effect, mode, why }: PolicyResult): object {
  return { id, name, version, result, effect, mode, ...(why === null ? {} : { why }) };
}

function policyOutcome({ outcome, risk, shadow }: Judged): object {
  const obligations = outcome.kind === "pass" ? outcome.obligations : null;
  const hasObligations =
    obligations !== null && Object.values(obligations).some((each) => each !== null);
  return {
    risk: { score: risk.score, inputs: risk.inputs },
    shadow,
    ...(hasObligations
      ? {
          obligations: {
            max_output_tokens: obligations.outputTokensMax,
            model: obligations.model?.model ?? null,
            ...(obligations.redact === null ? {} : { redact: obligations.redact.names }),
          },
        }
      : {}),
  };
}

/** By policies and by the tool's declaration together; where something else said no, by policies alone. */
function approvalAsked(verdict: Final): object {
  const outcome = verdict.policies?.outcome;
  const byPolicies = outcome?.kind === "pass" ? outcome.approval : null;
  const approval = verdict.kind === "ask" ? verdict.approval : byPolicies;
  return approval === null ? {} : { approval: approvalMembers(approval) };
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
    ...(history.taintedBy === null ? {} : { tainted_by: history.taintedBy }),
  };
}

/** As every record tells findings: kinds and counts. */
export function findingsMembers({ found, complete, outside }: Findings): object {
  return { found, complete, ...(outside.length === 0 ? {} : { outside }) };
}

/**
 * Arguments are content: they are kept only where a policy reads them, for else nothing could be judged
 * again. Those that are too large to be judged are too large to be kept.
 */
function keptArguments(facts: Facts, intent: Intent): object {
  const isRead = facts.bundle !== null && facts.bundle.needs.has("arguments");
  const { arguments: given } = intent;
  if (!isRead || given === undefined || intent.door === "model") return {};
  return wasLookedAt("arguments", { facts, intent, estimate: null }) ? { arguments: given } : {};
}

function actMembers({ effectClass, effect, extracted, listed, approval }: ActFacts): object {
  const stands =
    listed === null ? {} : { standing: listed.standing, definition: listed.definition };
  return {
    effect_class: effectClass,
    effect,
    extracted,
    ...stands,
    ...(approval === null ? {} : { approval }),
  };
}
