/**
 * Attempts that their callers make themselves, after the gate has granted them: they report how those
 * ended, or say that they still go on. One that says nothing until its lease is over becomes unknown, its
 * money held, like any other whose owner is lost; what is reported later is evidence, and settles it.
 *
 * Reporting twice is once. A report that contradicts how the attempt has ended changes nothing and is told.
 */
import { attemptStatus, type AttemptStatus, type PriorAttempt } from "../core/attempt.ts";
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import {
  LEASE_TOTAL_MS_MAX,
  POST_MS_MAX,
  RESULT_STORED_BYTES_MAX,
  TOOL_KEY_KEPT_MS,
} from "../core/limits.ts";
import { usdOrNull } from "../core/money.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { extendLease, type AttemptRef } from "../store/attempts.ts";
import { findDecision, type DecisionDetail } from "../store/decisions.ts";
import { insertEvent } from "../store/events.ts";
import { settle, type Settlement } from "../store/settlement.ts";
import { transaction } from "../store/transaction.ts";
import { isAdmin, nameOf, notFound, requireScope, type Actor } from "./acts.ts";
import type { Answers } from "./answers.ts";
import type { Authority } from "./authority.ts";
import { withDeadline } from "./deadline.ts";
import type { Ports } from "./ports.ts";
import { findPrior, type ResultAsker } from "./prior.ts";
import type { Settler } from "./settle.ts";

/** What an attempt has come to. `repeated`: it had before this report. */
export type Reported = {
  readonly attemptId: string;
  readonly runId: string;
  readonly status: AttemptStatus;
  /** Null where it has not ended, or no price was known. */
  readonly costPicousd: string | null;
  readonly endedAt: Date | null;
  readonly repeated: boolean;
};

/** `result` as JSON text, or null for none. `usage`: counts, by a class of the caller's. */
export type Completion = {
  readonly result: string | null;
  readonly costPicousd: bigint | null;
  readonly usage: Readonly<Record<string, number>>;
};

export type Failure = {
  readonly error: string;
  readonly executed: "no" | "yes" | "unknown";
  readonly costPicousd: bigint | null;
};

export type Reconciliation = {
  readonly applied: boolean;
  readonly evidence: string;
  readonly result: string | null;
  readonly costPicousd: bigint | null;
};

export type Steps = {
  readonly complete: (actor: Actor, name: AttemptRef, report: Completion) => Promise<Reported>;
  readonly fail: (actor: Actor, name: AttemptRef, report: Failure) => Promise<Reported>;
  /** Answers until when the attempt is taken for alive. */
  readonly heartbeat: (actor: Actor, name: AttemptRef, leaseMs: number) => Promise<Date>;
  /** Ends an attempt of which nobody knew how it ended, by what somebody found out. */
  readonly reconcile: (actor: Actor, name: AttemptRef, found: Reconciliation) => Promise<Reported>;
  readonly prior: (name: AttemptRef, asker: ResultAsker) => Promise<PriorAttempt | null>;
};

export type StepParts = {
  readonly ports: Ports;
  readonly authority: Authority;
  readonly answers: Answers;
  readonly settler: Pick<Settler, "report" | "reported" | "unknown">;
};

export function createSteps(parts: StepParts): Steps {
  return {
    complete: (actor, name, report) => complete(parts, actor, { name, report }),
    fail: (actor, name, report) => fail(parts, actor, { name, report }),
    heartbeat: (actor, name, leaseMs) => heartbeat(parts, actor, { name, leaseMs }),
    reconcile: (actor, name, found) => reconcile(parts, actor, { name, found }),
    prior: (name, asker) => findPrior(parts, name, asker),
  };
}

async function complete(
  parts: StepParts,
  actor: Actor,
  { name, report }: { readonly name: AttemptRef; readonly report: Completion },
): Promise<Reported> {
  const row = await ownAttempt(parts, actor, name);
  const status = attemptStatus(row);
  if (status === "succeeded") return reportedOf(row, true);
  refuseEnded(status, row, "completed");
  const result = await keepResult(parts, name, report.result);
  return await settleNow(parts, name, {
    ...settlementOf(name, "succeeded", chargeOf(parts, row, name, report.costPicousd)),
    usage: JSON.stringify(report.usage),
    record: JSON.stringify({ result, reported_by: nameOf(actor) }),
  });
}

