/** Webhooks and what was sent to them, as the API shows them. */
import type { Database } from "../store/database.ts";
import type { Page } from "../store/events.ts";
import {
  findDelivery,
  listDeliveries,
  type DeliveryRecord,
  type DeliveryRef,
} from "../store/outbox.ts";
import {
  findWebhook,
  listWebhooks,
  type WebhookRecord,
  type WebhookRef,
} from "../store/webhooks.ts";
import { timeOrNull } from "./amounts.ts";
import { pageOf, type Paged } from "./paged.ts";

export type WebhookView = {
  readonly id: string;
  readonly tenant: string;
  readonly url: string;
  readonly kinds: readonly string[];
  readonly created_by: string;
  readonly created_at: string;
  readonly removed_at: string | null;
};

export type DeliveryView = {
  readonly id: string;
  readonly webhook: string;
  readonly kind: string;
  readonly state: DeliveryRecord["state"];
  readonly tries: number;
  readonly last_result: string | null;
  readonly created_at: string;
  /** When it is tried next; null when it has ended. */
  readonly due_at: string | null;
  readonly ended_at: string | null;
};

export async function webhookOf(db: Database, ref: WebhookRef): Promise<WebhookView | null> {
  const row = await findWebhook(db.admin, ref);
  return row === null ? null : webhookView(ref.tenantId, row);
}

export async function webhooksOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<WebhookView>> {
  const rows = await listWebhooks(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => webhookView(tenantId, row)),
    page,
    (webhook) => webhook.id,
  );
}

export async function deliveryOf(db: Database, ref: DeliveryRef): Promise<DeliveryView | null> {
  const row = await findDelivery(db.admin, ref);
  return row === null ? null : deliveryView(row);
}

export async function deliveriesOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly state: DeliveryRecord["state"] | null },
): Promise<Paged<DeliveryView>> {
  const rows = await listDeliveries(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(rows.map(deliveryView), page, (delivery) => delivery.id);
}

function webhookView(tenantId: string, row: WebhookRecord): WebhookView {
  return {
    id: row.webhookId,
    tenant: tenantId,
    url: row.url,
    kinds: row.kinds,
    created_by: row.createdBy,
    created_at: row.createdAt.toISOString(),
    removed_at: timeOrNull(row.removedAt),
  };
}

function deliveryView(row: DeliveryRecord): DeliveryView {
  return {
    id: row.deliveryId,
    webhook: row.webhookId,
    kind: row.kind,
    state: row.state,
    tries: row.tries,
    last_result: row.lastResult,
    created_at: row.createdAt.toISOString(),
    due_at: row.state === "pending" ? row.dueAt.toISOString() : null,
    ended_at: timeOrNull(row.endedAt),
  };
}
