/** Policy bundles: immutable, by the hash of their content; and which of them is active. */
import type { Page, Queryable } from "./events.ts";

export type NewBundle = {
  readonly tenantId: string;
  readonly version: string;
  /** The canonical content, letter for letter what the version is the hash of. */
  readonly content: string;
  /** As it was written. */
  readonly source: string;
  readonly createdBy: string;
};

export type BundleRecord = {
  readonly version: string;
  readonly content: string;
  readonly source: string;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly active: boolean;
};

/** False when it is stored already: then its first source stays. */
export async function insertBundle(tx: Queryable, bundle: NewBundle): Promise<boolean> {
  const rows = await tx`
    insert into policy_bundles (tenant_id, version, content, source, created_by)
    values (${bundle.tenantId}, ${bundle.version}, ${bundle.content}::text::json, ${bundle.source},
            ${bundle.createdBy})
    on conflict (tenant_id, version) do nothing
    returning version`;
  return rows.length === 1;
}

/** All, at most two, whose version begins so: one that begins two versions names neither. */
export async function findBundles(
  sql: Queryable,
  tenantId: string,
  versionStart: string,
): Promise<readonly BundleRecord[]> {
  return await sql<BundleRecord[]>`
    select ${columns(sql)}
    from policy_bundles b join tenants t on t.tenant_id = b.tenant_id
    where b.tenant_id = ${tenantId} and starts_with(b.version, ${versionStart})
    order by b.version
    limit 2`;
}

/** Newest first; `after` is the last version of the page before. */
export async function listBundles(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly BundleRecord[]> {
  return await sql<BundleRecord[]>`
    select ${columns(sql)}
    from policy_bundles b join tenants t on t.tenant_id = b.tenant_id
    where b.tenant_id = ${tenantId}
      ${
        page.after === null
          ? sql``
          : sql`and (b.created_at, b.version) < (
              select created_at, version from policy_bundles
              where tenant_id = ${tenantId} and version = ${page.after})`
      }
    order by b.created_at desc, b.version desc
    limit ${page.rows}`;
}

/** Null for a tenant without policies. */
export async function findActive(sql: Queryable, tenantId: string): Promise<string | null> {
  const [row] = await sql<{ readonly active: string | null }[]>`
    select active_bundle as active from tenants where tenant_id = ${tenantId}`;
  return row?.active ?? null;
}

export async function setActive(
  tx: Queryable,
  tenantId: string,
  version: string | null,
): Promise<void> {
  await tx`update tenants set active_bundle = ${version} where tenant_id = ${tenantId}`;
}

function columns(sql: Queryable) {
  return sql`
    b.version, b.content::text as content, b.source, b.created_by as "createdBy",
    b.created_at as "createdAt", coalesce(t.active_bundle = b.version, false) as active`;
}
