/** Whether a period agrees with the provider's invoice, as far as anybody has compared them. */
const DAY_MS = 86_400_000;

export type ReconciliationState = {
  readonly upstream: string;
  /** `not_reconciled`: some of its days nobody has compared. */
  readonly state: "reconciled" | "differs" | "not_reconciled";
  readonly days: number;
  readonly reconciled_days: number;
  readonly differing_days: number;
};

export type Compared = {
  readonly upstream: string;
  readonly from: string;
  readonly to: string;
  readonly state: "reconciled" | "differs";
  /** Of its days those that differ; null: that was not told, and all may. */
  readonly daysNotExplained: readonly string[] | null;
};

/** `compared`: newest first; of each day the newest counts. An upstream of which nothing was compared is not told. */
export function statesOf(
  period: { readonly from: string; readonly to: string },
  compared: readonly Compared[],
): readonly ReconciliationState[] {
  const upstreams = [...new Set(compared.map(({ upstream }) => upstream))].toSorted();
  return upstreams.map((upstream) => {
    const own = compared.filter((row) => row.upstream === upstream);
    const days: (Compared["state"] | null)[] = [];
    for (let at = Date.parse(period.from); at < Date.parse(period.to); at += DAY_MS) {
      const day = new Date(at).toISOString().slice(0, 10);
      const newest = own.find(({ from, to }) => from <= day && day < to);
      days.push(newest === undefined ? null : stateOf(newest, day));
    }
    const count = (state: Compared["state"]) => days.filter((day) => day === state).length;
    const [reconciled, differing] = [count("reconciled"), count("differs")];
    const isDone = reconciled === days.length;
    return {
      upstream,
      state: differing > 0 ? "differs" : isDone ? "reconciled" : "not_reconciled",
      days: days.length,
      reconciled_days: reconciled,
      differing_days: differing,
    };
  });
}

/**
 * The same of these days as a whole, over the upstreams whose models were used on them: reconciled where each of them
 * is. One that differs does so for all: where nothing of it is known here, its invoice tells of what went around.
 */
export function stateOfAll(
  states: readonly Pick<ReconciliationState, "upstream" | "state">[],
  used: readonly string[],
): ReconciliationState["state"] {
  if (states.some(({ state }) => state === "differs")) return "differs";
  const reconciled = states.filter(({ state }) => state === "reconciled");
  const names = new Set(reconciled.map(({ upstream }) => upstream));
  const isDone =
    used.length === 0 ? names.size === states.length : used.every((name) => names.has(name));
  return isDone && states.length > 0 ? "reconciled" : "not_reconciled";
}

/** What differs as a whole has days that agree. */
function stateOf({ state, daysNotExplained }: Compared, day: string): Compared["state"] {
  const differs = state === "differs" && (daysNotExplained?.includes(day) ?? true);
  return differs ? "differs" : "reconciled";
}
