/** What a tenant counts as a result of its runs. */
import type { Page, Queryable } from "./events.ts";

export type OutcomeType = {
  readonly name: string;
  readonly description: string;
  /** What one success is worth where its outcome does not say, as digits; null: nothing is declared. */
  readonly valuePicousd: string | null;
};

export type OutcomeTypeRecord = OutcomeType & { readonly createdAt: Date };

/** One change of a tenant's types at a time, so that their number can be bounded. */
export async function lockOutcomeTypes(tx: Queryable, tenantId: string): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${`${tenantId} outcome types`}::text, 0))`;
}

/** Declares a type, or declares it anew: a value that changes reaches outcomes told before by the turns of their tenant. */
export async function putOutcomeType(
  tx: Queryable,
  tenantId: string,
  { name, description, valuePicousd }: OutcomeType,
): Promise<void> {
  await tx`
    insert into outcome_types (tenant_id, name, description, value_picousd)
    values (${tenantId}, ${name}, ${description}, ${valuePicousd}::text::numeric)
    on conflict (tenant_id, name) do update
    set revalued_to = case when outcome_types.value_picousd is distinct from excluded.value_picousd then ''
                           else outcome_types.revalued_to end,
        revalued_since = case when outcome_types.value_picousd is not distinct from excluded.value_picousd
                                or outcome_types.revalued_to is not null then outcome_types.revalued_since
                              else tollgate_now() end,
        description = excluded.description, value_picousd = excluded.value_picousd, removed_at = null,
        created_at = case when outcome_types.removed_at is null then outcome_types.created_at
                          else excluded.created_at end`;
}

/** The row stays, for outcomes name it. */
export async function removeOutcomeType(
  tx: Queryable,
  tenantId: string,
  name: string,
): Promise<void> {
  await tx`
    update outcome_types set removed_at = tollgate_now()
    where tenant_id = ${tenantId} and name = ${name} and removed_at is null`;
}

export async function findOutcomeType(
  sql: Queryable,
  tenantId: string,
  name: string,
): Promise<OutcomeTypeRecord | null> {
  const [row] = await sql<OutcomeTypeRecord[]>`
    select ${columns(sql)} from outcome_types
    where tenant_id = ${tenantId} and name = ${name} and removed_at is null`;
  return row ?? null;
}

/** By name. */
export async function listOutcomeTypes(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly OutcomeTypeRecord[]> {
  return await sql<OutcomeTypeRecord[]>`
    select ${columns(sql)} from outcome_types
    where tenant_id = ${tenantId} and removed_at is null
      ${page.after === null ? sql`` : sql`and name > ${page.after}`}
    order by name
    limit ${page.rows}`;
}

export async function countOutcomeTypes(sql: Queryable, tenantId: string): Promise<number> {
  const [row] = await sql<{ readonly rows: number }[]>`
    select count(*)::int as rows from outcome_types
    where tenant_id = ${tenantId} and removed_at is null`;
  return row?.rows ?? 0;
}

function columns(sql: Queryable) {
  return sql`name, description, value_picousd as "valuePicousd", created_at as "createdAt"`;
}
