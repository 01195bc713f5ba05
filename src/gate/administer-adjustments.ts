import { InputError } from "../core/errors.ts";
import { attemptIdOf, withPrefix } from "../core/ids.ts";
import { adjustmentFromUsd, usdFromPicousd } from "../core/money.ts";
import { findAdmittedRun, insertAdjustment } from "../store/adjustments.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import { findRun, hasDecisions } from "../store/runs.ts";
import { transaction } from "../store/transaction.ts";
import { type Actor, type AdministrationPorts, nameOf, notFound, requireScope } from "./acts.ts";

export type AdjustmentTerms = {
  readonly tenantId: string;
  /** As it was written; negative: a credit. */
  readonly amountUsd: string;
  readonly reason: string;
  /** The attempt or its decision, whose cost it corrects; null: none. */
  readonly attempt: string | null;
  /** The run that it is of; null: the attempt's, or none. */
  readonly run: string | null;
};

/** Posts beside the settlements. It moves no meter: what a budget has spent stays spent. */
export async function postAdjustment(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, amountUsd, reason, attempt, run }: AdjustmentTerms,
): Promise<{ readonly adjustmentId: string }> {
  requireScope(actor, tenantId, ["admin"]);
  const amount = adjustmentFromUsd(amountUsd, "amount_usd");
  const adjustmentId = withPrefix("adjustment", ports.newId());
  const attemptId = attempt === null ? null : attemptIdOf(attempt);
  await transaction(ports.db.admin, async (tx) => {
    const runId = await runOf(tx, tenantId, { attemptId, run });
    await insertAdjustment(tx, {
      tenantId,
      adjustmentId,
      amountPicousd: amount,
      reason,
      actor: nameOf(actor),
      attemptId,
      runId,
    });
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "adjustment.posted",
      actor: nameOf(actor),
      subject: adjustmentId,
      body: { amount_usd: usdFromPicousd(amount), reason, attempt: attemptId, run: runId },
    });
  });
  return { adjustmentId };
}

async function runOf(
  tx: Queryable,
  tenantId: string,
  { attemptId, run }: { readonly attemptId: string | null; readonly run: string | null },
): Promise<string | null> {
  if (attemptId !== null) {
    const own = await findAdmittedRun(tx, tenantId, attemptId);
    if (own === null) throw notFound("admitted attempt", "attempt");
    if (run !== null && run !== own) {
      const message = "The attempt is of another run: name the attempt alone.";
      throw new InputError("invalid_value", "run", message);
    }
    return own;
  }
  if (run === null) return null;
  const isKnown =
    (await findRun(tx, tenantId, run)) !== null || (await hasDecisions(tx, tenantId, run));
  if (!isKnown) throw notFound("run", "run");
  return run;
}
