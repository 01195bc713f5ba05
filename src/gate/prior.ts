/** The attempt that came before, for who asks again: how it stands, and what it gave where that is kept. */
import { attemptStatus, type PriorAttempt, type PriorResult } from "../core/attempt.ts";
import { isRecord } from "../lib/json.ts";
import { spanOfStep, type AttemptRef } from "../store/attempts.ts";
import { findDecision, type DecisionDetail } from "../store/decisions.ts";
import type { Answers } from "./answers.ts";
import type { Ports } from "./ports.ts";

export type PriorParts = { readonly ports: Pick<Ports, "db">; readonly answers: Answers };

/** Whether the result of a prior attempt is asked for, and may be told. */
export type ResultAsker = {
  readonly asks: boolean;
  /** `same`: who does the same content, whoever it is. Else only the key whose attempt it was, or nobody. */
  readonly tells: "same" | "nobody" | { readonly keyId: string };
};

const NOT_ASKED: PriorResult = { kind: "not_asked" };

/** Null where there is none of that name. */
export async function findPrior(
  { ports: { db }, answers }: PriorParts,
  name: AttemptRef,
  asker: ResultAsker,
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
    result: status === "succeeded" ? await resultOf(answers, row, { name, asker }) : NOT_ASKED,
    firstAt: span?.firstAt ?? null,
    lastAt: span?.lastAt ?? null,
  };
}

async function resultOf(
  answers: Answers,
  row: DecisionDetail,
  { name, asker }: { readonly name: AttemptRef; readonly asker: ResultAsker },
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

function memberOf(record: unknown, name: string): string | null {
  const value = isRecord(record) ? record[name] : null;
  return typeof value === "string" ? value : null;
}
