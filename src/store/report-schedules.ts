/** Reports that are sent when a period has ended: what is asked for, which period is next, and telling it once. */
import type {
  ScheduledReport,
  ScheduleFormat,
  SchedulePeriod,
  ScheduleQuery,
} from "../core/report-schedule.ts";
import type { Page, Queryable } from "./events.ts";

export type ScheduleRef = { readonly tenantId: string; readonly scheduleId: string };

export type ScheduleTerms = {
  readonly name: string;
  readonly query: ScheduleQuery;
  readonly every: SchedulePeriod;
  readonly timeZone: string;
  readonly format: ScheduleFormat;
};

export type Schedule = ScheduleTerms & { readonly report: ScheduledReport };

export type ScheduleRecord = Schedule & {
  readonly scheduleId: string;
  /** The period that is told next. */
  readonly beginsAt: Date;
  readonly endsAt: Date;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly removedAt: Date | null;
};

/** A period that has ended, and is this replica's to tell for a while. */
export type DueReport = ScheduleRef &
  Schedule & {
    readonly from: Date;
    readonly to: Date;
    /** Where the first period began that is told no more, because too many ended at once; else null. */
    readonly skippedFrom: Date | null;
    /** What whoever tells it must still find written. */
    readonly held: string;
  };

/** One change of a tenant's schedules at a time, so that their number can be bounded. */
export async function lockSchedules(tx: Queryable, tenantId: string): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${`${tenantId} report schedules`}::text, 0))`;
}

export async function countSchedules(tx: Queryable, tenantId: string): Promise<number> {
  const [row] = await tx<{ readonly rows: number }[]>`
    select count(*)::int as rows from report_schedules
    where tenant_id = ${tenantId} and removed_at is null`;
  return row?.rows ?? 0;
}

/** The first period that it tells is the one that runs now. */
export async function insertSchedule(
  tx: Queryable,
  schedule: ScheduleRef & Schedule & { readonly createdBy: string },
): Promise<void> {
  const { tenantId, scheduleId, name, report, query, every, timeZone, format } = schedule;
  await tx`
    insert into report_schedules (tenant_id, schedule_id, name, report, query, every, time_zone, format, created_by,
                                  begins_at, ends_at)
    values (${tenantId}, ${scheduleId}, ${name}, ${report}, ${JSON.stringify(query)}::text::json, ${every}, ${timeZone},
            ${format}, ${schedule.createdBy},
            tollgate_window_start(${every}::text, tollgate_now(), ${timeZone}::text),
            tollgate_window_end(${every}::text, tollgate_now(), ${timeZone}::text))`;
}

/** Whoever makes a report of it meanwhile finds it changed. Other periods begin with the one that runs now. */
export async function updateSchedule(
  tx: Queryable,
  { tenantId, scheduleId }: ScheduleRef,
  { name, query, every, timeZone, format }: ScheduleTerms,
): Promise<void> {
  await tx`
    update report_schedules s
    set name = ${name}, query = ${JSON.stringify(query)}::text::json, every = ${every}, time_zone = ${timeZone},
        format = ${format}, held_until = 'epoch',
        begins_at = case when s.every = ${every} and s.time_zone = ${timeZone} then s.begins_at
          else tollgate_window_start(${every}::text, tollgate_now(), ${timeZone}::text) end,
        ends_at = case when s.every = ${every} and s.time_zone = ${timeZone} then s.ends_at
          else tollgate_window_end(${every}::text, tollgate_now(), ${timeZone}::text) end
    where tenant_id = ${tenantId} and schedule_id = ${scheduleId}`;
}

export async function removeSchedule(
  tx: Queryable,
  { tenantId, scheduleId }: ScheduleRef,
): Promise<void> {
  await tx`
    update report_schedules set removed_at = tollgate_now()
    where tenant_id = ${tenantId} and schedule_id = ${scheduleId} and removed_at is null`;
}

export async function findSchedule(
  sql: Queryable,
  { tenantId, scheduleId }: ScheduleRef,
): Promise<ScheduleRecord | null> {
  const [row] = await sql<ScheduleRecord[]>`
    select ${columns(sql)} from report_schedules
    where tenant_id = ${tenantId} and schedule_id = ${scheduleId}`;
  return row ?? null;
}

/** In the order in which they were made; without the removed ones. */
export async function listSchedules(
  sql: Queryable,
  tenantId: string,
  page: Page,
): Promise<readonly ScheduleRecord[]> {
  return await sql<ScheduleRecord[]>`
    select ${columns(sql)} from report_schedules
    where tenant_id = ${tenantId} and removed_at is null
      ${page.after === null ? sql`` : sql`and schedule_id > ${page.after}`}
    order by schedule_id
    limit ${page.rows}`;
}

/**
 * Takes the period that ended first, once all that was recorded in it is in its tenant's sums; null: none is due. For so
 * long no other replica takes it: whoever dies over it leaves it to the next one. One that was taken before and not
 * told comes after all that were not: a tenant whose reports fail again and again holds up nobody else's.
 */
export async function claimReport(
  sql: Queryable,
  { leaseMs, missedMax }: { readonly leaseMs: number; readonly missedMax: number },
): Promise<DueReport | null> {
  // Across tenants: a message goes to the webhooks of its schedule's own tenant.
  const [row] = await sql<DueReport[]>`
    with due as (
      select s.tenant_id, s.schedule_id, greatest(s.begins_at, tollgate_window_start(s.every,
               ((r.as_of at time zone s.time_zone) - ${missedMax}::int * ('1 ' || s.every)::interval)
                 at time zone s.time_zone, s.time_zone)) as begins
      from report_schedules s
      join roll_up_state r on r.one = 1
      where s.removed_at is null and s.ends_at <= r.as_of and s.held_until <= tollgate_now()
        and not exists (
          select 1 from stale_outcomes o where o.tenant_id = s.tenant_id and o.since < s.ends_at)
      order by s.held_until, s.ends_at, s.tenant_id, s.schedule_id limit 1
      for update of s skip locked
    )
    update report_schedules s set held_until = tollgate_now() + ${leaseMs}::int * interval '1 ms'
    from due
    where s.tenant_id = due.tenant_id and s.schedule_id = due.schedule_id
    returning s.tenant_id as "tenantId", s.schedule_id as "scheduleId", s.name, s.report, s.query, s.every,
              s.time_zone as "timeZone", s.format, due.begins as "from",
              tollgate_window_end(s.every, due.begins, s.time_zone) as "to",
              case when due.begins > s.begins_at then s.begins_at end as "skippedFrom", s.held_until::text as held`;
  return row ?? null;
}

/**
 * Puts the message into the outbox, says that the period was told, and goes on to the next one, in one statement. False
 * where it is no longer this replica's: it was changed, removed or took too long.
 */
export async function tellReport(
  sql: Queryable,
  { tenantId, scheduleId, from, to, held }: DueReport,
  told: { readonly messageId: string; readonly body: string; readonly keptDays: number },
): Promise<boolean> {
  const rows = await sql`
    with gone_on as (
      update report_schedules s
      set begins_at = ${to}::timestamptz, ends_at = tollgate_window_end(s.every, ${to}::timestamptz, s.time_zone),
          held_until = 'epoch'
      where s.tenant_id = ${tenantId} and s.schedule_id = ${scheduleId} and s.removed_at is null
        and s.held_until = ${held}::text::timestamptz
      returning s.tenant_id, s.schedule_id
    ), once as (
      insert into reports_told (tenant_id, schedule_id, begins_at, ends_at)
      select tenant_id, schedule_id, ${from}::timestamptz, ${to}::timestamptz from gone_on
      on conflict do nothing
      returning tenant_id
    ), forgotten as (
      delete from reports_told
      where tenant_id = ${tenantId} and schedule_id = ${scheduleId}
        and told_at < tollgate_now() - ${told.keptDays}::int * interval '1 day'
    )
    select tollgate_outbox(tenant_id, ${told.messageId}, 'report.ready', ${told.body}) from once`;
  return rows.length === 1;
}

function columns(sql: Queryable) {
  return sql`
    schedule_id as "scheduleId", name, report, query, every, time_zone as "timeZone", format,
    begins_at as "beginsAt", ends_at as "endsAt", created_by as "createdBy", created_at as "createdAt",
    removed_at as "removedAt"`;
}
