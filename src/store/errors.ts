import postgres from "postgres";

/**
 * Whether the database refused what a statement holds (SQLSTATE classes 22 data exception and 23
 * integrity violation), as against being away, busy or in need of another try.
 */
export function isContentError(error: unknown): boolean {
  return error instanceof postgres.PostgresError && /^2[23]/.test(error.code);
}
