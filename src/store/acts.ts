/**
 * Acts of administration under an idempotency key. An act is no attempt: nothing in the ledger tells what
 * became of it, so the answer that is stored with its key does, and while there is none nobody knows.
 */
import type { Sql } from "./database.ts";

export type ActClaim = {
  readonly tenantId: string;
  readonly keyDigest: string;
  readonly contentDigest: string;
  readonly actId: string;
  readonly keptMs: number;
};

/** The door under which these keys stand: they are nobody else's. */
const DOOR = "manage";

/** Null: the key is this act's. Else the act that holds it, whether it is the same, and since when, in ms. */
export async function claimAct(
  sql: Sql,
  claim: ActClaim,
): Promise<{
  readonly actId: string;
  readonly isSame: boolean;
  readonly ageMs: number;
} | null> {
  const { tenantId, keyDigest, contentDigest, actId, keptMs } = claim;
  const [row] = await sql`
    insert into idempotency_keys (tenant_id, door, key_digest, content_digest, attempt_id, claimed_at, expires_at)
    values (${tenantId}, ${DOOR}, ${keyDigest}, ${contentDigest}, ${actId}, tollgate_now(),
            tollgate_now() + ${keptMs} * interval '1 millisecond')
    on conflict (tenant_id, door, key_digest) do update
      set content_digest = case when idempotency_keys.expires_at < tollgate_now()
                                then excluded.content_digest else idempotency_keys.content_digest end,
          attempt_id = case when idempotency_keys.expires_at < tollgate_now()
                            then excluded.attempt_id else idempotency_keys.attempt_id end,
          claimed_at = case when idempotency_keys.expires_at < tollgate_now()
                            then excluded.claimed_at else idempotency_keys.claimed_at end,
          expires_at = case when idempotency_keys.expires_at < tollgate_now()
                            then excluded.expires_at else idempotency_keys.expires_at end
    returning attempt_id, content_digest,
      (extract(epoch from tollgate_now() - claimed_at) * 1000)::float8 as age`;
  if (row?.["attempt_id"] === actId) return null;
  return {
    actId: String(row?.["attempt_id"]),
    isSame: row?.["content_digest"] === contentDigest,
    ageMs: Number(row?.["age"]),
  };
}

/** Gives a key back: what it was claimed for was refused, and did nothing. */
export async function releaseAct(
  sql: Sql,
  { tenantId, keyDigest, actId }: ActClaim,
): Promise<void> {
  await sql`
    delete from idempotency_keys
    where tenant_id = ${tenantId} and door = ${DOOR} and key_digest = ${keyDigest}
      and attempt_id = ${actId}`;
}
