/** Every reason for which the gate says no, in the order in which the caller is told one: the order is API. */
export const REASONS = [
  "run_closed",
  "run_stopped",
  "scope_missing",
  "model_not_allowed",
  "route_not_allowed",
  "price_unknown",
  "cost_unbounded",
  "max_cost_exceeded",
  "run_budget_exceeded",
  "budget_exceeded",
  "quota_exceeded",
  "concurrency_exceeded",
  "budget_contended",
] as const;

export type Reason = (typeof REASONS)[number];

export type Unit = "usd" | "tokens" | "requests" | "in_flight";
export type ScopeKind = "tenant" | "key" | "run" | "model" | "each_run" | "each_customer";

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
};
