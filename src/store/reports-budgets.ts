/** Every limit of money or tokens, with what its meters hold in the window that is asked about. */
import type { LimitTerms } from "./limits.ts";
import type { Queryable } from "./events.ts";

export type BudgetRow = Omit<LimitTerms, "resource" | "onExceed"> & {
  readonly limitId: string;
  /** Whose meter it is; null of a limit that counts each of many apart and has counted nobody yet. */
  readonly subject: string | null;
  readonly committed: string;
  readonly reserved: string;
  /** Of its window; of the limit itself where it has none. */
  readonly startsAt: Date;
  readonly endsAt: Date | null;
  readonly now: Date;
  /** Meters in all, those beyond the ones asked for included. */
  readonly meters: string;
};

/**
 * The most used first, by their share. Those of runs are left out unless a run is named, as in the list of
 * limits: there may be one for each run that ever was.
 */
export async function listBudgets(
  sql: Queryable,
  tenantId: string,
  asked: { readonly run: string | null; readonly at: string | null; readonly rows: number },
): Promise<readonly BudgetRow[]> {
  const at = asked.at === null ? sql`tollgate_now()` : sql`${asked.at}::text::timestamptz`;
  return await sql<BudgetRow[]>`
    select l.limit_id as "limitId", l.scope_kind as "scopeKind", l.scope_id as "scopeId", l.unit,
           l.window_kind as window, l.amount, l.mode, l.time_zone as "timeZone", m.subject,
           coalesce(m.committed, 0)::text as committed, coalesce(m.reserved, 0)::text as reserved,
           case l.window_kind when 'none' then l.created_at
             else tollgate_window_start(l.window_kind, ${at}, l.time_zone) end as "startsAt",
           tollgate_window_end(l.window_kind, ${at}, l.time_zone) as "endsAt",
           tollgate_now() as now, (count(*) over ())::text as meters
    from limits l
    left join meters m on m.tenant_id = l.tenant_id and m.limit_id = l.limit_id
      and m.window_start = tollgate_window_start(l.window_kind, ${at}, l.time_zone)
      -- What one run may take of a daily quota is metered under the same limit, and is no budget of its own.
      and (l.scope_kind in ('each_run', 'each_customer', 'each_operation') or m.subject = l.scope_id)
    where l.tenant_id = ${tenantId} and l.unit in ('usd', 'tokens') and l.removed_at is null
      and ${
        asked.run === null
          ? sql`l.scope_kind <> 'run'`
          : sql`l.scope_kind = 'run' and l.scope_id = ${asked.run}`
      }
    order by case when l.amount = 0 then 1 else (coalesce(m.committed, 0) + coalesce(m.reserved, 0)) / l.amount end desc,
             l.limit_id, m.subject
    limit ${asked.rows}`;
}
