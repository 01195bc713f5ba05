/** What the console reads of the API's answers; what it does not show it does not name. */
import { z } from "zod";

const time = z.string();
const maybeTime = z.string().nullable();
const maybe = z.string().nullable();
const amount = z.union([z.string(), z.number()]);
const labels = z.record(z.string(), z.string());

export function listOf<Row extends z.ZodType>(row: Row) {
  return z.object({ data: z.array(row), next: maybe });
}

export const SCOPES = ["invoke", "report", "approve", "admin"] as const;
const Scopes = z.array(z.enum(SCOPES));

export const Self = z.object({
  kind: z.enum(["installation", "key"]),
  key: maybe,
  tenant: z.object({ id: z.string(), name: z.string() }).nullable(),
  scopes: Scopes,
});

export const Tenant = z.object({
  id: z.string(),
  name: z.string(),
  mode: z.string(),
  created_at: time,
});

const Sums = {
  attempts: z.number(),
  blocked: z.number(),
  repeated: z.number(),
  unpriced: z.number(),
  cost_usd: z.string(),
  reserved_usd: z.string(),
  tokens: z.number(),
};

export const Usage = z.object({
  from: time,
  to: time,
  totals: z.object(Sums),
  by_model: z.array(z.object({ upstream: maybe, model: z.string(), ...Sums })),
  by_day: z.array(z.object({ day: z.string(), ...Sums })),
  by_reason: z.array(z.object({ reason: z.string(), decisions: z.number() })),
  adjustments: z.object({ entries: z.number(), net_usd: z.string() }),
});

export const Limit = z.object({
  id: z.string(),
  scope: z.object({ kind: z.string(), id: maybe }),
  resource: maybe,
  unit: z.string(),
  window: z.string(),
  limit: amount,
  mode: z.enum(["enforce", "shadow"]),
  on_exceed: z.enum(["refuse", "clamp"]),
  time_zone: z.string(),
  created_at: time,
  removed_at: maybeTime,
  subject: maybe,
  committed: amount.nullable(),
  reserved: amount.nullable(),
  remaining: amount.nullable(),
  resets_at: maybeTime,
});
export type Limit = z.output<typeof Limit>;

/** What a change means, where that is unexpected. */
export const Noticed = z.object({ notice: maybe });

const Totals = z.object({
  attempts: z.number(),
  blocked: z.number(),
  repeated: z.number(),
  in_flight: z.number(),
  unknown: z.number(),
  unpriced: z.number(),
  cost_usd: z.string(),
  adjusted_usd: maybe,
  reserved_usd: z.string(),
  tokens: z.number(),
});

const runMembers = {
  id: z.string(),
  state: z.string(),
  parent: maybe,
  derived_from: maybe,
  labels,
  created_at: maybeTime,
  stopped_at: maybeTime,
  totals: Totals,
  first_at: maybeTime,
  last_at: maybeTime,
};

export const RunListed = z.object(runMembers);
export type RunListed = z.output<typeof RunListed>;

/** What became of a run, as somebody said it. */
export const Outcome = z.object({
  type: z.string(),
  status: z.string(),
  key: z.string(),
  superseded_by: maybe,
});
export type Outcome = z.output<typeof Outcome>;

const attemptMembers = {
  key: z.string(),
  run: z.string(),
  step: maybe,
  attempt: z.number(),
  identity: maybe,
  retry: z.object({ because: z.string(), prior_status: maybe, sdk_retries: z.number() }).nullable(),
  door: z.string(),
  operation: z.string(),
  resource: z.string(),
  upstream: maybe,
  model: maybe,
  verdict: z.string(),
  reason: maybe,
  status: z.string(),
  usage: z.record(z.string(), z.number()),
  tokens: z.number(),
  cost_usd: maybe,
  reserved_usd: z.string(),
  estimate_usd: maybe,
  overage_usd: z.string(),
  basis: maybe,
  decided_at: time,
  ended_at: maybeTime,
};

const callMembers = {
  proposals: z.array(z.object({ id: maybe, name: z.string(), attempt: maybe })).nullable(),
  proposed_by: z.object({ attempt: z.string(), call: maybe }).nullable(),
};

export const Attempt = z.object({ decision: z.string(), ...attemptMembers });
export type Attempt = z.output<typeof Attempt>;
export const AttemptInRun = Attempt.extend(callMembers);
export type AttemptInRun = z.output<typeof AttemptInRun>;

export const Run = z.object({
  ...runMembers,
  attempts: z.array(AttemptInRun),
  next: maybe,
});
export type Run = z.output<typeof Run>;

export const Meter = z.object({
  limit_id: z.string(),
  scope: z.string(),
  subject: maybe,
  unit: z.string(),
  window: z.string(),
  mode: z.string(),
  limit: amount,
  committed: amount,
  reserved: amount,
  asked: amount,
  resets_at: maybeTime,
});
export type Meter = z.output<typeof Meter>;

export const JudgedPolicy = z.object({
  id: z.string(),
  name: z.string(),
  result: z.string(),
  effect: z.string(),
  mode: z.string(),
  why: z.string().optional(),
});

