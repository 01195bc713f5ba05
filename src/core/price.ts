import { sha256Hex } from "../lib/hash.ts";
import { InputError } from "./errors.ts";
import { picousd, type Picousd } from "./money.ts";
import { USAGE_CLASSES, type Usage, type UsageClass } from "./usage.ts";

/** Price per unit of each class, in pico-dollars. An absent class follows the fallbacks of `rateOf`. */
export type Rates = Readonly<Partial<Record<UsageClass, Picousd>>>;

/** Rates of a long call: a complete set, not a change to the base rates. */
export type Tier = { readonly aboveInputTokens: number; readonly rates: Rates };

/** What one model costs at one upstream from one moment on. Immutable; a correction is a newer price. */
export type Price = {
  /** Content hash of the row: what a settlement pins. */
  readonly version: string;
  readonly upstream: string;
  readonly model: string;
  readonly from: Date;
  readonly rates: Rates;
  /** Rates that hold for the whole call once its input exceeds `aboveInputTokens`, ascending. */
  readonly tiers: readonly Tier[];
  readonly contextTokensMax: number | null;
  readonly outputTokensMax: number | null;
  readonly source: string;
};

export type PriceFields = Omit<Price, "version">;

/** An indexed, immutable set of prices. A lookup is two map reads and a binary search. */
export type PriceBook = {
  /** Upstream → model → its prices, ascending by `from`. */
  readonly byUpstream: ReadonlyMap<string, ReadonlyMap<string, readonly Price[]>>;
};

/** The input side: what a long-context tier counts. */
export const INPUT_CLASSES = [
  "input",
  "cache_read",
  "cache_write_5m",
  "cache_write_1h",
  "audio_input",
  "image_input",
] as const satisfies readonly UsageClass[];

export const OUTPUT_CLASSES = [
  "output",
  "reasoning",
  "audio_output",
  "image_output",
] as const satisfies readonly UsageClass[];

/** Counts that some models charge as such and others by the tokens of the class named here. */
export const COUNTED_AS_TOKENS: Readonly<Partial<Record<UsageClass, UsageClass>>> = {
  images: "image_output",
  seconds: "audio_input",
  characters: "audio_output",
};

/** `service_tier` values that mean list price; the rates of flex, batch, priority and scale are not known. */
const LIST_PRICE_TIERS: ReadonlySet<string> = new Set(["default", "auto", "standard", "on_demand"]);

/** Makes a price, with its version. Throws InputError when its tiers do not ascend. */
export function priceFrom(fields: PriceFields): Price {
  let above = 0;
  for (const tier of fields.tiers) {
    if (!Number.isSafeInteger(tier.aboveInputTokens) || tier.aboveInputTokens <= above) {
      const message = `The tiers of ${fields.upstream}/${fields.model} must ascend by whole tokens.`;
      throw new InputError("invalid_value", "tiers", message);
    }
    above = tier.aboveInputTokens;
  }
  return { ...fields, version: priceVersion(fields) };
}

/**
 * The content hash of a price, 32 hex digits: equal content has an equal version wherever it is
 * loaded. `source` is left out, because the same price read from a newer list is the same price.
 */
export function priceVersion(fields: PriceFields): string {
  const content = [
    fields.upstream,
    fields.model,
    fields.from.toISOString(),
    ratesText(fields.rates),
    fields.tiers.map((tier) => [tier.aboveInputTokens, ratesText(tier.rates)]),
    fields.contextTokensMax,
    fields.outputTokensMax,
  ];
  return sha256Hex(JSON.stringify(content)).slice(0, 32);
}

/**
 * Indexes prices. Of two with the same upstream, model and date the later one in the list holds. An
 * override hides every listed price of its model and of that model's dated snapshots: a negotiated
 * price for `gpt-4o` must not lose to the list price of the `gpt-4o-2024-08-06` that answers.
 */
export function priceBook(prices: readonly Price[], overrides: readonly Price[] = []): PriceBook {
  const overridden = new Set(overrides.map((price) => indexKey(price.upstream, price.model)));
  const byUpstream = new Map<string, Map<string, Price[]>>();
  for (const price of prices) {
    const base = undated(price.model);
    if (overridden.has(indexKey(price.upstream, price.model))) continue;
    if (base !== null && overridden.has(indexKey(price.upstream, base))) continue;
    insertPrice(byUpstream, price);
  }
  for (const price of overrides) insertPrice(byUpstream, price);
  for (const models of byUpstream.values()) {
    for (const rows of models.values()) rows.sort((a, b) => a.from.getTime() - b.from.getTime());
  }
  return { byUpstream };
}

/**
 * The price of a model at a moment: of the exact name, else of the name without its dated suffix
 * (`gpt-4o-2099-01-01` → `gpt-4o`), else null. Never by prefix: `gpt-4o-mini` is not a `gpt-4o`.
 */
