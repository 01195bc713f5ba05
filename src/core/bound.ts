import type { Facts } from "./facts.ts";
import { costOfTime } from "./hourly.ts";
import type { Demand } from "./intent.ts";
import { picousd, type Picousd } from "./money.ts";
import {
  COUNTED_AS_TOKENS,
  INPUT_CLASSES,
  OUTPUT_CLASSES,
  rateOf,
  rateSetsFor,
  type Price,
  type Rates,
  type RateSet,
} from "./price.ts";
import { doneBeside } from "./searching.ts";
import type { UsageClass } from "./usage.ts";

/**
 * The most a call can cost: no usage that the demand allows costs more. Three parts, each the worst:
 * all input tokens at the dearest input rate, all output tokens at the dearest output rate, and the
 * counts that are known before the call; each over every tier that the input could reach, and every
 * service tier in which the call may be served.
 */
export type Bound =
  | {
      readonly kind: "bounded";
      readonly usd: Picousd;
      readonly tokens: number;
      readonly inputTokens: number;
      readonly outputTokens: number;
    }
  /** The tokens are bounded, their price is not: no price at all, or none for the classes in `missing`. */
  | {
      readonly kind: "unpriced";
      readonly tokens: number;
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly missing: readonly UsageClass[];
    }
  /** Some part has no upper bound: the demand's own names, `output_tokens`, or a class of usage. */
  | { readonly kind: "unbounded"; readonly because: readonly string[] };

/**
 * A demand where it goes. The model that it is routed to may search whatever it was called when it was asked for:
 * an alias, a deployment and a policy hide its name. And at an upstream that gives up after so many milliseconds,
 * what is paid by the hour costs no more than those.
 */
export function demandAt(
  demand: Demand,
  { route, price, timeoutMs }: Pick<Facts, "route" | "price" | "timeoutMs">,
): Demand {
  const { fixed, unbounded } = demand;
  const beside = route === null ? null : doneBeside(route.model, price);
  if (beside === null && timeoutMs === null) return demand;
  const isNew = beside !== null && !unbounded.includes(beside);
  return {
    ...demand,
    fixed: timeoutMs === null ? fixed : { ...fixed, milliseconds: timeoutMs },
    unbounded: isNew ? [...unbounded, beside] : unbounded,
  };
}

/** What is left of a limit: money, or tokens. */
export type Room =
  | { readonly kind: "usd"; readonly amount: Picousd }
  | { readonly kind: "tokens"; readonly amount: bigint };

/**
 * Tokens of one image for gpt-4o-mini, in high detail: an image is scaled into 2048 × 2048, then its
 * shorter side to 768, so it has at most 2 × 4 tiles of 512; 2,833 + 8 × 5,667 (OpenAI's vision guide).
 */
const IMAGE_TOKENS_MINI = 48_169;

/**
 * Tokens of one image for every other family we know: gpt-4o 85 + 8 × 170 = 1,445, o-series 1,275,
 * gpt-4.1-mini and -nano at most 1,536 patches × 2.46 = 3,779, `original` detail 10,000 patches ×
 * 1.62 = 16,200, Claude under 5,000, Gemini 258 a tile. The largest, rounded up to a power of two.
 */
const IMAGE_TOKENS_MAX = 16_384;

/** Families for which `IMAGE_TOKENS_MAX` holds. A name outside may hide a gpt-4o-mini: Azure's do. */
const IMAGE_FAMILIES = [
  "gpt-4o",
  "gpt-4.",
  "gpt-4-",
  "gpt-5",
  "gpt-image-",
  "chatgpt-",
  "o1",
  "o3",
  "o4",
  "claude-",
  "gemini-",
  "demo-",
];

/**
 * Output tokens of one made image: 6,240 for 1536 × 1024 in high quality, and 100 for each of three
 * partial images (OpenAI's image guide). Later image models also write text, in any size: no bound.
 */
const IMAGE_OUTPUT_TOKENS_MAX = 6_540;
const IMAGE_OUTPUT_FAMILIES: ReadonlySet<string> = new Set(["gpt-image-1", "gpt-image-1-mini"]);

/** What may be known before a call, and charged by the piece. */
const COUNTS = ["images", "seconds", "characters"] as const;

/**
 * The reservation of a call. `outputTokensMax` is what is sent upstream as the maximum of one choice;
 * null leaves the client's own. Without either, a call that makes tokens is unbounded.
 */
