/** By what is known that a connection to the database was lost. No driver is needed to know it. */

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

/** What no answer is had for, beyond those: our own end, no socket, a server that is full, and one that says nothing. */
const NOT_TO_BE_HAD: ReadonlySet<string> = new Set([
  "CONNECTION_ENDED",
  "ENOENT",
  "53300",
  "UNANSWERED",
]);

/** The sockets of Workers say it in words of their own, without a code. */
const AWAY_WORDS =
  /^(?:connection attempt failed|network connection lost|proxy request failed|stream was cancelled)/i;

/** Causes of causes that are looked at. */
const CAUSES_MAX = 8;

/**
 * Whether a connection was lost, or could not be made. What was sent on it may have been committed: a
 * COMMIT runs before its answer is written.
 */
export function isConnectionLost(error: unknown): boolean {
  const code = codeOf(error);
  return code !== null && LOST.has(code);
}

/** Whether an error, or what caused it, says that the database cannot be reached now. */
export function isDatabaseAway(error: unknown): boolean {
  let at = error;
  for (let depth = 0; depth < CAUSES_MAX && at instanceof Error; depth += 1) {
    const code = codeOf(at);
    if (code === null ? AWAY_WORDS.test(at.message) : LOST.has(code) || NOT_TO_BE_HAD.has(code)) {
      return true;
    }
    at = at.cause;
  }
  return false;
}

/** Whether the driver lost a connection while it asked, of its own accord, for the types of arrays. */
export function isLostTypeLookup(error: unknown): boolean {
  const query = error instanceof Error && "query" in error ? error.query : null;
  const isLookup = typeof query === "string" && query.includes("pg_catalog.pg_type");
  return isLookup && isConnectionLost(error);
}

function codeOf(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}
