/** Policies: bundles that are stored for ever, and which of them is active. */
import { z } from "@hono/zod-openapi";

import { BUNDLE_BYTES_MAX } from "../core/limits-policy.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { pageOf, Paging, Tenanted, TenantOnly, time } from "./schemas.ts";

export const Source = z
  .string()
  .min(1)
  .max(BUNDLE_BYTES_MAX)
  // PostgreSQL stores no text with one, and would answer with a fault of ours.
  .refine((text) => !text.includes("\0"), "a text without NUL characters")
  .openapi({ description: "The text of a bundle, in YAML or JSON." });

export const Version = z
  .string()
  .regex(/^(?:active|pol_[0-9a-f]{8,64})$/, "a version, its beginning, or `active`")
  .openapi({ example: "pol_22dba8e2c8ea" });

const Problem = z.object({
  line: z.number().int(),
  column: z.number().int(),
  message: z.string(),
});

const Policy = z.object({
  id: z.string(),
  name: z.string(),
  version: z.string(),
  effect: z.string(),
  mode: z.string(),
  when: z.string(),
});

const Check = z
  .object({
    valid: z.boolean(),
    version: z.string().nullable(),
    policies: z.array(Policy).readonly(),
    problems: z.array(Problem).readonly(),
  })
  .openapi("PolicyCheck");

const bundleMembers = {
  version: z.string(),
  active: z.boolean(),
  description: z.string(),
  created_by: z.string(),
  created_at: time,
};

const Summary = z
  .object({ ...bundleMembers, policies: z.array(z.string()).readonly() })
  .openapi("PolicyBundleSummary");

const shownMembers = {
  ...bundleMembers,
  policies: z.array(Policy).readonly(),
  source: z.string().openapi({ description: "As it was written." }),
  content: z.unknown().openapi({ description: "What judges, defaults written out." }),
};

const Bundle = z.object(shownMembers).openapi("PolicyBundle");
const Applied = z.object({ ...shownMembers, created: z.boolean() }).openapi("AppliedPolicies");

const Activation = z
  .object({ before: z.string().nullable(), after: z.string().nullable() })
  .openapi("PolicyActivation");

const Diff = z
  .object({
    from: z.string(),
    to: z.string(),
    changes: z
      .array(
        z.object({
          id: z.string(),
          change: z.enum(["added", "removed", "changed", "moved"]),
          members: z.array(z.string()).readonly(),
          before: z.unknown(),
          after: z.unknown(),
        }),
      )
      .readonly(),
  })
  .openapi("PolicyDiff");

export function policyRoutes(api: Api): void {
  storeRoutes(api);
  readRoutes(api);
  activationRoutes(api);
}

function storeRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/policies",
      summary: "Store a bundle of policies",
      description:
        "It judges nothing until it is activated. The same content is the same version, whatever its comments.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, source: Source }),
      status: 201,
      answer: Applied,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const terms = { tenantId, source: body.source };
      const { version, created } = await administration.applyPolicies(actor, terms);
      return { ...found(await ledger.bundle(tenantId, version), "bundle"), created };
    },
  );
  define(
    api,
    {
      method: "post",
      path: "/policies/check",
      reads: true,
      summary: "Check a bundle: every mistake, with line and column",
      description: "Nothing is stored.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({ ...Tenanted, source: Source }),
      status: 200,
      answer: Check,
    },
    async ({ bindings: { ledger }, body }) => ledger.checkBundle(body.source),
  );
}

function readRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/policies",
      summary: "List the bundles that were ever stored, newest first",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Summary),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.bundles(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      method: "get",
      path: "/policies/diff",
      summary: "Compare two bundles, policy by policy",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, from: Version, to: Version }),
      body: NONE,
      status: 200,
      answer: Diff,
    },
    async ({ bindings: { ledger }, tenantId, query }) =>
      found(await ledger.bundleDiff(tenantId, { from: query.from, to: query.to }), "bundle"),
  );
  define(
    api,
    {
      method: "get",
      path: "/policies/{version}",
      summary: "Get a bundle, as it was written; `active` is the one that judges now",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ version: Version }),
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Bundle,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.bundle(tenantId, params.version), "bundle"),
  );
}

function activationRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/policies/{version}/activate",
      summary: "Have a bundle judge from now on",
      description: "It holds here at once and on every replica within two seconds.",
      scopes: ["admin"],
      tenancy: "one",
      params: z.strictObject({ version: Version }),
      query: TenantOnly,
      body: TenantOnly,
      status: 200,
      answer: Activation,
    },
    ({ bindings: { administration }, actor, tenantId, params }) =>
      administration.activatePolicies(actor, { tenantId, version: params.version }),
  );
  define(
    api,
    {
      method: "post",
      path: "/policies/deactivate",
      summary: "Have no policy judge from now on",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: TenantOnly,
      status: 200,
      answer: Activation,
    },
    ({ bindings: { administration }, actor, tenantId }) =>
      administration.deactivatePolicies(actor, tenantId),
  );
}
