/** The members of a file of prices, each with the sentence that says what it must be. */
import * as z from "zod";

import { ratePerHour } from "./hourly.ts";
import { CONCURRENCY_MAX, PRICE_FILE_ENTRIES_MAX, USD_PER_HOUR_MAX } from "./limits-finance.ts";
import { CONTEXT_FIELD_BYTES_MAX, NAME_LENGTH_MAX } from "./limits.ts";
import { ratePerMillion } from "./money.ts";
import { ANY_MODEL } from "./price.ts";
import { USAGE_CLASSES, type UsageClass } from "./usage.ts";

/**
 * The dearest price that is no slip of a decimal point, in USD per million units: the dearest tokens sold cost
 * 600, and a made image or an hour of video less than 100 dollars apiece.
 */
const USD_PER_MILLION_TOKENS_MAX = 10_000;
const USD_PER_MILLION_PIECES_MAX = 100_000_000;

/** What a service tier may cost in multiples of the ordinary one: priority is sold for 1.5 to 2.5 times. */
const MULTIPLIER_MAX = 100;

/** Steps of a long-context price, and service tiers of one model: none that is sold has more than three. */
const TIERS_MAX = 8;
const SERVICE_TIERS_MAX = 8;

/** Tokens of a context or an answer: the largest context sold is ten million. */
const TOKENS_MAX = 1_000_000_000;

const PIECES: ReadonlySet<UsageClass> = new Set(["images", "seconds", "requests"]);
const DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z)?$/;
const YEAR_MAX = 2100;
/** A plain decimal that `ratePerMillion` reads exactly. */
const RATE = /^\d{1,15}(?:\.\d{1,6})?$/;
const MULTIPLIER = /^(\d{1,3})(?:\.(\d{1,6}))?$/;
/** Printable, without spaces; and no name is `*`, which stands for any. */
const NAME = /^(?!\*$)[\x21-\x7e]+$/;

/** `0.5` is 500,000 of them. */
export const MILLIONTHS = 1_000_000n;

export type PriceSchemas = ReturnType<typeof priceSchemas>;
export type PriceEntry = z.infer<PriceSchemas["entry"]>;

/** Made once for a file: a schema takes longer to make than an entry to check. */
export function priceSchemas() {
  const set = {
    usd_per_million: z.unknown().optional(),
    tiers: listOf("long-context rates", TIERS_MAX).optional(),
  };
  const above = tokens("a whole number of tokens");
  return {
    root: rootSchema(),
    entry: entrySchema(set),
    rates: ratesSchema(),
    set: z.strictObject(set, "an object with a multiplier, or with usd_per_million"),
    step: z.strictObject(
      { above_input_tokens: above, usd_per_million: z.unknown() },
      "an object with above_input_tokens and usd_per_million",
    ),
    multiplied: multipliedSchema(),
  };
}

function rootSchema() {
  const source = `a text of 1 to ${NAME_LENGTH_MAX} characters: where the prices are from`;
  return z.strictObject(
    {
      source: z
        .string(source)
        .min(1, source)
        .max(NAME_LENGTH_MAX, source)
        .regex(/^\P{C}+$/u, source),
      prices: listOf("prices", PRICE_FILE_ENTRIES_MAX).min(1, "one price at least"),
    },
    "an object with source and prices",
  );
}

function entrySchema<Shape extends z.ZodRawShape>(set: Shape) {
  const name = `a name of 1 to ${CONTEXT_FIELD_BYTES_MAX} printable characters without spaces`;
  const tenant = "the id or name of a tenant";
  const named = z.string(name).max(CONTEXT_FIELD_BYTES_MAX, name).regex(NAME, name);
  const size = tokens("a whole number of tokens").nullish();
  return z.strictObject(
    {
      tenant: z.string(tenant).min(1, tenant).max(NAME_LENGTH_MAX, tenant).optional(),
      upstream: named.optional(),
      model: z.union([named, z.literal(ANY_MODEL)], name),
      valid_from: dateSchema(),
      valid_until: dateSchema().nullish(),
      ...set,
      usd_per_hour: hourSchema().optional(),
      concurrency: concurrencySchema().optional(),
      service_tiers: z
        .record(z.string(), z.unknown(), "an object: flex, priority … and what they cost")
        .refine(
          (tiers) => Object.keys(tiers).length <= SERVICE_TIERS_MAX,
          `at most ${SERVICE_TIERS_MAX} service tiers`,
        )
        .optional(),
      context_tokens_max: size,
      output_tokens_max: size,
    },
    "an object with model, valid_from and usd_per_million or usd_per_hour",
  );
}

