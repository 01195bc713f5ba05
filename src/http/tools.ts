/** Tools: what is declared of each, what its server says that it is, and whether that was approved. */
import { z } from "@hono/zod-openapi";

import { FINDING_NAMES } from "../core/detect.ts";
import { APPROVERS_MAX, CONTEXT_FIELD_BYTES_MAX, POINTERS_MAX } from "../core/limits.ts";
import { OUTPUT_ROWS_MAX, SERVER_ANSWER_BYTES_MAX } from "../core/limits-tools.ts";
import { EFFECT_CLASSES } from "../core/operation.ts";
import { ANY_OUTPUT, TOOL_STATES, type ToolOutput, type ToolsOf } from "../core/tool.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import type { Env } from "./env.ts";
import {
  AmountText,
  anyJson,
  line,
  pageOf,
  Paging,
  RunId,
  Tenanted,
  TenantOnly,
  time,
  usd,
} from "./schemas.ts";

/** What `Tollgate-Tool` can carry, so that no tool is out of reach of a header. */
export const ToolName = RunId.openapi({ example: "payments/refund" });

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

export const ToolStates = z.enum(TOOL_STATES).openapi({
  description:
    "Its server lists it as it was approved (`callable`), as something else (`quarantined`), before any definition of " +
    "it was approved (`undeclared`; `observed` where it may be called all the same), no more, or is configured no more " +
    "(`not_listed`); or callers run it themselves (`own`).",
});

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "a SHA-256, as 64 lowercase hex digits");

const Findings = z
  .array(z.enum(FINDING_NAMES))
  .max(FINDING_NAMES.length)
  .refine((names) => new Set(names).size === names.length, { error: "each once" })
  .readonly();

const Approval = z.strictObject({
  quorum: z.int().min(1).max(APPROVERS_MAX),
  role: line(CONTEXT_FIELD_BYTES_MAX).optional(),
});

const Output = z.strictObject({
  bytes_max: z.int().min(1).max(SERVER_ANSWER_BYTES_MAX).optional(),
  rows_max: z.int().min(1).max(OUTPUT_ROWS_MAX).optional(),
  block: Findings.optional(),
  redact: Findings.optional(),
});

const Tool = z
  .object({
    name: z.string(),
    tenant: z.string(),
    state: ToolStates,
    listed: z
      .object({ sha256: z.string(), since: time })
      .nullable()
      .openapi({ description: "As its server lists it now; null: no server does." }),
    effect: EffectClasses.nullable().openapi({
      description: "Null: nobody declared it. It is judged as `effectful`.",
    }),
    price_usd: usd.nullable(),
    operation: Operation.nullable(),
    definition: z.string().nullable().openapi({
      description: "SHA-256 of the definition that may be called behind the tool door.",
    }),
    approval: z.object({ quorum: z.int(), role: z.string().nullable() }).nullable(),
    output: z.object({
      bytes_max: z.int().nullable(),
      rows_max: z.int().nullable(),
      block: z.array(z.string()).readonly(),
      redact: z.array(z.string()).readonly(),
    }),
    trusted: z.boolean().openapi({
      description: "What it answers does not taint its run.",
    }),
    created_at: time.nullable(),
  })
  .openapi("Tool");

