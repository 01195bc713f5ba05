/** One decision looked back at: the record as it was written, how its attempt ended, and why in words. */
import { explain, type DecisionStatus } from "../core/explain.ts";
import type { ExplainedApproval } from "../core/explain-policies.ts";
import { APPROVAL_DOOR } from "../core/intent.ts";
import { dollars, usdOf, usdOrNull } from "../core/money.ts";
import { attemptIdOf, decisionIdOf } from "../core/ids.ts";
import { retryFrom, type RetryCause, type RetryFacts } from "../core/retry.ts";
import { REASONS, REPEAT_REASONS, type MeterFigures } from "../core/verdict.ts";
import { isRecord } from "../lib/json.ts";
import type { Database } from "../store/database.ts";
import { type DecisionDetail, type DecisionRow, findDecision } from "../store/decisions.ts";
import { metersFrom } from "../store/posting.ts";
import { approvalIn, policiesIn } from "./explained-policies.ts";
import { callsIn, callSentences, type CallsView } from "./run-calls.ts";
import { amountOf, countOf, timeOrNull, type Amount } from "./amounts.ts";

export type AttemptView = {
  readonly id: string;
  readonly decision: string;
  readonly key: string;
  readonly run: string;
  readonly step: string | null;
  readonly attempt: number;
  /** Whether its caller named its step, or it was derived from the content; null for what is no step. */
  readonly identity: "named" | "derived" | null;
  /** Why it is a further attempt, or whose duplicate it is; null for a first one. */
  readonly retry: RetryView | null;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly verdict: "allow" | "block" | "require_approval";
  readonly reason: string | null;
  readonly status: DecisionStatus;
  readonly usage: Readonly<Record<string, number>>;
  readonly tokens: number;
  /** Null: not settled, or no price was known. */
  readonly cost_usd: string | null;
  /** What the provider says that it cost, as it says it; it is compared with `cost_usd`, and never charged. */
  readonly provider_cost_usd: string | null;
  /** What it holds now; "0.00" once it has ended. */
  readonly reserved_usd: string;
  readonly estimate_usd: string | null;
  readonly overage_usd: string;
  /** computed, estimated, presumed, unpriced or none; null while it has not ended. */
  readonly basis: string | null;
  readonly corrected: boolean;
  readonly price_version: string | null;
  readonly decided_at: string;
  readonly deadline_at: string | null;
  readonly unknown_at: string | null;
  readonly ended_at: string | null;
};

export type RetryView = {
  readonly because: RetryCause;
  readonly prior_attempt: string | null;
  readonly prior_status: string | null;
  readonly prior_at: string | null;
  readonly sdk_retries: number;
};

export type MeterView = {
  readonly limit_id: string;
  readonly scope: string;
  readonly subject: string | null;
  readonly unit: string;
  readonly window: string;
  readonly mode: string;
  readonly on_exceed: string;
  readonly limit: Amount;
  readonly committed: Amount;
  readonly reserved: Amount;
  readonly asked: Amount;
  readonly resets_at: string | null;
};

export type DecisionView = Omit<AttemptView, "id" | "decision"> & {
  readonly id: string;
  readonly attempt_id: string;
  readonly tenant: string;
  /** Every meter on the path as it was before this decision. */
  readonly meters: readonly MeterView[];
  /** Σ of what an operator adjusted of it, beside its cost; null: nothing. */
  readonly adjusted_usd: string | null;
  readonly record: unknown;
  readonly ending: unknown;
  readonly explanation: readonly string[];
};

/** One decision, and what it has to do with the calls around it. */
export type DecisionInRun = DecisionView & CallsView;

/** `id` is a decision's or its attempt's: both name the same row. */
export async function decisionOf(
  db: Database,
  tenantId: string,
  id: string,
): Promise<DecisionInRun | null> {
  const row = await findDecision(db.admin, tenantId, attemptIdOf(id));
  if (row === null) return null;
  const view = decisionView(tenantId, row, await approvalIn(db, tenantId, row.approvalId));
  const calls = await callsOf(db, tenantId, row);
  return { ...view, ...calls, explanation: [...view.explanation, ...callSentences(calls)] };
}

/** Only of what may have some is its run looked through. */
async function callsOf(db: Database, tenantId: string, row: DecisionDetail): Promise<CallsView> {
  const { operation, runId, endingRecord } = row;
  const proposes = isRecord(endingRecord) && Object.hasOwn(endingRecord, "tool_calls");
  if (!proposes && operation !== "execute_tool") return { proposals: [], proposed_by: null };
  return (await callsIn(db, tenantId, runId))(row);
}

export function decisionView(
  tenantId: string,
  row: DecisionDetail,
  approval: ExplainedApproval | null,
): DecisionView {
  const { id: attemptId, decision, ...view } = attemptView(row);
  const meters = metersFrom(row.meters);
  return {
    id: decision,
    attempt_id: attemptId,
    tenant: tenantId,
    ...view,
    meters: meters.map(meterView),
    adjusted_usd: usdOrNull(row.adjustedPicousd),
    record: row.record,
    ending: row.endingRecord,
    explanation: explanationOf(row, meters, approval),
  };
}

