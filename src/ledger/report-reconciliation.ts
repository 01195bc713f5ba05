/**
 * Whether what a report's rows were posted on agrees with the providers' invoices. An invoice is by days of UTC, so of
 * other days nobody can say. Comparisons are never changed, nor is what was posted on a day that is over: so of a closed
 * period it is said as of its closing, and stays the same.
 */
import { RECONCILIATIONS_READ_MAX } from "../core/limits-finance.ts";
import { USAGE_DAYS_MAX } from "../core/limits.ts";
import { stateOfAll, statesOf, type ReconciliationState } from "../core/reconciliation-state.ts";
import type { Queryable } from "../store/events.ts";
import { listUsedDays, reconciliationsWithin } from "../store/reconciliations.ts";
import type { Resolved } from "./reports.ts";

/** Null: the row is of no whole days of UTC, or of no upstream. */
export type ReportState = ReconciliationState["state"] | null;

/** `groups` as the row has them; empty where it is of all. */
export type StateOf = (groups: readonly string[]) => ReportState;

type Days = { readonly from: string; readonly to: string };

const DAY_MS = 86_400_000;

export async function readStates(
  sql: Queryable,
  asked: Resolved & { readonly tenantId: string },
): Promise<StateOf> {
  const { tenantId, groupings, closedAsOf: before } = asked;
  const days = daysOf(asked);
  if (days === null) return () => null;
  const read = { ...days, before, rows: RECONCILIATIONS_READ_MAX };
  const compared = await reconciliationsWithin(sql, tenantId, read);
  const used = compared.length === 0 ? [] : await listUsedDays(sql, tenantId, days);
  const ofUpstream = groupings.findIndex(({ kind }) => kind === "upstream");
  const known = new Map<string, ReportState>();
  return (groups) => {
    const upstream = groups[ofUpstream];
    const own = daysOfRow(asked, groups, days);
    if (own === null || upstream === "") return null;
    const name = [own.from, own.to, upstream ?? ""].join(" ");
    const told = known.get(name);
    if (told !== undefined) return told;
    const states = statesOf(own, compared.filter(isOf(own, upstream)));
    const usedThen = used.filter(({ day }) => own.from <= day && day < own.to);
    const state =
      upstream === undefined
        ? stateOfAll(states, [...new Set(usedThen.map((one) => one.upstream))])
        : (states[0]?.state ?? "not_reconciled");
    known.set(name, state);
    return state;
  };
}

function isOf({ from, to }: Days, upstream: string | undefined) {
  return (row: Days & { readonly upstream: string }) =>
    row.from < to && row.to > from && (upstream === undefined || row.upstream === upstream);
}

/** The period in days of UTC, as far as states are told of so many; null where it has others. */
function daysOf({ from, to }: Resolved): Days | null {
  const [begin, end] = [from.getTime(), to.getTime()];
  if (begin % DAY_MS !== 0 || end % DAY_MS !== 0) return null;
  if (end - begin > USAGE_DAYS_MAX * DAY_MS) return null;
  return { from: dayText(begin), to: dayText(end) };
}

/** Those of one row: all, unless rows are told apart by time. */
function daysOfRow(
  { groupings, timeZone }: Resolved,
  groups: readonly string[],
  days: Days,
): Days | null {
  if (groups.length === 0) return days;
  let { from, to } = days;
  for (const [at, { kind }] of groupings.entries()) {
    const span = spanOf(kind, groups[at] ?? "");
    if (span === null) continue;
    if (timeZone !== "UTC") return null;
    if (span.from > from) from = span.from;
    if (span.to < to) to = span.to;
  }
  return { from, to };
}

/** What `2030-01-15`, `2030-W03` and `2030-01` mean in UTC; null of what is no time. */
function spanOf(kind: string, value: string): Days | null {
  if (kind === "day") return daysFrom(Date.parse(value), 1);
  if (kind === "month") {
    const [year = 0, month = 0] = value.split("-").map(Number);
    return { from: `${value}-01`, to: dayText(Date.UTC(year, month, 1)) };
  }
  if (kind !== "week") return null;
  const [year = 0, week = 0] = value.split("-W").map(Number);
  // The first week has the fourth of January in it; a week begins on its Monday.
  const fourth = Date.UTC(year, 0, 4);
  const monday = fourth - ((new Date(fourth).getUTCDay() + 6) % 7) * DAY_MS;
  return daysFrom(monday + (week - 1) * 7 * DAY_MS, 7);
}

function daysFrom(ms: number, days: number): Days {
  return { from: dayText(ms), to: dayText(ms + days * DAY_MS) };
}

function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
