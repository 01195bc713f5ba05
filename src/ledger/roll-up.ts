/**
 * Keeps the roll-ups that reports read, behind the request path. Any number of replicas may do it: one at a
 * time does, the others go on. A process that dies in the middle leaves nothing half done.
 */
import { setTimeout as sleep } from "node:timers/promises";

import {
  CLOSING_TURNS_MAX,
  CLOSING_TURN_MS,
  ROLL_UP_LINES_MAX,
  ROLL_UP_STEPS_MAX,
  STALE_OUTCOMES_MAX,
  STALE_POSTPONED_MS,
} from "../core/limits-finance.ts";
import type { Database } from "../store/database.ts";
import { isStatementTimeout } from "../store/errors.ts";
import {
  nextStaleTenant,
  postponeStale,
  rolledUpAsOf,
  rollUp,
  tellStale,
} from "../store/roll-up.ts";
import { readNow } from "../store/usage.ts";

/** Rolls up what was posted, a bounded part of a backlog. Answers how many lines that were. */
export async function rollUpTurn(db: Pick<Database, "admin">): Promise<number> {
  let lines = 0;
  for (let step = 0; step < ROLL_UP_STEPS_MAX; step += 1) {
    const done = await rollUp(db.admin, ROLL_UP_LINES_MAX);
    lines += done?.lines ?? 0;
    if (done === null || !done.isBehind) break;
  }
  return lines;
}

/**
 * The same for whoever asks for a report. Where the database ends it for its length, the report is of an older
 * moment, and says so.
 */
export async function rollUpInTime(db: Pick<Database, "admin">): Promise<void> {
  try {
    await rollUpTurn(db);
  } catch (error) {
    if (!isStatementTimeout(error)) throw error;
  }
}

/**
 * Tells outcomes that wait for it, a bounded part of them, a measure of each tenant's in turn. Not for whoever
 * asks for a report: each tenant whose outcomes are too many may take as long as a statement does, and a report
 * says as of when it is. What was posted meanwhile is rolled up between them, for nobody else's report waits.
 */
export async function tellStaleTurn(db: Pick<Database, "admin">): Promise<void> {
  const idle = new Set<string>();
  let passed = 0;
  for (let step = 0; step < ROLL_UP_STEPS_MAX; step += 1) {
    const tenantId = await nextStaleTenant(db.admin);
    if (tenantId === null) break;
    if (idle.has(tenantId)) {
      // Of a tenant that is postponed nothing is due, and others go on behind it.
      passed += 1;
      if (passed > idle.size) break;
      continue;
    }
    passed = 0;
    if (await tellOrPostpone(db, tenantId)) await rollUp(db.admin, ROLL_UP_LINES_MAX);
    else idle.add(tenantId);
  }
}

/**
 * For whoever is about to keep a tenant's figures: rolls up and tells what was recorded before now, as far as it
 * gets in some seconds, for what other transactions have not committed yet holds it up. Answers that moment.
 */
export async function rollUpTenant(
  db: Pick<Database, "admin">,
  tenantId: string,
): Promise<{ readonly asked: Date }> {
  const asked = await readNow(db.admin);
  for (let turn = 0; turn < CLOSING_TURNS_MAX; turn += 1) {
    await rollUpInTime(db);
    await tellTenant(db, tenantId);
    if ((await rolledUpAsOf(db.admin, tenantId)) >= asked) break;
    await sleep(CLOSING_TURN_MS);
  }
  return { asked };
}

/** A bounded part of what waits of one tenant. */
async function tellTenant(db: Pick<Database, "admin">, tenantId: string): Promise<void> {
  for (let step = 0; step < ROLL_UP_STEPS_MAX; step += 1) {
    if (!(await tellOrPostpone(db, tenantId))) break;
  }
}

/** False where nothing could be told: it is not due, or somebody else is at it. */
async function tellOrPostpone(
  { admin }: Pick<Database, "admin">,
  tenantId: string,
): Promise<boolean> {
  try {
    return (await tellStale(admin, tenantId, STALE_OUTCOMES_MAX)) > 0;
  } catch (error) {
    if (!isStatementTimeout(error)) throw error;
    await postponeStale(admin, tenantId, STALE_POSTPONED_MS);
    return true;
  }
}
