/** How an attempt stands, and what is told of one that came before to whoever asks again. */
import { isRecord } from "../lib/json.ts";
import { spanOfStep } from "../store/attempts.ts";
import { findDecision, type DecisionDetail } from "../store/decisions.ts";
import type { Answers } from "./answers.ts";
import type { Ports } from "./ports.ts";

export type AttemptStatus = "running" | "unknown" | "succeeded" | "failed" | "released" | "aborted";

export type AttemptName = { readonly tenantId: string; readonly attemptId: string };

/** An attempt that came before, for who asks again. */
export type PriorAttempt = {
  readonly attemptId: string;
  readonly runId: string;
  readonly status: AttemptStatus;
  readonly decidedAt: Date;
  readonly endedAt: Date | null;
  readonly error: string | null;
  readonly result: PriorResult;
  /** Of its step. */
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
};

export type PriorResult =
  /** As JSON text. */
  | { readonly kind: "kept"; readonly json: string }
  | { readonly kind: "none" | "too_large" | "expired" | "not_asked" | "withheld" };

/** Whether the result of a prior attempt is asked for, and may be told. */
export type ResultAsker = {
  readonly asks: boolean;
  /** `same`: who does the same content, whoever it is. Else only the key whose attempt it was, or nobody. */
  readonly tells: "same" | "nobody" | { readonly keyId: string };
};

/** Null where there is no such attempt. */
export async function priorOf(
  { ports: { db }, answers }: { readonly ports: Pick<Ports, "db">; readonly answers: Answers },
  name: AttemptName,
  asker: ResultAsker,
): Promise<PriorAttempt | null> {
  const row = await findDecision(db.admin, name.tenantId, name.attemptId);
  if (row === null) return null;
  const span = await spanOfStep(db.admin, name);
  const status = statusOf(row);
  return {
    attemptId: row.attemptId,
    runId: row.runId,
    status,
    decidedAt: row.decidedAt,
    endedAt: row.settledAt,
    error: memberOf(row.endingRecord, "error"),
    result: status === "succeeded" ? await resultOf(answers, row, { name, asker }) : NOT_ASKED,
    firstAt: span?.firstAt ?? null,
    lastAt: span?.lastAt ?? null,
  };
}

const NOT_ASKED: PriorResult = { kind: "not_asked" };

async function resultOf(
  answers: Answers,
  row: DecisionDetail,
  { name, asker }: { readonly name: AttemptName; readonly asker: ResultAsker },
): Promise<PriorResult> {
  if (!asker.asks) return NOT_ASKED;
  const { tells } = asker;
  const mayKnow = tells === "same" || (tells !== "nobody" && tells.keyId === row.keyId);
  if (!mayKnow) return { kind: "withheld" };
  const kept = memberOf(row.endingRecord, "result");
  if (kept !== "kept") return { kind: kept === "too_large" ? "too_large" : "none" };
  const found = await answers.find(name.tenantId, name.attemptId);
  if (found === null) return { kind: "expired" };
  return { kind: "kept", json: Buffer.from(found.body).toString() };
}

export function statusOf({ reservation, ending }: DecisionDetail): AttemptStatus {
  if (reservation === "open") return "running";
  if (reservation === "unknown") return "unknown";
  switch (ending) {
    case "succeeded":
    case "failed":
    case "aborted":
    case "unknown":
      return ending;
    // A posting that was given up released what it held.
    default:
      return "released";
  }
}

function memberOf(record: unknown, name: string): string | null {
  const value = isRecord(record) ? record[name] : null;
  return typeof value === "string" ? value : null;
}
