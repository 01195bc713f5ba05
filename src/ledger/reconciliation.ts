/** Compares the roll-ups with a provider's invoice, and says how far a period has been reconciled. */
import { InputError } from "../core/errors.ts";
import {
  FIGURES,
  figuresBy,
  NO_FIGURES,
  sumOf,
  type Figure,
  type Figures,
  type Invoice,
} from "../core/invoice.ts";
import { USAGE_DAYS_MAX } from "../core/limits.ts";
import {
  CROSSING_MS,
  RECONCILED_DAYS_MAX,
  RECONCILED_LINES_MAX,
  RECONCILIATIONS_READ_MAX,
} from "../core/limits-finance.ts";
import { usdOf } from "../core/money.ts";
import {
  reconcile,
  type OurLine,
  type Reconciled,
  type ReconciledLine,
} from "../core/reconcile.ts";
import type { Reason } from "../core/reconcile-reasons.ts";
import { statesOf, type ReconciliationState } from "../core/reconciliation-state.ts";
import type { Database } from "../store/database.ts";
import type { Page } from "../store/events.ts";
import {
  listReconciliations,
  reconciliationsWithin,
  sumCrossing,
  sumPosted,
  type PostedRow,
  type ReconciliationRow,
  type Whose,
} from "../store/reconciliations.ts";
import { rolledUpAsOf } from "../store/roll-up.ts";
import { countOf } from "./amounts.ts";
import { pageOf, type Paged } from "./paged.ts";
import { summed } from "./summed.ts";

const DAY_MS = 86_400_000;

/** Of a row of a basis that is split into dimensions: one for each price, ending and key. */
const POSTED_ROWS_MAX = 20 * RECONCILED_LINES_MAX;

export type FiguresView = {
  /** Null: the invoice does not state it. */
  readonly requests: number | null;
  readonly input_tokens: number | null;
  readonly cached_tokens: number | null;
  readonly output_tokens: number | null;
  readonly cost_usd: string | null;
};

export type ReconciledLineView = {
  readonly day: string;
  readonly model: string;
  readonly verdict: ReconciledLine["verdict"];
  readonly ours: FiguresView;
  readonly theirs: FiguresView;
  readonly difference: FiguresView;
  readonly unexplained: FiguresView;
  readonly reasons: readonly Reason[];
};

export type ReconciliationView = {
  readonly state: Reconciled["state"];
  readonly upstream: string;
  readonly from: string;
  readonly to: string;
  readonly totals: {
    readonly ours: FiguresView;
    readonly theirs: FiguresView;
    readonly difference: FiguresView;
    readonly unexplained: FiguresView;
    readonly equal: number;
    readonly explained: number;
    readonly not_explained: number;
    /** The days of those lines: the others agree. */
    readonly days_not_explained: readonly string[];
  };
  readonly lines: readonly ReconciledLineView[];
};

export type RecordedReconciliation = {
  readonly id: string;
  readonly upstream: string;
  readonly provider: string;
  readonly from: string;
  readonly to: string;
  readonly state: Reconciled["state"];
  readonly totals: unknown;
  readonly recorded_by: string;
  readonly recorded_at: string;
};

export type Comparison = {
  readonly whose: Whose;
  readonly upstream: string;
  readonly invoice: Invoice;
  /** Unexplained cost that is let pass, in pico-dollars. */
  readonly tolerance: bigint;
};

/** Throws InputError where the period is too long, or not over. */
export async function reconciliationOf(
  db: Database,
  { whose, upstream, invoice, tolerance }: Comparison,
): Promise<ReconciliationView> {
  refusePeriod(invoice, RECONCILED_DAYS_MAX);
  const asOf = await rolledUpAsOf(db.admin, null);
  if (Date.parse(invoice.to) > asOf.getTime()) {
    const message = `The ledger is summed up to ${asOf.toISOString()}: a day that is not over then cannot be reconciled. Name an earlier \`to\`.`;
    throw new InputError("invalid_value", "to", message);
  }
  const asked = { whose, upstream, from: invoice.from, to: invoice.to, rows: POSTED_ROWS_MAX + 1 };
  const posted = await summed(sumPosted(db.admin, asked));
  const lines = new Map<string, OurLine>();
  for (const row of posted) put(lines, row.day, row.model, postedLine(row));
  if (lines.size > RECONCILED_LINES_MAX || posted.length > POSTED_ROWS_MAX) {
    const message = `The ledger has more than ${RECONCILED_LINES_MAX} days and models in this period: reconcile a shorter one.`;
    throw new InputError("invalid_value", "to", message);
  }
  // One after the other: a report takes one of the few connections, and not all.
  for (const midnight of midnightsOf(invoice)) {
    const near = { midnight, beforeMs: CROSSING_MS };
    for (const row of await summed(sumCrossing(db.admin, { whose, upstream }, near))) {
      const crossed = figuresOf(row.figures);
      const before = dayOf(midnight.getTime() - DAY_MS);
      if (before >= invoice.from) put(lines, before, row.model, { crossedOut: crossed });
      const after = dayOf(midnight.getTime());
      if (after < invoice.to) put(lines, after, row.model, { crossedIn: crossed });
    }
  }
  const compared = reconcile([...lines.values()], invoice, tolerance);
  return viewOf(compared, upstream, invoice);
}

type Period = { readonly from: string; readonly to: string };

function refusePeriod({ from, to }: Period, daysMax: number): void {
  const days = (Date.parse(to) - Date.parse(from)) / DAY_MS;
  if (days < 1) {
    throw new InputError(
      "invalid_value",
      "to",
      "`to` is the day behind the last one: after `from`.",
    );
  }
  if (days > daysMax) {
    throw new InputError("invalid_value", "to", `The period has at most ${daysMax} days.`);
  }
}

