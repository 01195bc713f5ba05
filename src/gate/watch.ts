/**
 * One timer for all exchanges of a process: deadlines and keep-alives need no better than a quarter second.
 *
 * They stand in an array, each knowing its place, and not in a `Set`: what a `Set` outgrows keeps its elements and
 * points to what came after it, so that one such table in the old generation kept all later ones with every call in
 * them from being collected as young: a fifth of the gateway's processor time, of streams.
 */
type Tick = (nowMs: number) => void;

/** `place` is null once it is watched no more. */
export type Watched = { readonly tick: Tick; place: number | null };

export type Watch = {
  readonly add: (tick: Tick) => Watched;
  /** May be told more than once. */
  readonly remove: (watched: Watched) => void;
  readonly size: () => number;
};

const TICK_MS = 250;

export function createWatch(monotonicMs: () => number): Watch {
  const all: Watched[] = [];
  let timer: ReturnType<typeof setInterval> | null = null;
  // From the end: whoever is removed meanwhile is replaced by one that had its turn.
  const tick = () => {
    const nowMs = monotonicMs();
    for (let at = all.length - 1; at >= 0; at -= 1) all[at]?.tick(nowMs);
  };
  return {
    add: (own) => {
      const watched: Watched = { tick: own, place: all.length };
      all.push(watched);
      timer ??= setInterval(tick, TICK_MS);
      return watched;
    },
    remove: (watched) => {
      const { place } = watched;
      if (place === null) return;
      watched.place = null;
      const last = all.pop();
      if (last !== undefined && last !== watched) {
        all[place] = last;
        last.place = place;
      }
      if (all.length > 0 || timer === null) return;
      clearInterval(timer);
      timer = null;
    },
    size: () => all.length,
  };
}
