/**
 * Compares what the ledger says with what a provider says, by UTC day and model.
 *
 * A reason explains a difference by as much as the ledger or the invoice itself shows, and no more: each has an
 * interval for each figure, and a difference is explained where it lies within the sum of them. What
 * nothing here can prove, calls beside the gate first of all, is named and stays unexplained.
 */
import {
  FIGURES,
  figuresBy,
  modelFamily,
  NO_FIGURES,
  sumOf,
  type Figure,
  type Figures,
  type Invoice,
  type InvoiceLine,
} from "./invoice.ts";
import {
  EXPLAINING,
  NAMING,
  type Explained,
  type Interval,
  type Reason,
} from "./reconcile-reasons.ts";

/** What the ledger posted on a day for one model. */
export type OurLine = {
  readonly day: string;
  readonly model: string;
  readonly figures: Figures;
  /** Charged for want of evidence: what was added, and what corrections took back. */
  readonly presumed: Figures;
  readonly presumedBack: Figures;
  /**
   * Tokens of attempts of which nobody told input and output: the most that there can have been, and what
   * corrections took back.
   */
  readonly untold: bigint;
  readonly untoldBack: bigint;
  /** Of it, what was estimated. */
  readonly estimated: Figures;
  /** Attempts without a known price: their cost is in no figure. */
  readonly unpriced: bigint;
  /** Attempts that did not succeed, which providers may count or not. */
  readonly failed: bigint;
  /** Of it, calls that began before this day's midnight; and calls that began on it and were posted behind it. */
  readonly crossedIn: Figures;
  readonly crossedOut: Figures;
};

/** Both sides of one day and one family of models. */
export type Pair = {
  readonly day: string;
  readonly model: string;
  readonly isModel: boolean;
  readonly ours: OurLine;
  readonly ourModels: readonly string[];
  readonly theirs: Pick<InvoiceLine, "figures" | "tiers" | "amounts">;
  readonly theirModels: readonly string[];
};

export type Verdict = "equal" | "explained" | "unexplained";

export type ReconciledLine = {
  readonly day: string;
  readonly model: string;
  readonly ours: Figures;
  readonly theirs: Figures;
  /** Theirs less ours, of what is stated. */
  readonly difference: Figures;
  readonly verdict: Verdict;
  /** What no reason explains. */
  readonly unexplained: Figures;
  readonly reasons: readonly Reason[];
};

export type Reconciled = {
  readonly state: "reconciled" | "differs";
  readonly lines: readonly ReconciledLine[];
  readonly totals: {
    readonly ours: Figures;
    readonly theirs: Figures;
    readonly difference: Figures;
    /** Σ of what is not explained, without sign: two errors do not make a right. */
    readonly unexplained: Figures;
    readonly verdicts: Readonly<Record<Verdict, number>>;
  };
};

/**
 * `tolerance`, in pico-dollars: the sum of unexplained cost that is let pass. It lets nothing pass whose cost is not
 * stated.
 */
export function reconcile(
  ours: readonly OurLine[],
  invoice: Invoice,
  tolerance: bigint,
): Reconciled {
  const lines = pairsOf(ours, invoice.lines).map((pair) => lineOf(pair, invoice.states));
  const total = (figures: (line: ReconciledLine) => Figures) =>
    lines.map(figures).reduce(sumOf, NO_FIGURES);
  const verdicts = { equal: 0, explained: 0, unexplained: 0 };
  for (const { verdict } of lines) verdicts[verdict] += 1;
  const totals = {
    ours: total((line) => line.ours),
    theirs: total((line) => line.theirs),
    difference: total((line) => line.difference),
    unexplained: total((line) => figuresBy((figure) => abs(line.unexplained[figure]))),
    verdicts,
  };
  const isTolerated =
    tolerance > 0n && invoice.states.includes("cost") && totals.unexplained.cost <= tolerance;
  const state = verdicts.unexplained === 0 || isTolerated ? "reconciled" : "differs";
  return { state, lines, totals };
}

