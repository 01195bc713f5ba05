/** What a tenant used in a period: exact sums over the ledger. */
import { idOf } from "../core/ids.ts";
import { REPEAT_REASONS } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import { ID_RANDOM_BYTES } from "../lib/random-id.ts";
import type { Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

/** `model` groups have upstream and model, `day` groups a day, the `total` neither. */
export type UsageRow = {
  readonly grouping: "total" | "model" | "day";
  readonly upstream: string | null;
  readonly model: string | null;
  /** `2026-11-22`, in UTC. */
  readonly day: string | null;
  readonly attempts: number;
  readonly blocked: number;
  readonly repeated: number;
  readonly unpriced: number;
  /** Decimal digits of pico-dollars. */
  readonly costPicousd: string;
  readonly reservedPicousd: string;
  readonly tokens: string;
  readonly classes: Readonly<Record<string, string>>;
};

/** The ledger's clock: what a period without an end ends at. */
export async function readNow(sql: Queryable): Promise<Date> {
  const [row] = await sql<{ readonly now: Date }[]>`select tollgate_now() as now`;
  assert(row !== undefined, "a clock answers");
  return row.now;
}

/** How far the clock of the process that made an attempt's id may be from the database's. */
export const SLACK_MS = 3_600_000;
/** The last moment that an id can tell. */
const ID_MS_MAX = 2 ** 48 - 1;

/** The least id of an attempt that was made at this moment or later. */
export function leastAttemptId(ms: number): string {
  return idOf("attempt", Math.min(Math.max(0, ms), ID_MS_MAX), new Uint8Array(ID_RANDOM_BYTES));
}

/**
 * The ids bound the read, for they are in the order of time and the primary key is theirs; the moment of
 * the decision is what counts. Without the bound a report of one day would read all decisions ever made.
 *
 * An attempt counts on the day of its decision, where its reservation also was made: a late settlement
 * changes that day and no other. The presumption that a correction replaces is not counted twice.
 */
export async function sumUsage(
  sql: Queryable,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date },
): Promise<readonly UsageRow[]> {
  const from = leastAttemptId(period.from.getTime() - SLACK_MS);
  const to = leastAttemptId(period.to.getTime() + SLACK_MS);
  return await sql<UsageRow[]>`
    with attempts as (
      select d.attempt_id, coalesce(d.upstream, '') as upstream,
             coalesce(d.model, d.operation) as model,
             to_char(d.decided_at at time zone 'UTC', 'YYYY-MM-DD') as day, ${kindOf(sql)} as kind,
             r.cost_picousd as held, s.cost, s.tokens, s.unpriced, s.usage
      from decisions d
      left join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
      left join lateral (
        select sum(cost_picousd) as cost, sum(tokens) as tokens,
               bool_or(basis = 'unpriced') as unpriced,
               (array_agg(usage::text order by line desc))[1]::json as usage
        from settlements where tenant_id = d.tenant_id and attempt_id = d.attempt_id
      ) as s on true
      where d.tenant_id = ${tenantId} and d.attempt_id >= ${from} and d.attempt_id < ${to}
        and d.decided_at >= ${period.from.toISOString()}::text::timestamptz
        and d.decided_at < ${period.to.toISOString()}::text::timestamptz
    ), sums as (
      select ${kind(sql)} as grouping, upstream, model, day, (count(*) filter (where kind = 'attempt'))::int as attempts,
             (count(*) filter (where kind = 'blocked'))::int as blocked,
             (count(*) filter (where kind = 'repeated'))::int as repeated,
             (count(*) filter (where unpriced))::int as unpriced,
             coalesce(sum(cost), 0)::text as cost, coalesce(sum(held), 0)::text as held,
             coalesce(sum(tokens), 0)::text as tokens
      from attempts
      group by grouping sets ((), (upstream, model), (day))
    ), classes as (
      select grouping, upstream, model, day, json_object_agg(class, units::text) as units
      from (
        select ${kind(sql)} as grouping, upstream, model, day, u.key as class,
               sum(u.value::numeric) as units
        from attempts cross join lateral json_each_text(attempts.usage) as u
        group by u.key, grouping sets ((), (upstream, model), (day))
      ) as units
      group by grouping, upstream, model, day
    )
    select s.grouping, s.upstream, s.model, s.day, s.attempts, s.blocked, s.repeated, s.unpriced,
           s.cost as "costPicousd", s.held as "reservedPicousd", s.tokens,
           coalesce(c.units, '{}') as classes
    from sums s
    left join classes c
      on c.grouping = s.grouping and c.upstream is not distinct from s.upstream
      and c.model is not distinct from s.model and c.day is not distinct from s.day
    order by s.grouping, s.day, s.upstream, s.model`;
}

function kind(sql: Queryable) {
  return sql`
    case when grouping(model) = 0 then 'model' when grouping(day) = 0 then 'day' else 'total' end`;
}

/** The attempts of one number at one tool or model; refusals are none. */
export type AttemptsRow = {
  readonly resource: string;
  /** The number within their steps: from 2 on they are retries. */
  readonly attempt: number;
  readonly attempts: number;
  readonly succeeded: number;
  /** Decimal digits of pico-dollars. */
  readonly costPicousd: string;
};

/** How often it took how many attempts, and what those cost: the retries that a total hides. */
export async function sumAttempts(
  sql: Queryable,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date; readonly rows: number },
): Promise<readonly AttemptsRow[]> {
  const from = leastAttemptId(period.from.getTime() - SLACK_MS);
  const to = leastAttemptId(period.to.getTime() + SLACK_MS);
  return await sql<AttemptsRow[]>`
    select coalesce(d.model, d.resource) as resource, d.attempt, count(*)::int as attempts,
           (count(*) filter (where s.ending = 'succeeded'))::int as succeeded,
           coalesce(sum(s.cost), 0)::text as "costPicousd"
    from decisions d
    left join lateral (
      select sum(cost_picousd) as cost, (array_agg(ending order by line desc))[1] as ending
      from settlements where tenant_id = d.tenant_id and attempt_id = d.attempt_id
    ) as s on true
    where d.tenant_id = ${tenantId} and d.attempt_id >= ${from} and d.attempt_id < ${to}
      and d.decided_at >= ${period.from.toISOString()}::text::timestamptz
      and d.decided_at < ${period.to.toISOString()}::text::timestamptz
      and d.verdict = 'allow'
    group by 1, 2
    order by 1, 2
    limit ${period.rows}`;
}

/** What a decision `d` is counted as, once. */
export function kindOf(sql: Queryable) {
  return sql`
    case when d.verdict = 'allow' then 'attempt'
         when d.reason = any(${arrayLiteral(REPEAT_REASONS)}::text::text[]) then 'repeated'
         else 'blocked' end`;
}

/** Why calls were refused, and how often; the most frequent first. */
export async function countRefusals(
  sql: Queryable,
  tenantId: string,
  period: { readonly from: Date; readonly to: Date },
): Promise<readonly { readonly reason: string; readonly decisions: number }[]> {
  const from = leastAttemptId(period.from.getTime() - SLACK_MS);
  const to = leastAttemptId(period.to.getTime() + SLACK_MS);
  return await sql<{ readonly reason: string; readonly decisions: number }[]>`
    select reason, count(*)::int as decisions from decisions d
    where tenant_id = ${tenantId} and attempt_id >= ${from} and attempt_id < ${to}
      and decided_at >= ${period.from.toISOString()}::text::timestamptz
      and decided_at < ${period.to.toISOString()}::text::timestamptz
      and reason is not null and ${kindOf(sql)} = 'blocked'
    group by reason
    order by decisions desc, reason`;
}
