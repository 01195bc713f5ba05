import type { Operation } from "../../core/intent.ts";
import type { Usage, UsageClass } from "../../core/usage.ts";
import { isExactNumber, parseExactJson, sourceOf } from "../../lib/exact-json.ts";
import { isList, isRecord, parseJson, type Parsed } from "../../lib/json.ts";

export type UsageReading = {
  readonly usage: Usage | null;
  /** What the provider itself says that the call cost, in USD: the very decimal that it wrote. */
  readonly providerCostUsd: string | null;
  /** Figures stood there that no call could have used, so there is no usage. */
  readonly isAbsurd: boolean;
  /** It is of one choice, and not of the answer. */
  readonly isOfChoice?: boolean;
};

type Body = Readonly<Record<string, unknown>>;

const NOTHING: UsageReading = { usage: null, providerCostUsd: null, isAbsurd: false };

/** Reads a part of an answer; where it may tell a cost, without letting a float touch it. */
export function parseTelling(text: string): Parsed {
  return text.includes('"cost') ? parseExactJson(text) : parseJson(text);
}

/**
 * Reads the usage that an answer, a chunk or an event carries, wherever its provider puts it: `usage`,
 * `response.usage`, Groq's `x_groq.usage`, or Moonshot's `choices[0].usage`. Null while there is none; an explicit zero is a zero.
 */
export function readUsage(json: unknown, operation: Operation): UsageReading {
  if (!isRecord(json)) return NOTHING;
  const response = json["response"];
  const groq = json["x_groq"];
  if (isRecord(json["usage"])) return readUsageObject(json["usage"], operation);
  if (isRecord(response) && isRecord(response["usage"])) {
    return readUsageObject(response["usage"], operation);
  }
  if (isRecord(groq) && isRecord(groq["usage"])) return readUsageObject(groq["usage"], operation);
  if (isList(json["choices"])) {
    const choice = readChoices(json["choices"], operation);
    if (choice !== null) return choice;
  }
  // Images priced by the piece come without usage: what arrived is what was used.
  if (operation === "image_generation" && isList(json["data"])) {
    return { ...NOTHING, usage: { images: json["data"].length } };
  }
  // Whisper's verbose answers of older dates say how long the recording was, and nothing else.
  if (operation === "transcription" && readNumber(json["duration"]) !== null) {
    return readUsageObject({ type: "duration", seconds: json["duration"] }, operation);
  }
  return NOTHING;
}

/** Whether the usages of several choices share their prompt nobody says: then there is none. */
function readChoices(choices: readonly unknown[], operation: Operation): UsageReading | null {
  const telling = choices.flatMap((choice) =>
    isRecord(choice) && isRecord(choice["usage"]) ? [{ choice, usage: choice["usage"] }] : [],
  );
  const [first, ...more] = telling;
  if (first === undefined) return null;
  const isOnly = more.length === 0 && (readCount(first.choice["index"]) ?? 0) === 0;
  const reading = isOnly ? readUsageObject(first.usage, operation) : { ...NOTHING, isAbsurd: true };
  return { ...reading, isOfChoice: true };
}

/** Normalises one usage object into disjoint classes; null when it holds no figure that we know. */
export function readUsageObject(usage: Body, operation: Operation): UsageReading {
  const providerCostUsd = readProviderCost(usage);
  if (isAbsurd(usage)) return { usage: null, providerCostUsd, isAbsurd: true };
  if (usage["type"] === "duration") {
    const seconds = readNumber(usage["seconds"]);
    const read = seconds === null ? null : { seconds: whole(Math.ceil(seconds)) };
    return { usage: read, providerCostUsd, isAbsurd: false };
  }
  const input = firstCount(usage, ["prompt_tokens", "input_tokens"]);
  const output = firstCount(usage, ["completion_tokens", "output_tokens"]);
  const total = readCount(usage["total_tokens"]);
  if (input === null && output === null && total === null)
    return { usage: null, providerCostUsd, isAbsurd: false };
  const prompt = input ?? Math.max(0, (total ?? 0) - (output ?? 0));
  const totalIn =
    prompt + cachedApart(usage, prompt, total) + audioApart(usage, { input, output, total });
  // Where reasoning is left out of the completion (xAI, Gemini's compatible endpoint), the total has it.
  const told = Math.max(output ?? 0, (total ?? 0) - totalIn);
  const totalOut = told + reasoningApart(usage, output, told);
  const read: Partial<Record<UsageClass, number>> = {};
  readInput(usage, totalIn, read);
  readOutput(usage, totalOut, operation, read);
  return { usage: read, providerCostUsd, isAbsurd: false };
}

/**
 * Anthropic's own form counts what it read from its cache and wrote to it beside `input_tokens`, which is told by
 * its names and by having no total. Everybody else's prompt has them inside; but where they are more than the
 * prompt they cannot be, whatever the form: some translate Anthropic's into the names of a chat and do not add up.
 */
