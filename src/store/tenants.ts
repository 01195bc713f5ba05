/** Tenants: the queries here are of the installation, and say which tenant where they touch one. */
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

export type Mode = "strict" | "tolerant";

export type TenantRecord = {
  readonly tenantId: string;
  readonly name: string;
  readonly mode: Mode;
  /** Null: no guard. */
  readonly derivedAttemptsMax: number | null;
  readonly runSharePercent: number | null;
  /** What one answered question costs, in decimal digits of pico-dollars; null: it is not counted. */
  readonly approvalPicousd: string | null;
  /** At which parts of a budget webhooks are told, rising. */
  readonly alertPercents: readonly number[];
  readonly createdAt: Date;
};

export type TenantTerms = Pick<
  TenantRecord,
  "mode" | "derivedAttemptsMax" | "runSharePercent" | "alertPercents" | "approvalPicousd"
>;

/** False when the name is taken. */
export async function insertTenant(
  tx: Queryable,
  tenant: { readonly tenantId: string; readonly name: string; readonly mode: Mode },
): Promise<boolean> {
  const rows = await tx`
    insert into tenants (tenant_id, name, mode)
    values (${tenant.tenantId}, ${tenant.name}, ${tenant.mode})
    on conflict (name) do nothing
    returning tenant_id`;
  return rows.length === 1;
}

/** By id or by name: no name has the form of an id. */
export async function findTenant(sql: Queryable, idOrName: string): Promise<TenantRecord | null> {
  const [row] = await sql<TenantRecord[]>`
    select ${columns(sql)} from tenants
    where tenant_id = ${idOrName} or name = ${idOrName}`;
  return row ?? null;
}

/** Every tenant: for the installation's own key only. In the order in which they were made. */
export async function listTenants(sql: Queryable, page: Page): Promise<readonly TenantRecord[]> {
  return await sql<TenantRecord[]>`
    select ${columns(sql)} from tenants
    where ${page.after === null ? sql`true` : sql`tenant_id > ${page.after}`}
    order by tenant_id
    limit ${page.rows}`;
}

export async function updateTenant(
  tx: Queryable,
  tenantId: string,
  terms: TenantTerms,
): Promise<void> {
  await tx`
    update tenants
    set mode = ${terms.mode}, derived_attempts_max = ${terms.derivedAttemptsMax},
        run_share_percent = ${terms.runSharePercent},
        alert_percents = ${arrayLiteral(terms.alertPercents)}::text::smallint[],
        approval_picousd = ${terms.approvalPicousd}::text::numeric
    where tenant_id = ${tenantId}`;
}

function columns(sql: Queryable) {
  return sql`
    tenant_id as "tenantId", name, mode, derived_attempts_max as "derivedAttemptsMax",
    run_share_percent as "runSharePercent", alert_percents as "alertPercents",
    approval_picousd as "approvalPicousd", created_at as "createdAt"`;
}
