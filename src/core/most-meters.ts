/**
 * The most meters that one ask can meet. Each is a row that its posting locks, so a limit is refused that would take
 * the longest path beyond METERS_PER_ASK_MAX. A path is what one ask of a tenant counts under: all limits on kinds that
 * count every ask, those of one key, one model and one tool, and those of its run and of the runs above it.
 */
import type { ScopeKind, Unit, Window } from "./verdict.ts";

/** Limits that count the same subject in the same way. */
export type LimitGroup = {
  readonly scopeKind: ScopeKind;
  readonly scopeId: string;
  /** Of retries: a tool or `model:<name>`; `*` and empty for all. */
  readonly resource: string;
  readonly unit: Unit;
  readonly window: Window;
  readonly limits: number;
};

export type PathTerms = {
  /** Of the tenant, on the longest path, those of runs aside. */
  readonly limits: number;
  /** Of these: of each a run that is named has a share, which is a meter more. */
  readonly dailyQuotas: number;
  readonly runsAbove: number;
  readonly limitsPerRun: number;
};

export function mostMeters({ limits, dailyQuotas, runsAbove, limitsPerRun }: PathTerms): number {
  return limits + dailyQuotas + (1 + runsAbove) * limitsPerRun;
}

/** `modelMeant`: the model that a name means, whichever of its names it is. */
export function longestPath(
  groups: readonly LimitGroup[],
  modelMeant: (name: string) => string,
): Pick<PathTerms, "limits" | "dailyQuotas"> {
  const subjects = Map.groupBy(
    groups.filter(({ scopeKind }) => scopeKind !== "run"),
    ({ scopeKind, scopeId }) =>
      `${scopeKind} ${scopeKind === "model" ? modelMeant(scopeId) : scopeId}`,
  );
  const mostOf = new Map<ScopeKind, Counts>();
  for (const of of subjects.values()) {
    const [first] = of;
    if (first === undefined) continue;
    const { scopeKind } = first;
    mostOf.set(scopeKind, larger(mostOf.get(scopeKind) ?? NO_LIMITS, countsOf(of)));
  }
  return [...mostOf.values()].reduce(sum, NO_LIMITS);
}

type Counts = Pick<PathTerms, "limits" | "dailyQuotas">;

const NO_LIMITS: Counts = { limits: 0, dailyQuotas: 0 };

/** Of one subject: what counts whatever is asked for, and of what counts one tool or model the most of any. */
function countsOf(groups: readonly LimitGroup[]): Counts {
  const resources = new Map<string, Counts>();
  for (const group of groups) {
    const { limits, resource } = group;
    const counts = { limits, dailyQuotas: isDailyQuota(group.scopeKind, group) ? limits : 0 };
    const of = resource === "*" ? "" : resource;
    resources.set(of, sum(resources.get(of) ?? NO_LIMITS, counts));
  }
  const always = resources.get("") ?? NO_LIMITS;
  resources.delete("");
  return sum(always, [...resources.values()].reduce(larger, NO_LIMITS));
}

/** Of these one run may not take all: a bad query would use up the day for everybody. */
export function isDailyQuota(
  scope: ScopeKind,
  { unit, window }: { readonly unit: Unit; readonly window: Window },
): boolean {
  const isQuota = unit === "tokens" || unit === "requests";
  return window === "day" && isQuota && (scope === "tenant" || scope === "key");
}

function sum(a: Counts, b: Counts): Counts {
  return { limits: a.limits + b.limits, dailyQuotas: a.dailyQuotas + b.dailyQuotas };
}

function larger(a: Counts, b: Counts): Counts {
  return a.limits + a.dailyQuotas >= b.limits + b.dailyQuotas ? a : b;
}
