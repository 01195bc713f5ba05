/** What a tenant used over a period: in all, by model, by day. The sums are the database's, and exact. */
import { PAGE_ROWS_MAX } from "../core/limits.ts";
import { usdOf } from "../core/money.ts";
import { assert } from "../lib/assert.ts";
import type { Database } from "../store/database.ts";
import { type UsageRow, countRefusals, sumAttempts, sumUsage } from "../store/usage.ts";
import { adjustmentSumsOf, type AdjustmentSumsView } from "./adjustments.ts";
import { countOf } from "./amounts.ts";
import { summed } from "./summed.ts";

export type UsageSums = {
  /** What was admitted; what was refused; what was asked again and not run again. No decision is two of these. */
  readonly attempts: number;
  readonly blocked: number;
  readonly repeated: number;
  /** Attempts whose cost is not known: they are in no sum of money. */
  readonly unpriced: number;
  readonly cost_usd: string;
  /** Held by attempts of the period that have not ended. */
  readonly reserved_usd: string;
  readonly tokens: number;
  /** Units by class of usage. */
  readonly usage: Readonly<Record<string, number>>;
};

export type UsageView = {
  readonly tenant: string;
  readonly from: string;
  readonly to: string;
  readonly totals: UsageSums;
  readonly by_model: readonly (UsageSums & {
    readonly upstream: string | null;
    readonly model: string;
  })[];
  /** Models not listed, the cheapest ones; their use is in the totals all the same. */
  readonly models_left_off: number;
  /** What was posted in the period, beside the costs: no sum here holds it. */
  readonly adjustments: AdjustmentSumsView;
  readonly by_day: readonly (UsageSums & { readonly day: string })[];
  /** Refusals by their reasons, of which there are as many as `REASONS`. */
  readonly by_reason: readonly { readonly reason: string; readonly decisions: number }[];
  /** Attempts by their number within their step, at each model or tool: from 2 on they are retries. */
  readonly by_attempt: readonly {
    readonly resource: string;
    readonly attempt: number;
    readonly attempts: number;
    readonly succeeded: number;
    readonly cost_usd: string;
  }[];
};

export async function usageOf(
  db: Database,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date },
): Promise<UsageView> {
  const [rows, refusals, attempts, adjustments] = await summed(
    Promise.all([
      sumUsage(db.admin, tenantId, period),
      countRefusals(db.admin, tenantId, period),
      sumAttempts(db.admin, tenantId, { ...period, rows: PAGE_ROWS_MAX }),
      adjustmentSumsOf(db, tenantId, period),
    ]),
  );
  const total = rows.find((row) => row.grouping === "total");
  assert(total !== undefined, "a sum over nothing is a row as well");
  const models = rows.filter((row) => row.grouping === "model").toSorted(dearestFirst);
  return {
    tenant: tenantId,
    from: period.from.toISOString(),
    to: period.to.toISOString(),
    totals: sumsOf(total),
    by_model: models.slice(0, PAGE_ROWS_MAX).map((row) => ({
      upstream: row.upstream === "" ? null : row.upstream,
      model: row.model ?? "",
      ...sumsOf(row),
    })),
    adjustments,
    models_left_off: Math.max(0, models.length - PAGE_ROWS_MAX),
    by_day: rows
      .filter((row) => row.grouping === "day")
      .map((row) => ({ day: row.day ?? "", ...sumsOf(row) })),
    by_reason: refusals.map(({ reason, decisions }) => ({ reason, decisions })),
    by_attempt: attempts.map(({ costPicousd, ...row }) => ({
      ...row,
      cost_usd: usdOf(costPicousd),
    })),
  };
}

function dearestFirst(a: UsageRow, b: UsageRow): number {
  const [costA, costB] = [BigInt(a.costPicousd), BigInt(b.costPicousd)];
  if (costA !== costB) return costA > costB ? -1 : 1;
  return (a.model ?? "") < (b.model ?? "") ? -1 : 1;
}

function sumsOf(row: UsageRow): UsageSums {
  const usage: Record<string, number> = {};
  for (const [kind, units] of Object.entries(row.classes)) usage[kind] = countOf(units);
  return {
    attempts: row.attempts,
    blocked: row.blocked,
    repeated: row.repeated,
    unpriced: row.unpriced,
    cost_usd: usdOf(row.costPicousd),
    reserved_usd: usdOf(row.reservedPicousd),
    tokens: countOf(row.tokens),
    usage,
  };
}
