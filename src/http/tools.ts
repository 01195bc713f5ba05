/** Tools: what running one twice does, what it costs, and where its arguments name the operation. */
import { z } from "@hono/zod-openapi";

import { NAME_LENGTH_MAX, POINTERS_MAX } from "../core/limits.ts";
import { EFFECT_CLASSES } from "../core/operation.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { AmountText, pageOf, Paging, RunId, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

/** What `Tollgate-Tool` can carry, so that no tool is out of reach of a header. */
export const ToolName = RunId.max(NAME_LENGTH_MAX).openapi({ example: "payments/refund" });

const ToolParams = z.strictObject({ tool: ToolName });

export const EffectClasses = z.enum(EFFECT_CLASSES).openapi({
  description:
    "What running it twice does: nothing (`pure`), what once does (`idempotent`), the same because its " +
    "receiver knows a key (`keyed`), or it happens twice (`effectful`).",
});

const Operation = z.strictObject({
  type: z.string().max(64),
  pointers: z.array(z.string().max(256)).min(1).max(POINTERS_MAX).readonly(),
  mode: z.enum(["observe", "enforce"]),
});

const Tool = z
  .object({
    name: z.string(),
    tenant: z.string(),
    effect: EffectClasses,
    price_usd: usd.nullable(),
    operation: Operation.nullable(),
    created_at: time,
  })
  .openapi("Tool");

export function toolRoutes(api: Api): void {
  readRoutes(api);
  changeRoutes(api);
}

function readRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/tools",
      summary: "List the declared tools, by name",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Tool),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.tools(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      method: "get",
      path: "/tools/{tool}",
      summary: "Get a tool's declaration",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Tool,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.tool(tenantId, params.tool), "tool"),
  );
}

function changeRoutes(api: Api): void {
  define(
    api,
    {
      method: "put",
      path: "/tools/{tool}",
      summary: "Declare a tool, whole",
      description:
        "What is not said is not kept. A tool that nobody declared is `effectful`, and no caller may lower that. " +
        "`operation` says by JSON pointers (RFC 6901) where the arguments name the business operation: `observe` " +
        "records what it would claim, `enforce` claims it. Each change is an event.",
      scopes: ["admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        effect: EffectClasses,
        price_usd: AmountText.optional(),
        operation: Operation.optional(),
      }),
      status: 200,
      answer: Tool,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params, body }) => {
      await administration.putTool(actor, {
        tenantId,
        name: params.tool,
        effectClass: body.effect,
        priceUsd: body.price_usd ?? null,
        extractor: body.operation ?? null,
      });
      return found(await ledger.tool(tenantId, params.tool), "tool");
    },
  );
  define(
    api,
    {
      method: "delete",
      path: "/tools/{tool}",
      summary: "Remove a tool's declaration: it is effectful and without a price from then on",
      scopes: ["admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Tool,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const before = found(await ledger.tool(tenantId, params.tool), "tool");
      await administration.removeTool(actor, tenantId, params.tool);
      return before;
    },
  );
}