function cachedApart(usage: Body, prompt: number, total: number | null): number {
  const cached = cacheReadOf(usage) + cacheWriteOf(usage);
  if (cached > prompt) return cached;
  if (total !== null || readCount(usage["prompt_tokens"]) !== null) return 0;
  const read = readCount(usage["cache_read_input_tokens"]) ?? 0;
  return read + (readCount(usage["cache_creation_input_tokens"]) ?? 0);
}

function cacheReadOf(usage: Body): number {
  const { cached_tokens } = firstRecord(usage, INPUT_DETAILS);
  return readCount(cached_tokens) ?? firstCount(usage, CACHE_READS) ?? 0;
}

function cacheWriteOf(usage: Body): number {
  const told = firstCount(firstRecord(usage, INPUT_DETAILS), CACHE_WRITES);
  return told ?? readCount(usage["cache_creation_input_tokens"]) ?? 0;
}

const CACHE_READS = [
  "prompt_cache_hit_tokens",
  "cached_tokens",
  "num_cached_tokens",
  "cache_read_input_tokens",
];
const CACHE_WRITES = ["cache_write_tokens", "cache_creation_tokens"];

type Sides = {
  readonly input: number | null;
  readonly output: number | null;
  readonly total: number | null;
};

/**
 * Mistral counts the audio that it transcribes beside the prompt: the total says so, being the sum of all three.
 * So does audio that is more than the prompt.
 */
function audioApart(usage: Body, { input, output, total }: Sides): number {
  const audio = readCount(firstRecord(usage, INPUT_DETAILS)["audio_tokens"]) ?? 0;
  const isApart = total === (input ?? 0) + (output ?? 0) + audio;
  return isApart || (input !== null && audio > input) ? audio : 0;
}

/**
 * Perplexity's research counts its reasoning beside the completion and the total: it may be many times as much.
 * So does whoever details more reasoning than there is of completion, by all that was told.
 */
function reasoningApart(usage: Body, output: number | null, told: number): number {
  const reasoning = readCount(usage["reasoning_tokens"]) ?? 0;
  if (reasoning > (output ?? 0)) return reasoning;
  const detailed = readCount(firstRecord(usage, OUTPUT_DETAILS)["reasoning_tokens"]) ?? 0;
  return detailed > told ? detailed : 0;
}

/** More units than this no call ever used (a million of the largest contexts); a larger figure is a broken one. */
const UNITS_MAX = 1_000_000_000_000;

const FIGURES = [
  "prompt_tokens",
  "input_tokens",
  "completion_tokens",
  "output_tokens",
  "total_tokens",
  "reasoning_tokens",
  "prompt_cache_hit_tokens",
  "cached_tokens",
  "num_cached_tokens",
  "cache_read_input_tokens",
  "cache_creation_input_tokens",
  "seconds",
];

const SIDES = [
  "prompt_tokens",
  "input_tokens",
  "completion_tokens",
  "output_tokens",
  "total_tokens",
];

const INPUT_DETAILS = ["prompt_tokens_details", "input_tokens_details", "input_token_details"];
const OUTPUT_DETAILS = ["completion_tokens_details", "output_tokens_details"];

/**
 * Infinity is what `1e400` is read as. One broken figure says that the others cannot be trusted either; and one that is
 * there and is no count (a text, or below zero) says that usage was told which nobody can read.
 */
function isAbsurd(usage: Body): boolean {
  if (FIGURES.some((name) => isTooLarge(usage[name]))) return true;
  if (SIDES.some((name) => readCount(usage[name] ?? 0) === null)) return true;
  const details = [firstRecord(usage, INPUT_DETAILS), firstRecord(usage, OUTPUT_DETAILS)];
  return details.some((detail) => Object.values(detail).some(isTooLarge));
}

function isTooLarge(value: unknown): boolean {
  return numberOf(value) > UNITS_MAX;
}

/**
 * Takes the classes of the input apart. Each is capped by what is left, so that they always add up to
 * the input, whatever a provider writes: an exaggerated detail must not make anything negative.
 */
function readInput(usage: Body, totalIn: number, read: Partial<Record<UsageClass, number>>): void {
  const details = firstRecord(usage, INPUT_DETAILS);
  let left = totalIn;
  left -= take(read, "cache_read", cacheReadOf(usage), left);
  const writes = firstRecord(details, ["cache_write_tokens_details"]);
  const cacheWrite = cacheWriteOf(usage);
  // Two lifetimes are told apart in the ledger, a short one and a long one; 12 hours is the long one.
  const created = firstRecord(usage, ["cache_creation"]);
  const told = readCount(writes["ttl_12h_tokens"]);
  const lasting = told ?? readCount(created["ephemeral_1h_input_tokens"]) ?? 0;
  const long = Math.min(lasting, cacheWrite);
  left -= take(read, "cache_write_1h", long, left);
  left -= take(read, "cache_write_5m", cacheWrite - long, left);
  left -= take(read, "audio_input", readCount(details["audio_tokens"]), left);
  left -= take(read, "image_input", readCount(details["image_tokens"]), left);
  read.input = left;
}

