/** Why a ledger and an invoice differ: what can be proved, by how much; and what can only be named. */
import { FIGURES, type Figure, type Figures } from "./invoice.ts";
import { ROUNDING_PICOUSD } from "./limits-finance.ts";
import { dollars } from "./money.ts";
import type { Pair } from "./reconcile.ts";

export const REASONS = [
  "presumed",
  "untold_usage",
  "estimated",
  "day_boundary",
  "failed_attempts",
  "rounding",
  "unpriced",
  "service_tier",
  "model_names",
  "beside_the_gate",
  "absent_there",
  "no_model",
] as const;

export type Reason = { readonly code: (typeof REASONS)[number]; readonly says: string };

/** How much lower, and how much higher, the invoice may be; null: by any amount. */
export type Interval = readonly [bigint | null, bigint | null];

export type Explained = Reason & { readonly allows: Partial<Record<Figure, Interval>> };

type Explaining = (
  pair: Pair,
  rest: { readonly left: Figures; readonly states: readonly Figure[] },
) => Explained | null;

/** In the order in which they are asked: what is exact before what is wide. */
export const EXPLAINING: readonly Explaining[] = [
  ({ ours: { crossedIn, crossedOut } }) => {
    const calls = crossedIn.requests + crossedOut.requests;
    if (calls === 0n) return null;
    return {
      code: "day_boundary",
      says: `${attemptsText(calls)} began before a midnight of UTC and ${calls === 1n ? "was" : "were"} posted behind it: ${dollars(crossedIn.cost)} on this day, ${dollars(crossedOut.cost)} on the next.`,
      allows: intervals((figure) => [-crossedIn[figure], crossedOut[figure]]),
    };
  },
  ({ ours: { presumed, presumedBack } }) => {
    if (presumed.requests === 0n && presumedBack.requests === 0n) return null;
    const back =
      presumedBack.requests === 0n
        ? ""
        : ` Corrections took back ${dollars(presumedBack.cost)} that was presumed on an earlier day.`;
    return {
      code: "presumed",
      says: `${attemptsText(presumed.requests)}, ${dollars(presumed.cost)}, ${presumed.requests === 1n ? "was" : "were"} charged in full for want of evidence.${back}`,
      allows: intervals((figure) => [-presumed[figure], presumedBack[figure]]),
    };
  },
  ({ ours: { untold, untoldBack } }) => {
    if (untold === 0n && untoldBack === 0n) return null;
    const interval: Interval = [-untoldBack, untold];
    const most = untold > untoldBack ? untold : untoldBack;
    return {
      code: "untold_usage",
      says: `Of some attempts nobody told the usage, which is in no figure here: ${most} tokens at most.`,
      allows: { input: interval, cached: interval, output: interval },
    };
  },
  ({ ours: { estimated } }) => {
    if (estimated.requests === 0n) return null;
    return {
      code: "estimated",
      says: `Of ${attemptsText(estimated.requests)}, ${dollars(estimated.cost)}, the provider did not tell the usage: it was counted here.`,
      allows: intervals((figure) =>
        figure === "requests" ? [0n, 0n] : [-estimated[figure], estimated[figure]],
      ),
    };
  },
  ({ ours: { failed } }) => {
    if (failed === 0n) return null;
    return {
      code: "failed_attempts",
      says: `${attemptsText(failed)} did not succeed: the provider may not count ${failed === 1n ? "it as a request" : "them as requests"}.`,
      allows: { requests: [-failed, 0n] },
    };
  },
  ({ theirs: { amounts } }, { left }) => {
    const slack = BigInt(amounts) * ROUNDING_PICOUSD;
    // All of it or nothing: of a dollar that is missing no thousandth of a cent was rounded.
    if (left.cost > slack || left.cost < -slack) return null;
    return {
      code: "rounding",
      says: `The invoice's cost is the sum of ${amounts} amounts, each of them rounded.`,
      allows: { cost: [-slack, slack] },
    };
  },
  (pair, { left, states }) => {
    const { unpriced, figures } = pair.ours;
    if (unpriced === 0n || !(isUsageExplained(left, states) || unpriced === figures.requests)) {
      return null;
    }
    return {
      code: "unpriced",
      says: `Of ${attemptsText(unpriced)} no price was known: ${unpriced === 1n ? "it costs" : "they cost"} nothing here.`,
      allows: { cost: [0n, null] },
    };
  },
  ({ theirs }, { left, states }) => {
    if (theirs.tiers.length === 0 || !isUsageExplained(left, states)) return null;
    return {
      code: "service_tier",
      says: `Some was billed by another tier than the ordinary one: ${theirs.tiers.join(", ")}.`,
      allows: { cost: [-theirs.figures.cost, theirs.figures.cost] },
    };
  },
];

/** What nothing here can prove: named beside what it leaves unexplained. */
export const NAMING: readonly ((pair: Pair, unexplained: Figures) => Reason | null)[] = [
  ({ isModel }) =>
    isModel
      ? null
      : { code: "no_model", says: "The invoice names no model for it: a tool, storage, or a fee." },
  ({ isModel }, unexplained) => {
    if (!isModel || !FIGURES.some((figure) => unexplained[figure] > 0n)) return null;
    return {
      code: "beside_the_gate",
      says: "The provider counts more than the ledger: calls beside the gate, with the same account.",
    };
  },
  ({ ours, theirs }) => {
    if (ours.figures.requests === 0n || FIGURES.some((figure) => theirs.figures[figure] !== 0n)) {
      return null;
    }
    return {
      code: "absent_there",
      says: "The export has nothing of it: another account, project or workspace, or not told yet.",
    };
  },
  ({ ourModels, theirModels, model }) => {
    const names = [...new Set([...ourModels, ...theirModels])].toSorted();
    if (names.length < 2) return null;
    return { code: "model_names", says: `Compared as ${model}: ${names.join(", ")}.` };
  },
];

/** The usage is stated and leaves nothing open: so it is the price that differs. */
function isUsageExplained(left: Figures, states: readonly Figure[]): boolean {
  return states.includes("input") && FIGURES.every((f) => f === "cost" || left[f] === 0n);
}

function intervals(of: (figure: Figure) => Interval): Record<Figure, Interval> {
  return {
    requests: of("requests"),
    input: of("input"),
    cached: of("cached"),
    output: of("output"),
    cost: of("cost"),
  };
}

function attemptsText(attempts: bigint): string {
  return attempts === 1n ? "1 attempt" : `${attempts} attempts`;
}
