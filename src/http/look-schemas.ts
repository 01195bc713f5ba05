/** What looking back answers: attempts, decisions, runs, use and prices. */
import { z } from "@hono/zod-openapi";

import { RETRY_CAUSES } from "../core/retry.ts";
import { time, usd, amount, notice } from "./schemas.ts";

export const Verdict = z.enum(["allow", "block", "require_approval"]);

const attemptMembers = {
  key: z.string(),
  run: z.string(),
  step: z.string().nullable(),
  attempt: z.number().int(),
  identity: z.enum(["named", "derived"]).nullable(),
  retry: z
    .object({
      because: z.enum(RETRY_CAUSES),
      prior_attempt: z.string().nullable(),
      prior_status: z.string().nullable(),
      prior_at: z.string().nullable(),
      sdk_retries: z.number().int(),
    })
    .nullable(),
  door: z.string(),
  operation: z.string(),
  resource: z.string(),
  upstream: z.string().nullable(),
  model: z.string().nullable(),
  verdict: Verdict,
  reason: z.string().nullable(),
  status: z.enum([
    "admitted",
    "unknown",
    "succeeded",
    "failed",
    "aborted",
    "released",
    "blocked",
    "repeated",
    "awaiting_approval",
  ]),
  usage: z.record(z.string(), z.number()).readonly(),
  tokens: z.number().int(),
  cost_usd: usd.nullable(),
  provider_cost_usd: z.string().nullable().openapi({
    description:
      "What the provider says that it cost, to its last digit: kept beside, never charged.",
  }),
  reserved_usd: usd,
  estimate_usd: usd.nullable(),
  overage_usd: usd,
  basis: z.string().nullable(),
  corrected: z.boolean(),
  price_version: z.string().nullable(),
  decided_at: time,
  deadline_at: time.nullable(),
  unknown_at: time.nullable(),
  ended_at: time.nullable(),
};

export const Attempt = z
  .object({ id: z.string(), decision: z.string(), ...attemptMembers })
  .openapi("Attempt");

const callMembers = {
  proposals: z
    .array(
      z
        .object({
          id: z.string().nullable(),
          name: z.string(),
          arguments_sha256: z.string().nullable().openapi({
            description:
              "Of the canonical arguments, as `input_sha256` of a tool call; null where they were no JSON object, or not whole.",
          }),
          attempt: z.string().nullable().openapi({
            description:
              "The last attempt of the same run that carried it out, or tried or was refused to; null: none.",
          }),
        })
        .openapi("Proposal"),
    )
    .readonly()
    .nullable()
    .openapi({
      description:
        "The tool calls that its model asked for. Null of an attempt behind the first 4,096 proposals and tool calls of its run: those are not matched.",
    }),
  proposed_by: z
    .object({ attempt: z.string(), call: z.string().nullable() })
    .nullable()
    .openapi({ description: "Of a tool call: the attempt of a model that asked for it." }),
};

const AttemptInRun = Attempt.extend(callMembers).openapi("AttemptInRun");

const Meter = z
  .object({
    limit_id: z.string(),
    scope: z.string(),
    subject: z.string().nullable(),
    unit: z.string(),
    window: z.string(),
    mode: z.string(),
    on_exceed: z.string(),
    limit: amount,
    committed: amount,
    reserved: amount,
    asked: amount,
    resets_at: time.nullable(),
  })
  .openapi("Meter");

const SPARE = "Members that are null, empty, false or as usual are left out.";

export const Decision = z
  .object({
    id: z.string(),
    attempt_id: z.string(),
    tenant: z.string(),
    ...attemptMembers,
    ...callMembers,
    meters: z.array(Meter).readonly(),
    adjusted_usd: usd.nullable().openapi({ description: "Beside the cost; null: nothing." }),
    record: z.unknown().openapi({ description: `What was judged, and how. ${SPARE}` }),
    ending: z
      .unknown()
      .openapi({ description: `What is known of its end; null: nothing yet. ${SPARE}` }),
    explanation: z.array(z.string()).readonly(),
  })
  .openapi("Decision");

const runMembers = {
  id: z.string(),
  tenant: z.string(),
  state: z.enum(["open", "stopping", "stopped", "closed", "implicit"]).openapi({
    description: "`stopping`: nothing more is admitted, and some of it or below it is in flight.",
  }),
  parent: z.string().nullable(),
  derived_from: z.string().nullable(),
  labels: z.record(z.string(), z.string()).readonly(),
  created_by: z.string().nullable(),
  created_at: time.nullable(),
  stopped_at: time.nullable(),
};

