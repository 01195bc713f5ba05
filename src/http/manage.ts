/** Tenants, keys and events. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import { costFromUsd } from "../core/money.ts";
import { ALERT_PERCENTS_MAX } from "../core/limits-finance.ts";
import { DERIVED_ATTEMPTS_MAX, RETRY_WINDOW_MS } from "../core/limits.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  AmountText,
  Event,
  Id,
  IssuedKey,
  Key,
  Labels,
  Mode,
  Moment,
  Name,
  pageOf,
  Paging,
  Scopes,
  Self,
  Tenant,
  Tenanted,
  TenantOnly,
  ToolGlobs,
} from "./schemas.ts";

const KeyId = z.strictObject({ key: Id });

export function manageRoutes(api: Api): void {
  selfRoute(api);
  tenantRoutes(api);
  oneTenantRoutes(api);
  keyRoutes(api);
  keyChangeRoutes(api);
  eventRoutes(api);
}

function selfRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/me",
      summary: "Say whose key this is, and what it may",
      description:
        "Any key may ask. The installation's key belongs to no tenant and may manage all.",
      scopes: [],
      tenancy: "installation",
      params: NONE,
      query: NONE,
      body: NONE,
      status: 200,
      answer: Self,
    },
    async ({ bindings: { ledger }, actor }) => {
      if ("installation" in actor) {
        return { kind: "installation", key: null, tenant: null, scopes: [] } as const;
      }
      const { keyId, tenantId, scopes } = actor;
      const { id, name } = found(await ledger.tenant(tenantId), "tenant");
      return { kind: "key", key: keyId, tenant: { id, name }, scopes } as const;
    },
  );
}

function tenantRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/tenants",
      summary: "Create a tenant",
      description: "Only the installation's administration key may.",
      scopes: ["admin"],
      tenancy: "installation",
      params: NONE,
      query: NONE,
      body: z.strictObject({ name: Name, mode: Mode.optional() }),
      status: 201,
      answer: Tenant,
    },
    async ({ bindings: { administration, ledger }, actor, body }) => {
      const terms = { name: body.name, mode: body.mode ?? "strict" };
      const { tenantId } = await administration.createTenant(actor, terms);
      return found(await ledger.tenant(tenantId), "tenant");
    },
  );
  define(
    api,
    {
      method: "get",
      path: "/tenants",
      summary: "List tenants: for a key, its own",
      scopes: ["report", "admin"],
      tenancy: "installation",
      params: NONE,
      query: z.strictObject(Paging),
      body: NONE,
      status: 200,
      answer: pageOf(Tenant),
    },
    async ({ bindings: { ledger }, actor, query }) => {
      if ("installation" in actor) return ledger.tenants(pageFrom(query));
      return { data: [found(await ledger.tenant(actor.tenantId), "tenant")], next: null };
    },
  );
}

const AlertPercents = z
  .array(z.int().min(1).max(100))
  .max(ALERT_PERCENTS_MAX)
  .refine((percents) => new Set(percents).size === percents.length, { error: "each once" })
  .transform((percents) => percents.toSorted((a, b) => a - b));

function oneTenantRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/tenants/{tenant}",
      summary: "Get a tenant, by id or name",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ tenant: Name }),
      query: NONE,
      body: NONE,
      status: 200,
      answer: Tenant,
    },
    async ({ bindings: { ledger }, tenantId }) => found(await ledger.tenant(tenantId), "tenant"),
  );
  define(
    api,
    {
      method: "patch",
      path: "/tenants/{tenant}",
      summary: "Change a tenant's mode, guards, alerts and price of an approval",
      description:
        "`strict` refuses what cannot be priced and bounded; `tolerant` lets it pass, recorded as unpriced. " +
        "`derived_attempts_max`: attempts of one request whose step nobody named, each within " +
        `${RETRY_WINDOW_MS / 60_000} minutes of a failure. ` +
        "`run_share_percent`: the part of a daily limit that one named run may take. Null: no guard. " +
        "`alert_percents`: at which parts of a budget webhooks are told; none, where it is empty. " +
        "`usd_per_approval`: what a question to people costs its run once somebody has answered it, more than 0; null: it is not counted.",
      scopes: ["admin"],
      tenancy: "one",
      params: z.strictObject({ tenant: Name }),
      query: NONE,
      body: z.strictObject({
        mode: Mode.optional(),
        derived_attempts_max: z.int().min(1).max(DERIVED_ATTEMPTS_MAX).nullable().optional(),
        run_share_percent: z.int().min(1).max(100).nullable().optional(),
        usd_per_approval: AmountText.nullable().optional(),
        alert_percents: AlertPercents.optional(),
      }),
      status: 200,
      answer: Tenant,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { mode, derived_attempts_max: attempts, run_share_percent: share } = body;
      const { usd_per_approval: approval } = body;
      const alertPercents = body.alert_percents;
      await administration.changeTenant(actor, {
        tenantId,
        ...(mode === undefined ? {} : { mode }),
        ...(attempts === undefined ? {} : { derivedAttemptsMax: attempts }),
        ...(share === undefined ? {} : { runSharePercent: share }),
        ...(approval === undefined ? {} : { approvalPicousd: approvalCost(approval) }),
        ...(alertPercents === undefined ? {} : { alertPercents }),
      });
      return found(await ledger.tenant(tenantId), "tenant");
    },
  );
}

function approvalCost(usd: string | null): string | null {
  if (usd === null) return null;
  const cost = costFromUsd(usd, "usd_per_approval");
  if (cost > 0n) return String(cost);
  const message = "'usd_per_approval' is more than 0: null counts no answers.";
  throw new InputError("invalid_value", "usd_per_approval", message);
}

function keyRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/keys",
      summary: "Create a key",
      description:
        "The key is in this answer and in no other. Its scopes and tools are never wider than its creator's. `tools` names those behind the tool door that it may call, by globs; null or absent: all. The label `role` is its role among approvers.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        name: Name,
        scopes: Scopes,
        labels: Labels.optional(),
        tools: ToolGlobs.nullable().optional(),
        expires_at: Moment.nullable().optional(),
      }),
      status: 201,
      answer: IssuedKey,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { name, scopes, labels = {}, tools = null } = body;
      const expiresAt = momentOrNull(body.expires_at);
      const terms = { tenantId, name, scopes, labels, tools, expiresAt };
      const issued = await administration.createKey(actor, terms);
      return { ...found(await ledger.key(tenantId, issued.keyId), "key"), key: issued.text };
    },
  );
  define(
    api,
    {
      method: "get",
      path: "/keys",
      summary: "List keys, revoked ones included",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Key),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.keys(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      method: "get",
      path: "/keys/{key}",
      summary: "Get a key, without its secret",
      scopes: ["admin"],
      tenancy: "one",
      params: KeyId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Key,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.key(tenantId, params.key), "key"),
  );
}

function keyChangeRoutes(api: Api): void {
  define(
    api,
    {
      method: "delete",
      path: "/keys/{key}",
      summary: "Revoke a key",
      description: "It holds here at once and on every replica within two seconds.",
      scopes: ["admin"],
      tenancy: "one",
      params: KeyId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Key,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      await administration.revokeKey(actor, tenantId, params.key);
      return found(await ledger.key(tenantId, params.key), "key");
    },
  );
  define(
    api,
    {
      method: "post",
      path: "/keys/{key}/rotate",
      summary: "Make a key that replaces this one",
      description: "Both work until the old one is revoked or expires.",
      scopes: ["admin"],
      tenancy: "one",
      params: KeyId,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, expires_at: Moment.nullable().optional() }),
      status: 201,
      answer: IssuedKey,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params, body }) => {
      const key = { tenantId, keyId: params.key, expiresAt: momentOrNull(body.expires_at) };
      const issued = await administration.rotateKey(actor, key);
      return { ...found(await ledger.key(tenantId, issued.keyId), "key"), key: issued.text };
    },
  );
}

function eventRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/events",
      summary: "List the acts of administration, newest first",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Event),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.events(tenantId, pageFrom(query)),
  );
}

function momentOrNull(text: string | null | undefined): Date | null {
  return text === null || text === undefined ? null : new Date(text);
}
