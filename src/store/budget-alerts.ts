/** Writes alerts of budgets into the outbox, see `drizzle/0019_budget_alerts.sql`. */
import type { Queryable } from "./events.ts";

/** `isBehind`: more was settled than one step looks at. */
export type Told = { readonly told: number; readonly isBehind: boolean };

/**
 * Looks at the budgets that settlements moved since the last look, at most so many lines; null where another connection
 * is at it. `message` is the id that the messages begin with.
 */
export async function tellBudgets(
  sql: Queryable,
  most: number,
  message: string,
): Promise<Told | null> {
  const [row] = await sql<Told[]>`
    select told, is_behind as "isBehind" from tollgate_tell_budgets(${most}, ${message})`;
  return row ?? null;
}
