/** Closed periods, and what has changed since. */
import { usdOf } from "../core/money.ts";
import type { Database } from "../store/database.ts";
import {
  type ClosingRow,
  type DriftRow,
  findClosing,
  listClosings,
  readDrift,
} from "../store/closings.ts";
import { countOf } from "./amounts.ts";
import { type Page, type Paged, pageOf } from "./paged.ts";
import { rollUpInTime } from "./roll-up.ts";
import { summed } from "./summed.ts";

export type ClosingView = {
  readonly id: string;
  readonly tenant: string;
  readonly from: string;
  readonly to: string;
  readonly closed_by: string;
  readonly closed_at: string;
};

export type DriftSums = {
  readonly outcomes: number;
  readonly successes: number;
  readonly cost_usd: string;
};

export type DriftView = ClosingView & {
  readonly as_of: string | null;
  readonly has_drifted: boolean;
  /** By outcome type; null: of runs that no outcome bears. */
  readonly rows: readonly {
    readonly type: string | null;
    readonly closed: DriftSums;
    readonly now: DriftSums;
    readonly difference: DriftSums;
  }[];
};

export async function closingOf(
  db: Database,
  tenantId: string,
  id: string,
): Promise<ClosingView | null> {
  const row = await findClosing(db.admin, tenantId, id);
  return row === null ? null : viewOf(tenantId, row);
}

export async function closingsOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<ClosingView>> {
  const rows = await listClosings(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => viewOf(tenantId, row)),
    page,
    ({ id }) => id,
  );
}

/** Outcomes that came late, were corrected or taken back, and costs that were found out since. */
export async function driftOf(
  db: Database,
  tenantId: string,
  id: string,
): Promise<DriftView | null> {
  const closing = await findClosing(db.admin, tenantId, id);
  if (closing === null) return null;
  await rollUpInTime(db);
  const rows = await summed(readDrift(db.admin, tenantId, closing));
  return {
    ...viewOf(tenantId, closing),
    as_of: rows[0]?.asOf.toISOString() ?? null,
    has_drifted: rows.some(
      (row) =>
        row.cost !== row.closedCost ||
        row.outcomes !== row.closedOutcomes ||
        row.success !== row.closedSuccess,
    ),
    rows: rows.map(driftRow),
  };
}

function driftRow(row: DriftRow): DriftView["rows"][number] {
  return {
    type: row.type === "" ? null : row.type,
    closed: sumsOf(BigInt(row.closedOutcomes), BigInt(row.closedSuccess), BigInt(row.closedCost)),
    now: sumsOf(BigInt(row.outcomes), BigInt(row.success), BigInt(row.cost)),
    difference: sumsOf(
      BigInt(row.outcomes) - BigInt(row.closedOutcomes),
      BigInt(row.success) - BigInt(row.closedSuccess),
      BigInt(row.cost) - BigInt(row.closedCost),
    ),
  };
}

function sumsOf(outcomes: bigint, successes: bigint, cost: bigint): DriftSums {
  return { outcomes: countOf(outcomes), successes: countOf(successes), cost_usd: usdOf(cost) };
}

function viewOf(tenantId: string, row: ClosingRow): ClosingView {
  return {
    id: row.closingId,
    tenant: tenantId,
    from: row.beginsAt.toISOString(),
    to: row.endsAt.toISOString(),
    closed_by: row.closedBy,
    closed_at: row.closedAt.toISOString(),
  };
}
