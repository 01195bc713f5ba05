/**
 * The outbox. A message is written by the statement of what it tells of (`tollgate_outbox`); here it is
 * taken, by one replica at a time, and ends delivered or dead.
 */
import type { ApprovalRef } from "./approvals.ts";
import type { Sql } from "./database.ts";
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

export type DeliveryRef = { readonly tenantId: string; readonly deliveryId: string };

/** One to be tried now. */
export type DueDelivery = DeliveryRef & {
  readonly webhookId: string;
  readonly url: string;
  readonly sealedSecret: Uint8Array;
  readonly body: string;
  /** Its webhook was removed while the message was being written, so that the removal did not see it. */
  readonly isRemoved: boolean;
  /** The number of this try, from 1. */
  readonly tries: number;
};

export type DeliveryRecord = {
  readonly deliveryId: string;
  readonly webhookId: string;
  readonly kind: string;
  readonly state: "pending" | "delivered" | "dead";
  readonly tries: number;
  readonly createdAt: Date;
  /** When it is tried next; of what has ended, when it was due last. */
  readonly dueAt: Date;
  readonly endedAt: Date | null;
  readonly lastResult: string | null;
};

export type Message = {
  readonly tenantId: string;
  readonly messageId: string;
  readonly kind: string;
};

/** Tells every webhook that wants this kind what became of an approval, when this transaction commits. */
export async function tellOfApproval(
  tx: Queryable,
  { tenantId, messageId, kind }: Message,
  { approvalId }: ApprovalRef,
): Promise<void> {
  await tx`
    select tollgate_outbox(${tenantId}, ${messageId}, ${kind},
                           tollgate_approval_message(${tenantId}, ${approvalId}, ${kind}))`;
}

/** A message for this webhook alone, whatever kinds it wants. */
export async function insertDelivery(
  tx: Queryable,
  delivery: DeliveryRef & {
    readonly webhookId: string;
    readonly kind: string;
    readonly body: string;
  },
): Promise<void> {
  const { tenantId, deliveryId, webhookId, kind, body } = delivery;
  await tx`
    insert into deliveries (tenant_id, delivery_id, webhook_id, kind, body)
    values (${tenantId}, ${deliveryId}, ${webhookId}, ${kind}, ${body})`;
}

export type ClaimTerms = {
  readonly rows: number;
  readonly rowsOfTenant: number;
  /** Until then no other replica tries them: longer than a try can take. */
  readonly leaseMs: number;
  /** Whose deliveries this replica is trying already. */
  readonly busyTenants: readonly string[];
};

/**
 * Takes what is due, oldest first, a few of each tenant: one whose receivers hang holds up nobody else's.
 * Several replicas take different ones.
 */
export async function claimDeliveries(
  sql: Sql,
  { rows, rowsOfTenant, leaseMs, busyTenants }: ClaimTerms,
): Promise<readonly DueDelivery[]> {
  // Across tenants: a delivery goes where its own tenant's webhook says.
  return await sql<DueDelivery[]>`
    with waiting as (
      select tenant_id, min(due_at) as since from deliveries
      where state = 'pending' and due_at <= tollgate_now()
        and not tenant_id = any (${arrayLiteral(busyTenants)}::text::text[] collate "C")
      group by tenant_id order by since limit ${rows}
    ), due as (
      select d.tenant_id, d.delivery_id from waiting
      cross join lateral (
        select tenant_id, delivery_id from deliveries
        where state = 'pending' and due_at <= tollgate_now() and tenant_id = waiting.tenant_id
        order by due_at limit ${rowsOfTenant}
        for update skip locked
      ) as d
      order by waiting.since limit ${rows}
    )
    update deliveries d
    set tries = d.tries + 1, due_at = tollgate_now() + ${leaseMs}::int * interval '1 ms'
    from due, webhooks w
    where d.tenant_id = due.tenant_id and d.delivery_id = due.delivery_id
      and w.tenant_id = d.tenant_id and w.webhook_id = d.webhook_id
    returning d.tenant_id as "tenantId", d.delivery_id as "deliveryId", d.webhook_id as "webhookId",
              w.url, w.sealed_secret as "sealedSecret", d.body,
              w.removed_at is not null as "isRemoved", d.tries`;
}

