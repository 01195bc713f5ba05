/**
 * A transaction on a connection that may be lost in the middle of it.
 *
 * The driver answers a failure inside a transaction with a rollback, also when what failed is the
 * connection: that write, on a socket that is gone, throws outside of every promise and ends the process
 * (postgres.js 3.4.9, its issue 1208). So work that fails for want of a connection stays unsettled in
 * there; the driver itself rejects the transaction when it sees the connection close. Nothing needs
 * to be rolled back: the server does that for every connection that it loses.
 */
import type postgres from "postgres";

import { Fault } from "../lib/assert.ts";
import { within } from "../lib/within.ts";
import { Unanswered } from "./answered.ts";
import { isConnectionLost } from "./connection-lost.ts";
import { ADMIN_MS_MAX, type Sql } from "./database.ts";

/** After these the server closes the connection. */
const FATAL: ReadonlySet<unknown> = new Set(["FATAL", "PANIC"]);

/**
 * Commits what `work` did, or throws what it threw with nothing done; `Unanswered` where it could not begin in time,
 * for its beginning is a statement that the driver can forget like any other (see `answered.ts`).
 */
export async function transaction<Result>(
  sql: Sql,
  work: (tx: postgres.TransactionSql<{ bigint: bigint }>) => Promise<Result>,
): Promise<Result> {
  const begun = Promise.withResolvers<void>();
  let isGivenUp = false;
  const whole = sql.begin((tx) => {
    // Whoever asked has been told that it did not begin.
    if (isGivenUp) throw new Fault("a transaction began too late");
    begun.resolve();
    return work(tx).then(
      (done) => ({ result: done }),
      (error: unknown) => (isLost(error) ? unsettled() : Promise.reject(asError(error))),
    );
  });
  await within<unknown, never>(ADMIN_MS_MAX, Promise.race([begun.promise, whole]), () => {
    isGivenUp = true;
    throw new Unanswered(ADMIN_MS_MAX);
  });
  const { result } = await whole;
  return result;
}

function isLost(error: unknown): boolean {
  if (isConnectionLost(error)) return true;
  return error instanceof Error && "severity" in error && FATAL.has(error.severity);
}

function unsettled(): Promise<never> {
  return new Promise<never>(() => undefined);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