export function attemptView(row: DecisionRow): AttemptView {
  return {
    id: row.attemptId,
    decision: decisionIdOf(row.attemptId),
    key: row.keyId,
    run: row.runId,
    step: row.stepId,
    attempt: row.attempt,
    identity: identityOf(row),
    retry: retryView(retryFrom(row.retry)),
    door: row.door,
    operation: row.operation,
    resource: row.resource,
    upstream: row.upstream,
    model: row.model,
    verdict: row.verdict,
    reason: row.reason,
    status: statusOf(row),
    usage: row.usage ?? {},
    tokens: countOf(row.tokens ?? "0"),
    cost_usd: usdOrNull(row.costPicousd),
    provider_cost_usd: row.providerCostUsd,
    reserved_usd: usdOf(row.heldPicousd ?? "0"),
    estimate_usd: usdOrNull(row.estimatePicousd),
    overage_usd: usdOf(row.overagePicousd ?? "0"),
    basis: row.basis,
    corrected: row.corrected,
    price_version: row.settledPriceVersion ?? row.priceVersion,
    decided_at: row.decidedAt.toISOString(),
    deadline_at: timeOrNull(row.deadlineAt),
    unknown_at: timeOrNull(row.unknownAt),
    ended_at: timeOrNull(row.settledAt),
  };
}

function identityOf({ stepId, isStep }: DecisionRow): AttemptView["identity"] {
  if (stepId !== null) return "named";
  return isStep ? "derived" : null;
}

function retryView(retry: RetryFacts | null): RetryView | null {
  if (retry === null) return null;
  return {
    because: retry.because,
    prior_attempt: retry.priorAttempt,
    prior_status: retry.priorStatus,
    prior_at: retry.priorAt,
    sdk_retries: retry.sdkRetries,
  };
}

function isRepeat(reason: string | null): boolean {
  return REPEAT_REASONS.some((each) => each === reason);
}

/** A settlement says how it ended; without one the reservation says whether its owner still lives. */
function statusOf(row: DecisionRow): DecisionStatus {
  if (row.verdict === "block") return isRepeat(row.reason) ? "repeated" : "blocked";
  if (row.verdict === "require_approval") return "awaiting_approval";
  switch (row.ending) {
    case "succeeded":
    case "failed":
    case "aborted":
    case "released":
      return row.ending;
    case null:
      return row.reservation === "open" ? "admitted" : "unknown";
    default:
      return "unknown";
  }
}

function meterView(meter: MeterFigures): MeterView {
  const { unit } = meter;
  return {
    limit_id: meter.limitId,
    scope: meter.scope,
    subject: meter.subject === "" ? null : meter.subject,
    unit,
    window: meter.window,
    mode: meter.mode,
    on_exceed: meter.onExceed,
    limit: amountOf(unit, meter.limit),
    committed: amountOf(unit, meter.committed),
    reserved: amountOf(unit, meter.reserved),
    asked: amountOf(unit, meter.asked),
    resets_at: timeOrNull(meter.resetsAt),
  };
}

function explanationOf(
  row: DecisionDetail,
  meters: readonly MeterFigures[],
  approval: ExplainedApproval | null,
): readonly string[] {
  const record = isRecord(row.record) ? row.record : {};
  if (row.door === APPROVAL_DOOR) {
    const cost = dollars(bigintOrNull(row.costPicousd) ?? 0n);
    return [
      `On ${row.decidedAt.toISOString()} key ${row.keyId} answered the question ${String(record["answered"])} of run ${row.runId}, ` +
        `which costs ${cost}, its tenant's price of an approval. It draws on no limit.`,
    ];
  }
  const estimate = isRecord(record["estimate"]) ? record["estimate"] : {};
  const { message } = record;
  const { basis, clamped_to: clampedTo } = estimate;
  return explain({
    decisionId: decisionIdOf(row.attemptId),
    keyId: row.keyId,
    run: row.runId,
    step: row.stepId,
    attempt: row.attempt,
    retry: retryFrom(row.retry),
    operation: row.operation,
    resource: row.resource,
    upstream: row.upstream,
    model: row.model,
    decidedAt: row.decidedAt,
    estimatePicousd: bigintOrNull(row.estimatePicousd),
    estimateBasis: typeof basis === "string" ? basis : null,
    clampedTo: typeof clampedTo === "number" ? clampedTo : null,
    priceVersion: row.priceVersion,
    reason: REASONS.find((reason) => reason === row.reason) ?? null,
    message: typeof message === "string" ? message : null,
    meters,
    policies: policiesIn(record),
    approval,
    status: statusOf(row),
    basis: row.basis,
    corrected: row.corrected,
    costPicousd: bigintOrNull(row.costPicousd),
    overagePicousd: BigInt(row.overagePicousd ?? "0"),
    heldPicousd: bigintOrNull(row.heldPicousd),
    tokens: bigintOrNull(row.tokens),
    milliseconds: row.usage?.["milliseconds"] ?? null,
    settledAt: row.settledAt,
    unknownAt: row.unknownAt,
  });
}

function bigintOrNull(digits: string | null): bigint | null {
  return digits === null ? null : BigInt(digits);
}
