/** Limits: budgets, quotas, rates and concurrency, with what they hold. */
import { z } from "@hono/zod-openapi";

import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  AmountText,
  ChangedLimit,
  Customer,
  Id,
  Limit,
  LimitModes,
  ModelName,
  Name,
  OnExceed,
  pageOf,
  Paging,
  RunId,
  ScopeKinds,
  Tenanted,
  TenantOnly,
  Units,
  Windows,
} from "./schemas.ts";

const LimitId = z.strictObject({ limit: Id });

export function limitRoutes(api: Api): void {
  createRoute(api);
  listRoutes(api);
  changeRoutes(api);
}

function createRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/limits",
      summary: "Create a limit",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        scope: z.strictObject({ kind: ScopeKinds, id: ModelName.optional() }),
        resource: ModelName.optional().openapi({
          description:
            "With unit `attempts`: the tool, or `model:<name>`, whose retries count; `*` counts each apart.",
        }),
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
        resource: body.resource ?? null,
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
}

function listRoutes(api: Api): void {
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

function changeRoutes(api: Api): void {
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
      query: TenantOnly,
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
      query: TenantOnly,
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
