/** The attempt that came before, for who asks again: how it stands, and what it gave where that is kept. */
import { attemptStatus, type PriorAttempt, type PriorResult } from "../core/attempt.ts";
import { isRecord } from "../lib/json.ts";
import { spanOfStep, type AttemptRef } from "../store/attempts.ts";
import { findDecision, type DecisionDetail } from "../store/decisions.ts";
import type { Answers } from "./answers.ts";
import type { Ports } from "./ports.ts";

export type PriorParts = { readonly ports: Pick<Ports, "db">; readonly answers: Answers };

/** Null where there is none of that name. */
export async function findPrior(
  { ports: { db }, answers }: PriorParts,
  name: AttemptRef,
  withResult: boolean,
): Promise<PriorAttempt | null> {
  const row = await findDecision(db.admin, name.tenantId, name.attemptId);
  if (row === null) return null;
  const span = await spanOfStep(db.admin, name);
  const status = attemptStatus(row);
  return {
    attemptId: row.attemptId,
    runId: row.runId,
    status,
    decidedAt: row.decidedAt,
    endedAt: row.settledAt,
    error: memberOf(row.endingRecord, "error"),
    result: await resultOf(answers, row, {
      name,
      withResult: withResult && status === "succeeded",
    }),
    firstAt: span?.firstAt ?? null,
    lastAt: span?.lastAt ?? null,
  };
}

async function resultOf(
  answers: Answers,
  row: DecisionDetail,
  { name, withResult }: { readonly name: AttemptRef; readonly withResult: boolean },
): Promise<PriorResult> {
  if (!withResult) return { kind: "not_asked" };
  const kept = memberOf(row.endingRecord, "result");
  if (kept !== "kept") return { kind: kept === "too_large" ? "too_large" : "none" };
  const found = await answers.find(name.tenantId, name.attemptId);
  if (found === null) return { kind: "expired" };
  return { kind: "kept", json: Buffer.from(found.body).toString() };
}

function memberOf(record: unknown, name: string): string | null {
  const value = isRecord(record) ? record[name] : null;
  return typeof value === "string" ? value : null;
}
