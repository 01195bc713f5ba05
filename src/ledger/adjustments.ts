/** Adjustments as they are looked back at. */
import { usdOf } from "../core/money.ts";
import {
  findAdjustment,
  listAdjustments,
  sumAdjustments,
  type AdjustmentRecord,
} from "../store/adjustments.ts";
import type { Database } from "../store/database.ts";
import { pageOf, type Page, type Paged } from "./paged.ts";

export type AdjustmentView = {
  readonly id: string;
  /** Negative: a credit. */
  readonly amount_usd: string;
  readonly reason: string;
  readonly actor: string;
  readonly attempt: string | null;
  readonly run: string | null;
  readonly posted_at: string;
};

/** A line of its own beside the costs: no sum of costs holds it. */
export type AdjustmentSumsView = {
  readonly entries: number;
  readonly credits_usd: string;
  readonly debits_usd: string;
  readonly net_usd: string;
};

export async function adjustmentOf(
  db: Database,
  tenantId: string,
  adjustmentId: string,
): Promise<AdjustmentView | null> {
  const row = await findAdjustment(db.admin, tenantId, adjustmentId);
  return row === null ? null : viewOf(row);
}

export async function adjustmentsOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly run: string | null },
): Promise<Paged<AdjustmentView>> {
  const rows = await listAdjustments(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(rows.map(viewOf), page, ({ id }) => id);
}

export async function adjustmentSumsOf(
  db: Database,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date },
): Promise<AdjustmentSumsView> {
  const { entries, credits, debits } = await sumAdjustments(db.admin, tenantId, period);
  return {
    entries,
    credits_usd: usdOf(credits),
    debits_usd: usdOf(debits),
    net_usd: usdOf((BigInt(credits) + BigInt(debits)).toString()),
  };
}

function viewOf(row: AdjustmentRecord): AdjustmentView {
  return {
    id: row.adjustmentId,
    amount_usd: usdOf(row.amountPicousd),
    reason: row.reason,
    actor: row.actor,
    attempt: row.attemptId,
    run: row.runId,
    posted_at: row.postedAt.toISOString(),
  };
}
