import type { Sql } from "postgres";

/**
 * The database's clock, in one test's own database. All times of the gate come from the SQL function
 * `tollgate_now()`; a test replaces it, so time is set and never slept. Every connection to that
 * database sees the new time from its next statement on.
 */
export async function setClock(sql: Sql, at: Date): Promise<void> {
  await replaceClock(sql, `timestamptz '${at.toISOString()}'`);
}

/** A running clock, so many milliseconds away from the real one. */
export async function shiftClock(sql: Sql, byMs: number): Promise<void> {
  if (!Number.isSafeInteger(byMs)) throw new Error(`not whole milliseconds: ${byMs}`);
  await replaceClock(sql, `clock_timestamp() + interval '${byMs} milliseconds'`);
}

/** The real clock again. */
export async function resetClock(sql: Sql): Promise<void> {
  await replaceClock(sql, "clock_timestamp()");
}

async function replaceClock(sql: Sql, expression: string): Promise<void> {
  await sql.unsafe(
    `create or replace function tollgate_now() returns timestamptz
     language sql volatile as $clock$ select ${expression} $clock$`,
  );
}