/** By day and model. What is no model is not compared with one, whatever its name. */
function pairsOf(ours: readonly OurLine[], theirs: readonly InvoiceLine[]): readonly Pair[] {
  const pairs = new Map<string, Pair>();
  const pairOf = (day: string, model: string, isModel: boolean) =>
    pairs.get(`${day} ${isModel} ${model}`) ?? emptyPair(day, model, isModel);
  const put = (pair: Pair) => pairs.set(`${pair.day} ${pair.isModel} ${pair.model}`, pair);
  for (const line of ours) {
    const pair = pairOf(line.day, modelFamily(line.model), true);
    const ourModels = [...pair.ourModels, line.model];
    put({ ...pair, ours: joined(pair.ours, line), ourModels });
  }
  for (const line of theirs) {
    const model = line.isModel ? modelFamily(line.model) : line.model;
    const pair = pairOf(line.day, model, line.isModel);
    const { figures, tiers, amounts } = pair.theirs;
    put({
      ...pair,
      theirs: {
        figures: sumOf(figures, line.figures),
        tiers: [...new Set([...tiers, ...line.tiers])].toSorted(),
        amounts: amounts + line.amounts,
      },
      theirModels: [...pair.theirModels, line.model],
    });
  }
  return [...pairs.values()].toSorted((a, b) => compare(a.day, b.day) || compare(a.model, b.model));
}

function emptyPair(day: string, model: string, isModel: boolean): Pair {
  return {
    day,
    model,
    isModel,
    ours: {
      day,
      model,
      figures: NO_FIGURES,
      presumed: NO_FIGURES,
      presumedBack: NO_FIGURES,
      untold: 0n,
      untoldBack: 0n,
      estimated: NO_FIGURES,
      unpriced: 0n,
      failed: 0n,
      crossedIn: NO_FIGURES,
      crossedOut: NO_FIGURES,
    },
    ourModels: [],
    theirs: { figures: NO_FIGURES, tiers: [], amounts: 0 },
    theirModels: [],
  };
}

function joined(a: OurLine, b: OurLine): OurLine {
  return {
    ...a,
    figures: sumOf(a.figures, b.figures),
    presumed: sumOf(a.presumed, b.presumed),
    presumedBack: sumOf(a.presumedBack, b.presumedBack),
    untold: a.untold + b.untold,
    untoldBack: a.untoldBack + b.untoldBack,
    estimated: sumOf(a.estimated, b.estimated),
    unpriced: a.unpriced + b.unpriced,
    failed: a.failed + b.failed,
    crossedIn: sumOf(a.crossedIn, b.crossedIn),
    crossedOut: sumOf(a.crossedOut, b.crossedOut),
  };
}

function lineOf(pair: Pair, states: readonly Figure[]): ReconciledLine {
  const ours = pair.ours.figures;
  const theirs = pair.theirs.figures;
  const difference = figuresBy((figure) =>
    states.includes(figure) ? theirs[figure] - ours[figure] : 0n,
  );
  const line = { day: pair.day, model: pair.model, ours, theirs, difference };
  if (isNothing(difference)) {
    return { ...line, verdict: "equal", unexplained: NO_FIGURES, reasons: [] };
  }
  const { reasons, unexplained } = explain(pair, difference, states);
  if (isNothing(unexplained)) return { ...line, verdict: "explained", unexplained, reasons };
  const named = NAMING.flatMap((name) => name(pair, unexplained) ?? []);
  return { ...line, verdict: "unexplained", unexplained, reasons: [...reasons, ...named] };
}

/** The reasons that meet a difference, each after what those before it left. */
function explain(
  pair: Pair,
  difference: Figures,
  states: readonly Figure[],
): { readonly reasons: readonly Reason[]; readonly unexplained: Figures } {
  const reasons: Reason[] = [];
  let unexplained = difference;
  for (const reasonOf of EXPLAINING) {
    const explained: Explained | null = reasonOf(pair, { left: unexplained, states });
    if (explained === null) continue;
    const left = figuresBy((figure) => beyond(unexplained[figure], explained.allows[figure]));
    if (FIGURES.every((figure) => left[figure] === unexplained[figure])) continue;
    reasons.push({ code: explained.code, says: explained.says });
    unexplained = left;
  }
  return { reasons, unexplained };
}

/** How far a difference is outside of an interval that holds 0. */
function beyond(difference: bigint, interval: Interval | undefined): bigint {
  if (interval === undefined) return difference;
  const [low, high] = interval;
  if (difference < 0n && low !== null) return difference < low ? difference - low : 0n;
  if (difference > 0n && high !== null) return difference > high ? difference - high : 0n;
  return 0n;
}

function isNothing(figures: Figures): boolean {
  return FIGURES.every((figure) => figures[figure] === 0n);
}

function abs(amount: bigint): bigint {
  return amount < 0n ? -amount : amount;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
