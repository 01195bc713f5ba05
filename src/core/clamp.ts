/** Less output in place of a refusal: at limits that clamp, what is left of them bounds the answer. */
import { outputTokensFor } from "./bound.ts";
import type { Demand } from "./intent.ts";
import { CLAMP_TOKENS_MIN } from "./limits.ts";
import { picousd } from "./money.ts";
import type { Price } from "./price.ts";
import type { MeterFigures } from "./verdict.ts";

/** The output tokens that every clamping limit on the path affords, or null when that is no answer. */
export function clamp(
  demand: Demand,
  price: Price | null,
  meters: readonly MeterFigures[],
): number | null {
  let lowest: number | null = null;
  for (const meter of meters) {
    if (meter.onExceed !== "clamp" || meter.mode !== "enforce") continue;
    if (meter.unit !== "usd" && meter.unit !== "tokens") continue;
    const left = meter.limit - meter.committed - meter.reserved;
    if (left >= meter.asked) continue;
    const room =
      meter.unit === "usd"
        ? { kind: "usd" as const, amount: picousd(left) }
        : { kind: "tokens" as const, amount: left };
    const affordable = outputTokensFor(demand, price, room);
    lowest = lowest === null ? affordable : Math.min(lowest, affordable);
  }
  return lowest !== null && lowest >= CLAMP_TOKENS_MIN ? lowest : null;
}

/** Whether a clamping limit lacks room only because of what others hold, and may have some when they settle. */
export function clampsHeldUp(meters: readonly MeterFigures[]): boolean {
  return meters.some(
    (meter) =>
      meter.onExceed === "clamp" &&
      meter.mode === "enforce" &&
      meter.reserved > 0n &&
      meter.committed < meter.limit,
  );
}