async function fail(
  parts: StepParts,
  actor: Actor,
  { name, report }: { readonly name: AttemptRef; readonly report: Failure },
): Promise<Reported> {
  const row = await ownAttempt(parts, actor, name);
  const status = attemptStatus(row);
  const wanted = ({ no: "released", yes: "failed", unknown: "unknown" } as const)[report.executed];
  if (status === wanted) return reportedOf(row, true);
  refuseEnded(status, row, wanted);
  if (report.executed === "unknown") {
    await withDeadline(parts.settler.unknown(name), POST_MS_MAX);
    return await endedAs(parts, name, "unknown");
  }
  const charge =
    report.executed === "no" ? NO_COST : chargeOf(parts, row, name, report.costPicousd);
  return await settleNow(parts, name, {
    ...settlementOf(name, wanted === "released" ? "released" : "failed", charge),
    record: JSON.stringify({ error: report.error, reported_by: nameOf(actor) }),
  });
}

async function heartbeat(
  parts: StepParts,
  actor: Actor,
  { name, leaseMs }: { readonly name: AttemptRef; readonly leaseMs: number },
): Promise<Date> {
  const row = await ownAttempt(parts, actor, name);
  const terms = { leaseMs, totalMs: LEASE_TOTAL_MS_MAX };
  const until = await extendLease(parts.ports.db.admin, name, terms);
  if (until !== null) return until;
  const now = await attemptOf(parts, name);
  const status = attemptStatus(now);
  // Its lease is over and no sweep has come by yet: for its caller that is the same.
  throw contradiction(status === "running" ? "unknown" : status, row, "kept alive");
}

async function reconcile(
  parts: StepParts,
  actor: Actor,
  { name, found }: { readonly name: AttemptRef; readonly found: Reconciliation },
): Promise<Reported> {
  requireScope(actor, name.tenantId, ["admin", "approve"]);
  const row = await attemptOf(parts, name);
  const status = attemptStatus(row);
  if (status !== "unknown") {
    const isSame = found.applied ? status === "succeeded" : NOT_APPLIED.has(status);
    if (isSame) return reportedOf(row, true);
    throw contradiction(status, row, found.applied ? "applied" : "not applied");
  }
  const result = found.applied ? await keepResult(parts, name, found.result) : "none";
  const settlement = {
    ...reconciledOf(parts, row, { name, found }),
    record: JSON.stringify({ result, reconciled_by: nameOf(actor) }),
  };
  const { db, newId } = parts.ports;
  const settled = await transaction(db.admin, async (tx) => {
    const [written] = await settle(tx, [settlement]);
    assert(written !== undefined, "the settling answers every settlement once");
    // Somebody else was quicker: theirs is the event.
    if (written.outcome !== "settled" && written.outcome !== "corrected") return written;
    const { applied, evidence, costPicousd } = found;
    const cost_usd = usdOrNull(costPicousd);
    await insertEvent(tx, {
      tenantId: name.tenantId,
      eventId: withPrefix("event", newId()),
      kind: "attempt.reconciled",
      actor: nameOf(actor),
      subject: name.attemptId,
      body: { applied, evidence, cost_usd },
    });
    return written;
  });
  parts.settler.reported(settlement, settled);
  return await endedAs(parts, name, settlement.ending);
}

const NOT_APPLIED: ReadonlySet<AttemptStatus> = new Set(["released", "failed"]);

function reconciledOf(
  parts: StepParts,
  row: DecisionDetail,
  { name, found }: { readonly name: AttemptRef; readonly found: Reconciliation },
): Settlement {
  const { applied, costPicousd } = found;
  if (applied) return settlementOf(name, "succeeded", chargeOf(parts, row, name, costPicousd));
  // It did not happen; what it cost all the same is said, or it is nothing.
  if (costPicousd === null) return settlementOf(name, "released", NO_COST);
  return settlementOf(name, "failed", { basis: "computed", costPicousd });
}

/** Stores a result before the attempt is settled: whoever finds it succeeded finds its result, too. */
async function keepResult(
  { answers }: StepParts,
  { tenantId, attemptId }: AttemptRef,
  result: string | null,
): Promise<"kept" | "none" | "too_large"> {
  if (result === null) return "none";
  const body = Buffer.from(result);
  if (body.byteLength > RESULT_STORED_BYTES_MAX) return "too_large";
  const attempt = { tenantId, attemptId, keptMs: TOOL_KEY_KEPT_MS };
  await answers.keep(attempt, { status: 200, headers: [], body });
  return "kept";
}

