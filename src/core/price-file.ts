/**
 * A file of prices as people write it, in YAML or JSON: read and checked against its form and against what
 * any price can be, each mistake with its line, column and field. Amounts are read from their text: no
 * float touches them, and what is finer than a pico-dollar a unit is refused and not rounded.
 */
import { createReader, inOrder, parse, type Path, type Reader } from "../lib/yaml-reader.ts";
import { readTree, type Position, type TreeProblem } from "../lib/yaml-tree.ts";
import { ratePerHour, type Hourly } from "./hourly.ts";
import { PRICE_FILE_BYTES_MAX } from "./limits-finance.ts";
import { picousd, ratePerMillion, type Picousd } from "./money.ts";
import {
  factorOf,
  MILLIONTHS,
  priceSchemas,
  type PriceEntry,
  type PriceSchemas,
} from "./price-file-schema.ts";
import { ANY_MODEL, type RateSet, type Rates, type ServiceTier, type Tier } from "./price.ts";
import { USAGE_CLASSES, type UsageClass } from "./usage.ts";

/** One price of a file. Its upstream or tenant is null where it is meant for any. */
export type FilePrice = RateSet & {
  readonly tenant: string | null;
  readonly upstream: string | null;
  readonly model: string;
  readonly from: Date;
  readonly until: Date | null;
  readonly serviceTiers: readonly ServiceTier[];
  readonly hourly: Hourly | null;
  /** Null: what is known of the model's size stays. */
  readonly contextTokensMax: number | null;
  readonly outputTokensMax: number | null;
  readonly position: Position;
};

/** Lines and columns count from 1. */
export type PriceProblem = Position & { readonly message: string };

export type PriceFile = {
  /** Where the prices are from, as the file says. */
  readonly source: string;
  readonly prices: readonly FilePrice[];
  /** Top to bottom; a file with any is applied in no part. */
  readonly problems: readonly PriceProblem[];
};

