/**
 * Keeps a tenant whose rows somebody has locked from holding up the others.
 *
 * All tenants share the batches of the main lane. A batch that meets a locked row is given up by the
 * database after LOCK_MS_MAX, undone, and nobody can tell whose row it was. So each of its tenants goes
 * on apart: in batches of its own, a few of all of them at a time. The one that is locked waits there, and
 * its next asks join it, so that it costs the others one such wait and not one for each batch. Whoever
 * comes through is back in the main lane with the next ask.
 */
import { assert } from "../lib/assert.ts";
import { createBatcher, type Batcher, type BatchOptions } from "./batch.ts";

export type LaneOptions<Item, Result> = BatchOptions<Item, Result> & {
  /** Whether a batch was undone because a row that it needs was locked for too long. */
  readonly isLockTimeout: (error: unknown) => boolean;
  /** Whether a batch that met a locked row is worth trying again. */
  readonly mayWait: () => boolean;
  /** Batches of tenants apart that are at the database at once; each may wait for a lock. */
  readonly apartInFlightMax: number;
};

export function createLanes<Item, Result>(
  options: LaneOptions<Item, Result>,
): Batcher<Item, Result> {
  const main = createBatcher(options);
  // The tenants that go apart now, and all lanes that have not come to an end.
  const apart = new Map<string, Batcher<Item, Result>>();
  const lanes = new Set<Batcher<Item, Result>>();
  const turns = createTurns(options.apartInFlightMax);

  const open = (tenant: string): Batcher<Item, Result> => {
    const lane = createBatcher(apartOptions(options, turns, () => close()));
    const close = () => {
      if (apart.get(tenant) === lane) apart.delete(tenant);
    };
    apart.set(tenant, lane);
    lanes.add(lane);
    return lane;
  };
  const submitApart = async (tenant: string, item: Item): Promise<Result> => {
    const lane = apart.get(tenant) ?? open(tenant);
    try {
      return await lane.submit(item);
    } finally {
      void lane.drained().then(() => {
        lanes.delete(lane);
        if (apart.get(tenant) === lane) apart.delete(tenant);
      });
    }
  };

  return {
    submit: (item) => {
      const tenant = options.tenantOf(item);
      if (apart.has(tenant)) return submitApart(tenant, item);
      return main.submit(item).catch((error: unknown) => {
        if (!options.isLockTimeout(error)) throw error;
        return submitApart(tenant, item);
      });
    },
    waiting: () => [...lanes].reduce((sum, lane) => sum + lane.waiting(), main.waiting()),
    isCrowded: main.isCrowded,
    drained: async () => {
      await main.drained();
      // What the main lane gave up is handed on in the turns after it.
      await new Promise((done) => setImmediate(done));
      await Promise.all([...lanes].map((lane) => lane.drained()));
    },
  };
}

/** Tries again for as long as its items may wait; in between it is others' turn. */
function apartOptions<Item, Result>(
  options: LaneOptions<Item, Result>,
  turns: Turns,
  onThrough: () => void,
): BatchOptions<Item, Result> {
  const { commit, isLockTimeout, mayWait, monotonicMs, waitMsMax } = options;
  return {
    ...options,
    inFlightMax: 1,
    commit: async (items) => {
      const endMs = monotonicMs() + waitMsMax;
      for (;;) {
        await turns.take();
        try {
          const results = await commit(items);
          onThrough();
          return results;
        } catch (error) {
          const mayRepeat = isLockTimeout(error) && mayWait() && monotonicMs() < endMs;
          if (!mayRepeat) throw error;
        } finally {
          turns.give();
        }
      }
    },
  };
}

type Turns = { readonly take: () => Promise<void>; readonly give: () => void };

/** At most so many at once, in order of their asking. */
function createTurns(most: number): Turns {
  const waiting: (() => void)[] = [];
  let free = most;
  return {
    take: async () => {
      if (free > 0) free -= 1;
      else await new Promise<void>((go) => waiting.push(go));
    },
    give: () => {
      const next = waiting.shift();
      if (next !== undefined) return next();
      free += 1;
      assert(free <= most, "a turn is given back once");
    },
  };
}
