/** One timer for all exchanges of a process: deadlines and keep-alives need no better than a quarter second. */
export type Watched = { readonly tick: (nowMs: number) => void };

export type Watch = {
  readonly add: (watched: Watched) => void;
  readonly remove: (watched: Watched) => void;
  readonly size: () => number;
};

const TICK_MS = 250;

export function createWatch(monotonicMs: () => number): Watch {
  const all = new Set<Watched>();
  let timer: ReturnType<typeof setInterval> | null = null;
  const tick = () => {
    const nowMs = monotonicMs();
    for (const watched of all) watched.tick(nowMs);
  };
  return {
    add: (watched) => {
      all.add(watched);
      timer ??= setInterval(tick, TICK_MS);
    },
    remove: (watched) => {
      all.delete(watched);
      if (all.size > 0 || timer === null) return;
      clearInterval(timer);
      timer = null;
    },
    size: () => all.size,
  };
}