const Definitions = z
  .object({
    name: z.string(),
    tenant: z.string(),
    state: ToolStates,
    approved: z.string().nullable(),
    current: z.string().nullable(),
    difference: z
      .object({
        lines: z
          .array(
            z.object({
              path: z.string(),
              before: z.string().nullable(),
              after: z.string().nullable(),
            }),
          )
          .readonly(),
        more: z.int(),
      })
      .nullable()
      .openapi({
        description:
          "Where the current one differs from the approved one: JSON pointers, and the values as JSON, null where there " +
          "is none. Long values are cut around the change, with marks. `more` counts what is left out.",
      }),
    data: z
      .array(
        z.object({
          sha256: z.string(),
          content: anyJson("All that the server said of it."),
          is_current: z.boolean(),
          is_approved: z.boolean(),
          first_seen_at: time,
        }),
      )
      .readonly(),
    more: z.int().openapi({ description: "Older definitions that are not shown." }),
  })
  .openapi("ToolDefinitions");

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
      summary: "List the tools that are declared or that servers list, by name",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging, state: ToolStates.optional() }),
      body: NONE,
      status: 200,
      answer: pageOf(Tool),
    },
    ({ bindings, tenantId, query }) =>
      bindings.ledger.tools(of(bindings, tenantId), {
        ...pageFrom(query),
        state: query.state ?? null,
      }),
  );
  define(
    api,
    {
      method: "get",
      path: "/tools/{tool}",
      summary: "Get a tool: what is declared of it, and how its server lists it",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Tool,
    },
    async ({ bindings, tenantId, params }) => toolOf(bindings, tenantId, params.tool),
  );
  define(
    api,
    {
      method: "get",
      path: "/tools/{tool}/definitions",
      summary:
        "Show what a server said that a tool is: every definition that was seen, the newest first",
      description:
        "None is ever removed. Of many only the newest are shown, with the approved and the current one. A tool that " +
        "callers run themselves has none (404).",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Definitions,
    },
    async ({ bindings, tenantId, params }) => {
      const { ledger } = bindings;
      const definitions = await ledger.toolDefinitions(of(bindings, tenantId), params.tool);
      return found(definitions, "tool of a server");
    },
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
        "records what it would claim, `enforce` claims it. `definition` approves what the tool's server said that it is, " +
        "by a SHA-256 of its definitions; a tool that is listed as anything else is not called. `approval` has people " +
        "approve each call. `output` says what of its results passes: so many bytes and rows, and what findings keep it " +
        "back (`block`) or are replaced in it (`redact`). Each change is an event.",
      scopes: ["admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        effect: EffectClasses,
        price_usd: AmountText.optional(),
        operation: Operation.optional(),
        definition: Sha256.optional(),
        approval: Approval.optional(),
        output: Output.optional(),
        trusted: z.boolean().optional(),
      }),
      status: 200,
      answer: Tool,
    },
    async ({ bindings, actor, tenantId, params, body }) => {
      await bindings.administration.putTool(actor, {
        tenantId,
        name: params.tool,
        effectClass: body.effect,
        priceUsd: body.price_usd ?? null,
        extractor: body.operation ?? null,
        definition: body.definition ?? null,
        approval:
          body.approval === undefined
            ? null
            : { quorum: body.approval.quorum, role: body.approval.role ?? null },
        output: outputOf(body.output),
        isTrusted: body.trusted ?? false,
      });
      return toolOf(bindings, tenantId, params.tool);
    },
  );
  define(
    api,
    {
      method: "delete",
      path: "/tools/{tool}",
      summary:
        "Remove a tool's declaration: it is effectful and without a price from then on, and no server's tool",
      scopes: ["admin"],
      tenancy: "one",
      params: ToolParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Tool,
    },
    async ({ bindings, actor, tenantId, params }) => {
      const before = await toolOf(bindings, tenantId, params.tool);
      await bindings.administration.removeTool(actor, tenantId, params.tool);
      return before;
    },
  );
}

type Bindings = Pick<Env["Bindings"], "gateway" | "ledger">;

/** Whose tools, and which servers of the configuration are theirs: of another one nothing is listed. */
function of({ gateway }: Bindings, tenantId: string): ToolsOf {
  return { tenantId, servers: gateway.authority.servers(tenantId) };
}

async function toolOf(bindings: Bindings, tenantId: string, name: string) {
  return found(await bindings.ledger.tool(of(bindings, tenantId), name), "tool");
}

function outputOf(body: z.infer<typeof Output> | undefined): ToolOutput {
  if (body === undefined) return ANY_OUTPUT;
  const { bytes_max: bytesMax, rows_max: rowsMax, block, redact } = body;
  return {
    bytesMax: bytesMax ?? null,
    rowsMax: rowsMax ?? null,
    block: block ?? [],
    redact: redact ?? [],
  };
}