export function boundOf(
  demand: Demand,
  price: Price | null,
  outputTokensMax: number | null,
): Bound {
  const sides = sidesOf(demand, price);
  const perChoice = demand.producesTokens ? (outputTokensMax ?? demand.outputTokensMax) : 0;
  const because = [...sides.because];
  if (perChoice === null) because.push("output_tokens");
  const inputTokens = sides.inputTokens;
  const outputTokens = sides.fixedOutputTokens + (perChoice ?? 0) * demand.choices;
  const tokens = inputTokens + outputTokens;
  // Beyond 2⁵³ a count is no longer exact, and no limit would ever have room for it.
  if (!Number.isSafeInteger(tokens)) because.push("output_tokens");
  if (because.length > 0) return { kind: "unbounded", because: [...new Set(because)] };
  if (price === null || sides.missing.length > 0) {
    return { kind: "unpriced", tokens, inputTokens, outputTokens, missing: sides.missing };
  }
  const usd = sides.fixedCost + BigInt(outputTokens) * sides.outputRate;
  return { kind: "bounded", usd: picousd(usd), tokens, inputTokens, outputTokens };
}

/**
 * The most output tokens of one choice that the room affords, for a limit that clamps: with them
 * `boundOf` fits, with one more it does not. 0 when not even the input fits, or nothing bounds it.
 */
export function outputTokensFor(demand: Demand, price: Price | null, room: Room): number {
  const sides = sidesOf(demand, price);
  if (!demand.producesTokens || sides.because.length > 0 || demand.choices < 1) return 0;
  const choices = BigInt(demand.choices);
  const fixedTokens = BigInt(sides.inputTokens) + BigInt(sides.fixedOutputTokens);
  // The cap keeps the sum of all tokens a safe integer, so that `boundOf` stays bounded.
  const tokensMax = (BigInt(Number.MAX_SAFE_INTEGER) - fixedTokens) / choices;
  if (room.kind === "tokens") {
    return wholeTokens((room.amount - fixedTokens) / choices, tokensMax);
  }
  if (price === null || sides.missing.length > 0) return 0;
  const left = room.amount - sides.fixedCost - BigInt(sides.fixedOutputTokens) * sides.outputRate;
  if (left < 0n) return 0;
  const perToken = sides.outputRate * choices;
  return wholeTokens(perToken === 0n ? tokensMax : left / perToken, tokensMax);
}

/** What no figure bounds, a service tier included that has no rates at this price. */
export function unboundedParts(demand: Demand, price: Price | null): readonly string[] {
  const tier = demand.serviceTier;
  if (price === null || rateSetsFor(price, tier) !== null) return demand.unbounded;
  return [...demand.unbounded, `service_tier:${tier}`];
}

/** An upper bound of the tokens of one input image; an unknown model is taken for the dearest. */
export function imageTokensMax(model: string | null): number {
  if (model === null) return IMAGE_TOKENS_MINI;
  const name = model.slice(model.lastIndexOf("/") + 1);
  if (name.includes("gpt-4o-mini")) return IMAGE_TOKENS_MINI;
  return IMAGE_FAMILIES.some((family) => name.startsWith(family))
    ? IMAGE_TOKENS_MAX
    : IMAGE_TOKENS_MINI;
}

/** A demand at a price, all but the output tokens that remain to be chosen. */
type Sides = {
  readonly inputTokens: number;
  /** Output that the request fixes: made images charged by the token. */
  readonly fixedOutputTokens: number;
  /** Worst rate of an output token. */
  readonly outputRate: bigint;
  /** All input tokens at their worst rate, and the known counts. */
  readonly fixedCost: bigint;
  readonly missing: readonly UsageClass[];
  readonly because: readonly string[];
};

function sidesOf(demand: Demand, price: Price | null): Sides {
  const because = [...unboundedParts(demand, price)];
  const sets = price === null ? null : rateSetsFor(price, demand.serviceTier);
  let inputTokens =
    (demand.inputBytes + demand.images * imageTokensMax(price?.model ?? null)) * demand.choices;
  for (const kind of INPUT_CLASSES) inputTokens += demand.fixed[kind] ?? 0;
  const imageTokens = price === null ? 0 : madeImageTokens(demand, price);
  if (imageTokens === null) because.push("image_output");
  if (price !== null) because.push(...countsWithoutTokens(demand, price.rates));
  let fixedOutputTokens = imageTokens ?? 0;
  for (const kind of OUTPUT_CLASSES) fixedOutputTokens += demand.fixed[kind] ?? 0;

  if (price !== null && price.hourly !== null) {
    const { milliseconds } = demand.fixed;
    if (milliseconds === undefined) because.push("milliseconds");
    return {
      inputTokens,
      fixedOutputTokens,
      outputRate: 0n,
      fixedCost: costOfTime(price.hourly, milliseconds ?? 0),
      missing: [],
      because: Number.isSafeInteger(inputTokens) ? because : [...because, "input_tokens"],
    };
  }
  const missing = new Set<UsageClass>();
  const worst = { input: 0n, output: 0n, counts: 0n };
  for (const rates of (sets ?? []).flatMap((set) => ratesWithin(set, inputTokens))) {
    const makesTokens = demand.producesTokens || fixedOutputTokens > 0;
    const input = inputTokens > 0 ? inputRate(demand, rates, missing) : 0n;
    const output = makesTokens ? outputRate(demand, rates, missing) : 0n;
    const counts = countsCost(demand, rates, missing);
    if (input > worst.input) worst.input = input;
    if (output > worst.output) worst.output = output;
    if (counts > worst.counts) worst.counts = counts;
  }
  return {
    inputTokens,
    fixedOutputTokens,
    outputRate: worst.output,
    fixedCost: BigInt(Math.min(inputTokens, Number.MAX_SAFE_INTEGER)) * worst.input + worst.counts,
    missing: [...missing],
    because: Number.isSafeInteger(inputTokens) ? because : [...because, "input_tokens"],
  };
}

