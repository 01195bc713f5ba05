/** What went before an ask, for the policies that read it: its run, and the last attempt of its step. */
import { ATTEMPT_STATUSES } from "../core/attempt.ts";
import { HISTORY_ATTEMPTS_MAX } from "../core/limits-policy.ts";
import type { History } from "../core/facts.ts";
import { textOrNull } from "../lib/json.ts";
import type { Queryable } from "./events.ts";

export type HistoryOf = {
  readonly tenantId: string;
  readonly runId: string;
  readonly stepDigest: string | null;
  /** Its caller says of which step it is an attempt; else the last attempt counts only as it failed of late. */
  readonly isStepNamed: boolean;
  /** The last attempt of the step, where its client is known here to have left it, or null. */
  readonly left: string | null;
  /** How often the client's own library has tried before. */
  readonly sdkRetries: number;
};

/** One look, as of now. Zeros and an empty status where nothing went before. */
export async function readHistory(sql: Queryable, of: HistoryOf): Promise<History> {
  const { tenantId, runId, stepDigest, isStepNamed, left, sdkRetries } = of;
  const [row] = await sql`
    select floor(extract(epoch from tollgate_now() - run.first_at))::int as age, run.attempts,
           run.spend::text as spend, run.tainted_by, prior.attempt_id, prior.attempt, prior.state, prior.unread,
           prior.since >= tollgate_now() - tollgate_retry_window() as is_recent
    from (
      select min(d.decided_at) as first_at, count(*)::int as attempts,
             coalesce(sum(coalesce(s.cost, r.cost_picousd, 0)), 0) as spend,
             (array_agg(d.resource order by d.decided_at, d.attempt_id) filter (where s.taints))[1] as tainted_by
      from (
        select tenant_id, attempt_id, decided_at, door, resource from decisions
        where tenant_id = ${tenantId} and run_id = ${runId} and verdict = 'allow'
        limit ${HISTORY_ATTEMPTS_MAX}
      ) as d
      left join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
      left join lateral (
        select sum(cost_picousd) as cost,
               -- Of other doors no record is read.
               bool_or(case when d.door = 'tool' and ending in ('succeeded', 'failed')
                 then record->>'untrusted' = 'true' end) as taints
        from settlements
        where tenant_id = d.tenant_id and attempt_id = d.attempt_id
      ) as s on true
    ) as run
    left join tollgate_prior_attempts(array[${tenantId}::text], array[${stepDigest}::text]) as prior on true`;
  const isLeft = left !== null && row?.["attempt_id"] === left && row["state"] === "running";
  const state = isLeft ? "left" : row?.["state"];
  const priorStatus =
    ATTEMPT_STATUSES.find((status) => status === (state === "left" ? "running" : state)) ?? "";
  const last = Number(row?.["attempt"] ?? 0);
  const prior = {
    state,
    isUnread: row?.["unread"] === true,
    isRecent: row?.["is_recent"] === true,
    isStepNamed,
  };
  return {
    runAgeSeconds: Number(row?.["age"] ?? 0),
    runAttempts: Number(row?.["attempts"] ?? 0),
    runSpendPicousd: BigInt(String(row?.["spend"] ?? "0")),
    attempt: Math.max(sdkRetries + 1, numberAfter(last, prior)),
    priorStatus,
    taintedBy: textOrNull(row?.["tainted_by"]),
  };
}

/** As `tollgate_post` numbers it; where the two differ, the posting has it judged again. */
function numberAfter(last: number, { state, isUnread, isRecent, isStepNamed }: Prior): number {
  if (last === 0 || isStepNamed) return last + 1;
  if (state === "running") return last;
  const hasFailed = state !== "succeeded" || isUnread;
  return hasFailed && (state === "left" || isRecent) ? last + 1 : 1;
}

type Prior = {
  readonly state: unknown;
  /** Its client was gone before it had the answer. */
  readonly isUnread: boolean;
  /** It ended within `tollgate_retry_window`. */
  readonly isRecent: boolean;
  readonly isStepNamed: boolean;
};
