/** Decisions as they were judged, for judging them again: in pages, oldest first, with what they cost. */
import { APPROVAL_DOOR } from "../core/intent.ts";
import type { Price } from "../core/price.ts";
import type { Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";
import { priceFromRow, type PriceRow } from "./price-json.ts";
import { leastAttemptId, SLACK_MS } from "./usage.ts";

export type JudgedRow = {
  readonly attemptId: string;
  readonly keyId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly verdict: string;
  readonly reason: string | null;
  readonly decidedAt: Date;
  readonly estimatePicousd: string | null;
  readonly priceVersion: string | null;
  readonly record: unknown;
  /** What it cost in the end; null while it has not ended, or where no price is known. */
  readonly costPicousd: string | null;
};

export type JudgedPage = {
  readonly from: Date;
  readonly to: Date;
  readonly run: string | null;
  /** The last attempt of the page before. */
  readonly after: string | null;
  readonly rows: number;
};

export async function findJudged(
  sql: Queryable,
  tenantId: string,
  attemptId: string,
): Promise<JudgedRow | null> {
  const [row] = await sql<JudgedRow[]>`
    select ${columns(sql)} from decisions d
    where d.tenant_id = ${tenantId} and d.attempt_id = ${attemptId}`;
  return row ?? null;
}

/** People's answers were judged by nobody. The ids bound the read, as in `sumUsage`; the moment of the decision is what counts. */
export async function listJudged(
  sql: Queryable,
  tenantId: string,
  page: JudgedPage,
): Promise<readonly JudgedRow[]> {
  const least = leastAttemptId(page.from.getTime() - SLACK_MS);
  const after = page.after === null || page.after < least ? null : page.after;
  return await sql<JudgedRow[]>`
    select ${columns(sql)} from decisions d
    where d.tenant_id = ${tenantId}
      and ${after === null ? sql`d.attempt_id >= ${least}` : sql`d.attempt_id > ${after}`}
      and d.attempt_id < ${leastAttemptId(page.to.getTime() + SLACK_MS)}
      and d.decided_at >= ${page.from.toISOString()}::text::timestamptz
      and d.decided_at < ${page.to.toISOString()}::text::timestamptz
      ${page.run === null ? sql`` : sql`and d.run_id = ${page.run}`}
      and d.door <> ${APPROVAL_DOOR}
    order by d.attempt_id
    limit ${page.rows}`;
}

/** Prices belong to no tenant. One that is not there is not in the answer. */
export async function findPrices(
  sql: Queryable,
  versions: readonly string[],
): Promise<ReadonlyMap<string, Price>> {
  if (versions.length === 0) return new Map();
  const rows = await sql<PriceRow[]>`
    select version, upstream, model, valid_from as "validFrom", content, source
    from prices where version = any (${arrayLiteral(versions)}::text::text[])`;
  const prices = rows.flatMap((row) => {
    const price = priceFromRow(row);
    // A price that is not what its version says was changed, and is as good as none.
    return price !== null && price.version === row.version ? [[row.version, price] as const] : [];
  });
  return new Map(prices);
}

function columns(sql: Queryable) {
  return sql`
    d.attempt_id as "attemptId", d.key_id as "keyId", d.run_id as "runId", d.step_id as "stepId",
    d.door, d.operation, d.resource, d.upstream, d.model, d.verdict, d.reason,
    d.decided_at as "decidedAt", d.estimate_picousd as "estimatePicousd",
    d.price_version as "priceVersion", d.record,
    (select sum(s.cost_picousd)::text from settlements s
     where s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id) as "costPicousd"`;
}
