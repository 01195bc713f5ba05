/** What the gate's API takes and answers, as far as this client reads it. See `docs/steps.md`. */

const DISPOSITIONS = ["execute", "return_prior", "wait", "reconcile", "stop"] as const;

export type Disposition = (typeof DISPOSITIONS)[number];

/** An attempt that came before: of this step, this key or this effect. */
export type Prior = {
  readonly attemptId: string;
  readonly decisionId: string;
  readonly runId: string;
  readonly status: string;
  readonly at: string;
  /** `kept`: the result is in `result`. `none`: it completed without one. Else why there is none. */
  readonly resultState: "kept" | "none" | "too_large" | "expired" | "not_asked" | "withheld";
  readonly result: unknown;
};

/** What the gate knows of the attempts at a step. The members are those of the API, in camelCase. */
export type RetryContext = {
  readonly attempt: number;
  readonly firstAt: string | null;
  readonly lastAt: string | null;
  readonly prior: Prior | null;
  /** The answer's own member, whole. */
  readonly raw: Readonly<Record<string, unknown>>;
};

export type Allowed = {
  readonly attemptId: string;
  readonly decisionId: string;
  readonly runId: string;
  readonly attempt: number;
  readonly leaseExpiresAt: string;
  readonly leaseSeconds: number;
  readonly retryContext: RetryContext | null;
  /** The answer itself. */
  readonly raw: Readonly<Record<string, unknown>>;
};

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function readAllowed(body: unknown): Allowed | null {
  if (!isRecord(body) || body["verdict"] !== "allow") return null;
  const attemptId = textOf(body["attempt_id"]);
  if (attemptId === null) return null;
  return {
    attemptId,
    decisionId: textOf(body["decision"]) ?? "",
    runId: textOf(body["run"]) ?? "",
    attempt: numberOf(body["attempt"]),
    leaseExpiresAt: textOf(body["lease_expires_at"]) ?? "",
    leaseSeconds: numberOf(body["lease_seconds"]),
    retryContext: readRetryContext(body["retry_context"]),
    raw: body,
  };
}

export function readRetryContext(value: unknown): RetryContext | null {
  if (!isRecord(value)) return null;
  return {
    attempt: numberOf(value["attempt"]),
    firstAt: textOf(value["first_at"]),
    lastAt: textOf(value["last_at"]),
    prior: readPrior(value["prior"]),
    raw: value,
  };
}

function readPrior(value: unknown): Prior | null {
  if (!isRecord(value)) return null;
  return {
    attemptId: textOf(value["attempt_id"]) ?? "",
    decisionId: textOf(value["decision"]) ?? "",
    runId: textOf(value["run"]) ?? "",
    status: textOf(value["status"]) ?? "",
    at: textOf(value["at"]) ?? "",
    resultState: resultStateOf(value["result_state"]),
    result: value["result"],
  };
}

const RESULT_STATES = ["kept", "none", "too_large", "expired", "not_asked", "withheld"] as const;

function resultStateOf(value: unknown): Prior["resultState"] {
  return RESULT_STATES.find((state) => state === value) ?? "not_asked";
}

/** What this client does not know yet it does not try again. */
export function dispositionOf(value: unknown): Disposition {
  return DISPOSITIONS.find((known) => known === value) ?? "stop";
}

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
