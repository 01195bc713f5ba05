/** What a provider says was used and is owed: lines by UTC day and model, read from its exports. */
export const PROVIDERS = ["openai", "anthropic"] as const;
export type Provider = (typeof PROVIDERS)[number];

/** What both sides can state of a day's calls of one model. Input is all of it, the cached part included. */
export const FIGURES = ["requests", "input", "cached", "output", "cost"] as const;
export type Figure = (typeof FIGURES)[number];

/** Tokens, requests, and the cost in pico-dollars. */
export type Figures = Readonly<Record<Figure, bigint>>;

export type InvoiceLine = {
  /** `2026-11-22`, in UTC, by which providers keep their days. */
  readonly day: string;
  /** As the provider names it; of what is no model, the invoice's own words. */
  readonly model: string;
  readonly isModel: boolean;
  /** Service tiers other than the ordinary one, in order: `batch`, `flex`, `priority`. */
  readonly tiers: readonly string[];
  /** How many amounts of money its cost is the sum of: each may have been rounded. */
  readonly amounts: number;
  /** What its invoice does not state is 0: see `Invoice.states`. */
  readonly figures: Figures;
};

export type Invoice = {
  /** The first day, and the day behind the last one. What it states is stated of all days between. */
  readonly from: string;
  readonly to: string;
  readonly states: readonly Figure[];
  readonly lines: readonly InvoiceLine[];
};

export const NO_FIGURES: Figures = { requests: 0n, input: 0n, cached: 0n, output: 0n, cost: 0n };

/** The figures of these names, made one by one. */
export function figuresBy(make: (figure: Figure) => bigint): Figures {
  return {
    requests: make("requests"),
    input: make("input"),
    cached: make("cached"),
    output: make("output"),
    cost: make("cost"),
  };
}

export function sumOf(a: Figures, b: Figures): Figures {
  return figuresBy((figure) => a[figure] + b[figure]);
}

/**
 * What versions of a model have in common: a client asks for `gpt-4o`, and the invoice says which dated
 * version answered (`gpt-4o-2024-08-06`, `claude-sonnet-4-20250514`).
 */
export function modelFamily(model: string): string {
  return model.replace(/(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-latest)$/, "");
}
