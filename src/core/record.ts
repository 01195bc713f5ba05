/**
 * The facts of a decision that have no column of their own, as one line of JSON in `decisions.record`.
 * Bodies are not stored: their digest is. Names are snake_case, as in the API that shows them.
 */
import type { Verdict } from "./decide.ts";
import type { Facts } from "./facts.ts";
import type { ActFacts, Intent } from "./intent.ts";

export function decisionRecord(facts: Facts, intent: Intent, verdict: Verdict): string {
  const { client, context, demand } = intent;
  return JSON.stringify({
    disposition: verdict.kind === "block" ? "stop" : "execute",
    ...(verdict.kind === "block" ? { message: verdict.message, param: verdict.param } : {}),
    billing: intent.billing,
    stream: intent.stream,
    input_sha256: intent.inputDigest,
    estimate: {
      basis: verdict.kind === "ask" ? verdict.estimate.basis : null,
      tokens: verdict.kind === "ask" ? verdict.estimate.tokens : null,
      input_bytes: demand.inputBytes,
      images: demand.images,
      output_tokens_max: demand.outputTokensMax,
      output_tokens_sent: verdict.kind === "ask" ? verdict.estimate.outputTokensMax : null,
      clamped_to: facts.clampedTo,
      choices: demand.choices,
      unbounded: demand.unbounded,
    },
    ...(intent.act === null ? {} : { act: actRecord(intent.act) }),
    policies: [],
    policy_version: null,
    tenant_mode: facts.caller.mode,
    context: {
      parent_step: context.parentStep,
      operation: context.operation,
      tool: context.tool,
      customer: context.customer,
      labels: context.labels,
    },
    trace_id: context.traceId,
    client: {
      user_agent: client.userAgent,
      sdk: client.sdk,
      sdk_retry_count: client.sdkRetryCount,
    },
    judged_at: facts.now.toISOString(),
  });
}

function actRecord({ effectClass, effect, extracted }: ActFacts): object {
  return { effect_class: effectClass, effect, extracted };
}
