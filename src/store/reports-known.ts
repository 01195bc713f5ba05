/** What a report can be asked about: names that somebody declared, beside those that calls merely say. */
import { OUTCOME_TYPES_MAX } from "../core/limits-finance.ts";
import type { Queryable } from "./events.ts";

export type KnownKey = {
  readonly isKnown: boolean;
  /** The key that is named so, if one is. */
  readonly named: string | null;
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

export type KnownType = {
  readonly isKnown: boolean;
  /** Those that there are, by name: as many as one tenant may have at once. */
  readonly names: readonly string[];
};

/** Types that were removed are known, for outcomes name them. Of one tenant, or across tenants where none is named. */
export async function findKnownType(
  sql: Queryable,
  tenantId: string | null,
  type: string,
): Promise<KnownType> {
  const whose = tenantId === null ? sql`true` : sql`tenant_id = ${tenantId}`;
  // Across tenants where none is named, as above.
  const [row] = await sql<KnownType[]>`
    select exists (select from outcome_types where ${whose} and name = ${type}) as "isKnown",
           array(select distinct name from outcome_types where ${whose}
                 order by name limit ${OUTCOME_TYPES_MAX}) as names`;
  return row ?? { isKnown: false, names: [] };
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
