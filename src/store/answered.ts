/**
 * Every statement is answered or fails, after a limited time.
 *
 * The driver forgets a statement that it is given between the error of a connection and its close: it never settles
 * that promise (postgres.js 3.4.9, `closed` rejects what was sent only where no error came first). Who asks again at
 * once after a reset is the one whom it meets, measured 3 of 3 times. So a loss is told once the close has come, and
 * what is not answered for long is told to be lost.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { within } from "../lib/within.ts";
import { isConnectionLost } from "./connection-lost.ts";
import type { Sql } from "./database.ts";

/** Nobody knows what became of a statement: it may have been committed. `isDatabaseAway` says so of it, too. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
  readonly code = "UNANSWERED";

  constructor(msMax: number) {
    super(`the database did not answer within ${msMax} ms`);
  }
}

/** Between the error of a socket and its close lies no more than one turn of the event loop. */
const CLOSE_MS = 1;

/**
 * The same client, whose statements reject with `Unanswered` after `msMax` ms, their wait for a connection counted in.
 * Those of a transaction are not of it: the driver rejects a transaction whose connection closes.
 */
export function answered(sql: Sql, msMax: number): Sql {
  return new Proxy(sql, {
    apply: (target, self, args) => bounded(Reflect.apply(target, self, args), msMax),
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (name !== "unsafe" || typeof member !== "function") return member;
      return (...args: unknown[]) => bounded(Reflect.apply(member, target, args), msMax);
    },
  });
}

/** What is no statement (an identifier, a list of values) passes as it is; a fragment of another is never waited for. */
function bounded(built: unknown, msMax: number): unknown {
  if (!(built instanceof Promise)) return built;
  // It is sent when it is first waited for.
  const send = built.then.bind(built);
  const then: Promise<unknown>["then"] = (fulfilled, rejected) =>
    inTime(send(undefined, toldAfterClose), msMax).then(fulfilled, rejected);
  // oxlint-disable-next-line unicorn/no-thenable -- a promise already, and this is how it is waited for
  return Object.defineProperty(built, "then", { value: then });
}

async function toldAfterClose(error: unknown): Promise<never> {
  if (isConnectionLost(error)) await sleep(CLOSE_MS);
  throw error;
}

/** The promise, or `Unanswered` when it has not settled in time. */
export function inTime<Value>(promise: Promise<Value>, msMax: number): Promise<Value> {
  return within<Value, never>(msMax, promise, () => {
    throw new Unanswered(msMax);
  });
}