export function findPrice(
  book: PriceBook,
  upstream: string,
  model: string,
  at: Date,
): Price | null {
  const models = book.byUpstream.get(upstream);
  if (models === undefined) return null;
  const exact = models.get(model);
  if (exact !== undefined) return latestAt(exact, at);
  const base = undated(model);
  const rows = base === null ? undefined : models.get(base);
  return rows === undefined ? null : latestAt(rows, at);
}

/**
 * What a usage costs, in pico-dollars, or null when a class in it has no price (never 0), or its
 * service tier is not charged at list price. The tier of a long call is chosen by all its input tokens.
 */
export function costOf(price: Price, usage: Usage, serviceTier: string | null): Picousd | null {
  if (!isListPriced(serviceTier)) return null;
  const rates = ratesAt(price, inputTokensOf(usage));
  let cost = 0n;
  for (const kind of USAGE_CLASSES) {
    const units = usage[kind] ?? 0;
    if (units === 0) continue;
    const rate = rateOf(rates, kind);
    if (rate !== null) cost += BigInt(units) * rate;
    else if (!isCountedAsTokens(kind, usage)) return null;
  }
  return picousd(cost);
}

/** Whether a service tier is charged at list price; null is a provider that has none. */
export function isListPriced(serviceTier: string | null): boolean {
  return serviceTier === null || LIST_PRICE_TIERS.has(serviceTier);
}

/**
 * The rate of a class, or null when unknown. Reasoning is charged as output, image input and cache
 * reads as input, cache writes as input by a provider that prices no writes. One hour of cache costs
 * more than five minutes wherever writes are priced, so that one is unknown, not the other's. A
 * request costs nothing by itself unless the price says so.
 */
export function rateOf(rates: Rates, kind: UsageClass): Picousd | null {
  const own = rates[kind];
  if (own !== undefined) return own;
  switch (kind) {
    case "reasoning":
      return rates.output ?? null;
    case "cache_read":
    case "cache_write_5m":
    case "image_input":
      return rates.input ?? null;
    case "cache_write_1h":
      return rates.cache_write_5m === undefined ? (rates.input ?? null) : null;
    case "requests":
      return picousd(0n);
    default:
      return null;
  }
}

/** All tokens on the input side: uncached, cached, written to cache, audio and images. */
export function inputTokensOf(usage: Usage): number {
  let tokens = 0;
  for (const kind of INPUT_CLASSES) tokens += usage[kind] ?? 0;
  return tokens;
}

function ratesAt(price: Price, inputTokens: number): Rates {
  let rates = price.rates;
  for (const tier of price.tiers) if (inputTokens > tier.aboveInputTokens) rates = tier.rates;
  return rates;
}

/** A count without a rate is paid for by the tokens beside it, if they were told. */
function isCountedAsTokens(kind: UsageClass, usage: Usage): boolean {
  const tokens = COUNTED_AS_TOKENS[kind];
  return tokens !== undefined && (usage[tokens] ?? 0) > 0;
}

/** `gpt-4o-2024-08-06`, `claude-x-20250101` and `gemini-x@20250101` without the date; null without one. */
export function undated(model: string): string | null {
  const parts = /^(.+)(?:-\d{4}-\d{2}-\d{2}|[-@]20\d{6})$/.exec(withoutOwner(model));
  if (parts !== null) return parts[1] ?? null;
  const plain = withoutOwner(model);
  return plain === model ? null : plain;
}

/** A fine-tuned model is `ft:base:owner:name:id` and priced as `ft:base`. */
function withoutOwner(model: string): string {
  if (!model.startsWith("ft:")) return model;
  const colon = model.indexOf(":", 3);
  return colon === -1 ? model : model.slice(0, colon);
}

function latestAt(ascending: readonly Price[], at: Date): Price | null {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const price = ascending[middle];
    if (price !== undefined && price.from.getTime() <= at.getTime()) low = middle + 1;
    else high = middle;
  }
  return ascending[low - 1] ?? null;
}

function insertPrice(byUpstream: Map<string, Map<string, Price[]>>, price: Price): void {
  const models = byUpstream.get(price.upstream) ?? new Map<string, Price[]>();
  byUpstream.set(price.upstream, models);
  const rows = models.get(price.model) ?? [];
  models.set(price.model, rows);
  const same = rows.findIndex((row) => row.from.getTime() === price.from.getTime());
  if (same === -1) rows.push(price);
  else rows[same] = price;
}

function indexKey(upstream: string, model: string): string {
  return `${upstream}\n${model}`;
}

function ratesText(rates: Rates): string {
  const known = USAGE_CLASSES.filter((kind) => rates[kind] !== undefined);
  return known.map((kind) => `${kind}=${String(rates[kind])}`).join(" ");
}
