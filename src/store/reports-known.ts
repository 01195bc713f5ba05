/** What a report can be asked about: names that somebody declared, beside those that calls merely say. */
import type { Queryable } from "./events.ts";

export type KnownKey = {
  readonly isKnown: boolean;
  /** The key that is named so, if one is. */ readonly named: string | null;
};

/** Revoked keys are known. Of one tenant, or across tenants where none is named. */
export async function findKnownKey(
  sql: Queryable,
  tenantId: string | null,
  key: string,
): Promise<KnownKey> {
  const whose = tenantId === null ? sql`true` : sql`tenant_id = ${tenantId}`;
  // Across tenants where none is named: the installation's own key asks so.
  const [row] = await sql<KnownKey[]>`
    select exists (select from keys where ${whose} and key_id = ${key}) as "isKnown",
           (select min(key_id) from keys where ${whose} and name = ${key}) as named`;
  return row ?? { isKnown: false, named: null };
}

/** By name, those that were removed included, for outcomes name them. Of one tenant, or across tenants where none is named. */
export async function listKnownTypes(
  sql: Queryable,
  tenantId: string | null,
): Promise<readonly string[]> {
  // Across tenants where none is named, as above.
  const rows = await sql<{ readonly name: string }[]>`
    select distinct name from outcome_types
    where ${tenantId === null ? sql`true` : sql`tenant_id = ${tenantId}`}
    order by name`;
  return rows.map(({ name }) => name);
}

/** Whether a run was made, called anything, or has a limit of its own. */
export async function isKnownRun(
  sql: Queryable,
  tenantId: string,
  runId: string,
): Promise<boolean> {
  const [row] = await sql<{ readonly isKnown: boolean }[]>`
    select exists (select from runs where tenant_id = ${tenantId} and run_id = ${runId})
        or exists (select from decisions where tenant_id = ${tenantId} and run_id = ${runId})
        or exists (
          select from limits where tenant_id = ${tenantId} and scope_kind = 'run' and scope_id = ${runId}
        ) as "isKnown"`;
  return row?.isKnown ?? false;
}