/** Every beginning and end of a day of the period. */
function midnightsOf({ from, to }: Period): readonly Date[] {
  const [start, end] = [Date.parse(from), Date.parse(to)];
  const midnights: Date[] = [];
  for (let at = start; at <= end; at += DAY_MS) midnights.push(new Date(at));
  return midnights;
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function put(
  lines: Map<string, OurLine>,
  day: string,
  model: string,
  more: Partial<Omit<OurLine, "day" | "model">>,
): void {
  const name = `${day} ${model}`;
  const line = lines.get(name) ?? emptyLine(day, model);
  const sum = (a: Figures, b: Figures | undefined) => sumOf(a, b ?? NO_FIGURES);
  lines.set(name, {
    day,
    model,
    figures: sum(line.figures, more.figures),
    presumed: sum(line.presumed, more.presumed),
    presumedBack: sum(line.presumedBack, more.presumedBack),
    untold: line.untold + (more.untold ?? 0n),
    untoldBack: line.untoldBack + (more.untoldBack ?? 0n),
    estimated: sum(line.estimated, more.estimated),
    unpriced: line.unpriced + (more.unpriced ?? 0n),
    failed: line.failed + (more.failed ?? 0n),
    crossedIn: sum(line.crossedIn, more.crossedIn),
    crossedOut: sum(line.crossedOut, more.crossedOut),
  });
}

function emptyLine(day: string, model: string): OurLine {
  return {
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
  };
}

function postedLine(row: PostedRow): Partial<Omit<OurLine, "day" | "model">> {
  const added = figuresOf(row.added);
  const back = figuresBy((figure) => -BigInt(row.back[figure]));
  const figures = figuresBy((figure) => added[figure] - back[figure]);
  const isUntold = row.basis === "presumed" || row.basis === "unpriced";
  return {
    figures,
    ...(isUntold
      ? {
          untold: BigInt(row.added.tokens) - added.input - added.output,
          untoldBack: -BigInt(row.back.tokens) - back.input - back.output,
        }
      : {}),
    ...(row.basis === "presumed" ? { presumed: added, presumedBack: back } : {}),
    ...(row.basis === "estimated" ? { estimated: figures } : {}),
    ...(row.basis === "unpriced" ? { unpriced: figures.requests } : {}),
    ...(row.hasSucceeded || figures.requests < 0n ? {} : { failed: figures.requests }),
  };
}

function figuresOf(digits: Readonly<Record<Figure, string>>): Figures {
  return figuresBy((figure) => BigInt(digits[figure]));
}

function viewOf(compared: Reconciled, upstream: string, invoice: Invoice): ReconciliationView {
  const { states, from, to } = invoice;
  const { totals } = compared;
  return {
    state: compared.state,
    upstream,
    from,
    to,
    totals: {
      ours: figuresView(totals.ours, FIGURES),
      theirs: figuresView(totals.theirs, states),
      difference: figuresView(totals.difference, states),
      unexplained: figuresView(totals.unexplained, states),
      equal: totals.verdicts.equal,
      explained: totals.verdicts.explained,
      not_explained: totals.verdicts.unexplained,
      days_not_explained: daysNotExplained(compared),
    },
    lines: compared.lines.map((line) => ({
      day: line.day,
      model: line.model,
      verdict: line.verdict,
      ours: figuresView(line.ours, FIGURES),
      theirs: figuresView(line.theirs, states),
      difference: figuresView(line.difference, states),
      unexplained: figuresView(line.unexplained, states),
      reasons: line.reasons,
    })),
  };
}

function daysNotExplained({ lines }: Reconciled): readonly string[] {
  const days = lines.flatMap(({ day, verdict }) => (verdict === "unexplained" ? [day] : []));
  return [...new Set(days)].toSorted();
}

function figuresView(figures: Figures, states: readonly Figure[]): FiguresView {
  const units = (figure: Figure) => (states.includes(figure) ? countOf(figures[figure]) : null);
  return {
    requests: units("requests"),
    input_tokens: units("input"),
    cached_tokens: units("cached"),
    output_tokens: units("output"),
    cost_usd: states.includes("cost") ? usdOf(figures.cost) : null,
  };
}

/** What was reconciled before, newest first. */
export async function reconciliationsOf(
  db: Database,
  whose: Whose,
  page: Page,
): Promise<Paged<RecordedReconciliation>> {
  const rows = await listReconciliations(db.admin, whose, { ...page, rows: page.rows + 1 });
  return pageOf(rows.map(recordedView), page, ({ id }) => id);
}

function recordedView(row: ReconciliationRow): RecordedReconciliation {
  return {
    id: row.reconciliationId,
    upstream: row.upstream,
    provider: row.provider,
    from: row.from,
    to: row.to,
    state: row.state,
    totals: row.summary,
    recorded_by: row.recordedBy,
    recorded_at: row.recordedAt.toISOString(),
  };
}

/** How far each upstream's days of a period were reconciled, by the newest word on each day. */
export async function reconciliationStatesOf(
  db: Database,
  whose: Whose,
  period: Period,
): Promise<readonly ReconciliationState[]> {
  refusePeriod(period, USAGE_DAYS_MAX);
  const rows = RECONCILIATIONS_READ_MAX;
  return statesOf(
    period,
    await reconciliationsWithin(db.admin, whose, { ...period, before: null, rows }),
  );
}
