/**
 * Tells of budgets that pass a threshold, or will, behind the roll-ups and never on the request path. Any number of
 * replicas may do it: one at a time does. What is told and that it was told commit together, so nobody is told twice.
 */
import { withPrefix } from "../core/ids.ts";
import { ALERT_LINES_MAX, ALERT_STEPS_MAX } from "../core/limits-finance.ts";
import { tellBudgets } from "../store/budget-alerts.ts";
import type { Database } from "../store/database.ts";

/** Looks at a bounded part of what was settled since. Answers how many alerts that made. */
export async function tellBudgetsTurn(
  db: Pick<Database, "admin">,
  newId: () => string,
): Promise<number> {
  let told = 0;
  for (let step = 0; step < ALERT_STEPS_MAX; step += 1) {
    const done = await tellBudgets(db.admin, ALERT_LINES_MAX, withPrefix("delivery", newId()));
    told += done?.told ?? 0;
    if (done === null || !done.isBehind) break;
  }
  return told;
}
