/** What watches without effect, summed over a period: shadow policies and shadow limits. */
import type { Queryable } from "./events.ts";
import { leastAttemptId, SLACK_MS } from "./usage.ts";

export type ShadowPolicyRow = {
  readonly id: string;
  readonly version: string;
  readonly effect: string;
  readonly judged: number;
  readonly matched: number;
  readonly failed: number;
  /** What the calls that it matched cost. */
  readonly costPicousd: string;
  readonly lastMatch: string | null;
};

export type ShadowLimitRow = {
  readonly limitId: string;
  readonly unit: string;
  readonly window: string;
  readonly met: number;
  /** Calls that it had no room for. */
  readonly refused: number;
  readonly costPicousd: string;
  readonly lastRefused: string | null;
};

export type Period = { readonly from: Date; readonly to: Date };

export async function sumShadowPolicies(
  sql: Queryable,
  tenantId: string,
  { from, to, rows }: Period & { readonly rows: number },
): Promise<readonly ShadowPolicyRow[]> {
  return await sql<ShadowPolicyRow[]>`
    select p->>'id' as id, p->>'version' as version, p->>'effect' as effect,
           count(*)::int as judged,
           (count(*) filter (where p->>'result' = 'matched'))::int as matched,
           (count(*) filter (where p->>'result' = 'error'))::int as failed,
           coalesce(sum(d.cost) filter (where p->>'result' = 'matched'), 0)::text as "costPicousd",
           max(d.attempt_id) filter (where p->>'result' = 'matched') as "lastMatch"
    from ${decided(sql, tenantId, { from, to })} as d
    cross join lateral json_array_elements(d.record->'policies') as p
    where p->>'mode' = 'shadow' and p->>'result' <> 'not_applicable'
    group by 1, 2, 3
    order by 1, 2
    limit ${rows}`;
}

export async function sumShadowLimits(
  sql: Queryable,
  tenantId: string,
  { from, to, rows }: Period & { readonly rows: number },
): Promise<readonly ShadowLimitRow[]> {
  return await sql<ShadowLimitRow[]>`
    select m.limit_id as "limitId", m.unit, m.window, count(*)::int as met,
           (count(*) filter (where m.refuses))::int as refused,
           coalesce(sum(m.cost) filter (where m.refuses), 0)::text as "costPicousd",
           max(m.attempt_id) filter (where m.refuses) as "lastRefused"
    from (
      select d.attempt_id, d.cost, e->>'limit_id' as limit_id, e->>'unit' as unit, e->>'window' as window,
             (e->>'committed')::numeric + (e->>'reserved')::numeric + (e->>'asked')::numeric
               > (e->>'limit')::numeric as refuses
      from ${decided(sql, tenantId, { from, to })} as d
      cross join lateral json_array_elements(d.meters) as e
      where e->>'mode' = 'shadow'
    ) as m
    group by 1, 2, 3
    order by 1
    limit ${rows}`;
}

/** The decisions of a period with what each cost: bounded by their ids, as in `sumUsage`. */
function decided(sql: Queryable, tenantId: string, { from, to }: Period) {
  return sql`(
    select d.attempt_id, d.record, d.meters,
           (select sum(s.cost_picousd) from settlements s
            where s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id) as cost
    from decisions d
    where d.tenant_id = ${tenantId}
      and d.attempt_id >= ${leastAttemptId(from.getTime() - SLACK_MS)}
      and d.attempt_id < ${leastAttemptId(to.getTime() + SLACK_MS)}
      and d.decided_at >= ${from.toISOString()}::text::timestamptz
      and d.decided_at < ${to.toISOString()}::text::timestamptz)`;
}
