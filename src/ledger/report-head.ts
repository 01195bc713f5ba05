/** The head of every report, and its groups by their names. */
import type { Grouping } from "../core/report.ts";
import type { ReportHead, Resolved } from "./reports.ts";

export function headOf(asked: Resolved, asOf: Date): ReportHead {
  return {
    tenant: asked.tenantId,
    from: asked.from.toISOString(),
    to: asked.to.toISOString(),
    time_zone: asked.timeZone,
    as_of: (asked.closedAsOf ?? asOf).toISOString(),
    closed: asked.closingId === "" ? null : asked.closingId,
    group_by: asked.groupings.map(({ name }) => name),
  };
}

export type Groups = Readonly<Record<string, string | null>>;

/** Null where the ledger says nothing: no customer was named, no tool was called. */
export function groupsOf(groupings: readonly Grouping[], values: readonly string[]): Groups {
  return Object.fromEntries(
    groupings.map(({ name }, at) => {
      const value = values[at] ?? "";
      return [name, value === "" ? null : value];
    }),
  );
}

const TIMES: ReadonlySet<string> = new Set(["day", "week", "month"]);

/** Rows come dearest first; where they are told apart by time, in its order. */
export function inOrder<Row extends { readonly groups: readonly string[] }>(
  groupings: readonly Grouping[],
  rows: readonly Row[],
): readonly Row[] {
  const at = groupings.findIndex(({ kind }) => TIMES.has(kind));
  if (at === -1) return rows;
  return rows.toSorted((a, b) => {
    const [one = "", other = ""] = [a.groups[at], b.groups[at]];
    return one === other ? 0 : one < other ? -1 : 1;
  });
}