/** Disjoint: every decision is one of the three. */
const counts = {
  attempts: z.number().int().openapi({ description: "What was admitted." }),
  blocked: z.number().int().openapi({ description: "What was refused; no attempts." }),
  repeated: z.number().int().openapi({
    description: "The same asked again under its idempotency key: answered, and not run again.",
  }),
};

const listedMembers = {
  ...runMembers,
  totals: z.object({
    ...counts,
    in_flight: z.number().int(),
    unknown: z.number().int(),
    unpriced: z.number().int(),
    cost_usd: usd,
    adjusted_usd: usd.nullable().openapi({
      description: "What operators credited and debited beside it; null: nothing.",
    }),
    reserved_usd: usd,
    tokens: z.number().int(),
  }),
  first_at: time.nullable(),
  last_at: time.nullable(),
};

const shownMembers = {
  ...listedMembers,
  budget: z
    .object({
      limit_id: z.string(),
      limit_usd: usd,
      committed_usd: usd,
      reserved_usd: usd,
      remaining_usd: usd,
    })
    .nullable(),
};

export const RunListed = z.object(listedMembers).openapi("RunListed");
export const PutRunAnswer = z
  .object({ ...shownMembers, created: z.boolean(), notice })
  .openapi("PutRun");
export const Run = z
  .object({
    ...shownMembers,
    attempts: z.array(AttemptInRun).readonly(),
    next: z.string().nullable(),
  })
  .openapi("Run");

export const StoppedRun = z
  .object({
    ...runMembers,
    in_flight: z
      .array(
        z.object({
          id: z.string(),
          decision: z.string(),
          run: z.string(),
          resource: z.string(),
          status: z.enum(["admitted", "unknown"]),
          reserved_usd: usd,
          decided_at: time,
          deadline_at: time,
        }),
      )
      .readonly(),
    in_flight_more: z.boolean(),
  })
  .openapi("StoppedRun");

const sums = {
  ...counts,
  unpriced: z.number().int(),
  cost_usd: usd,
  reserved_usd: usd,
  tokens: z.number().int(),
  usage: z.record(z.string(), z.number()).readonly(),
};

export const Usage = z
  .object({
    tenant: z.string(),
    from: time,
    to: time,
    totals: z.object(sums),
    by_model: z
      .array(z.object({ upstream: z.string().nullable(), model: z.string(), ...sums }))
      .readonly()
      .openapi({
        description:
          "Of what called no model, `model` is what was done: `execute_tool`, `step`, `mcp_request`, `approval`.",
      }),
    models_left_off: z.number().int(),
    adjustments: z
      .object({ entries: z.number().int(), credits_usd: usd, debits_usd: usd, net_usd: usd })
      .openapi({ description: "Posted in the period, beside the costs: no sum here holds it." }),
    by_day: z.array(z.object({ day: z.string(), ...sums })).readonly(),
    by_reason: z
      .array(z.object({ reason: z.string(), decisions: z.number().int() }))
      .readonly()
      .openapi({
        description:
          "What was refused, and why; the most frequent first. Repeats are not among them.",
      }),
    by_attempt: z
      .array(
        z.object({
          resource: z.string(),
          attempt: z.number().int(),
          attempts: z.number().int(),
          succeeded: z.number().int(),
          cost_usd: usd,
        }),
      )
      .readonly()
      .openapi({ description: "By the number within a step: from 2 on they are retries." }),
  })
  .openapi("Usage");

const rates = z.record(z.string(), z.string()).readonly();

const rateSet = {
  usd_per_million: rates.openapi({ description: "USD per million units, by class of usage." }),
  tiers: z
    .array(z.object({ above_input_tokens: z.number().int(), usd_per_million: rates }))
    .readonly(),
};

export const Price = z
  .object({
    version: z.string(),
    tenant: z.string().nullable().openapi({ description: "Null: every tenant's." }),
    upstream: z.string().nullable().openapi({ description: "Null: any." }),
    model: z.string(),
    from: time,
    until: time.nullable().openapi({ description: "Null: until the next one begins." }),
    source: z.string(),
    ...rateSet,
    service_tiers: z.record(z.string(), z.object(rateSet)).readonly(),
    usd_per_hour: z.string().nullable().openapi({
      description:
        "Of a machine that is paid by the hour: a call costs the time it took. Else null.",
    }),
    concurrency: z.number().int().nullable().openapi({
      description: "Calls that share the hour: each costs its time divided by them.",
    }),
    context_tokens_max: z.number().int().nullable(),
    output_tokens_max: z.number().int().nullable(),
  })
  .openapi("Price");
