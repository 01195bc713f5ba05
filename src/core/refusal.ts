/** The sentences of a refusal by a meter. Most libraries show nothing else, so it holds every figure. */
import { picousd, usdFromPicousd } from "./money.ts";
import { unreachable } from "../lib/assert.ts";
import type { MeterFigures, Reason, Unit } from "./verdict.ts";

/** Chooses the meter that a reason is about: the first on the path that lacks room, as the posting does. */
export function meterAtFault(reason: Reason, meters: readonly MeterFigures[]): MeterFigures | null {
  const contended = reason === "budget_contended";
  for (const meter of meters) {
    if (meter.mode !== "enforce") continue;
    const exhausted = meter.committed + meter.asked > meter.limit;
    const full = meter.committed + meter.reserved + meter.asked > meter.limit;
    if (reason === "concurrency_exceeded") {
      if (full && meter.unit === "in_flight") return meter;
    } else if (contended ? full && !exhausted : exhausted) return meter;
  }
  return null;
}

export function meterMessage(reason: Reason, meter: MeterFigures): string {
  const left = meter.limit - meter.committed - meter.reserved;
  const remaining = left > 0n ? left : 0n;
  const name = `The ${limitName(meter)} of ${show(meter.unit, meter.limit)}${subjectOf(meter)}`;
  const figures =
    `${show(meter.unit, meter.committed)} is settled, ${show(meter.unit, meter.reserved)} is reserved by ` +
    `calls in flight, ${show(meter.unit, remaining)} is left, and this call could take ` +
    show(meter.unit, meter.asked);
  const reset =
    meter.resetsAt === null
      ? "It does not reset."
      : `It resets at ${meter.resetsAt.toISOString()}.`;
  return `${name} has no room: ${figures}. ${advice(reason, meter, reset)}`;
}

function advice(reason: Reason, meter: MeterFigures, reset: string): string {
  if (reason === "budget_contended") return "Retry when calls in flight have settled.";
  if (reason === "concurrency_exceeded") return "Retry when a call in flight has ended.";
  const lower =
    meter.unit === "usd" || meter.unit === "tokens" ? " or lower max_completion_tokens" : "";
  return `${reset} Raise the limit${lower}.`;
}

function limitName(meter: MeterFigures): string {
  const period = meter.window === "none" ? "" : `${PERIODS[meter.window]} `;
  const scope = meter.scope.startsWith("each_") ? meter.scope.slice("each_".length) : meter.scope;
  switch (meter.unit) {
    case "usd":
      return `${period}${scope} budget`;
    case "tokens":
      return `${period}${scope} token quota`;
    case "requests":
      return `${period}${scope} request quota`;
    case "attempts":
      return `${period}${scope} retry budget`;
    case "in_flight":
      return `${scope} concurrency limit`;
    default:
      return unreachable(meter.unit);
  }
}

const PERIODS = {
  minute: "per-minute",
  hour: "hourly",
  day: "daily",
  week: "weekly",
  month: "monthly",
} as const;

function subjectOf(meter: MeterFigures): string {
  return meter.subject === "" || meter.scope === "key" ? "" : ` for \`${meter.subject}\``;
}

function show(unit: Unit, amount: bigint): string {
  if (unit === "usd") return `$${usdFromPicousd(picousd(amount))}`;
  return unit === "tokens" ? `${amount} tokens` : String(amount);
}
