/** Reports that a tenant wants to be sent whenever a period has ended. */
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { REPORT_SCHEDULES_MAX } from "../core/limits-finance.ts";
import { scheduleQuery } from "../core/report-schedule.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import {
  countSchedules,
  findSchedule,
  insertSchedule,
  lockSchedules,
  removeSchedule,
  type Schedule,
  type ScheduleRecord,
  type ScheduleRef,
  type ScheduleTerms,
  updateSchedule,
} from "../store/report-schedules.ts";
import { transaction } from "../store/transaction.ts";
import { type Actor, type AdministrationPorts, nameOf, notFound, requireScope } from "./acts.ts";

/** Not looked at yet. */
type Query = Readonly<Record<string, unknown>>;

export type NewScheduleTerms = Omit<Schedule, "query"> & {
  readonly tenantId: string;
  readonly query: Query;
};

/** What is absent stays as it is; a query is replaced whole. */
export type ScheduleChange = Partial<Omit<ScheduleTerms, "query">> & { readonly query?: Query };

export type ScheduleAdministration = {
  /** Answers its id. The first period that it tells is the one that runs now. */
  readonly create: (actor: Actor, terms: NewScheduleTerms) => Promise<string>;
  /** Of other periods, or in another zone, it begins anew with the one that runs now. */
  readonly change: (actor: Actor, schedule: ScheduleRef, change: ScheduleChange) => Promise<void>;
  /** Removing twice is once. */
  readonly remove: (actor: Actor, schedule: ScheduleRef) => Promise<void>;
};

export function createScheduleAdministration(ports: AdministrationPorts): ScheduleAdministration {
  return {
    create: (actor, terms) => create(ports, actor, terms),
    change: (actor, schedule, change) => changeSchedule(ports, actor, { ...schedule, change }),
    remove: (actor, schedule) => remove(ports, actor, schedule),
  };
}

async function create(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, ...given }: NewScheduleTerms,
): Promise<string> {
  requireScope(actor, tenantId, ["admin"]);
  const schedule: Schedule = { ...given, query: scheduleQuery(given.report, given.query) };
  const scheduleId = withPrefix("schedule", ports.newId());
  await transaction(ports.db.admin, async (tx) => {
    await lockSchedules(tx, tenantId);
    await refuseTooMany(tx, tenantId);
    await insertSchedule(tx, { tenantId, scheduleId, ...schedule, createdBy: nameOf(actor) });
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "report_schedule.created",
      actor: nameOf(actor),
      subject: scheduleId,
      body: { after: shown(schedule) },
    });
  });
  return scheduleId;
}

async function changeSchedule(
  ports: AdministrationPorts,
  actor: Actor,
  { tenantId, scheduleId, change }: ScheduleRef & { readonly change: ScheduleChange },
): Promise<void> {
  requireScope(actor, tenantId, ["admin"]);
  const schedule = { tenantId, scheduleId };
  await transaction(ports.db.admin, async (tx) => {
    const before = await activeSchedule(tx, schedule);
    const { query, ...rest } = change;
    const after: Schedule = {
      ...before,
      ...rest,
      query: query === undefined ? before.query : scheduleQuery(before.report, query),
    };
    if (JSON.stringify(shown(before)) === JSON.stringify(shown(after))) return;
    await updateSchedule(tx, schedule, after);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "report_schedule.changed",
      actor: nameOf(actor),
      subject: scheduleId,
      body: { before: shown(before), after: shown(after) },
    });
  });
}

async function remove(
  ports: AdministrationPorts,
  actor: Actor,
  schedule: ScheduleRef,
): Promise<void> {
  const { tenantId, scheduleId } = schedule;
  requireScope(actor, tenantId, ["admin"]);
  await transaction(ports.db.admin, async (tx) => {
    await lockSchedules(tx, tenantId);
    const before = await findSchedule(tx, schedule);
    if (before === null) throw notFound("report schedule", "schedule");
    if (before.removedAt !== null) return;
    await removeSchedule(tx, schedule);
    await insertEvent(tx, {
      tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "report_schedule.removed",
      actor: nameOf(actor),
      subject: scheduleId,
      body: { before: shown(before) },
    });
  });
}

/** One change at a time: what is told of it is what was. */
async function activeSchedule(tx: Queryable, schedule: ScheduleRef): Promise<ScheduleRecord> {
  await lockSchedules(tx, schedule.tenantId);
  const found = await findSchedule(tx, schedule);
  if (found === null || found.removedAt !== null) throw notFound("report schedule", "schedule");
  return found;
}

/** In the words of the API. */
function shown({ name, report, query, every, timeZone, format }: Schedule): object {
  return { name, report, query, every, time_zone: timeZone, format };
}

async function refuseTooMany(tx: Queryable, tenantId: string): Promise<void> {
  if ((await countSchedules(tx, tenantId)) < REPORT_SCHEDULES_MAX) return;
  const message = `A tenant has at most ${REPORT_SCHEDULES_MAX} report schedules: remove one first.`;
  throw new InputError("conflict", null, message);
}