/**
 * The rates of every tier that this much input could reach; a lower tier may be the dearer one. Above the
 * sizes for which a service tier is sold it has no rates: the ordinary ones, which stand beside it, hold there.
 */
function ratesWithin(set: RateSet, inputTokens: number): readonly Rates[] {
  const reached = set.tiers.filter(
    ({ aboveInputTokens, rates }) =>
      inputTokens > aboveInputTokens && Object.keys(rates).length > 0,
  );
  return [set.rates, ...reached.map((tier) => tier.rates)];
}

/** The dearest input class that the demand allows. */
function inputRate(demand: Demand, rates: Rates, missing: Set<UsageClass>): bigint {
  let worst = 0n;
  for (const kind of INPUT_CLASSES) {
    if (kind === "audio_input" && !demand.audioInput) continue;
    if (kind === "image_input" && demand.images === 0) continue;
    const rate = rateOf(rates, kind);
    if (rate !== null && rate > worst) worst = rate;
    const needed = kind === "input" || kind === "audio_input";
    if (rate === null && needed && !isPaidByCount(demand, rates)) missing.add(kind);
  }
  return worst;
}

/** The dearest output class that the demand allows, made images included where they have a price. */
function outputRate(demand: Demand, rates: Rates, missing: Set<UsageClass>): bigint {
  let worst = 0n;
  for (const kind of OUTPUT_CLASSES) {
    if (kind === "audio_output" && !demand.audioOutput) continue;
    const rate = rateOf(rates, kind);
    if (rate !== null && rate > worst) worst = rate;
    const needed = kind === "output" ? !isPaidByCount(demand, rates) : kind === "audio_output";
    const imagesOnly = !demand.producesTokens && rates.image_output !== undefined;
    if (rate === null && needed && !imagesOnly) missing.add(kind);
  }
  return worst;
}

/** The counts known before the call. A call is at least one request, where requests have a price. */
function countsCost(demand: Demand, rates: Rates, missing: Set<UsageClass>): bigint {
  let cost = BigInt(Math.max(1, demand.fixed.requests ?? 0)) * (rates.requests ?? 0n);
  for (const kind of COUNTS) {
    const units = demand.fixed[kind] ?? 0;
    if (units === 0) continue;
    const rate = rates[kind];
    const tokens = COUNTED_AS_TOKENS[kind];
    if (rate !== undefined) cost += BigInt(units) * rate;
    else if (tokens === undefined || rates[tokens] === undefined) missing.add(kind);
  }
  return cost;
}

/** Tokens of the images asked for, where they are charged by the token; null when nothing bounds them. */
function madeImageTokens(demand: Demand, price: Price): number | null {
  const images = demand.fixed.images ?? 0;
  const byToken = price.rates.images === undefined && price.rates.image_output !== undefined;
  if (images === 0 || !byToken) return 0;
  const name = price.model.replace(/-\d{4}-\d{2}-\d{2}$/, "");
  return IMAGE_OUTPUT_FAMILIES.has(name) ? images * IMAGE_OUTPUT_TOKENS_MAX : null;
}

/** Audio charged by the token where only its characters or seconds are known: they bound no tokens. */
function countsWithoutTokens(demand: Demand, rates: Rates): readonly UsageClass[] {
  const because: UsageClass[] = [];
  const speaks = (demand.fixed.characters ?? 0) > 0 && rates.characters === undefined;
  if (
    speaks &&
    rates.audio_output !== undefined &&
    !(demand.producesTokens && demand.audioOutput)
  ) {
    because.push("audio_output");
  }
  const hears = (demand.fixed.seconds ?? 0) > 0 && rates.seconds === undefined;
  if (hears && rates.audio_input !== undefined && !demand.audioInput) because.push("audio_input");
  return because;
}

/**
 * A model charged by seconds, characters or images charges no text beside them. Only what asks for so many of
 * them is paid by that: a chat at a model whose recordings have a price by the second has no price at all.
 */
function isPaidByCount(demand: Demand, rates: Rates): boolean {
  if (rates.input !== undefined) return false;
  return COUNTS.some((kind) => rates[kind] !== undefined && (demand.fixed[kind] ?? 0) > 0);
}

function wholeTokens(tokens: bigint, tokensMax: bigint): number {
  if (tokens <= 0n) return 0;
  return Number(tokens < tokensMax ? tokens : tokensMax);
}