export const Decision = z.object({
  id: z.string(),
  ...attemptMembers,
  adjusted_usd: maybe,
  meters: z.array(Meter),
  record: z.looseObject({
    policies: z.array(JudgedPolicy).optional(),
    policy_version: z.string().nullable().optional(),
  }),
  ending: z.unknown(),
  explanation: z.array(z.string()),
});
export type Decision = z.output<typeof Decision>;

const approvalMembers = {
  id: z.string(),
  state: z.string(),
  digest: z.string(),
  requested_by: z.string(),
  decision: z.string(),
  run: z.string(),
  step: maybe,
  door: z.string(),
  operation: maybe,
  resource: z.string(),
  estimate_usd: maybe,
  policies: z.array(z.object({ id: z.string(), version: z.string(), reason: maybe })),
  approvals: z.number(),
  quorum: z.number(),
  role: maybe,
  created_at: time,
  expires_at: time,
  decided_at: maybeTime,
};

export const Approval = z.object(approvalMembers);
export type Approval = z.output<typeof Approval>;

export const ShownApproval = z.object({
  ...approvalMembers,
  votes: z.array(
    z.object({ key: z.string(), approves: z.boolean(), reason: z.string(), voted_at: time }),
  ),
  call: maybe,
  call_encoding: z.enum(["utf-8", "base64"]),
});
export type ShownApproval = z.output<typeof ShownApproval>;

const Policy = z.object({
  id: z.string(),
  name: z.string(),
  effect: z.string(),
  mode: z.string(),
  when: z.string(),
});

const bundleMembers = {
  version: z.string(),
  active: z.boolean(),
  description: z.string(),
  created_by: z.string(),
  created_at: time,
};

export const BundleListed = z.object({ ...bundleMembers, policies: z.array(z.string()) });

export const Bundle = z.object({
  ...bundleMembers,
  policies: z.array(Policy),
  source: z.string(),
});
export type Bundle = z.output<typeof Bundle>;

export const PolicyCheck = z.object({
  valid: z.boolean(),
  problems: z.array(z.object({ line: z.number(), column: z.number(), message: z.string() })),
});

export const ShadowReport = z.object({
  from: time,
  to: time,
  policies: z.array(
    z.object({
      id: z.string(),
      effect: z.string(),
      judged: z.number(),
      matched: z.number(),
      failed: z.number(),
      matched_usd: z.string(),
      last_match: maybe,
    }),
  ),
  limits: z.array(
    z.object({
      limit_id: z.string(),
      unit: z.string(),
      window: z.string(),
      met: z.number(),
      refused: z.number(),
      refused_usd: z.string(),
      last_refused: maybe,
    }),
  ),
});
export type ShadowReport = z.output<typeof ShadowReport>;

export const Backtest = z.object({
  decisions: z.number(),
  unchanged: z.number(),
  changed: z.number(),
  changes: z.array(
    z.object({
      decision: z.string(),
      decided_at: time,
      run: z.string(),
      resource: z.string(),
      before: z.string(),
      after: z.string(),
      reason: maybe,
      cost_usd: maybe,
    }),
  ),
  changes_left_off: z.number(),
  unknowable: z.number(),
  settled_usd: z.string(),
  would_block_usd: z.string(),
  would_ask_usd: z.string(),
  newly_allowed: z.number(),
  next: maybe,
});
export type Backtest = z.output<typeof Backtest>;

export const Key = z.object({
  id: z.string(),
  name: z.string(),
  scopes: Scopes,
  labels,
  tools: z.array(z.string()).nullable(),
  active: z.boolean(),
  created_at: time,
  expires_at: maybeTime,
  revoked_at: maybeTime,
});
export type Key = z.output<typeof Key>;

export const IssuedKey = z.object({ name: z.string(), key: z.string() });

export const Price = z.object({
  /** Null: any. */
  upstream: z.string().nullable(),
  model: z.string(),
  from: time,
  source: z.string(),
  usd_per_million: z.record(z.string(), z.string()),
  tiers: z.array(
    z.object({
      above_input_tokens: z.number(),
      usd_per_million: z.record(z.string(), z.string()),
    }),
  ),
  service_tiers: z.record(z.string(), z.unknown()),
  usd_per_hour: z.string().nullable(),
  concurrency: z.number().nullable(),
  context_tokens_max: z.number().nullable(),
  output_tokens_max: z.number().nullable(),
});
export type Price = z.output<typeof Price>;

export const Webhook = z.object({
  id: z.string(),
  url: z.string(),
  kinds: z.array(z.string()),
  created_at: time,
  removed_at: maybeTime,
});
export type Webhook = z.output<typeof Webhook>;

export const IssuedWebhook = z.object({ url: z.string(), secret: z.string() });

export const Delivery = z.object({
  id: z.string(),
  webhook: z.string(),
  kind: z.string(),
  state: z.string(),
  tries: z.number(),
  last_result: maybe,
  created_at: time,
  due_at: maybeTime,
  ended_at: maybeTime,
});
export type Delivery = z.output<typeof Delivery>;
