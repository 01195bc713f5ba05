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

type Compared = {
  readonly upstream: string;
  readonly from: string;
  readonly to: string;
  readonly state: "reconciled" | "differs";
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
      days.push(own.find(({ from, to }) => from <= day && day < to)?.state ?? null);
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
