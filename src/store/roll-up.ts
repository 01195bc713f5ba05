/** Keeps the roll-ups behind the ledger, see `drizzle/0004_finance.sql`; and says how far they are. */
import { assert } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";

/** `isBehind`: more was posted than one step takes. */
export type RolledUp = { readonly lines: number; readonly isBehind: boolean };

/** Rolls up what was posted, at most so many lines of each kind; null where another connection is at it. */
export async function rollUp(sql: Queryable, most: number): Promise<RolledUp | null> {
  const [row] = await sql<RolledUp[]>`
    select lines, is_behind as "isBehind" from tollgate_roll_up(${most})`;
  return row ?? null;
}

/** All that was recorded before this moment is in the roll-ups. */
export async function rolledUpAsOf(sql: Queryable): Promise<Date> {
  const [row] = await sql<{ readonly asOf: Date }[]>`select as_of as "asOf" from roll_up_state`;
  assert(row !== undefined, "an installation has its row");
  return row.asOf;
}
