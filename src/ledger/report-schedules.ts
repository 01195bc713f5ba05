/** Report schedules, as the API shows them. */
import type { Database } from "../store/database.ts";
import {
  findSchedule,
  listSchedules,
  type ScheduleRecord,
  type ScheduleRef,
} from "../store/report-schedules.ts";
import { timeOrNull } from "./amounts.ts";
import { type Page, type Paged, pageOf } from "./paged.ts";

export type ScheduleView = Pick<
  ScheduleRecord,
  "name" | "report" | "query" | "every" | "format"
> & {
  readonly id: string;
  readonly tenant: string;
  readonly time_zone: string;
  /** The period that is told next. */
  readonly next_from: string;
  readonly next_to: string;
  readonly created_by: string;
  readonly created_at: string;
  readonly removed_at: string | null;
};

export async function scheduleOf(db: Database, ref: ScheduleRef): Promise<ScheduleView | null> {
  const row = await findSchedule(db.admin, ref);
  return row === null ? null : viewOf(ref.tenantId, row);
}

export async function schedulesOf(
  db: Database,
  tenantId: string,
  page: Page,
): Promise<Paged<ScheduleView>> {
  const rows = await listSchedules(db.admin, tenantId, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => viewOf(tenantId, row)),
    page,
    (schedule) => schedule.id,
  );
}

function viewOf(tenantId: string, row: ScheduleRecord): ScheduleView {
  const { name, report, query, every, format } = row;
  return {
    id: row.scheduleId,
    tenant: tenantId,
    name,
    report,
    query,
    every,
    time_zone: row.timeZone,
    format,
    next_from: row.beginsAt.toISOString(),
    next_to: row.endsAt.toISOString(),
    created_by: row.createdBy,
    created_at: row.createdAt.toISOString(),
    removed_at: timeOrNull(row.removedAt),
  };
}
