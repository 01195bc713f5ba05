import { sha256Hex } from "../lib/hash.ts";
import { InputError } from "./errors.ts";
import { costOfTime, type Hourly } from "./hourly.ts";
import { picousd, type Picousd } from "./money.ts";
import { USAGE_CLASSES, type Usage, type UsageClass } from "./usage.ts";

/** Price per unit of each class, in pico-dollars. An absent class follows the fallbacks of `rateOf`. */
export type Rates = Readonly<Partial<Record<UsageClass, Picousd>>>;

/**
 * Rates of a long call: a complete set, not a change to the base rates. None at all where a service tier is
 * not sold for calls of that size: what one costs that says it was served so is unknown.
 */
export type Tier = { readonly aboveInputTokens: number; readonly rates: Rates };

/** A complete set of rates; its tiers hold for the whole call once its input exceeds theirs, ascending. */
export type RateSet = { readonly rates: Rates; readonly tiers: readonly Tier[] };

/** What a call costs that its provider served in another tier than the ordinary one: `flex`, `priority`, `batch`. */
export type ServiceTier = RateSet & { readonly name: string };

/** What one model costs at one upstream from one moment on. Immutable; a correction is a newer price. */
export type Price = RateSet & {
  /** Content hash of the row: what a settlement pins. */
  readonly version: string;
  /** An upstream's name, a provider's, or `*` for any. */
  readonly upstream: string;
  readonly model: string;
  readonly from: Date;
  /** By name. What is not among them and not an ordinary tier has no price. */
  readonly serviceTiers: readonly ServiceTier[];
  /** Of a machine that is paid by the hour: then there are no rates and no tiers. Null for all others. */
  readonly hourly: Hourly | null;
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

/** The model of a price by the hour that holds for all models of its upstream. */
export const ANY_MODEL = "*";

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

/** `service_tier` values that are the price's own rates, unless it has others for them. */
const ORDINARY_TIERS: ReadonlySet<string> = new Set(["default", "auto", "standard", "on_demand"]);

/** Tiers that cost less than the ordinary one wherever they are sold: its rates bound them. */
const CHEAPER_TIERS: ReadonlySet<string> = new Set(["flex"]);

/** Makes a price, with its version. Throws InputError when its tiers do not ascend. */
export function priceFrom(fields: PriceFields): Price {
  for (const { tiers } of [fields, ...fields.serviceTiers]) {
    if (ascends(tiers)) continue;
    const message = `The tiers of ${fields.upstream}/${fields.model} must ascend by whole tokens.`;
    throw new InputError("invalid_value", "tiers", message);
  }
  const serviceTiers = fields.serviceTiers.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const sorted = { ...fields, serviceTiers };
  return { ...sorted, version: priceVersion(sorted) };
}

function ascends(tiers: readonly Tier[]): boolean {
  let above = 0;
  for (const { aboveInputTokens } of tiers) {
    if (!Number.isSafeInteger(aboveInputTokens) || aboveInputTokens <= above) return false;
    above = aboveInputTokens;
  }
  return true;
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
    ...setContent(fields),
    fields.contextTokensMax,
    fields.outputTokensMax,
    // Absent where there are none, so that a price keeps the version it had before it could have any.
    ...fields.serviceTiers.map((tier) => [tier.name, ...setContent(tier)]),
    ...(fields.hourly === null ? [] : [hourContent(fields.hourly)]),
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
 * (`gpt-4o-2099-01-01` → `gpt-4o`), else of any model, else null. Never by prefix: `gpt-4o-mini` is not a
 * `gpt-4o`.
 */
export function findPrice(
  book: PriceBook,
  upstream: string,
  model: string,
  at: Date,
): Price | null {
  const models = book.byUpstream.get(upstream);
  if (models === undefined) return null;
  const base = undated(model);
  const own = models.get(model) ?? (base === null ? undefined : models.get(base));
  return latestAt(own ?? [], at) ?? latestAt(models.get(ANY_MODEL) ?? [], at);
}

/**
 * What a usage costs, in pico-dollars, or null when a class in it, or the service tier, has no price
 * (never 0). The tier of a long call is chosen by all its input tokens. By the hour only the time counts.
 */
export function costOf(price: Price, usage: Usage, serviceTier: string | null): Picousd | null {
  if (price.hourly !== null) {
    return usage.milliseconds === undefined ? null : costOfTime(price.hourly, usage.milliseconds);
  }
  const set = rateSetOf(price, serviceTier);
  if (set === null) return null;
  const rates = ratesAt(set, inputTokensOf(usage));
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

/** The rates of a service tier, or null when it has no price; a null tier is a provider that has none. */
function rateSetOf(price: Price, serviceTier: string | null): RateSet | null {
  const own = price.serviceTiers.find(({ name }) => name === serviceTier);
  if (own !== undefined) return own;
  return serviceTier === null || ORDINARY_TIERS.has(serviceTier) ? price : null;
}

/**
 * Every set of rates by which a call may be charged that asks for this service tier, or null when one of
 * them is not known. A provider may serve in the ordinary tier whatever was asked, and says so in its answer.
 */
export function rateSetsFor(price: Price, asked: string | null): readonly RateSet[] | null {
  const own = price.serviceTiers.filter(({ name }) => name === asked || ORDINARY_TIERS.has(name));
  if (price.hourly !== null) return [price];
  if (isPricedOrCheaper(price, asked)) return [price, ...own];
  return null;
}

/** The tier that chooses the rates: the one the answer states, else the one asked for. */
export function tierServed(
  price: Price | null,
  asked: string | null,
  stated: string | null,
): string | null {
  if (stated !== null || price === null) return stated;
  // Of a tier that costs less and has no price here, the ordinary rates are what is known.
  return rateSetOf(price, asked) === null && isPricedOrCheaper(price, asked) ? null : asked;
}

function isPricedOrCheaper(price: Price, asked: string | null): boolean {
  if (rateSetOf(price, asked) !== null) return true;
  return asked !== null && CHEAPER_TIERS.has(asked);
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

function ratesAt(set: RateSet, inputTokens: number): Rates {
  let rates = set.rates;
  for (const tier of set.tiers) if (inputTokens > tier.aboveInputTokens) rates = tier.rates;
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

function setContent({ rates, tiers }: RateSet): readonly unknown[] {
  return [ratesText(rates), tiers.map((tier) => [tier.aboveInputTokens, ratesText(tier.rates)])];
}

function hourContent({ picousdPerHour, concurrency }: Hourly): readonly unknown[] {
  return ["hour", String(picousdPerHour), concurrency];
}

function ratesText(rates: Rates): string {
  const known = USAGE_CLASSES.filter((kind) => rates[kind] !== undefined);
  return known.map((kind) => `${kind}=${String(rates[kind])}`).join(" ");
}
