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
 * Removes idempotency keys of any tenant whose time is over, but for those of attempts that still hold
 * something: what runs or is unknown keeps its key. The sweep's own query. Answers how many.
 */
export async function removeExpiredKeys(sql: Sql, most: number): Promise<number> {
  const rows = await sql`
    delete from idempotency_keys where (tenant_id, door, key_digest) in (
      select i.tenant_id, i.door, i.key_digest from idempotency_keys i
      where i.expires_at < tollgate_now() and not exists (
        select from reservations r where r.tenant_id = i.tenant_id and r.attempt_id = i.attempt_id)
      order by i.expires_at limit ${most} for update skip locked)
    returning 1`;
  return rows.length;
}
