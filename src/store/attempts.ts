/** Attempts that their callers make themselves: how long each may be silent, and what came before it. */
import type { Queryable } from "./events.ts";

export type AttemptRef = { readonly tenantId: string; readonly attemptId: string };

/**
 * Lets the caller of an open attempt be silent for longer, never shorter, and never past `totalMs` after
 * its decision. Answers until when; null where it is not open, or not its caller's to extend.
 */
export async function extendLease(
  sql: Queryable,
  { tenantId, attemptId }: AttemptRef,
  terms: { readonly leaseMs: number; readonly totalMs: number },
): Promise<Date | null> {
  const [row] = await sql<{ readonly deadlineAt: Date }[]>`
    update reservations r
    set deadline_at = greatest(r.deadline_at, least(
      tollgate_now() + ${terms.leaseMs} * interval '1 millisecond',
      d.decided_at + ${terms.totalMs} * interval '1 millisecond'))
    from decisions d
    where r.tenant_id = ${tenantId} and r.attempt_id = ${attemptId} and r.state = 'open'
      and r.replica_id = 'caller' and r.deadline_at >= tollgate_now()
      and d.tenant_id = r.tenant_id and d.attempt_id = r.attempt_id
    returning r.deadline_at as "deadlineAt"`;
  return row?.deadlineAt ?? null;
}

/** When the first and the last attempt at the step of this one were admitted. */
export async function spanOfStep(
  sql: Queryable,
  { tenantId, attemptId }: AttemptRef,
): Promise<{ readonly firstAt: Date; readonly lastAt: Date } | null> {
  const [row] = await sql<{ readonly firstAt: Date | null; readonly lastAt: Date | null }[]>`
    select (select f.decided_at from decisions f
            where f.tenant_id || f.step_digest = d.tenant_id || d.step_digest
              and f.verdict = 'allow' order by f.decided_at limit 1) as "firstAt",
           (select l.decided_at from decisions l
            where l.tenant_id || l.step_digest = d.tenant_id || d.step_digest
              and l.verdict = 'allow' order by l.decided_at desc limit 1) as "lastAt"
    from decisions d
    where d.tenant_id = ${tenantId} and d.attempt_id = ${attemptId}`;
  if (row === undefined || row.firstAt === null || row.lastAt === null) return null;
  return { firstAt: row.firstAt, lastAt: row.lastAt };
}

/** One effect of an operation and the attempt that claims it; what became of it is the ledger's to say. */
export type EffectRow = {
  readonly effect: string;
  readonly attemptId: string;
  readonly runId: string;
  readonly claimedAt: Date;
  /** `running`, `left`, `unknown`, or how the attempt ended. */
  readonly state: string;
  readonly since: Date;
};

/** The effects of one operation, by name. */
export async function listEffects(
  sql: Queryable,
  tenantId: string,
  operation: { readonly type: string; readonly key: string; readonly rows: number },
): Promise<readonly EffectRow[]> {
  return await sql<EffectRow[]>`
    select e.effect, e.attempt_id as "attemptId", e.run_id as "runId", e.claimed_at as "claimedAt",
           a.state, a.since
    from effects e
    cross join lateral tollgate_attempt_state(e.tenant_id, e.attempt_id) as a
    where e.tenant_id = ${tenantId} and e.operation_type = ${operation.type}
      and e.operation_key = ${operation.key}
    order by e.effect collate "C"
    limit ${operation.rows}`;
}
