/** Admission for whoever has the time to wait (`Prefer: wait`): both doors that people retry use it. */
import type { Caller } from "../core/caller.ts";
import type { Intent } from "../core/intent.ts";
import { RELOOKS_MAX } from "../core/limits.ts";
import type { Reason } from "../core/verdict.ts";
import type { Admission } from "../gate/admit.ts";
import type { Gateway } from "../gate/gateway.ts";

export type Patience = {
  readonly waitMs: number;
  readonly isGone: () => boolean;
  /** The same ask after a wait, by what has become so in it; null: it can be asked no more. */
  readonly renewed?: () => Promise<Intent | null>;
};

/**
 * Waits for another attempt that does the same, or for a person's answer, where the caller has the time, and
 * asks again. Without patience it asks once.
 */
export async function admitWaiting(
  gateway: Gateway,
  caller: Caller,
  asked: Intent,
  { waitMs, isGone, renewed }: Patience,
): Promise<Admission> {
  const { tenantId } = caller;
  // The one that compares `untilMs` with its own clock.
  const { monotonicMs } = gateway;
  let intent = asked;
  const untilMs = monotonicMs() + waitMs;
  for (let looks = 0; ; looks += 1) {
    const admission = await gateway.admit(caller, intent, isGone);
    if (admission.kind !== "refused" || looks >= RELOOKS_MAX) return admission;
    const { reason, retry, approvalId } = admission.refusal;
    const ms = untilMs - monotonicMs();
    const attemptId = retry?.priorAttempt ?? null;
    if (ms <= 0) return admission;
    if (reason === "approval_required" && approvalId !== null) {
      await gateway.waitForApproval({ tenantId, approvalId }, untilMs, isGone);
    } else if (attemptId !== null && AT_WORK.has(reason)) {
      await gateway.answers.ended({ tenantId, attemptId }, { ms, isGone });
    } else return admission;
    if (renewed === undefined) continue;
    const now = await renewed();
    if (now === null) return admission;
    intent = now;
  }
}

/** Somebody does the same right now, and will have ended. */
const AT_WORK: ReadonlySet<Reason> = new Set(["idempotency_in_progress", "effect_in_flight"]);
