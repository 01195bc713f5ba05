/** Limits, and what their meters hold in the window that is now. */
import type { LimitGroup } from "../core/most-meters.ts";
import type { ScopeKind, Unit, Window } from "../core/verdict.ts";
import type { Page, Queryable } from "./events.ts";

export type LimitTerms = {
  readonly scopeKind: ScopeKind;
  /** Key, run or model; empty where the kind says whom it counts. */
  readonly scopeId: string;
  /** Of a retry budget: a tool or `model:<name>`, `*` for each apart, empty for all together. */
  readonly resource: string;
  readonly unit: Unit;
  readonly window: Window;
  /** Whole pico-dollars for `usd`, a count otherwise: decimal digits. */
  readonly amount: string;
  readonly mode: "enforce" | "shadow";
  readonly onExceed: "refuse" | "clamp";
  readonly timeZone: string;
};

export type NewLimit = LimitTerms & { readonly tenantId: string; readonly limitId: string };

/** `committed` and `reserved` are of `subject`, and null where the limit counts each of many apart. */
export type LimitRecord = LimitTerms & {
  readonly limitId: string;
  readonly createdAt: Date;
  readonly removedAt: Date | null;
  readonly subject: string | null;
  readonly committed: string | null;
  readonly reserved: string | null;
  readonly resetsAt: Date | null;
};

export async function insertLimit(tx: Queryable, limit: NewLimit): Promise<void> {
  await tx`
    insert into limits (tenant_id, limit_id, scope_kind, scope_id, resource, unit, window_kind, amount,
                        mode, on_exceed, time_zone)
    values (${limit.tenantId}, ${limit.limitId}, ${limit.scopeKind}, ${limit.scopeId},
            ${limit.resource}, ${limit.unit}, ${limit.window}, ${limit.amount}::text::numeric, ${limit.mode}, ${limit.onExceed},
            ${limit.timeZone})`;
}

/** A removed limit is found too, and says when it was removed. `subject`: see `figures`. */
export async function findLimit(
  sql: Queryable,
  limit: { readonly tenantId: string; readonly limitId: string },
  subject: string | null = null,
): Promise<LimitRecord | null> {
  const [row] = await sql<LimitRecord[]>`
    select ${figures(sql)}
    from limits l ${meterOf(sql, subject)}
    where l.tenant_id = ${limit.tenantId} and l.limit_id = ${limit.limitId}`;
  return row ?? null;
}

/** In the order in which they were made. Those of runs are left out unless a run is named. */
export async function listLimits(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly run: string | null; readonly subject: string | null },
): Promise<readonly LimitRecord[]> {
  return await sql<LimitRecord[]>`
    select ${figures(sql)}
    from limits l ${meterOf(sql, page.subject)}
    where l.tenant_id = ${tenantId} and l.removed_at is null
      and ${
        page.run === null
          ? sql`l.scope_kind <> 'run'`
          : sql`l.scope_kind = 'run' and l.scope_id = ${page.run}`
      }
      ${page.after === null ? sql`` : sql`and l.limit_id > ${page.after}`}
    order by l.limit_id
    limit ${page.rows}`;
}

/** The active limit that counts the same thing for the same subject over the same window, if any. */
export async function findSameLimit(
  sql: Queryable,
  tenantId: string,
  terms: Omit<LimitTerms, "amount" | "onExceed">,
): Promise<LimitRecord | null> {
  const [row] = await sql<LimitRecord[]>`
    select ${figures(sql)}
    from limits l ${meterOf(sql, null)}
    where l.tenant_id = ${tenantId} and l.scope_kind = ${terms.scopeKind}
      and l.scope_id = ${terms.scopeId} and l.unit = ${terms.unit} and l.resource = ${terms.resource}
      and l.window_kind = ${terms.window} and l.mode = ${terms.mode}
      and l.time_zone = ${terms.timeZone} and l.removed_at is null
    order by l.limit_id
    limit 1`;
  return row ?? null;
}

/** All active limits of a tenant but those of runs, by whom and what they count. */
export async function groupLimits(
  sql: Queryable,
  tenantId: string,
): Promise<readonly LimitGroup[]> {
  return await sql<LimitGroup[]>`
    select scope_kind as "scopeKind", scope_id as "scopeId", resource, unit, window_kind as window,
           count(*)::int as limits
    from limits
    where tenant_id = ${tenantId} and scope_kind <> 'run' and removed_at is null
    group by scope_kind, scope_id, resource, unit, window_kind`;
}

/** How many limits a run has of its own. */
export async function countRunLimits(
  sql: Queryable,
  tenantId: string,
  runId: string,
): Promise<number> {
  const [row] = await sql<{ readonly rows: number }[]>`
    select count(*)::int as rows from limits
    where tenant_id = ${tenantId} and scope_kind = 'run' and scope_id = ${runId}
      and removed_at is null`;
  return row?.rows ?? 0;
}

export async function updateLimit(
  tx: Queryable,
  limit: { readonly tenantId: string; readonly limitId: string },
  terms: Pick<LimitTerms, "amount" | "mode" | "onExceed">,
): Promise<void> {
  await tx`
    update limits
    set amount = ${terms.amount}::text::numeric, mode = ${terms.mode}, on_exceed = ${terms.onExceed}
    where tenant_id = ${limit.tenantId} and limit_id = ${limit.limitId}`;
}

/** The row stays, for meters and decisions name it. */
export async function removeLimit(tx: Queryable, tenantId: string, limitId: string): Promise<void> {
  await tx`
    update limits set removed_at = tollgate_now()
    where tenant_id = ${tenantId} and limit_id = ${limitId} and removed_at is null`;
}

/** No meter yet is nothing counted; a limit on each of many has no figures until one is named. */
function figures(sql: Queryable) {
  return sql`
    l.limit_id as "limitId", l.scope_kind as "scopeKind", l.scope_id as "scopeId", l.resource, l.unit,
    l.window_kind as window, l.amount, l.mode, l.on_exceed as "onExceed",
    l.time_zone as "timeZone", l.created_at as "createdAt", l.removed_at as "removedAt",
    now_.subject,
    case when now_.subject is not null then coalesce(m.committed, 0) end as committed,
    case when now_.subject is not null then coalesce(m.reserved, 0) end as reserved,
    tollgate_window_end(l.window_kind, tollgate_now(), l.time_zone) as "resetsAt"`;
}

function meterOf(sql: Queryable, subject: string | null) {
  return sql`
    cross join lateral (
      select case when l.scope_kind in ('each_run', 'each_customer', 'each_operation')
                       or l.resource = '*' then ${subject}::text
                  else l.scope_id end as subject
    ) as now_
    left join meters m
      on m.tenant_id = l.tenant_id and m.limit_id = l.limit_id and m.subject = now_.subject
      and m.window_start = tollgate_window_start(l.window_kind, tollgate_now(), l.time_zone)`;
}
