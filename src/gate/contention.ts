/** Lets an ask wait until something of its tenant settles here, or a moment has passed. */
export type Contention = {
  /** Resolves when `settled` is told of the tenant, at the latest after `waitMs`. */
  readonly wait: (tenantId: string, waitMs: number) => Promise<void>;
  readonly settled: (tenantId: string) => void;
};

export function createContention(): Contention {
  const waiting = new Map<string, Set<() => void>>();
  return {
    wait: (tenantId, waitMs) =>
      new Promise((done) => {
        const waiters = waiting.get(tenantId) ?? new Set();
        waiting.set(tenantId, waiters);
        const wake = () => {
          clearTimeout(timer);
          waiters.delete(wake);
          if (waiters.size === 0 && waiting.get(tenantId) === waiters) waiting.delete(tenantId);
          done();
        };
        const timer = setTimeout(wake, waitMs);
        waiters.add(wake);
      }),
    settled: (tenantId) => {
      for (const wake of waiting.get(tenantId) ?? []) wake();
    },
  };
}
