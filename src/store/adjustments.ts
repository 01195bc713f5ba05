/** Adjustments: what an operator credits or debits beside the settlements, which are never changed. */
import type { Page, Queryable } from "./events.ts";

export type NewAdjustment = {
  readonly tenantId: string;
  readonly adjustmentId: string;
  /** Negative: a credit. */
  readonly amountPicousd: bigint;
  readonly reason: string;
  readonly actor: string;
  readonly attemptId: string | null;
  readonly runId: string | null;
};

export type AdjustmentRecord = Omit<NewAdjustment, "tenantId" | "amountPicousd"> & {
  /** Decimal digits. */
  readonly amountPicousd: string;
  readonly postedAt: Date;
};

export async function insertAdjustment(tx: Queryable, adjustment: NewAdjustment): Promise<void> {
  const { tenantId, adjustmentId, amountPicousd, reason, actor, attemptId, runId } = adjustment;
  await tx`
    insert into adjustments (tenant_id, adjustment_id, amount_picousd, reason, actor, attempt_id, run_id)
    values (${tenantId}, ${adjustmentId}, ${amountPicousd.toString()}::text::numeric, ${reason},
            ${actor}, ${attemptId}, ${runId})`;
}

/** The run of an attempt that was admitted, or null: what was not has cost nothing. */
export async function findAdmittedRun(
  sql: Queryable,
  tenantId: string,
  attemptId: string,
): Promise<string | null> {
  const [row] = await sql<{ readonly runId: string }[]>`
    select run_id as "runId" from decisions
    where tenant_id = ${tenantId} and attempt_id = ${attemptId} and verdict = 'allow'`;
  return row?.runId ?? null;
}

/** Newest first, of one run or of all. */
export async function listAdjustments(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly run: string | null },
): Promise<readonly AdjustmentRecord[]> {
  return await sql<AdjustmentRecord[]>`
    select adjustment_id as "adjustmentId", amount_picousd as "amountPicousd", reason, actor,
           attempt_id as "attemptId", run_id as "runId", posted_at as "postedAt"
    from adjustments
    where tenant_id = ${tenantId}
      ${page.run === null ? sql`` : sql`and run_id = ${page.run}`}
      ${page.after === null ? sql`` : sql`and adjustment_id < ${page.after}`}
    order by adjustment_id desc
    limit ${page.rows}`;
}

export async function findAdjustment(
  sql: Queryable,
  tenantId: string,
  adjustmentId: string,
): Promise<AdjustmentRecord | null> {
  const [row] = await sql<AdjustmentRecord[]>`
    select adjustment_id as "adjustmentId", amount_picousd as "amountPicousd", reason, actor,
           attempt_id as "attemptId", run_id as "runId", posted_at as "postedAt"
    from adjustments where tenant_id = ${tenantId} and adjustment_id = ${adjustmentId}`;
  return row ?? null;
}

export type AdjustmentSums = {
  readonly entries: number;
  /** Decimal digits of pico-dollars. */
  readonly credits: string;
  readonly debits: string;
};

/** Those that were posted in the period, whenever what they correct happened: a closed period stays as it is. */
export async function sumAdjustments(
  sql: Queryable,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date },
): Promise<AdjustmentSums> {
  const [row] = await sql<AdjustmentSums[]>`
    select count(*)::int as entries,
           coalesce(sum(amount_picousd) filter (where amount_picousd < 0), 0)::text as credits,
           coalesce(sum(amount_picousd) filter (where amount_picousd > 0), 0)::text as debits
    from adjustments
    where tenant_id = ${tenantId}
      and posted_at >= ${period.from.toISOString()}::text::timestamptz
      and posted_at < ${period.to.toISOString()}::text::timestamptz`;
  return row ?? { entries: 0, credits: "0", debits: "0" };
}
