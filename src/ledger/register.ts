/** What is set up, as the API shows it: tenants, keys, limits with what they hold now, events. */
import { usdOrNull } from "../core/money.ts";
import type { Database } from "../store/database.ts";
import { type Page, listEvents } from "../store/events.ts";
import { type KeyRecord, findKey, listKeys } from "../store/keys.ts";
import { type LimitRecord, findLimit, listLimits } from "../store/limits.ts";
import { type TenantRecord, findTenant, listTenants } from "../store/tenants.ts";
import { amountOf, timeOrNull, type Amount } from "./amounts.ts";
import { pageOf, type Paged } from "./paged.ts";

export type TenantView = {
  readonly id: string;
  readonly name: string;
  readonly mode: "strict" | "tolerant";
  /** Guards against retry storms; null: none. */
  readonly derived_attempts_max: number | null;
  readonly run_share_percent: number | null;
  /** What an answered question costs; null: it is not counted. */
  readonly usd_per_approval: string | null;
  /** At which parts of a budget webhooks are told. */
  readonly alert_percents: readonly number[];
  readonly created_at: string;
};

export type KeyView = {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly ("invoke" | "report" | "approve" | "admin")[];
  readonly labels: Readonly<Record<string, string>>;
  /** Globs of the tools that it may call; null: all that its tenant may. */
  readonly tools: readonly string[] | null;
  readonly active: boolean;
  readonly created_by: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly rotated_from: string | null;
};

export type LimitView = {
  readonly id: string;
  readonly tenant: string;
  readonly scope: { readonly kind: LimitRecord["scopeKind"]; readonly id: string | null };
  /** Of a retry budget; null: all together, or no retry budget. */
  readonly resource: string | null;
  readonly unit: LimitRecord["unit"];
  readonly window: LimitRecord["window"];
  readonly limit: Amount;
  readonly mode: "enforce" | "shadow";
  readonly on_exceed: "refuse" | "clamp";
  readonly time_zone: string;
  readonly created_at: string;
  readonly removed_at: string | null;
  /** Whose figures these are; null for a limit that counts each of many apart, until one is named. */
  readonly subject: string | null;
  readonly committed: Amount | null;
  readonly reserved: Amount | null;
  readonly remaining: Amount | null;
  readonly resets_at: string | null;
};

export type EventView = {
  readonly id: string;
  readonly kind: string;
  readonly actor: string;
  readonly subject: string;
  readonly body: unknown;
  readonly happened_at: string;
};

export async function tenantOf(db: Database, idOrName: string): Promise<TenantView | null> {
  const row = await findTenant(db.admin, idOrName);
  return row === null ? null : tenantView(row);
}

export async function tenantsOf(db: Database, page: Page): Promise<Paged<TenantView>> {
  const rows = await listTenants(db.admin, oneMore(page));
  return pageOf(rows.map(tenantView), page, (tenant) => tenant.id);
}

export async function keyOf(db: Database, tenantId: string, id: string): Promise<KeyView | null> {
  const row = await findKey(db.admin, tenantId, id);
  return row === null ? null : keyView(tenantId, row);
}

export async function keysOf(db: Database, tenantId: string, page: Page): Promise<Paged<KeyView>> {
  const rows = await listKeys(db.admin, tenantId, oneMore(page));
  return pageOf(
    rows.map((row) => keyView(tenantId, row)),
    page,
    (key) => key.id,
  );
}

export async function limitOf(
  db: Database,
  limit: { readonly tenantId: string; readonly limitId: string },
  subject: string | null,
): Promise<LimitView | null> {
  const row = await findLimit(db.admin, limit, subject);
  return row === null ? null : limitView(limit.tenantId, row);
}

export async function limitsOf(
  db: Database,
  tenantId: string,
  page: Page & { readonly run: string | null; readonly subject: string | null },
): Promise<Paged<LimitView>> {
  const rows = await listLimits(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => limitView(tenantId, row)),
    page,
    (limit) => limit.id,
  );
}

export async function eventsOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<EventView>> {
  const rows = await listEvents(db.admin, tenantId, oneMore(page));
  const views = rows.map((row) => ({
    id: row.eventId,
    kind: row.kind,
    actor: row.actor,
    subject: row.subject,
    body: row.body,
    happened_at: row.happenedAt.toISOString(),
  }));
  return pageOf(views, page, (event) => event.id);
}

function oneMore(page: Page): Page {
  return { after: page.after, rows: page.rows + 1 };
}

function tenantView(row: TenantRecord): TenantView {
  return {
    id: row.tenantId,
    name: row.name,
    mode: row.mode,
    derived_attempts_max: row.derivedAttemptsMax,
    run_share_percent: row.runSharePercent,
    usd_per_approval: usdOrNull(row.approvalPicousd),
    alert_percents: row.alertPercents,
    created_at: row.createdAt.toISOString(),
  };
}

function keyView(tenantId: string, row: KeyRecord): KeyView {
  return {
    id: row.keyId,
    tenant: tenantId,
    name: row.name,
    scopes: row.scopes,
    labels: row.labels,
    tools: row.tools,
    active: row.active,
    created_by: row.createdBy,
    created_at: row.createdAt.toISOString(),
    expires_at: timeOrNull(row.expiresAt),
    revoked_at: timeOrNull(row.revokedAt),
    rotated_from: row.rotatedFrom,
  };
}

function limitView(tenantId: string, row: LimitRecord): LimitView {
  const { unit, committed, reserved } = row;
  return {
    id: row.limitId,
    tenant: tenantId,
    scope: { kind: row.scopeKind, id: row.scopeId === "" ? null : row.scopeId },
    resource: row.resource === "" ? null : row.resource,
    unit,
    window: row.window,
    limit: amountOf(unit, row.amount),
    mode: row.mode,
    on_exceed: row.onExceed,
    time_zone: row.timeZone,
    created_at: row.createdAt.toISOString(),
    removed_at: timeOrNull(row.removedAt),
    subject: row.subject,
    committed: committed === null ? null : amountOf(unit, committed),
    reserved: reserved === null ? null : amountOf(unit, reserved),
    remaining:
      committed === null || reserved === null
        ? null
        : amountOf(unit, remainingOf(row.amount, committed, reserved)),
    resets_at: timeOrNull(row.resetsAt),
  };
}

/** What can still be reserved; a limit lowered below what is held leaves nothing, not less. */
export function remainingOf(amount: string, committed: string, reserved: string): bigint {
  const left = BigInt(amount) - BigInt(committed) - BigInt(reserved);
  return left > 0n ? left : 0n;
}
