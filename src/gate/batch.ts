/**
 * Group commit. While one batch is at the database the next one fills, so the batch size follows the
 * load and an idle gate adds no wait: there is no timer to tune unless a `gatherMs` is wanted.
 *
 * Each item gets exactly one answer: its result, or the error of the batch that held it. An item that
 * the database cannot accept does not sink its neighbours: a refused batch is split until it is alone.
 *
 * A burst may wait; a queue that never empties may not grow. Once something has waited for longer than
 * `standingMs` without a moment when nothing did, items are turned away as soon as the first in the queue
 * has waited `crowdedMs`: the controlled delay of B. Maurer, "Fail at Scale" (ACM Queue 13(8), 2015). Those
 * of tenants that have their share of the queue, that is: who crowds it keeps nobody else out.
 */
import { Overloaded } from "./unavailable.ts";

/** The part of a queue that one tenant may fill by itself: the others find room in a burst of its. */
const TENANT_SHARE_MAX = 3 / 4;

export type Batcher<Item, Result> = {
  /** Resolves when the item's batch has committed; rejects when it has not, or when the queue is full. */
  readonly submit: (item: Item) => Promise<Result>;
  readonly waiting: () => number;
  /** Whether an item of this tenant would be turned away now: asked before any work is done for it. */
  readonly isCrowded: (tenant: string) => boolean;
  /** Resolves when nothing waits and nothing flies. */
  readonly drained: () => Promise<void>;
};

export type BatchOptions<Item, Result> = {
  readonly commit: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly itemsMax: number;
  readonly inFlightMax: number;
  readonly waitingMax: number;
  /** How long an item may wait before its batch is made; then it is dropped, unposted. */
  readonly waitMsMax: number;
  /** How long a queue may stand, without having been empty, before its wait is held down. */
  readonly standingMs: number;
  /** The wait of the first in a standing queue from which on nothing more is let into it. */
  readonly crowdedMs: number;
  /** Time for which the first item waits for others: for work that nobody waits for. */
  readonly gatherMs: number;
  /**
   * While a batch is at the database fewer items than this wait for its end, or for `companyMs`: small batches
   * beside each other cost as much as large ones, and mostly wait for the locks of the first.
   */
  readonly companyMin: number;
  readonly companyMs: number;
  readonly tenantOf: (item: Item) => string;
  /** Whether an error is about the content of a batch, so that halves of it may fare better. */
  readonly isContentError: (error: unknown) => boolean;
  readonly monotonicMs: () => number;
};

type Waiting<Item, Result> = {
  readonly item: Item;
  readonly sinceMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
};

