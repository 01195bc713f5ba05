import { assert } from "../lib/assert.ts";
import { picousd, ratePerMillion, type Picousd } from "./money.ts";
import {
  priceFrom,
  type Price,
  type PriceFields,
  type Rates,
  type ServiceTier,
  type Tier,
} from "./price.ts";
import data from "./prices.json" with { type: "json" };
import { USAGE_CLASSES, type UsageClass } from "./usage.ts";

/** One line of `prices.json`; 0 is an unknown maximum. `test/support/price-snapshot.ts` writes them. */
type Row = {
  readonly upstream: string;
  readonly model: string;
  /** `2025-06-10`, the first day in UTC. */
  readonly from: string;
  /** `input 2.5 output 10`, USD per million units. */
  readonly rates: string;
  /** `272000: input 5 output 15; …`, complete sets of rates above so many input tokens. */
  readonly tiers: string;
  /** `flex: input 1.25 output 7.5; 272000: input 2.5 output 11.25 | priority: …`, each a complete set. */
  readonly service_tiers?: string | undefined;
  readonly context: number;
  readonly output_max: number;
  readonly note: string;
};

/**
 * The shipped list prices; `upstream` is the provider (`openai`, `anthropic`, `groq`, …). About two
 * thousand rows are read at each call: called once, at start.
 */
export function priceSnapshot(): readonly Price[] {
  // Of four rows three have rates that another one has: to read each once takes half as long.
  const known = new Map<string, Rates>();
  const rates: ReadRates = (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const read = ratesOf(text);
    known.set(text, read);
    return read;
  };
  return data.prices.map((row) => priceOf(row, rates));
}

/** The providers of the shipped list, each once. */
export function listedProviders(): readonly string[] {
  return [...new Set(data.prices.map(({ upstream }) => upstream))];
}

type ReadRates = (text: string) => Rates;

/** Prices of the built-in upstream: those of the models it plays, so that a first budget feels real. */
export function demoPrices(): readonly Price[] {
  const mini = {
    input: picousd(150_000n),
    cache_read: picousd(75_000n),
    output: picousd(600_000n),
  };
  const large = {
    input: picousd(2_500_000n),
    cache_read: picousd(1_250_000n),
    output: picousd(10_000_000n),
  };
  return [
    demoPrice("demo-chat", large, 128_000, 16_384),
    demoPrice("demo-small", mini, 128_000, 16_384),
    demoPrice("demo-embedding", { input: picousd(20_000n) }, 8_192, null),
  ];
}

function demoPrice(
  model: string,
  rates: Rates,
  contextTokensMax: number,
  outputTokensMax: number | null,
): Price {
  return priceFrom({
    upstream: "demo",
    model,
    from: new Date(0),
    rates,
    tiers: [],
    serviceTiers: [],
    hourly: null,
    contextTokensMax,
    outputTokensMax,
    source: "built in",
  });
}

function priceOf(row: Row, rates: ReadRates): Price {
  const fields: PriceFields = {
    upstream: row.upstream,
    model: row.model,
    from: new Date(`${row.from}T00:00:00Z`),
    rates: rates(row.rates),
    tiers: row.tiers === "" ? [] : tiersOf(row.tiers.split("; "), rates),
    serviceTiers: row.service_tiers?.split(" | ").map((text) => serviceTierOf(text, rates)) ?? [],
    hourly: null,
    contextTokensMax: row.context === 0 ? null : row.context,
    outputTokensMax: row.output_max === 0 ? null : row.output_max,
    source: sourceOf(row),
  };
  assert(!Number.isNaN(fields.from.getTime()), `prices.json: no date for ${row.model}`);
  return priceFrom(fields);
}

function sourceOf({ note, service_tiers: tiers }: Row): string {
  const tiersSource = tiers === undefined ? "" : `service tiers of ${data.tiers_source}`;
  return [data.source, note, tiersSource].filter((text) => text !== "").join(", ");
}

function serviceTierOf(text: string, rates: ReadRates): ServiceTier {
  const [first = "", ...tiers] = text.split("; ");
  const [name = "", own = ""] = first.split(": ");
  return { name, rates: rates(own), tiers: tiersOf(tiers, rates) };
}

function tiersOf(texts: readonly string[], rates: ReadRates): readonly Tier[] {
  return texts.map((text) => {
    const [above = "", own = ""] = text.split(": ");
    return { aboveInputTokens: Number(above), rates: rates(own) };
  });
}

/** Of a tier that is not sold for calls of a size there are none. */
function ratesOf(text: string): Rates {
  if (text === "") return {};
  const words = text.split(" ");
  assert(words.length % 2 === 0, `prices.json: a class without a rate in ${text}`);
  const rates: Partial<Record<UsageClass, Picousd>> = {};
  for (let at = 0; at < words.length; at += 2) {
    const kind = USAGE_CLASSES.find((known) => known === words[at]);
    assert(kind !== undefined, `prices.json: no class of usage called ${words[at]}`);
    rates[kind] = ratePerMillion(words[at + 1] ?? "");
  }
  return rates;
}
