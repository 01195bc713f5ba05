/** What the gate says instead of letting something run. Each error tells whether trying again can help. */
import type { Disposition, Prior, RetryContext } from "./wire.ts";

/** Anything that Tollgate answers and that is not yes. */
export class TollgateError extends Error {
  override readonly name: string = "TollgateError";
  /** The HTTP status, or 0 where there was no answer. */
  readonly status: number;
  readonly code: string;
  /** Whether the same call may pass later without anybody changing anything. */
  readonly retryable: boolean;

  constructor(message: string, terms: ErrorTerms) {
    super(message, terms.cause === undefined ? {} : { cause: terms.cause });
    this.status = terms.status;
    this.code = terms.code;
    this.retryable = terms.retryable;
  }
}

export type ErrorTerms = {
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  readonly cause?: unknown;
};

export type RefusalTerms = ErrorTerms & {
  readonly disposition: Disposition;
  readonly decisionId: string;
  readonly retryContext: RetryContext | null;
  readonly prior: Prior | null;
  readonly approvalId: string | null;
  readonly retryAfterMs: number | null;
};

/** The gate said no, and recorded why: `npx tollgate decisions explain <decisionId>`. Nothing ran. */
export class Refused extends TollgateError {
  override readonly name: string = "Refused";
  /** A code of the gate's closed list: `retry_budget_exceeded`, `policy_denied`, … */
  readonly reason: string;
  /** What the caller is to do: `return_prior`, `wait`, `reconcile` or `stop`. */
  readonly disposition: Disposition;
  readonly decisionId: string;
  readonly retryContext: RetryContext | null;
  /** The attempt that stands in the way, where one does. */
  readonly prior: Prior | null;
  /** What is to be approved before the same call passes. */
  readonly approvalId: string | null;
  readonly retryAfterMs: number | null;

  constructor(message: string, terms: RefusalTerms) {
    super(message, terms);
    this.reason = terms.code;
    this.disposition = terms.disposition;
    this.decisionId = terms.decisionId;
    this.retryContext = terms.retryContext;
    this.prior = terms.prior;
    this.approvalId = terms.approvalId;
    this.retryAfterMs = terms.retryAfterMs;
  }
}

/** The same thing is being done right now, by this run or another. */
export class InProgress extends Refused {
  override readonly name = "InProgress";
}

/**
 * It was started before and nobody can say how that ended. Doing it again could do it twice: find out, and
 * say so with `npx tollgate operations reconcile <prior.attemptId>`.
 */
export class OutcomeUnknown extends Refused {
  override readonly name = "OutcomeUnknown";
}

/** The gate cannot be asked now, so nothing passes. Nothing ran. */
export class GateUnavailable extends TollgateError {
  override readonly name = "GateUnavailable";
}

/**
 * It ran, and the gate could not be told how it ended. What it gave is in `result`; to the gate its
 * outcome is unknown until somebody completes or reconciles the attempt.
 */
export class NotRecorded extends TollgateError {
  override readonly name = "NotRecorded";
  readonly attemptId: string;
  readonly result: unknown;

  constructor(message: string, terms: ErrorTerms & NotRecordedTerms) {
    super(message, terms);
    this.attemptId = terms.attemptId;
    this.result = terms.result;
  }
}

type NotRecordedTerms = { readonly attemptId: string; readonly result: unknown };

/** To be thrown by what a step runs, when it knows that nothing happened: then the gate knows it too. */
export class NotExecuted extends Error {
  override readonly name = "NotExecuted";
}
