/** The acts of administration: each in one transaction with the event that tells of it. */
import type postgres from "postgres";

import type { Database } from "./database.ts";
import { transaction } from "./transaction.ts";

/** On this channel every change of the register is told, to whoever listens; it carries nothing. */
export const REGISTER_CHANNEL = "tollgate_register";

/** A connection or a transaction on one. */
export type Queryable = postgres.ISql<{ bigint: bigint }>;

export type EventRow = {
  readonly tenantId: string;
  readonly eventId: string;
  /** `limit.changed`: the subject's kind, and what was done. */
  readonly kind: string;
  /** A key id, or `installation`. */
  readonly actor: string;
  readonly subject: string;
  /** What was before and what is now; never a secret. */
  readonly body: object;
};

/**
 * Changes what replicas keep in memory (tenants, keys, limits). Taking the revision first puts all such
 * changes in one order: none reads what another is about to change, and a replica that sees a
 * revision sees everything up to it.
 */
export async function changeRegister<Result>(
  db: Database,
  work: (tx: Queryable) => Promise<Result>,
): Promise<Result> {
  return await transaction(db.admin, async (tx) => {
    await tx`update installation set revision = revision + 1`;
    // Told when this commits, and not at all when it does not.
    await tx`select pg_notify(${REGISTER_CHANNEL}, '')`;
    return await work(tx);
  });
}

/** Changes one run. Runs are read by the posting itself, so no replica needs to hear of it. */
export async function changeRun<Result>(
  db: Database,
  run: { readonly tenantId: string; readonly runId: string },
  work: (tx: Queryable) => Promise<Result>,
): Promise<Result> {
  return await transaction(db.admin, async (tx) => {
    await lockRun(tx, run.tenantId, run.runId);
    return await work(tx);
  });
}

/** One change of a run, its budget included, at a time; the run may have no row yet to lock. */
export async function lockRun(tx: Queryable, tenantId: string, runId: string): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${`${tenantId} ${runId}`}::text, 0))`;
}

export async function insertEvent(tx: Queryable, event: EventRow): Promise<void> {
  await tx`
    insert into events (tenant_id, event_id, kind, actor, subject, body)
    values (${event.tenantId}, ${event.eventId}, ${event.kind}, ${event.actor}, ${event.subject},
            ${JSON.stringify(event.body)}::text::json)`;
}

export type RecordedEvent = Omit<EventRow, "tenantId" | "body"> & {
  readonly body: unknown;
  readonly happenedAt: Date;
};

/** Newest first; `after` is the last event of the page before. */
export async function listEvents(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly RecordedEvent[]> {
  return await sql<RecordedEvent[]>`
    select event_id as "eventId", kind, actor, subject, body, happened_at as "happenedAt"
    from events
    where tenant_id = ${tenantId}
      ${page.after === null ? sql`` : sql`and event_id < ${page.after}`}
    order by event_id desc
    limit ${page.rows}`;
}

/** A part of a list: at most so many rows, behind the row with this id; null begins at the beginning. */
export type Page = { readonly after: string | null; readonly rows: number };
