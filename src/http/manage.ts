/** Tenants, keys, limits and events: what is set up. */
import { z } from "@hono/zod-openapi";

import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  AmountText,
  ChangedLimit,
  Customer,
  Event,
  Id,
  IssuedKey,
  Key,
  Limit,
  LimitModes,
  Mode,
  ModelName,
  Moment,
  Name,
  OnExceed,
  pageOf,
  Paging,
  RunId,
  ScopeKinds,
  Scopes,
  Tenant,
  Tenanted,
  Units,
  Windows,
} from "./schemas.ts";

const KeyId = z.strictObject({ key: Id });
const LimitId = z.strictObject({ limit: Id });
const TenantQuery = z.strictObject(Tenanted);

export function manageRoutes(api: Api): void {
  tenantRoutes(api);
  keyRoutes(api);
  keyChangeRoutes(api);
  limitRoutes(api);
  limitChangeRoutes(api);
  eventRoutes(api);
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
      summary: "Change a tenant's mode",
      description:
        "`strict` refuses what cannot be priced and bounded; `tolerant` lets it pass, recorded as unpriced.",
      scopes: ["admin"],
      tenancy: "one",
      params: z.strictObject({ tenant: Name }),
      query: NONE,
      body: z.strictObject({ mode: Mode }),
      status: 200,
      answer: Tenant,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      await administration.changeTenant(actor, { tenantId, mode: body.mode });
      return found(await ledger.tenant(tenantId), "tenant");
    },
  );
}

function keyRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/keys",
      summary: "Create a key",
      description:
        "The key is in this answer and in no other. Its scopes are never wider than its creator's.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantQuery,
      body: z.strictObject({
        ...Tenanted,
        name: Name,
        scopes: Scopes,
        expires_at: Moment.nullable().optional(),
      }),
      status: 201,
      answer: IssuedKey,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { name, scopes } = body;
      const expiresAt = momentOrNull(body.expires_at);
      const issued = await administration.createKey(actor, { tenantId, name, scopes, expiresAt });
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
      query: TenantQuery,
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
      query: TenantQuery,
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
      query: TenantQuery,
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

function limitRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/limits",
      summary: "Create a limit",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantQuery,
      body: z.strictObject({
        ...Tenanted,
        scope: z.strictObject({ kind: ScopeKinds, id: ModelName.optional() }),
        unit: Units,
        window: Windows,
        limit: AmountText,
        mode: LimitModes.optional(),
        on_exceed: OnExceed.optional(),
        time_zone: Name.optional(),
      }),
      status: 201,
      answer: Limit,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { scope, unit, window, limit, mode, on_exceed: onExceed, time_zone: timeZone } = body;
      const { limitId } = await administration.createLimit(actor, {
        tenantId,
        scope: { kind: scope.kind, id: scope.id ?? null },
        unit,
        window,
        amount: limit,
        mode: mode ?? "enforce",
        onExceed: onExceed ?? "refuse",
        timeZone: timeZone ?? "UTC",
      });
      return found(await ledger.limit({ tenantId, limitId }, null), "limit");
    },
  );
  define(
    api,
    {
      method: "get",
      path: "/limits",
      summary: "List limits with what they hold in their current window",
      description:
        "Limits of runs are listed with `run`. A limit on each run or customer counts each apart: `subject` names one.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        ...Paging,
        run: RunId.optional(),
        subject: Customer.optional(),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(Limit),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.limits(tenantId, {
        ...pageFrom(query),
        run: query.run ?? null,
        subject: query.subject ?? null,
      }),
  );
  define(
    api,
    {
      method: "get",
      path: "/limits/{limit}",
      summary: "Get a limit with what it holds in its current window",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: LimitId,
      query: z.strictObject({ ...Tenanted, subject: Customer.optional() }),
      body: NONE,
      status: 200,
      answer: Limit,
    },
    async ({ bindings: { ledger }, tenantId, params, query }) =>
      found(
        await ledger.limit({ tenantId, limitId: params.limit }, query.subject ?? null),
        "limit",
      ),
  );
}

function limitChangeRoutes(api: Api): void {
  define(
    api,
    {
      method: "patch",
      path: "/limits/{limit}",
      summary: "Change a limit",
      description:
        "It may be lowered below what is held: then nothing more is admitted, and `notice` says so.",
      scopes: ["admin"],
      tenancy: "one",
      params: LimitId,
      query: TenantQuery,
      body: z.strictObject({
        ...Tenanted,
        limit: AmountText.optional(),
        mode: LimitModes.optional(),
        on_exceed: OnExceed.optional(),
      }),
      status: 200,
      answer: ChangedLimit,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params, body }) => {
      const { notice } = await administration.changeLimit(actor, {
        tenantId,
        limitId: params.limit,
        amount: body.limit ?? null,
        mode: body.mode ?? null,
        onExceed: body.on_exceed ?? null,
      });
      const limit = await ledger.limit({ tenantId, limitId: params.limit }, null);
      return { ...found(limit, "limit"), notice };
    },
  );
  define(
    api,
    {
      method: "delete",
      path: "/limits/{limit}",
      summary: "Remove a limit",
      scopes: ["admin"],
      tenancy: "one",
      params: LimitId,
      query: TenantQuery,
      body: NONE,
      status: 200,
      answer: Limit,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      await administration.removeLimit(actor, tenantId, params.limit);
      return found(await ledger.limit({ tenantId, limitId: params.limit }, null), "limit");
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
