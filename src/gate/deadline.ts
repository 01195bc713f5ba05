import { within } from "../lib/within.ts";
import { Unavailable } from "./unavailable.ts";

/**
 * The promise, or Unavailable when it has not resolved in time. What it stands for goes on: a database
 * that hangs has not refused, so whoever gives up here does not know whether it happened.
 */
export function withDeadline<Value>(promise: Promise<Value>, deadlineMs: number): Promise<Value> {
  return within<Value, never>(deadlineMs, promise, () => {
    throw new Unavailable(`the database did not answer within ${deadlineMs} ms`);
  });
}
