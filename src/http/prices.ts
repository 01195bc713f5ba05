/** The price book as the API shows it. */
import { picousd, usdFromPicousd } from "../core/money.ts";
import { findPrice, type Price, type PriceBook, type Rates } from "../core/price.ts";
import type { Page, Paged } from "../ledger/paged.ts";
import { pageOf } from "../ledger/paged.ts";

export type PriceView = {
  readonly version: string;
  readonly upstream: string;
  readonly model: string;
  readonly from: string;
  readonly source: string;
  /** USD per million units, by class of usage. */
  readonly usd_per_million: Readonly<Record<string, string>>;
  readonly tiers: readonly {
    readonly above_input_tokens: number;
    readonly usd_per_million: Readonly<Record<string, string>>;
  }[];
  readonly context_tokens_max: number | null;
  readonly output_tokens_max: number | null;
};

/** Prices per unit are whole pico-dollars, and are shown per million as price lists print them. */
const UNITS_SHOWN = 1_000_000n;

/** By upstream, model and date. `at` null is every price known; the cursor is the version of a price. */
export function listPrices(
  book: PriceBook,
  page: Page & {
    readonly upstream: string | null;
    readonly model: string | null;
    readonly search: string | null;
    readonly at: Date | null;
  },
): Paged<PriceView> {
  const prices = matching(book, page);
  const last = page.after === null ? -1 : prices.findIndex((price) => price.version === page.after);
  const views = prices.slice(last + 1, last + 2 + page.rows).map(viewOf);
  return pageOf(views, page, (price) => price.version);
}

function matching(
  book: PriceBook,
  wanted: {
    readonly upstream: string | null;
    readonly model: string | null;
    readonly search: string | null;
    readonly at: Date | null;
  },
): readonly Price[] {
  const prices: Price[] = [];
  const search = wanted.search?.toLowerCase() ?? null;
  for (const [upstream, models] of sorted(book.byUpstream)) {
    if (wanted.upstream !== null && wanted.upstream !== upstream) continue;
    for (const [model, dated] of sorted(models)) {
      if (wanted.model !== null && wanted.model !== model) continue;
      if (search !== null && !`${upstream}/${model}`.toLowerCase().includes(search)) continue;
      if (wanted.at === null) prices.push(...dated);
      else {
        const current = findPrice(book, upstream, model, wanted.at);
        if (current !== null) prices.push(current);
      }
    }
  }
  return prices;
}

function sorted<Value>(map: ReadonlyMap<string, Value>): readonly (readonly [string, Value])[] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function viewOf(price: Price): PriceView {
  return {
    version: price.version,
    upstream: price.upstream,
    model: price.model,
    from: price.from.toISOString(),
    source: price.source,
    usd_per_million: perMillion(price.rates),
    tiers: price.tiers.map((tier) => ({
      above_input_tokens: tier.aboveInputTokens,
      usd_per_million: perMillion(tier.rates),
    })),
    context_tokens_max: price.contextTokensMax,
    output_tokens_max: price.outputTokensMax,
  };
}

function perMillion(rates: Rates): Readonly<Record<string, string>> {
  const shown: Record<string, string> = {};
  for (const [kind, rate] of Object.entries(rates)) {
    shown[kind] = usdFromPicousd(picousd(rate * UNITS_SHOWN));
  }
  return shown;
}
