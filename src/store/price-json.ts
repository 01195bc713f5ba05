import type { Hourly } from "../core/hourly.ts";
import { picousd } from "../core/money.ts";
import { priceFrom, type Price, type RateSet, type Rates } from "../core/price.ts";
import { USAGE_CLASSES } from "../core/usage.ts";
import { isList, isRecord } from "../lib/json.ts";

/** A price as the ledger keeps it: amounts in pico-dollars as decimal strings, for JSON numbers are not exact. */
export function ratesToJson(price: Price): object {
  return {
    ...setToJson(price),
    context_tokens_max: price.contextTokensMax,
    output_tokens_max: price.outputTokensMax,
    ...(price.serviceTiers.length === 0
      ? {}
      : {
          service_tiers: price.serviceTiers.map((tier) => ({
            name: tier.name,
            ...setToJson(tier),
          })),
        }),
    ...(price.hourly === null
      ? {}
      : {
          hour: String(price.hourly.picousdPerHour),
          concurrency: price.hourly.concurrency,
        }),
  };
}

function setToJson({ rates, tiers }: RateSet): object {
  return {
    rates: textsOf(rates),
    tiers: tiers.map((tier) => ({
      above_input_tokens: tier.aboveInputTokens,
      rates: textsOf(tier.rates),
    })),
  };
}

function textsOf(rates: Rates): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [kind, rate] of Object.entries(rates)) texts[kind] = String(rate);
  return texts;
}

export type PriceRow = {
  readonly version: string;
  readonly upstream: string;
  readonly model: string;
  readonly validFrom: Date;
  readonly content: unknown;
  readonly source: string;
};

/** The inverse; null where the content is of another form. Its version is made anew, of what it holds. */
export function priceFromRow(row: Omit<PriceRow, "version">): Price | null {
  const { upstream, model, validFrom, content, source } = row;
  const set = setFrom(content);
  if (set === null || !isRecord(content)) return null;
  const named = content["service_tiers"];
  const serviceTiers = (isList(named) ? named : []).flatMap((tier) => {
    const own = setFrom(tier);
    return own === null || !isRecord(tier) ? [] : [{ name: String(tier["name"]), ...own }];
  });
  return priceFrom({
    upstream,
    model,
    from: validFrom,
    ...set,
    serviceTiers,
    hourly: hourlyFrom(content),
    contextTokensMax: countOrNull(content["context_tokens_max"]),
    outputTokensMax: countOrNull(content["output_tokens_max"]),
    source,
  });
}

function hourlyFrom({ hour, concurrency }: Readonly<Record<string, unknown>>): Hourly | null {
  if (typeof hour !== "string") return null;
  return { picousdPerHour: picousd(BigInt(hour)), concurrency: Number(concurrency) };
}

function setFrom(value: unknown): RateSet | null {
  if (!isRecord(value) || !isList(value["tiers"])) return null;
  const tiers = value["tiers"].flatMap((tier) =>
    isRecord(tier)
      ? [{ aboveInputTokens: Number(tier["above_input_tokens"]), rates: ratesOf(tier["rates"]) }]
      : [],
  );
  return { rates: ratesOf(value["rates"]), tiers };
}

function ratesOf(value: unknown): Rates {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    USAGE_CLASSES.flatMap((kind) => {
      const rate = value[kind];
      return typeof rate === "string" ? [[kind, picousd(BigInt(rate))]] : [];
    }),
  );
}

function countOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
