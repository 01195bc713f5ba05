/** Keys: credentials of a tenant. Their digests leave this room only in the replicas' snapshot. */
import type { Scope } from "../core/caller.ts";
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

export type NewKey = {
  readonly tenantId: string;
  readonly keyId: string;
  readonly name: string;
  readonly digest: string;
  readonly scopes: readonly Scope[];
  readonly labels: KeyLabels;
  readonly tools: KeyTools;
  readonly createdBy: string;
  readonly expiresAt: Date | null;
  readonly rotatedFrom: string | null;
};

/** Globs of the tools behind the tool door that it may call; null: all that its tenant may. */
export type KeyTools = readonly string[] | null;

/** What policies may ask of a key. `role`: what it is among approvers. */
export type KeyLabels = Readonly<Record<string, string>>;

export type KeyRecord = {
  readonly keyId: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly labels: KeyLabels;
  readonly tools: KeyTools;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly rotatedFrom: string | null;
  /** By the database's clock: neither revoked nor expired. */
  readonly active: boolean;
};

/** Under which keys are digested; the same for every tenant. */
export async function readPepper(sql: Queryable): Promise<string | null> {
  const [row] = await sql<{ readonly pepper: string }[]>`select pepper from installation`;
  return row?.pepper ?? null;
}

export async function insertKey(tx: Queryable, key: NewKey): Promise<void> {
  const tools = key.tools === null ? null : arrayLiteral(key.tools);
  await tx`
    insert into keys
      (tenant_id, key_id, name, digest, scopes, labels, tools, created_by, expires_at, rotated_from)
    values (${key.tenantId}, ${key.keyId}, ${key.name}, ${key.digest},
            ${arrayLiteral(key.scopes)}::text::text[], ${JSON.stringify(key.labels)}::text::json,
            ${tools}::text::text[], ${key.createdBy},
            ${key.expiresAt?.toISOString() ?? null}::text::timestamptz, ${key.rotatedFrom})`;
}

export async function findKey(
  sql: Queryable,
  tenantId: string,
  keyId: string,
): Promise<KeyRecord | null> {
  const [row] = await sql<KeyRecord[]>`
    select ${columns(sql)} from keys where tenant_id = ${tenantId} and key_id = ${keyId}`;
  return row ?? null;
}

/** In the order in which they were made, revoked ones included. */
export async function listKeys(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly KeyRecord[]> {
  return await sql<KeyRecord[]>`
    select ${columns(sql)} from keys
    where tenant_id = ${tenantId}
      ${page.after === null ? sql`` : sql`and key_id > ${page.after}`}
    order by key_id
    limit ${page.rows}`;
}

/** The key that replaces this one and still works, if any. */
export async function findSuccessor(
  sql: Queryable,
  tenantId: string,
  keyId: string,
): Promise<string | null> {
  const [row] = await sql<{ readonly keyId: string }[]>`
    select key_id as "keyId" from keys
    where tenant_id = ${tenantId} and rotated_from = ${keyId} and revoked_at is null
      and (expires_at is null or expires_at > tollgate_now())
    limit 1`;
  return row?.keyId ?? null;
}

/** False when it was revoked before. */
export async function revokeKey(tx: Queryable, tenantId: string, keyId: string): Promise<boolean> {
  const rows = await tx`
    update keys set revoked_at = tollgate_now()
    where tenant_id = ${tenantId} and key_id = ${keyId} and revoked_at is null
    returning key_id`;
  return rows.length === 1;
}

function columns(sql: Queryable) {
  return sql`
    key_id as "keyId", name, scopes, labels, tools, created_by as "createdBy", created_at as "createdAt",
    expires_at as "expiresAt", revoked_at as "revokedAt", rotated_from as "rotatedFrom",
    revoked_at is null and (expires_at is null or expires_at > tollgate_now()) as active`;
}
