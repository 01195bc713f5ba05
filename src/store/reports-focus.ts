/** What was spent by day and dimension, for tools that read bills: see `ledger/focus.ts`. */
import type { Filters } from "../core/report.ts";
import type { Queryable } from "./events.ts";
import { payerIs, type Period, resourceIs, within } from "./reports-terms.ts";

export type FocusRow = {
  readonly tenantId: string;
  readonly tenantName: string;
  readonly day: Date;
  readonly dayEnd: Date;
  readonly month: Date;
  readonly monthEnd: Date;
  readonly keyId: string;
  readonly customer: string;
  readonly workflow: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly door: string;
  readonly operation: string;
  readonly upstream: string;
  readonly model: string;
  readonly tool: string;
  readonly ending: string;
  readonly basis: string;
  readonly priceVersion: string;
  readonly attempts: string;
  readonly cost: string;
  readonly tokens: string;
};

/**
 * Of one tenant, or across tenants where none is named. Days and months are UTC's, as the format asks. What
 * the gate refused is no charge; what sums up to nothing, as a presumption that was taken back, is none either.
 */
export async function listCharges(
  sql: Queryable,
  asked: Period & {
    readonly tenantId: string | null;
    readonly filters: Filters;
    readonly rows: number;
  },
): Promise<readonly FocusRow[]> {
  const { tenantId, filters } = asked;
  return await sql<FocusRow[]>`
    select t.tenant_id as "tenantId", t.name as "tenantName", c.day,
           c.day + interval '24 hours' as "dayEnd", date_trunc('month', c.day, 'UTC') as month,
           date_trunc('month', date_trunc('month', c.day, 'UTC') + interval '40 days', 'UTC') as "monthEnd",
           d.key_id as "keyId", d.customer, d.workflow, d.labels, d.door, d.operation, d.upstream, d.model, d.tool,
           d.ending, d.basis, d.price_version as "priceVersion", c.attempts::text, c.cost::text, c.tokens::text
    from (select tenant_id, name from tenants ${tenantId === null ? sql`` : sql`where tenant_id = ${tenantId}`}) as t
    cross join lateral (
      select c.dimension_id, date_trunc('day', c.bucket, 'UTC') as day, sum(c.attempts) as attempts,
             sum(c.cost_picousd) as cost, sum(c.tokens) as tokens
      from run_cells c
      where c.tenant_id = t.tenant_id and ${within(sql, asked, sql`c.bucket`)}
      group by c.dimension_id, 2
    ) as c
    join cost_dimensions d on d.tenant_id = t.tenant_id and d.dimension_id = c.dimension_id
    where d.ending <> 'blocked' and (c.attempts <> 0 or c.cost <> 0 or c.tokens <> 0)
      ${payerIs(sql, filters)} ${resourceIs(sql, filters)}
    order by t.tenant_id, c.day, c.dimension_id
    limit ${asked.rows}`;
}
