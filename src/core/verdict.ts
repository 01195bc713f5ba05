import type { RetryFacts } from "./retry.ts";

/** Every reason for which the gate says no, in the order in which the caller is told one: the order is API. */
export const REASONS = [
  "run_closed",
  "run_stopped",
  "scope_missing",
  "duplicate_request",
  "idempotency_in_progress",
  "outcome_unknown",
  "idempotency_key_reused",
  "effect_applied",
  "effect_in_flight",
  "effect_uncertain",
  "operation_conflict",
  "policy_denied",
  "evaluator_unavailable",
  "route_not_allowed",
  "tool_not_allowed",
  "tool_undeclared",
  "tool_quarantined",
  "price_unknown",
  "cost_unbounded",
  "max_cost_exceeded",
  "retry_budget_exceeded",
  "run_budget_exceeded",
  "run_share_exceeded",
  "budget_exceeded",
  "quota_exceeded",
  "concurrency_exceeded",
  "budget_contended",
  "approval_required",
  "approval_denied",
  "approval_expired",
  "approval_used",
  "approval_impossible",
] as const;

export type Reason = (typeof REASONS)[number];

/**
 * Of an ask that is a repeat: the same under the same idempotency key. Nothing of it is run; its answer is what the first
 * was told, or will be. In sums it is neither an attempt nor refused.
 */
export const REPEAT_REASONS: readonly Reason[] = ["duplicate_request", "idempotency_in_progress"];

/** What the caller is to do: go on, take the prior answer, wait, find out what became of it, or stop. */
export type Disposition = "execute" | "return_prior" | "wait" | "reconcile" | "stop";

/** The disposition of each reason; an attempt that is allowed has none and executes. */
export const DISPOSITIONS: Readonly<Record<Reason, Disposition>> = {
  run_closed: "stop",
  run_stopped: "stop",
  scope_missing: "stop",
  duplicate_request: "return_prior",
  idempotency_in_progress: "wait",
  outcome_unknown: "reconcile",
  idempotency_key_reused: "stop",
  effect_applied: "return_prior",
  effect_in_flight: "wait",
  effect_uncertain: "reconcile",
  operation_conflict: "stop",
  policy_denied: "stop",
  evaluator_unavailable: "stop",
  route_not_allowed: "stop",
  tool_not_allowed: "stop",
  tool_undeclared: "stop",
  tool_quarantined: "stop",
  price_unknown: "stop",
  cost_unbounded: "stop",
  max_cost_exceeded: "stop",
  retry_budget_exceeded: "stop",
  run_budget_exceeded: "stop",
  run_share_exceeded: "stop",
  budget_exceeded: "stop",
  quota_exceeded: "stop",
  concurrency_exceeded: "wait",
  budget_contended: "wait",
  approval_required: "wait",
  approval_denied: "stop",
  approval_expired: "stop",
  approval_used: "stop",
  approval_impossible: "stop",
};

/** `attempts` counts further attempts: what a retry budget limits. */
export const UNITS = ["usd", "tokens", "requests", "attempts", "in_flight"] as const;
export type Unit = (typeof UNITS)[number];

/** Whom a limit counts. */
export const SCOPE_KINDS = [
  "tenant",
  "key",
  "run",
  "model",
  "tool",
  "each_run",
  "each_customer",
  "each_operation",
] as const;
export type ScopeKind = (typeof SCOPE_KINDS)[number];

/** A meter as the posting found it. Amounts are pico-dollars for `usd`, plain counts otherwise. */
export type MeterFigures = {
  readonly limitId: string;
  readonly scope: ScopeKind;
  /** Whom it counts: a key id, run, model, customer; empty for the tenant. */
  readonly subject: string;
  readonly unit: Unit;
  readonly window: Window;
  readonly mode: "enforce" | "shadow";
  readonly onExceed: "refuse" | "clamp";
  /** Its limit is the part of a larger one that one run may take. */
  readonly isShare: boolean;
  readonly limit: bigint;
  readonly committed: bigint;
  readonly reserved: bigint;
  readonly asked: bigint;
  /** When the window ends; null for a window that never does. */
  readonly resetsAt: Date | null;
};

export const WINDOWS = ["none", "minute", "hour", "day", "week", "month"] as const;
export type Window = (typeof WINDOWS)[number];

/** The gate's no. `meter` is the meter that lacked room, where one did. `details` completes the sentence. */
export type Refusal = {
  readonly reason: Reason;
  /** One specific sentence: which limit, how much is left, what this call could cost, what to do. */
  readonly message: string;
  readonly meter: MeterFigures | null;
  /** The request member at fault, where one is. */
  readonly param: string | null;
  readonly decisionId: string;
  /** Why it was a further attempt, or whose duplicate; null for a first one. */
  readonly retry: RetryFacts | null;
  /** The approval that it waits for, or that speaks against it; null for other reasons. */
  readonly approvalId: string | null;
};
