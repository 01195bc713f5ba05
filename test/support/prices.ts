import { picousd } from "../../src/core/money.ts";
import { priceBook, priceFrom, type Price, type PriceFields } from "../../src/core/price.ts";

/** A price of round figures: 10 pico-dollars a token in, 100 out. */
export function priceOf(fields: Partial<PriceFields>): Price {
  return priceFrom({
    upstream: "up",
    model: "m",
    from: new Date(0),
    rates: { input: picousd(10n), output: picousd(100n) },
    tiers: [],
    serviceTiers: [],
    hourly: null,
    contextTokensMax: null,
    outputTokensMax: null,
    source: "test",
    ...fields,
  });
}

/** What is configured beside a database where nothing is. */
export const NOTHING_CONFIGURED = {
  catalogue: { upstreams: [], aliases: {} },
  prices: priceBook([]),
  upstreams: new Map<string, never>(),
};
