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

import { isConnectionLost } from "./connection-lost.ts";
import type { Sql } from "./database.ts";

/** After these the server closes the connection. */
const FATAL: ReadonlySet<unknown> = new Set(["FATAL", "PANIC"]);

/** Commits what `work` did, or throws what it threw with nothing done. */
export async function transaction<Result>(
  sql: Sql,
  work: (tx: postgres.TransactionSql<{ bigint: bigint }>) => Promise<Result>,
): Promise<Result> {
  const { result } = await sql.begin((tx) =>
    work(tx).then(
      (done) => ({ result: done }),
      (error: unknown) => (isLost(error) ? unsettled() : Promise.reject(asError(error))),
    ),
  );
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
