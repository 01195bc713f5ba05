/** Limits of money and tokens: what is used, what is held, and where it goes at the rate so far. */
import { REPORT_ROWS_MAX } from "../core/limits-finance.ts";
import { burnOf } from "../core/forecast.ts";
import type { Database } from "../store/database.ts";
import { type BudgetRow, listBudgets } from "../store/reports-budgets.ts";
import { readNow } from "../store/usage.ts";
import { type Amount, amountOf, countOf, timeOrNull } from "./amounts.ts";
import { refuseUnknownRun } from "./report-known.ts";
import { summed } from "./summed.ts";

export type BudgetLine = {
  readonly limit_id: string;
  readonly scope: { readonly kind: BudgetRow["scopeKind"]; readonly id: string | null };
  /** Whose count it is, of a limit that counts each of many apart. */
  readonly subject: string | null;
  readonly unit: BudgetRow["unit"];
  readonly window: BudgetRow["window"];
  readonly time_zone: string;
  readonly mode: "enforce" | "shadow";
  readonly limit: Amount;
  readonly committed: Amount;
  /** Held by what has not ended. */
  readonly reserved: Amount;
  readonly remaining: Amount;
  /** So far in its window, rounded to the whole pico-dollar or token; null at its very beginning. */
  readonly burn_per_day: Amount | null;
  /** Committed at the window's end at this rate; null where it has none. */
  readonly forecast: Amount | null;
  /** When it is used up at this rate; null where that is not before the window's end. */
  readonly exhausted_at: string | null;
  readonly starts_at: string;
  readonly resets_at: string | null;
};

export type BudgetsReport = {
  readonly tenant: string;
  readonly as_of: string;
  /** The most used first. */
  readonly rows: readonly BudgetLine[];
  readonly rows_left_off: number;
};

export type BudgetsTerms = {
  readonly tenantId: string;
  readonly run: string | null;
  /** Of the windows that hold this moment; null: now. */
  readonly at: string | null;
};

/** Read from the meters themselves, which every posting keeps: they are never behind. */
export async function budgetsReport(
  db: Database,
  { tenantId, run, at }: BudgetsTerms,
): Promise<BudgetsReport> {
  const terms = { run, at, rows: REPORT_ROWS_MAX };
  const rows = await summed(listBudgets(db.admin, tenantId, terms));
  const [first] = rows;
  if (first === undefined && run !== null) await refuseUnknownRun(db.admin, tenantId, run);
  const now = first === undefined ? await readNow(db.admin) : first.now;
  return {
    tenant: tenantId,
    as_of: now.toISOString(),
    rows: rows.map(lineOf),
    rows_left_off: first === undefined ? 0 : countOf(first.meters) - rows.length,
  };
}

function lineOf(row: BudgetRow): BudgetLine {
  const [limit, committed] = [BigInt(row.amount), BigInt(row.committed)];
  const burn = burnOf({
    limit,
    committed,
    startsAtMs: row.startsAt.getTime(),
    endsAtMs: row.endsAt?.getTime() ?? null,
    // Nothing goes on in a window that is over.
    nowMs: Math.min(row.now.getTime(), row.endsAt?.getTime() ?? Number.POSITIVE_INFINITY),
  });
  const exhaustedAtMs = burn?.exhaustedAtMs ?? null;
  const amount = (digits: bigint) => amountOf(row.unit, digits);
  return {
    limit_id: row.limitId,
    scope: { kind: row.scopeKind, id: row.scopeId === "" ? null : row.scopeId },
    subject: row.subject === "" ? null : row.subject,
    unit: row.unit,
    window: row.window,
    time_zone: row.timeZone,
    mode: row.mode,
    limit: amount(limit),
    committed: amount(committed),
    reserved: amount(BigInt(row.reserved)),
    remaining: amount(limit - committed - BigInt(row.reserved)),
    burn_per_day: burn === null ? null : amount(burn.perDay),
    forecast: burn === null || burn.atEnd === null ? null : amount(burn.atEnd),
    exhausted_at: exhaustedAtMs === null ? null : new Date(exhaustedAtMs).toISOString(),
    starts_at: row.startsAt.toISOString(),
    resets_at: timeOrNull(row.endsAt),
  };
}