/** Reading YAML takes 8 to 25 µs for each value and holds the loop: a whole file takes a third of a second. */
const VALUES_MAX = 15_000;
/** Mistakes that are told at once; nobody reads more. */
const PROBLEMS_MAX = 100;
/** What begins a value in YAML and JSON. */
const VALUE_STARTS = /^[ \t]*-[ \t\r\n]|[[{,]|:[ \t\r\n]/gmu;
const SERVICE_TIER = /^[a-z][a-z0-9_]{0,31}$/;

/** Reads a file's text. Never throws. */
export function readPriceFile(text: string): PriceFile {
  const excess = excessOf(text);
  if (excess !== null) {
    return { source: "", prices: [], problems: [{ line: 1, column: 1, message: excess }] };
  }
  const nodesMax = VALUES_MAX;
  const tree = readTree(text, { env: null, keepsNumberText, nodesMax });
  const problems: TreeProblem[] = [...tree.problems];
  const reader = createReader(tree, problems);
  const schemas = priceSchemas();
  const root = parse(reader, schemas.root, tree.value ?? {}, []);
  const prices: FilePrice[] = [];
  for (const [at, value] of (root?.prices ?? []).entries()) {
    if (problems.length >= PROBLEMS_MAX) break;
    const path = ["prices", at];
    const entry = parse(reader, schemas.entry, value, path);
    const about = { reader, schemas, path };
    const price = entry === null ? null : priceOf(about, entry, tree.positionOf(path));
    if (price !== null) prices.push(price);
  }
  return {
    source: root?.source ?? "",
    prices,
    problems: inOrder(problems)
      .slice(0, PROBLEMS_MAX)
      .map(({ position, message }) => ({ ...position, message })),
  };
}

/** Counted on the text, because building the values is what takes the time. */
function excessOf(text: string): string | null {
  if (new TextEncoder().encode(text).byteLength > PRICE_FILE_BYTES_MAX) {
    return `a file of prices has at most ${PRICE_FILE_BYTES_MAX} bytes: split it`;
  }
  const values = Array.from(text.matchAll(VALUE_STARTS)).length;
  if (values <= VALUES_MAX) return null;
  return `a file of prices has at most ${VALUES_MAX} values: split it`;
}

/** Whole numbers of tokens are numbers; every amount stays the text it was written in. */
function keepsNumberText(path: Path): boolean {
  const last = path.at(-1);
  return last === "multiplier" || last === "usd_per_hour" || path.at(-2) === "usd_per_million";
}

type About = { readonly reader: Reader; readonly schemas: PriceSchemas; readonly path: Path };

function priceOf(about: About, entry: PriceEntry, position: Position): FilePrice | null {
  const { reader, path } = about;
  const from = new Date(entry.valid_from);
  const until = typeof entry.valid_until === "string" ? new Date(entry.valid_until) : null;
  if (until !== null && until.getTime() <= from.getTime()) {
    reader.report([...path, "valid_until"], "valid_until must be after valid_from");
    return null;
  }
  if (entry.upstream === undefined && entry.tenant === undefined) {
    reader.report(path, "a price of every tenant names its upstream: add upstream, or tenant");
    return null;
  }
  const terms = entry.usd_per_hour === undefined ? ratedOf(about, entry) : hourlyOf(about, entry);
  if (terms === null) return null;
  return {
    ...terms,
    tenant: entry.tenant ?? null,
    upstream: entry.upstream ?? null,
    model: entry.model,
    from,
    until,
    contextTokensMax: entry.context_tokens_max ?? null,
    outputTokensMax: entry.output_tokens_max ?? null,
    position,
  };
}

type Terms = Pick<FilePrice, "rates" | "tiers" | "serviceTiers" | "hourly">;

function ratedOf(about: About, entry: PriceEntry): Terms | null {
  const { reader, path } = about;
  if (entry.concurrency !== undefined) {
    reader.reportKey([...path, "concurrency"], "concurrency goes with usd_per_hour: remove it");
    return null;
  }
  if (entry.model === ANY_MODEL) {
    reader.report([...path, "model"], "only a price with usd_per_hour is of all models: name one");
    return null;
  }
  const set = setOf(about, entry);
  const serviceTiers = set === null ? null : serviceTiersOf(about, entry, set);
  return set === null || serviceTiers === null ? null : { ...set, serviceTiers, hourly: null };
}

/** Of a machine: it has an upstream, and no rates beside its hour. */
function hourlyOf({ reader, path }: About, entry: PriceEntry): Terms | null {
  if (entry.upstream === undefined) {
    reader.report(path, "an hour is paid for a machine: add its upstream");
    return null;
  }
  for (const other of ["usd_per_million", "tiers", "service_tiers"] as const) {
    if (entry[other] === undefined) continue;
    reader.reportKey([...path, other], `a price is usd_per_hour or by usage: remove ${other}`);
    return null;
  }
  const picousdPerHour = ratePerHour(entry.usd_per_hour ?? "");
  if (picousdPerHour === null) return null;
  const hourly = { picousdPerHour, concurrency: entry.concurrency ?? 1 };
  return { rates: {}, tiers: [], serviceTiers: [], hourly };
}

type SetEntry = Pick<PriceEntry, "usd_per_million" | "tiers">;

function setOf({ reader, schemas, path }: About, entry: SetEntry): RateSet | null {
  const rates = ratesOf({ reader, schemas, path }, entry.usd_per_million);
  const tiers: Tier[] = [];
  let above = 0;
  for (const [at, value] of (entry.tiers ?? []).entries()) {
    const own = [...path, "tiers", at];
    const step = parse(reader, schemas.step, value, own);
    const dearer =
      step === null ? null : ratesOf({ reader, schemas, path: own }, step.usd_per_million);
    if (step === null || dearer === null) return null;
    if (step.above_input_tokens <= above) {
      reader.report(own, "above_input_tokens must ascend from tier to tier");
      return null;
    }
    above = step.above_input_tokens;
    tiers.push({ aboveInputTokens: above, rates: dearer });
  }
  return rates === null ? null : { rates, tiers };
}

function ratesOf({ reader, schemas, path }: About, value: unknown): Rates | null {
  const texts = parse(reader, schemas.rates, value, [...path, "usd_per_million"]);
  if (texts === null) return null;
  const rates: Partial<Record<UsageClass, Picousd>> = {};
  for (const kind of USAGE_CLASSES) {
    const text = texts[kind];
    if (text !== undefined) rates[kind] = ratePerMillion(text);
  }
  return rates;
}

function serviceTiersOf(
  about: About,
  entry: PriceEntry,
  set: RateSet,
): readonly ServiceTier[] | null {
  const tiers: ServiceTier[] = [];
  for (const [name, value] of Object.entries(entry.service_tiers ?? {})) {
    const path = [...about.path, "service_tiers", name];
    if (!SERVICE_TIER.test(name)) {
      const message = "a service tier is named as answers name it: flex, priority, batch";
      about.reader.reportKey(path, message);
      return null;
    }
    const tier = serviceTierOf({ ...about, path }, value, set);
    if (tier === null) return null;
    tiers.push({ name, ...tier });
  }
  return tiers;
}

function serviceTierOf(about: About, value: unknown, set: RateSet): RateSet | null {
  const { reader, schemas, path } = about;
  if (typeof value !== "object" || value === null || !("multiplier" in value)) {
    const own = parse(reader, schemas.set, value, path);
    return own === null ? null : setOf(about, own);
  }
  const read = parse(reader, schemas.multiplied, value, path);
  const factor = read === null ? null : factorOf(read.multiplier);
  if (factor === null) return null;
  const multiplied = setTimes(set, factor);
  if (multiplied === null) {
    const message =
      "times this factor a rate is finer than six decimals per million: write its rates";
    reader.report([...path, "multiplier"], message);
  }
  return multiplied;
}

/** Every rate times the factor, or null where one of them would be no whole number. */
function setTimes(set: RateSet, millionths: bigint): RateSet | null {
  const rates = ratesTimes(set.rates, millionths);
  const tiers: Tier[] = [];
  for (const { aboveInputTokens, rates: dearer } of set.tiers) {
    const own = ratesTimes(dearer, millionths);
    if (own === null) return null;
    tiers.push({ aboveInputTokens, rates: own });
  }
  return rates === null ? null : { rates, tiers };
}

function ratesTimes(rates: Rates, millionths: bigint): Rates | null {
  const multiplied: Partial<Record<UsageClass, Picousd>> = {};
  for (const kind of USAGE_CLASSES) {
    const rate = rates[kind];
    if (rate === undefined) continue;
    const product = rate * millionths;
    if (product % MILLIONTHS !== 0n) return null;
    multiplied[kind] = picousd(product / MILLIONTHS);
  }
  return multiplied;
}
