/** Webhooks: where a tenant wants to be told, and of what. Their secrets are stored sealed. */
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

export type WebhookRef = { readonly tenantId: string; readonly webhookId: string };

export type NewWebhook = WebhookRef & {
  readonly url: string;
  readonly kinds: readonly string[];
  readonly sealedSecret: Uint8Array;
  readonly createdBy: string;
};

export type WebhookRecord = {
  readonly webhookId: string;
  readonly url: string;
  readonly kinds: readonly string[];
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly removedAt: Date | null;
};

/** One change of a tenant's webhooks at a time, so that their number can be bounded. */
export async function lockWebhooks(tx: Queryable, tenantId: string): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${`${tenantId} webhooks`}::text, 0))`;
}

export async function countWebhooks(tx: Queryable, tenantId: string): Promise<number> {
  const [row] = await tx`
    select count(*)::int as count from webhooks where tenant_id = ${tenantId} and removed_at is null`;
  return Number(row?.["count"]);
}

export async function insertWebhook(tx: Queryable, webhook: NewWebhook): Promise<void> {
  const { tenantId, webhookId, url, kinds, sealedSecret, createdBy } = webhook;
  const secret = Buffer.from(sealedSecret).toString("base64");
  await tx`
    insert into webhooks (tenant_id, webhook_id, url, kinds, sealed_secret, created_by)
    values (${tenantId}, ${webhookId}, ${url}, ${arrayLiteral(kinds)}::text::text[],
            decode(${secret}, 'base64'), ${createdBy})`;
}

export async function findWebhook(
  sql: Queryable,
  { tenantId, webhookId }: WebhookRef,
): Promise<WebhookRecord | null> {
  const [row] = await sql<WebhookRecord[]>`
    select ${columns(sql)} from webhooks
    where tenant_id = ${tenantId} and webhook_id = ${webhookId}`;
  return row ?? null;
}

/** In the order in which they were made; without the removed ones. */
export async function listWebhooks(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly WebhookRecord[]> {
  return await sql<WebhookRecord[]>`
    select ${columns(sql)} from webhooks
    where tenant_id = ${tenantId} and removed_at is null
      ${page.after === null ? sql`` : sql`and webhook_id > ${page.after}`}
    order by webhook_id
    limit ${page.rows}`;
}

/** What waits for it is dead from then on. False when it was removed before. */
export async function removeWebhook(
  tx: Queryable,
  { tenantId, webhookId }: WebhookRef,
): Promise<boolean> {
  const rows = await tx`
    update webhooks set removed_at = tollgate_now()
    where tenant_id = ${tenantId} and webhook_id = ${webhookId} and removed_at is null
    returning webhook_id`;
  await tx`
    update deliveries set state = 'dead', ended_at = tollgate_now(), last_result = 'its webhook was removed'
    where tenant_id = ${tenantId} and webhook_id = ${webhookId} and state = 'pending'`;
  return rows.length === 1;
}

function columns(sql: Queryable) {
  return sql`
    webhook_id as "webhookId", url, kinds, created_by as "createdBy", created_at as "createdAt",
    removed_at as "removedAt"`;
}
