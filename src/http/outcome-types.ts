/** Outcome types: what a tenant counts as a result of its runs, and what one success is worth. */
import { z } from "@hono/zod-openapi";

import { OUTCOME_TEXT_CHARS_MAX } from "../core/limits-finance.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { AmountText, pageOf, Paging, Tenanted, TenantOnly, time, usd } from "./schemas.ts";

export const OutcomeTypeName = z
  .string()
  .regex(
    /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/,
    "a letter, then at most 63 letters, digits, `_`, `.` or `-`",
  )
  .openapi({ example: "ticket_resolved" });

const TypeParams = z.strictObject({ outcome_type: OutcomeTypeName });

const typeMembers = {
  name: z.string(),
  tenant: z.string(),
  description: z.string(),
  value_usd: usd.nullable().openapi({
    description: "What one success is worth where its outcome does not say.",
  }),
  created_at: time,
};

const OutcomeType = z.object(typeMembers).openapi("OutcomeType");
const DeclaredOutcomeType = z
  .object({ ...typeMembers, created: z.boolean() })
  .openapi("DeclaredOutcomeType");

/** A paragraph for people. */
export const Paragraph = z
  .string()
  .max(OUTCOME_TEXT_CHARS_MAX)
  .regex(/^[^\0]*$/u, "text without NUL")
  .refine((text) => text.isWellFormed(), { error: "whole characters" });

export function outcomeTypeRoutes(api: Api): void {
  readRoutes(api);
  changeRoutes(api);
}

function readRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/outcome-types",
      summary: "List the declared outcome types, by name",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(OutcomeType),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.outcomeTypes(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      method: "get",
      path: "/outcome-types/{outcome_type}",
      summary: "Get an outcome type",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: TypeParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: OutcomeType,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.outcomeType(tenantId, params.outcome_type), "outcome type"),
  );
}

function changeRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/outcome-types",
      summary: "Declare an outcome type, or change what is said of it",
      description:
        "Idempotent by name; what is absent stays as it is, and a `value_usd` of null declares none. Each change " +
        "is an event.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        name: OutcomeTypeName,
        description: Paragraph.optional(),
        value_usd: AmountText.nullish(),
      }),
      status: 201,
      isRepeat: ({ created }) => !created,
      answer: DeclaredOutcomeType,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { name, description, value_usd: valueUsd } = body;
      const terms = { tenantId, name, description, valueUsd };
      const { created } = await administration.outcomeTypes.declare(actor, terms);
      return { ...found(await ledger.outcomeType(tenantId, name), "outcome type"), created };
    },
  );
  define(
    api,
    {
      method: "delete",
      path: "/outcome-types/{outcome_type}",
      summary: "Remove an outcome type: its outcomes stay, and no further one is taken",
      scopes: ["admin"],
      tenancy: "one",
      params: TypeParams,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: OutcomeType,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const before = await ledger.outcomeType(tenantId, params.outcome_type);
      await administration.outcomeTypes.remove(actor, tenantId, params.outcome_type);
      return found(before, "outcome type");
    },
  );
}
