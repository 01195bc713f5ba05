import postgres from "postgres";

/**
 * Whether the database refused what a statement holds (SQLSTATE classes 22 data exception and 23
 * integrity violation), as against being away, busy or in need of another try.
 */
export function isContentError(error: unknown): boolean {
  return error instanceof postgres.PostgresError && /^2[23]/.test(error.code);
}

/** Whether a row of the same key is there already. */
export function isRecordedAlready(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "23505";
}

/** Whether a statement was undone because a row that it needs was locked for longer than it may wait. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "55P03";
}

/** Whether the server ended a statement that ran for longer than it may. */
export function isStatementTimeout(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "57014";
}

/** Whether the database does not know a time zone that the platform knows: each has a list of its own. */
export function isUnknownZone(error: unknown): boolean {
  return (
    error instanceof postgres.PostgresError &&
    error.code === "22023" &&
    error.message.startsWith("time zone ")
  );
}