export function createBatcher<Item, Result>(
  options: BatchOptions<Item, Result>,
): Batcher<Item, Result> {
  let queue: Waiting<Item, Result>[] = [];
  let inFlight = 0;
  let gathering = false;
  let patience: ReturnType<typeof setTimeout> | null = null;
  let idle: (() => void)[] = [];
  let emptyAtMs = options.monotonicMs();
  /** How many of each tenant wait; who has none is not in it. */
  const waitingOf = new Map<string, number>();

  const isCrowded = (tenant: string): boolean => {
    const [first] = queue;
    if (first === undefined) return false;
    const own = waitingOf.get(tenant) ?? 0;
    if (queue.length >= options.waitingMax || own >= options.waitingMax * TENANT_SHARE_MAX)
      return true;
    if (own < Math.max(1, Math.floor(queue.length / waitingOf.size))) return false;
    const nowMs = options.monotonicMs();
    return nowMs - emptyAtMs > options.standingMs && nowMs - first.sinceMs > options.crowdedMs;
  };

  const submit = (item: Item): Promise<Result> =>
    new Promise((resolve, reject) => {
      const tenant = options.tenantOf(item);
      if (isCrowded(tenant)) {
        reject(new Overloaded(`${queue.length} asks wait already`));
        return;
      }
      if (queue.length === 0) emptyAtMs = options.monotonicMs();
      waitingOf.set(tenant, (waitingOf.get(tenant) ?? 0) + 1);
      queue.push({ item, sinceMs: options.monotonicMs(), resolve, reject });
      gather();
    });

  const leave = (tenant: string) => {
    const left = (waitingOf.get(tenant) ?? 1) - 1;
    if (left > 0) waitingOf.set(tenant, left);
    else waitingOf.delete(tenant);
  };

  // Everything that arrives in this turn of the event loop goes into one batch.
  const gather = () => {
    if (gathering || inFlight >= options.inFlightMax || queue.length === 0) return;
    if (inFlight > 0 && queue.length < options.companyMin) {
      patience ??= setTimeout(flush, options.companyMs);
      return;
    }
    gathering = true;
    if (options.gatherMs > 0) setTimeout(flush, options.gatherMs);
    else setImmediate(flush);
  };

  const flush = () => {
    gathering = false;
    if (patience !== null) clearTimeout(patience);
    patience = null;
    if (inFlight < options.inFlightMax) fly();
  };

  const fly = () => {
    const taken = take(queue, options);
    queue = taken.rest;
    for (const { item } of [...taken.batch, ...taken.late]) leave(options.tenantOf(item));
    for (const late of taken.late) {
      late.reject(new Overloaded(`waited more than ${options.waitMsMax} ms to be posted`));
    }
    if (taken.batch.length === 0) return settleIdle();
    inFlight += 1;
    void commitOrSplit(taken.batch, options).finally(() => {
      inFlight -= 1;
      if (queue.length > 0) gather();
      else settleIdle();
    });
    if (queue.length > 0) gather();
  };

  const settleIdle = () => {
    if (inFlight > 0 || queue.length > 0) return;
    const waiters = idle;
    idle = [];
    for (const wake of waiters) wake();
  };

  return {
    submit,
    waiting: () => queue.length,
    isCrowded,
    drained: () =>
      new Promise((done) => {
        idle.push(done);
        settleIdle();
      }),
  };
}

/** Takes the next batch in order of arrival; no tenant more than a quarter of it while others wait. */
function take<Item, Result>(
  queue: readonly Waiting<Item, Result>[],
  options: BatchOptions<Item, Result>,
) {
  const batch: Waiting<Item, Result>[] = [];
  const rest: Waiting<Item, Result>[] = [];
  const late: Waiting<Item, Result>[] = [];
  const oldest = options.monotonicMs() - options.waitMsMax;
  const crowded = queue.length > options.itemsMax;
  const share = Math.max(1, Math.floor(options.itemsMax / 4));
  const taken = new Map<string, number>();
  for (const waiting of queue) {
    if (waiting.sinceMs < oldest) {
      late.push(waiting);
      continue;
    }
    if (batch.length >= options.itemsMax) {
      rest.push(waiting);
      continue;
    }
    const tenant = options.tenantOf(waiting.item);
    const own = taken.get(tenant) ?? 0;
    if (crowded && own >= share) {
      rest.push(waiting);
      continue;
    }
    taken.set(tenant, own + 1);
    batch.push(waiting);
  }
  // Nobody else waits for the room that the shares left: it goes to whoever was first.
  const room = options.itemsMax - batch.length;
  return { batch: batch.concat(rest.slice(0, room)), rest: rest.slice(room), late };
}

async function commitOrSplit<Item, Result>(
  batch: readonly Waiting<Item, Result>[],
  options: BatchOptions<Item, Result>,
): Promise<void> {
  try {
    const results = await options.commit(batch.map((waiting) => waiting.item));
    for (const [i, waiting] of batch.entries()) {
      const result = results[i];
      if (result === undefined)
        waiting.reject(new Error("a batch answered fewer items than it held"));
      else waiting.resolve(result);
    }
  } catch (error) {
    if (batch.length > 1 && options.isContentError(error)) {
      const half = Math.ceil(batch.length / 2);
      await commitOrSplit(batch.slice(0, half), options);
      await commitOrSplit(batch.slice(half), options);
      return;
    }
    for (const waiting of batch) waiting.reject(error);
  }
}
