/** The headers by which every answer says what was decided, for how much, and what is left. */
import type { Charge } from "../core/charge.ts";
import { usdFromPicousd, usdOf } from "../core/money.ts";
import type { MeterFigures } from "../core/verdict.ts";
import type { Permit } from "../gate/admit.ts";

/** `charge` is null on a stream, whose cost is known only at its end. Name, value, name, value. */
export function answerHeaders(permit: Permit, charge: Charge | null, overheadMs: number): string[] {
  const { upstream, model, price, estimate } = permit;
  const headers = [
    "tollgate-decision",
    permit.decisionId,
    "tollgate-verdict",
    "allow",
    "tollgate-run",
    headerText(permit.runId),
    "tollgate-attempt",
    String(permit.attempt),
    "tollgate-policy-version",
    permit.policyVersion,
    "tollgate-upstream",
    upstream.name,
    "tollgate-overhead-ms",
    overheadMs.toFixed(1),
  ];
  const prior = permit.retry?.priorAttempt ?? null;
  if (prior !== null) headers.push("tollgate-prior-attempt", prior);
  if (permit.stepId !== null) headers.push("tollgate-step", headerText(permit.stepId));
  if (price !== null) headers.push("tollgate-price-version", price.version);
  if (model !== null) headers.push("tollgate-model", headerText(model));
  if (permit.clampedTo !== null) headers.push("tollgate-output-clamped", String(permit.clampedTo));
  if (permit.redact.length > 0) headers.push("tollgate-redacted", permit.redact.join(", "));
  if (charge !== null && charge.costPicousd !== null) {
    headers.push("tollgate-cost", usdFromPicousd(charge.costPicousd));
  } else if (estimate.costPicousd !== null) {
    headers.push("tollgate-reserved", usdFromPicousd(estimate.costPicousd));
  }
  const remaining = tightest(permit.meters, charge?.costPicousd ?? null);
  if (remaining !== null) headers.push("tollgate-budget-remaining", remaining);
  return headers;
}

/** What the tightest budget has left after this call, by its cost or else its reservation: `1.25; scope=run`. */
export function tightest(meters: readonly MeterFigures[], cost: bigint | null): string | null {
  let least: { readonly left: bigint; readonly scope: string } | null = null;
  for (const meter of meters) {
    if (meter.unit !== "usd" || meter.mode !== "enforce") continue;
    const left = meter.limit - meter.committed - meter.reserved - (cost ?? meter.asked);
    if (least === null || left < least.left) least = { left, scope: meter.scope };
  }
  return least === null ? null : `${usdOf(least.left)}; scope=${least.scope}`;
}

/** A header carries visible ASCII; anything else stands percent-encoded, and half a character as U+FFFD. */
export function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text.toWellFormed());
}
