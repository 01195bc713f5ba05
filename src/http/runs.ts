/** Runs and looking back: timelines, decisions and use. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import { PAGE_ROWS_MAX, USAGE_DAYS_MAX } from "../core/limits.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import {
  Attempt,
  Decision,
  PutRunAnswer,
  Run,
  RunListed,
  StoppedRun,
  Usage,
  Verdict,
} from "./look-schemas.ts";
import {
  AmountText,
  DayOrMoment,
  Id,
  Labels,
  pageOf,
  Paging,
  RunId,
  Tenanted,
  TenantOnly,
} from "./schemas.ts";

const RunParams = z.strictObject({ run: RunId });
const DAY_MS = 86_400_000;

export function runRoutes(api: Api): void {
  changeRoutes(api);
  timelineRoutes(api);
  decisionRoutes(api);
  usageRoutes(api);
}

function changeRoutes(api: Api): void {
  define(
    api,
    {
      method: "put",
      path: "/runs/{run}",
      summary: "Create a run, or change it to what is said",
      description:
        "Idempotent. `invoke` sets a budget where there is none and lowers it; only `admin` raises one. " +
        "The parent is fixed when the run is created, which its first call does too.",
      scopes: ["invoke", "admin"],
      tenancy: "one",
      params: RunParams,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        budget_usd: AmountText.optional(),
        labels: Labels.optional(),
        parent: RunId.optional(),
        derived_from: RunId.optional().openapi({
          description: "The run that this one executes anew.",
        }),
      }),
      status: 200,
      answer: PutRunAnswer,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params, body }) => {
      const { created, notice } = await administration.putRun(actor, {
        tenantId,
        runId: params.run,
        budgetUsd: body.budget_usd ?? null,
        labels: body.labels ?? null,
        parent: body.parent ?? null,
        derivedFrom: body.derived_from ?? null,
      });
      const page = { run: params.run, after: null, rows: 1 };
      const { attempts: _, next: __, ...run } = found(await ledger.run(tenantId, page), "run");
      return { ...run, created, notice };
    },
  );
  define(
    api,
    {
      method: "post",
      path: "/runs/{run}/stop",
      summary: "Stop a run and the runs below it",
      description:
        "No further attempt is admitted. The answer lists what is still in flight; the run is `stopping` as long as any " +
        "is, and then `stopped`.",
      scopes: ["admin"],
      tenancy: "one",
      params: RunParams,
      query: TenantOnly,
      body: TenantOnly,
      status: 200,
      answer: StoppedRun,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      await administration.stopRun(actor, tenantId, params.run);
      const page = { run: params.run, after: null, rows: 1 };
      const run = found(await ledger.run(tenantId, page), "run");
      const rows = PAGE_ROWS_MAX + 1;
      const inFlight = await ledger.inFlight(tenantId, { runId: params.run, rows });
      const { id, tenant, state, parent, derived_from, labels } = run;
      const { created_by, created_at, stopped_at } = run;
      return {
        id,
        tenant,
        state,
        parent,
        derived_from,
        labels,
        created_by,
        created_at,
        stopped_at,
        in_flight: inFlight.slice(0, PAGE_ROWS_MAX),
        in_flight_more: inFlight.length > PAGE_ROWS_MAX,
      };
    },
  );
}

function timelineRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/runs",
      summary: "List the runs that were named, newest first",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        ...Paging,
        search: RunId.optional().openapi({
          description: "Stands somewhere in the name, in any case.",
        }),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(RunListed),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.runs(tenantId, { ...pageFrom(query), search: query.search ?? null }),
  );
  define(
    api,
    {
      method: "get",
      path: "/runs/{run}",
      summary: "Get a run's timeline: attempts in the order of their decisions, and totals",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: RunParams,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: Run,
    },
    async ({ bindings: { ledger }, tenantId, params, query }) =>
      found(await ledger.run(tenantId, { run: params.run, ...pageFrom(query) }), "run"),
  );
}

function decisionRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/decisions",
      summary: "List decisions, newest first, of one run or of all, of one verdict or of any",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        ...Paging,
        run: RunId.optional(),
        verdict: Verdict.optional(),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(Attempt),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.decisions(tenantId, {
        run: query.run ?? null,
        verdict: query.verdict ?? null,
        ...pageFrom(query),
      }),
  );
  define(
    api,
    {
      method: "get",
      path: "/decisions/{decision}",
      summary: "Get a decision: its record, the meters it met, its ending, and why in sentences",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: z.strictObject({ decision: Id }),
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: Decision,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(await ledger.decision(tenantId, params.decision), "decision"),
  );
}

function usageRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/usage",
      summary: "Sum a tenant's use over a period: in all, by model and by day (UTC)",
      description:
        "From `from` to before `to`; the month so far if absent. An attempt counts on the day of its decision.",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({
        ...Tenanted,
        from: DayOrMoment.optional(),
        to: DayOrMoment.optional(),
      }),
      body: NONE,
      status: 200,
      answer: Usage,
    },
    async ({ bindings: { ledger }, tenantId, query }) =>
      ledger.usage(tenantId, periodOf(query.from, query.to, await ledger.now())),
  );
}

export function periodOf(
  from: string | undefined,
  to: string | undefined,
  now: Date,
): { readonly from: Date; readonly to: Date } {
  const end = to === undefined ? now : new Date(to);
  const month = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth(), 1));
  const start = from === undefined ? month : new Date(from);
  if (start.getTime() > end.getTime()) {
    throw new InputError("invalid_value", "from", "The period ends before it begins.");
  }
  if (end.getTime() - start.getTime() > USAGE_DAYS_MAX * DAY_MS) {
    const message = `A period has at most ${USAGE_DAYS_MAX} days.`;
    throw new InputError("invalid_value", "from", message);
  }
  return { from: start, to: end };
}
