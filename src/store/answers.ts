/** Stored answers, and what became of the attempts that they are of. */
import type { Sql } from "./database.ts";

export type AnswerRow = { readonly status: number; readonly sealed: Uint8Array };

/** Idempotent: the answer of an attempt is stored once, and a repeat changes nothing. */
export async function insertAnswer(
  sql: Sql,
  answer: AnswerRow & {
    readonly tenantId: string;
    readonly attemptId: string;
    readonly keptMs: number;
  },
): Promise<void> {
  const { tenantId, attemptId, status, sealed, keptMs } = answer;
  const hex = Buffer.from(sealed).toString("hex");
  await sql.unsafe(
    `insert into answers (tenant_id, attempt_id, status, sealed, expires_at)
     values ($1, $2, $3, decode($4, 'hex'), tollgate_now() + $5 * interval '1 millisecond')
     on conflict do nothing`,
    [tenantId, attemptId, status, hex, keptMs],
    { prepare: true },
  );
}

/** Null when there is none, or its time is over. */
export async function findAnswer(
  sql: Sql,
  tenantId: string,
  attemptId: string,
): Promise<AnswerRow | null> {
  const [row] = await sql<{ status: number; sealed: Uint8Array }[]>`
    select status, sealed from answers
    where tenant_id = ${tenantId} and attempt_id = ${attemptId} and expires_at > tollgate_now()`;
  return row ?? null;
}

/** `running`, `left`, `unknown`, or how it ended. */
export async function attemptState(sql: Sql, tenantId: string, attemptId: string): Promise<string> {
  const [row] = await sql`
    select state from tollgate_attempt_state(${tenantId}::text, ${attemptId}::text) as a /* its tenant_id */`;
  return String(row?.["state"]);
}

/** Removes answers of any tenant whose time is over: the sweep's own query. Answers how many. */
export async function removeExpiredAnswers(sql: Sql, most: number): Promise<number> {
  const rows = await sql`
    delete from answers where (tenant_id, attempt_id) in (
      select tenant_id, attempt_id from answers where expires_at < tollgate_now()
      order by expires_at limit ${most} for update skip locked)
    returning 1`;
  return rows.length;
}

/**
 * Removes idempotency keys of any tenant whose time is over. What runs or is unknown keeps its key, as
 * `tollgate_refuse_duplicate` has it, also when it was charged by presumption: such a key is given more
 * time, so that it is not looked at again at once. The sweep's own query. Answers how many it looked at.
 */
export async function removeExpiredKeys(
  sql: Sql,
  { keptMs, most }: { readonly keptMs: number; readonly most: number },
): Promise<number> {
  const [row] = await sql`
    with past as (
      select i.tenant_id, i.door, i.key_digest,
             became.state in ('running', 'left', 'unknown') as is_held
      from idempotency_keys i
      cross join lateral tollgate_attempt_state(i.tenant_id, i.attempt_id) as became
      where i.expires_at < tollgate_now()
      order by i.expires_at limit ${most} for update of i skip locked
    ), kept as (
      update idempotency_keys i set expires_at = tollgate_now() + ${keptMs} * interval '1 millisecond'
      from past where past.is_held and i.tenant_id = past.tenant_id and i.door = past.door
        and i.key_digest = past.key_digest
    ), removed as (
      delete from idempotency_keys i using past
      where not past.is_held and i.tenant_id = past.tenant_id and i.door = past.door
        and i.key_digest = past.key_digest
    )
    select count(*)::int as count from past`;
  return Number(row?.["count"]);
}
