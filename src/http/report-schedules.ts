/** Report schedules: reports that webhooks are sent whenever a period has ended. */
import { z } from "@hono/zod-openapi";

import { COHORTS } from "../core/report.ts";
import { SCHEDULE_FORMATS, SCHEDULE_PERIODS, SCHEDULED_REPORTS } from "../core/report-schedule.ts";
import { define, found, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { GroupBy, PayerQuery, ResourceQuery, TimeZone } from "./report-schemas.ts";
import { Id, Name, pageOf, Paging, Tenanted, TenantOnly, time } from "./schemas.ts";

const ScheduleId = z.strictObject({ schedule: Id });

const Query = z
  .strictObject({
    ...PayerQuery,
    ...ResourceQuery,
    group_by: GroupBy,
    cohort: z.enum(COHORTS).optional(),
  })
  .openapi({ description: "What the report's own route takes of these." });

const Reports = z.enum(SCHEDULED_REPORTS);
const Every = z.enum(SCHEDULE_PERIODS);
const Formats = z.enum(SCHEDULE_FORMATS);

const ReportSchedule = z
  .object({
    id: z.string(),
    tenant: z.string(),
    name: z.string().openapi({ description: "As each message names it." }),
    report: Reports,
    query: z.record(z.string(), z.string()).readonly().openapi({
      description: "What the report is asked by, beside its period.",
    }),
    every: Every,
    time_zone: z.string(),
    format: Formats.openapi({ description: "Of the report that goes with each message." }),
    next_from: time.openapi({ description: "Of the period that is told next." }),
    next_to: time.openapi({ description: "It is sent after this moment, once it is summed up." }),
    created_by: z.string(),
    created_at: time,
    removed_at: time.nullable().openapi({ description: "Nothing is told of it since; else null." }),
  })
  .openapi("ReportSchedule");

export function reportScheduleRoutes(api: Api): void {
  createRoute(api);
  readRoutes(api);
  changeRoutes(api);
}

function createRoute(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/report-schedules",
      summary: "Have a report sent whenever a period has ended",
      description:
        "Webhooks that want `report.ready` are told each period once, when all that was recorded in it is summed up: " +
        "first the period that runs now. `time_zone` is UTC and `format` json if absent.",
      scopes: ["admin"],
      tenancy: "one",
      params: NONE,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        name: Name,
        report: Reports,
        query: Query.optional(),
        every: Every,
        time_zone: TimeZone.optional(),
        format: Formats.optional(),
      }),
      status: 201,
      answer: ReportSchedule,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, body }) => {
      const {
        name,
        report,
        query = {},
        every,
        time_zone: timeZone = "UTC",
        format = "json",
      } = body;
      const terms = { tenantId, name, report, query, every, timeZone, format };
      const scheduleId = await administration.reportSchedules.create(actor, terms);
      return found(await ledger.reportSchedule({ tenantId, scheduleId }), "report schedule");
    },
  );
}

function readRoutes(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/report-schedules",
      summary: "List the report schedules",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: NONE,
      query: z.strictObject({ ...Tenanted, ...Paging }),
      body: NONE,
      status: 200,
      answer: pageOf(ReportSchedule),
    },
    ({ bindings: { ledger }, tenantId, query }) =>
      ledger.reportSchedules(tenantId, pageFrom(query)),
  );
  define(
    api,
    {
      method: "get",
      path: "/report-schedules/{schedule}",
      summary: "Get a report schedule, also a removed one",
      scopes: ["report", "admin"],
      tenancy: "one",
      params: ScheduleId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: ReportSchedule,
    },
    async ({ bindings: { ledger }, tenantId, params }) =>
      found(
        await ledger.reportSchedule({ tenantId, scheduleId: params.schedule }),
        "report schedule",
      ),
  );
}

function changeRoutes(api: Api): void {
  define(
    api,
    {
      method: "patch",
      path: "/report-schedules/{schedule}",
      summary: "Change a report schedule",
      description:
        "What is absent stays as it is; a `query` is replaced whole. Of other periods, or in another time zone, it " +
        "begins anew with the one that runs now.",
      scopes: ["admin"],
      tenancy: "one",
      params: ScheduleId,
      query: TenantOnly,
      body: z.strictObject({
        ...Tenanted,
        name: Name.optional(),
        query: Query.optional(),
        every: Every.optional(),
        time_zone: TimeZone.optional(),
        format: Formats.optional(),
      }),
      status: 200,
      answer: ReportSchedule,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params, body }) => {
      const ref = { tenantId, scheduleId: params.schedule };
      const { name, query, every, time_zone: timeZone, format } = body;
      await administration.reportSchedules.change(actor, ref, {
        ...(name === undefined ? {} : { name }),
        ...(query === undefined ? {} : { query }),
        ...(every === undefined ? {} : { every }),
        ...(timeZone === undefined ? {} : { timeZone }),
        ...(format === undefined ? {} : { format }),
      });
      return found(await ledger.reportSchedule(ref), "report schedule");
    },
  );
  define(
    api,
    {
      method: "delete",
      path: "/report-schedules/{schedule}",
      summary: "Remove a report schedule: nothing more is told of it",
      scopes: ["admin"],
      tenancy: "one",
      params: ScheduleId,
      query: TenantOnly,
      body: NONE,
      status: 200,
      answer: ReportSchedule,
    },
    async ({ bindings: { administration, ledger }, actor, tenantId, params }) => {
      const ref = { tenantId, scheduleId: params.schedule };
      await administration.reportSchedules.remove(actor, ref);
      return found(await ledger.reportSchedule(ref), "report schedule");
    },
  );
}
