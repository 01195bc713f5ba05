/** Periods that are closed, what has changed of them since, and whether the ledger adds up. */
import { z } from "@hono/zod-openapi";

import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { Closing, Conservation, Drift, TimeZone } from "./report-schemas.ts";
import { DayOrMoment, Id, pageOf, Paging, Tenanted, TenantOnly } from "./schemas.ts";

export function closingRoutes(api: Api): void {
  closeRoutes(api);
  checkRoutes(api);
}

function closeRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/closings",
      summary: "Close a period: its reports stay as they are, whatever comes later",
      description:
        "From an hour after its end, once nothing that was decided in it is open. All that was recorded before is in it; what comes later shows in its drift.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        from: DayOrMoment,
        to: DayOrMoment.openapi({ description: "The day after the last." }),
        time_zone: TimeZone.optional(),
      }),
      status: 201,
      answer: Closing,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const { from, to, time_zone: timeZone = "UTC" } = body;
      const period = await ledger.reports.period({ from, to, named: null, timeZone });
      const { asked } = await ledger.reports.rollUpTenant(tenantId);
      const terms = { tenantId, ...period, asked };
      const { closingId } = await administration.closePeriod(actor, terms);
      return found(await ledger.closing(tenantId, closingId), "closing");
    },
  );
  define(
    api,
    {
      method: "get",
      path: "/closings",
      summary: "List the closings, newest first",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(Closing),
    },
    ({ bindings: { ledger }, tenantId, query }) => ledger.closings(tenantId, pageFrom(query)),
  );
}

function checkRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/closings/{closing}/drift",
      summary: "Say what has changed of a closed period since, by outcome type",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ closing: Id }),
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Drift,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.drift(tenantId, params.closing), "closing"),
  );
  define(
    api,
    {
      method: "get",
      path: "/ledger/check",
      summary: "Add up a tenant's ledger in every way there is, and say where it differs",
      description:
        "Outcomes and what is not attributed, cells, runs and meters are what was settled, to the pico-dollar.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Conservation,
    },
    ({ bindings: { ledger }, tenantId }) => ledger.conservation(tenantId),
  );
}