function readOutput(
  usage: Body,
  totalOut: number,
  operation: Operation,
  read: Partial<Record<UsageClass, number>>,
): void {
  const details = firstRecord(usage, OUTPUT_DETAILS);
  let left = totalOut;
  const reasoning = readCount(details["reasoning_tokens"]) ?? readCount(usage["reasoning_tokens"]);
  left -= take(read, "reasoning", reasoning, left);
  const audio = readCount(details["audio_tokens"]) ?? (operation === "speech" ? left : null);
  left -= take(read, "audio_output", audio, left);
  // An image model answers in image tokens unless it says which of them are text.
  const drawn =
    operation === "image_generation" ? left - (readCount(details["text_tokens"]) ?? 0) : null;
  left -= take(read, "image_output", readCount(details["image_tokens"]) ?? drawn, left);
  if (left > 0 || producesText(operation)) read.output = left;
}

function producesText(operation: Operation): boolean {
  return operation === "chat" || operation === "responses" || operation === "text_completion";
}

function take(
  read: Partial<Record<UsageClass, number>>,
  name: UsageClass,
  amount: number | null,
  left: number,
): number {
  const taken = Math.max(0, Math.min(amount ?? 0, left));
  if (taken > 0) read[name] = taken;
  return taken;
}

function firstCount(from: Body, names: readonly string[]): number | null {
  for (const name of names) {
    const count = readCount(from[name]);
    if (count !== null) return count;
  }
  return null;
}

function firstRecord(from: Body, names: readonly string[]): Body {
  for (const name of names) {
    const value = from[name];
    if (isRecord(value)) return value;
  }
  return {};
}

function readNumber(value: unknown): number | null {
  const number = numberOf(value);
  return Number.isFinite(number) ? number : null;
}

/** NaN is no number. */
function numberOf(value: unknown): number {
  if (isExactNumber(value)) return Number(sourceOf(value));
  return typeof value === "number" ? value : Number.NaN;
}

/** A count of units: fractions are rounded up, so that nothing used is lost; below zero is no count. */
function readCount(value: unknown): number | null {
  const number = readNumber(value);
  return number === null || number < 0 ? null : whole(Math.ceil(number));
}

function whole(value: number): number {
  // Minus zero is no count that JSON or a database would print as zero.
  return Math.max(0, value) + 0;
}

/** xAI counts in ticks of 10⁻¹⁰ USD. */
const TICK_DECIMALS = 10;

/** OpenRouter's `cost` in USD, Perplexity's `cost.total_cost`, xAI's `cost_in_usd_ticks`. */
function readProviderCost(usage: Body): string | null {
  const ticks = decimalOf(usage["cost_in_usd_ticks"], TICK_DECIMALS);
  if (ticks !== null) return ticks;
  const { cost } = usage;
  return decimalOf(isRecord(cost) && !isExactNumber(cost) ? cost["total_cost"] : cost, 0);
}

/** Longer figures, and powers beyond these, are no costs: a double has 17 digits, and none is below 10⁻⁴⁰. */
const DECIMAL = /^(\d{1,24})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?$/;
const EXPONENT_MAX = 40;
/** A cost beyond a million dollars for one call is a broken figure; a negative one is a credit that we do not keep. */
const WHOLE_DIGITS_MAX = 7;

/**
 * A figure as a plain decimal of dollars, to its last digit: `4.8e-6` is `0.0000048`. What is finer than a
 * pico-dollar, as the last digits of a provider's own floats are, is neither rounded nor dropped: this
 * figure is compared and summed, and never charged. Null where it is no cost.
 */
export function decimalOf(value: unknown, shift: number): string | null {
  const text = isExactNumber(value) ? sourceOf(value) : value;
  if (typeof text !== "string" && typeof text !== "number") return null;
  const [, units, decimals = "", power = "0"] = DECIMAL.exec(String(text)) ?? [];
  const exponent = Number(power);
  if (units === undefined || Math.abs(exponent) > EXPONENT_MAX) return null;
  // So many of the digits stand behind the point.
  const places = decimals.length + shift - exponent;
  const digits = `${units}${decimals}${"0".repeat(Math.max(0, -places))}`;
  const behind = Math.max(0, places);
  const padded = digits.padStart(behind + 1, "0");
  const dollars = padded.slice(0, padded.length - behind).replace(/^0+(?=\d)/, "");
  const part = padded.slice(padded.length - behind).replace(/0+$/, "");
  if (dollars.length > WHOLE_DIGITS_MAX) return null;
  return `${dollars}.${part.padEnd(2, "0")}`;
}
