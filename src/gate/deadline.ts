import { Unavailable } from "./unavailable.ts";

/**
 * The promise, or Unavailable when it has not resolved in time. What it stands for goes on: a database
 * that hangs has not refused, so whoever gives up here does not know whether it happened.
 */
export function withDeadline<Value>(promise: Promise<Value>, deadlineMs: number): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Unavailable(`the database did not answer within ${deadlineMs} ms`));
    }, deadlineMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
