import type { Price, Rates } from "../core/price.ts";

/** A price as the ledger keeps it: amounts in pico-dollars as decimal strings, for JSON numbers are not exact. */
export function ratesToJson(price: Price): object {
  return {
    rates: textsOf(price.rates),
    tiers: price.tiers.map((tier) => ({
      above_input_tokens: tier.aboveInputTokens,
      rates: textsOf(tier.rates),
    })),
    context_tokens_max: price.contextTokensMax,
    output_tokens_max: price.outputTokensMax,
  };
}

function textsOf(rates: Rates): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [kind, rate] of Object.entries(rates)) texts[kind] = String(rate);
  return texts;
}