/** It arrived. Told late, after another replica took it over, it arrived all the same. */
export async function endDelivered(
  sql: Queryable,
  { tenantId, deliveryId }: DeliveryRef,
  result: string,
): Promise<void> {
  await sql`
    update deliveries set state = 'delivered', ended_at = tollgate_now(), last_result = ${result}
    where tenant_id = ${tenantId} and delivery_id = ${deliveryId} and state <> 'delivered'`;
}

/** This try failed: the next one is due after `retryMs`, or there is none and it is dead. */
export async function endFailed(
  sql: Queryable,
  { tenantId, deliveryId, tries }: DeliveryRef & { readonly tries: number },
  { result, retryMs }: { readonly result: string; readonly retryMs: number | null },
): Promise<void> {
  // A replica whose claim passed to another one changes nothing.
  if (retryMs === null) {
    await sql`
      update deliveries set state = 'dead', ended_at = tollgate_now(), last_result = ${result}
      where tenant_id = ${tenantId} and delivery_id = ${deliveryId}
        and state = 'pending' and tries = ${tries}`;
    return;
  }
  await sql`
    update deliveries
    set due_at = tollgate_now() + ${Math.round(retryMs)}::int * interval '1 ms', last_result = ${result}
    where tenant_id = ${tenantId} and delivery_id = ${deliveryId}
      and state = 'pending' and tries = ${tries}`;
}

/** Removes some of what ended longer ago than that, oldest first. Answers how many. */
export async function forgetDeliveries(
  sql: Sql,
  kept: { readonly deliveredMs: number; readonly deadMs: number; readonly rows: number },
): Promise<number> {
  // Across tenants: nobody's messages are kept for longer.
  const rows = await sql`
    delete from deliveries where (tenant_id, delivery_id) in (
      select tenant_id, delivery_id from deliveries
      where state <> 'pending' and ended_at < tollgate_now() - interval '1 ms'
        * case state when 'delivered' then ${kept.deliveredMs}::bigint else ${kept.deadMs}::bigint end
      order by ended_at limit ${kept.rows} for update skip locked)
    returning 1`;
  return rows.length;
}

export async function findDelivery(
  sql: Queryable,
  { tenantId, deliveryId }: DeliveryRef,
): Promise<DeliveryRecord | null> {
  const [row] = await sql<DeliveryRecord[]>`
    select ${columns(sql)} from deliveries
    where tenant_id = ${tenantId} and delivery_id = ${deliveryId}`;
  return row ?? null;
}

/** Newest first. */
export async function listDeliveries(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly state: DeliveryRecord["state"] | null },
): Promise<readonly DeliveryRecord[]> {
  return await sql<DeliveryRecord[]>`
    select ${columns(sql)} from deliveries
    where tenant_id = ${tenantId}
      ${page.after === null ? sql`` : sql`and delivery_id < ${page.after}`}
      ${page.state === null ? sql`` : sql`and state = ${page.state}`}
    order by delivery_id desc
    limit ${page.rows}`;
}

/** Due at once, with all its tries before it again. False when it is not dead. */
export async function reviveDelivery(
  tx: Queryable,
  { tenantId, deliveryId }: DeliveryRef,
): Promise<boolean> {
  const rows = await tx`
    update deliveries set state = 'pending', tries = 0, due_at = tollgate_now(), ended_at = null
    where tenant_id = ${tenantId} and delivery_id = ${deliveryId} and state = 'dead'
    returning delivery_id`;
  return rows.length === 1;
}

/** Of the whole installation. */
export async function countDeliveries(
  sql: Sql,
): Promise<{ readonly pending: number; readonly dead: number }> {
  // Across tenants: the metrics are the operator's.
  const [row] = await sql`
    select count(*) filter (where state = 'pending')::int as pending,
           count(*) filter (where state = 'dead')::int as dead
    from deliveries where state <> 'delivered'`;
  return { pending: Number(row?.["pending"]), dead: Number(row?.["dead"]) };
}

function columns(sql: Queryable) {
  return sql`
    delivery_id as "deliveryId", webhook_id as "webhookId", kind, state, tries,
    created_at as "createdAt", due_at as "dueAt", ended_at as "endedAt", last_result as "lastResult"`;
}