function ratesSchema() {
  const shape = Object.fromEntries(USAGE_CLASSES.map((kind) => [kind, rateSchema(kind)]));
  return z
    .strictObject(shape, "an object: classes of usage, and the USD per million of each")
    .refine((rates) => Object.keys(rates).length > 0, "one rate at least, as input: 2.50");
}

export function hourSchema() {
  const range = `USD an hour, as 2.49: from 0 to ${USD_PER_HOUR_MAX}, with at most twelve decimals`;
  return z.string(range).refine((text) => ratePerHour(text) !== null, range);
}

export function concurrencySchema() {
  const range = `calls that share the hour, from 1 to ${CONCURRENCY_MAX}`;
  return z.int(range).min(1, range).max(CONCURRENCY_MAX, range);
}

function rateSchema(kind: UsageClass) {
  const most = PIECES.has(kind) ? USD_PER_MILLION_PIECES_MAX : USD_PER_MILLION_TOKENS_MAX;
  return z
    .string("USD per million units, as 2.50")
    .superRefine((text, context) => {
      const message = flawOfRate(text, most);
      if (message !== null) context.addIssue({ code: "custom", message });
    })
    .optional();
}

function flawOfRate(text: string, most: number): string | null {
  if (text.startsWith("-")) return "0 or more: a price is not negative";
  if (!RATE.test(text)) {
    return "USD per million units, as 2.50, with at most six decimals: finer is no whole pico-dollar a unit";
  }
  if (ratePerMillion(text) <= ratePerMillion(String(most))) return null;
  return `at most ${most} USD per million: more is a slip of the decimal point`;
}

function multipliedSchema() {
  const range = `a factor over 0 and at most ${MULTIPLIER_MAX}, as 0.5, with at most six decimals`;
  return z.strictObject(
    { multiplier: z.string(range).refine((text) => factorOf(text) !== null, range) },
    "an object with a multiplier alone, or with usd_per_million",
  );
}

/** A factor in millionths, or null where it is none. */
export function factorOf(text: string): bigint | null {
  const [, whole, decimals = ""] = MULTIPLIER.exec(text) ?? [];
  if (whole === undefined) return null;
  const millionths = BigInt(`${whole}${decimals.padEnd(6, "0")}`);
  return millionths > 0n && millionths <= BigInt(MULTIPLIER_MAX) * MILLIONTHS ? millionths : null;
}

function tokens(what: string) {
  const range = `${what} from 1 to ${TOKENS_MAX}`;
  return z.int(range).min(1, range).max(TOKENS_MAX, range);
}

function listOf(what: string, most: number) {
  return z.array(z.unknown(), `a list of ${what}`).max(most, `at most ${most} ${what}`);
}

function dateSchema() {
  const date = `a day or second in UTC before ${YEAR_MAX}, as 2027-01-31 or 2027-01-31T12:00:00Z`;
  return z.string(date).refine(isDate, date);
}

/** Days that no month has are taken for the next month by `Date`, so the text must survive it. */
function isDate(text: string): boolean {
  const date = new Date(text);
  if (!DATE.test(text) || Number.isNaN(date.getTime())) return false;
  if (date.getTime() < 0 || date.getUTCFullYear() >= YEAR_MAX) return false;
  return date.toISOString().startsWith(text.slice(0, 19).replace(/Z$/, ""));
}
