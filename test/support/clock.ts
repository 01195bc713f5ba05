import type { Database } from "../../src/store/database.ts";

/**
 * The database's clock, in one test's own database. All times of the gate come from the SQL function
 * `tollgate_now()`; a test replaces it, so time is set and never slept. Every connection to that
 * database sees the new time from its next statement on.
 */
export async function setClock(db: Database, at: Date): Promise<void> {
  await replaceClock(db, `timestamptz '${at.toISOString()}'`);
}

/** A running clock, so many milliseconds away from the real one. */
export async function shiftClock(db: Database, byMs: number): Promise<void> {
  if (!Number.isSafeInteger(byMs)) throw new Error(`not whole milliseconds: ${byMs}`);
  await replaceClock(db, `clock_timestamp() + interval '${byMs} milliseconds'`);
}

/** The real clock again. */
export async function resetClock(db: Database): Promise<void> {
  await replaceClock(db, "clock_timestamp()");
}

async function replaceClock(db: Database, expression: string): Promise<void> {
  await db.admin.unsafe(
    `create or replace function tollgate_now() returns timestamptz
     language sql stable parallel safe as $clock$ select ${expression} $clock$`,
  );
}
