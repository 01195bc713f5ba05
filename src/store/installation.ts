/** What belongs to the installation and to no tenant: its secrets, its replicas, its price list. */
import type { Price } from "../core/price.ts";
import type { Sql } from "./database.ts";
import type { Queryable } from "./events.ts";
import { insertPrices } from "./prices.ts";

export type Installation = {
  readonly pepper: string;
  /** HMAC of the generated administration key, or null when it comes from the environment. */
  readonly adminDigest: string | null;
};

/** Makes the installation's row at the first start of the first replica; afterwards only reads it. */
export async function findOrCreateInstallation(sql: Sql, pepper: string): Promise<Installation> {
  await sql`insert into installation (pepper) values (${pepper}) on conflict do nothing`;
  const [row] = await sql`select pepper, admin_digest from installation`;
  return {
    pepper: String(row?.["pepper"]),
    adminDigest: typeof row?.["admin_digest"] === "string" ? row["admin_digest"] : null,
  };
}

export async function setAdminDigest(sql: Sql, digest: string): Promise<void> {
  await sql`update installation set admin_digest = ${digest}, revision = revision + 1`;
}

/** The key that seals stored content, itself sealed; null before its first use. */
export async function readSealedDataKey(sql: Queryable): Promise<string | null> {
  const [row] = await sql`select sealed_data_key from installation`;
  const sealed: unknown = row?.["sealed_data_key"];
  return typeof sealed === "string" ? sealed : null;
}

/** Changes nothing when it is no longer what it was: whoever was first has made it what it is. */
export async function replaceSealedDataKey(
  sql: Queryable,
  before: string | null,
  after: string | null,
): Promise<boolean> {
  const rows = await sql`
    update installation set sealed_data_key = ${after}
    where sealed_data_key is not distinct from ${before}::text
    returning one`;
  return rows.length === 1;
}

/** Whether anything stands sealed, across tenants: the key that seals is the installation's. */
export async function holdsSealed(sql: Queryable): Promise<boolean> {
  const [row] = await sql`
    select exists (select from answers)
      or exists (select from approvals where sealed_call is not null)
      or exists (select from webhooks) as sealed`;
  return row?.["sealed"] === true;
}

/** Whether a process of the gate may be running: one that has renewed its lease within so many ms. */
export async function hasLiveReplica(sql: Queryable, leaseMs: number): Promise<boolean> {
  const [row] = await sql`
    select exists (
      select from replicas
      where seen_at <> 'infinity' and seen_at > tollgate_now() - ${leaseMs}::int * interval '1 ms'
    ) as live`;
  return row?.["live"] === true;
}

/** Renews this replica's lease; one that stops doing so has lost its reservations. */
export async function renewLease(sql: Sql, replicaId: string): Promise<void> {
  await sql`
    insert into replicas (replica_id) values (${replicaId})
    on conflict (replica_id) do update set seen_at = tollgate_now()`;
}

/** A lease without end, for a replica that is many short-lived ones: only deadlines expire what it reserved. */
export async function holdEndlessLease(sql: Sql, replicaId: string): Promise<void> {
  await sql`
    insert into replicas (replica_id, seen_at) values (${replicaId}, 'infinity')
    on conflict (replica_id) do update set seen_at = 'infinity'
    where replicas.seen_at <> 'infinity'`;
}

/**
 * Whether what stands in front of the database answers a repeated read from memory: a pooler's query
 * cache would keep revoked keys alive. `probe` names a replica that there never was.
 */
export async function answersFromMemory(sql: Sql, probe: string): Promise<boolean> {
  const isThere = async () => {
    const rows = await sql`select replica_id from replicas where replica_id = ${probe}`;
    return rows.length > 0;
  };
  const before = await isThere();
  await sql`insert into replicas (replica_id) values (${probe})`;
  const after = await isThere();
  await sql`delete from replicas where replica_id = ${probe}`;
  return before || !after;
}

/** Ends this replica's lease at once, after its last settlement. */
export async function endLease(sql: Sql, replicaId: string): Promise<void> {
  await sql`delete from replicas where replica_id = ${replicaId}`;
}

/** Ends every lease: of an embedded database nobody else can be the owner. */
export async function endAllLeases(sql: Sql): Promise<void> {
  await sql`delete from replicas`;
}

/** Records prices not yet recorded. `digest` names the list: one that was recorded is not sent again. */
export async function recordPrices(
  sql: Sql,
  digest: string,
  prices: readonly Price[],
): Promise<void> {
  const [row] = await sql`select prices_digest = ${digest} as known from installation`;
  if (row?.["known"] === true) return;
  await insertPrices(sql, prices);
  await sql`update installation set prices_digest = ${digest}`;
}
