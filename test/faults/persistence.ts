import { setTimeout as sleep } from "node:timers/promises";

const PERSIST_MS_MAX = 30_000;
const AGAIN_MS = 50;

/**
 * Does what may be done twice again until it succeeds: what the test itself asks of a database or gate
 * that was crashed a moment ago, over connections that may not have noticed. Throws what it threw last.
 */
export async function persist<Result>(work: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + PERSIST_MS_MAX;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(AGAIN_MS);
    }
  }
}
