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

/** By the driver's and the system's words, and by those of a server that ends or starts. */
const LOST: ReadonlySet<string> = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "57P01",
  "57P02",
  "57P03",
]);

/**
 * Whether a connection was lost, or could not be made. What was sent on it may have been committed: a
 * COMMIT runs before its answer is written.
 */
export function isConnectionLost(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" && LOST.has(code);
}

/** Whether the driver lost a connection while it asked, of its own accord, for the types of arrays. */
export function isLostTypeLookup(error: unknown): boolean {
  const query = error instanceof Error && "query" in error ? error.query : null;
  const isLookup = typeof query === "string" && query.includes("pg_catalog.pg_type");
  return isLookup && isConnectionLost(error);
}