type Charged = Pick<Settlement, "basis" | "costPicousd">;

const NO_COST: Charged = { basis: "none", costPicousd: 0n };

/**
 * As reported; else the tool's price, which may have risen since but was admitted as it was; else all that
 * was reserved. Without a reservation no price is known, and none is made up.
 */
function chargeOf(
  { authority }: StepParts,
  row: DecisionDetail,
  { tenantId }: AttemptRef,
  reported: bigint | null,
): Charged {
  if (reported !== null) return { basis: "computed", costPicousd: reported };
  if (row.estimatePicousd === null) return { basis: "unpriced", costPicousd: null };
  const reserved = BigInt(row.estimatePicousd);
  if (reserved === 0n) return NO_COST;
  const price = authority.tool(tenantId, row.resource)?.pricePicousd ?? null;
  if (price === null) return { basis: "estimated", costPicousd: reserved };
  return { basis: "computed", costPicousd: price < reserved ? price : reserved };
}

function settlementOf(
  { tenantId, attemptId }: AttemptRef,
  ending: "succeeded" | "failed" | "released",
  charged: Charged,
): Settlement {
  return {
    tenantId,
    attemptId,
    ending,
    ...charged,
    tokens: 0,
    requests: ending === "released" ? 0 : 1,
    priceVersion: null,
    usage: "{}",
    record: "{}",
  };
}

async function settleNow(
  parts: StepParts,
  name: AttemptRef,
  settlement: Settlement,
): Promise<Reported> {
  await withDeadline(parts.settler.report(settlement), POST_MS_MAX);
  return await endedAs(parts, name, settlement.ending);
}

/** What the ledger says now; of two reports at once the first has settled it, and the other may contradict it. */
async function endedAs(
  parts: StepParts,
  name: AttemptRef,
  ending: Settlement["ending"],
): Promise<Reported> {
  const row = await attemptOf(parts, name);
  const status = attemptStatus(row);
  if (status !== ending) throw contradiction(status, row, ending);
  return reportedOf(row, false);
}

/** Of the key that asked for it, or of an administrator; anybody else's does not exist. */
async function ownAttempt(
  parts: StepParts,
  actor: Actor,
  name: AttemptRef,
): Promise<DecisionDetail> {
  requireScope(actor, name.tenantId, ["invoke", "admin"]);
  const row = await attemptOf(parts, name);
  if (!isAdmin(actor) && row.keyId !== nameOf(actor)) throw notFound("attempt", "attempt");
  if (row.door === "step") return row;
  const message =
    "The gateway makes this attempt itself, and settles it: only those of POST /api/gate are reported.";
  throw new InputError("conflict", "attempt", message);
}

async function attemptOf({ ports }: StepParts, name: AttemptRef): Promise<DecisionDetail> {
  const row = await findDecision(ports.db.admin, name.tenantId, name.attemptId);
  if (row === null || row.verdict !== "allow") throw notFound("attempt", "attempt");
  return row;
}

function reportedOf(row: DecisionDetail, repeated: boolean): Reported {
  const { attemptId, runId, costPicousd, settledAt: endedAt } = row;
  return { attemptId, runId, status: attemptStatus(row), costPicousd, endedAt, repeated };
}

/** What runs, or what nobody knows of, can still be reported. */
function refuseEnded(status: AttemptStatus, row: DecisionDetail, as: string): void {
  switch (status) {
    case "running":
    case "unknown":
      return;
    case "succeeded":
    case "failed":
    case "released":
    case "aborted":
      throw contradiction(status, row, as);
    default:
      unreachable(status);
  }
}

function contradiction(status: AttemptStatus, row: DecisionDetail, as: string): InputError {
  const at = row.settledAt === null ? "" : ` at ${row.settledAt.toISOString()}`;
  const how = status === "unknown" ? "unknown: its lease ran out" : `${status}${at}`;
  const message = `Attempt ${row.attemptId} is ${how}, so it cannot be reported as ${as}.`;
  return new InputError("conflict", "attempt", message);
}
