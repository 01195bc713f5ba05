/**
 * Writes `src/core/prices.json` from the open data set of `@pydantic/genai-prices`, by hand:
 * `node test/support/price-snapshot.ts <file of service tiers>` (see `service-tiers.ts`). The diff is read
 * before it is committed.
 *
 * A price enters only if it can be stated wholly: a model charged for something that has no class
 * here, or finer than a pico-dollar per unit, is left out and named on the terminal. Prices by time
 * of day are entered at their dearest, and say so in `note`.
 */
import { calcPrice, findProvider } from "@pydantic/genai-prices";
import type { MatchLogic, ModelPrice, Provider } from "@pydantic/genai-prices";
import { readFileSync, writeFileSync } from "node:fs";
import {
  picousdFromUsd,
  ratePerMillion,
  usdFromPicousd,
  type Picousd,
} from "../../src/core/money.ts";
import type { UsageClass } from "../../src/core/usage.ts";
import { readTierData, TIERS_SOURCE } from "./service-tiers.ts";

/** The date of a price whose beginning nobody recorded. */
const DAWN = "1970-01-01";

/** Providers whose models can be called with an API key; the id is the price's upstream. */
const PROVIDERS = [
  "anthropic",
  "avian",
  "aws",
  "azure",
  "cerebras",
  "cohere",
  "deepseek",
  "fireworks",
  "google",
  "groq",
  "minimax",
  "mistral",
  "moonshotai",
  "novita",
  "openai",
  "openrouter",
  "ovhcloud",
  "perplexity",
  "together",
  "x-ai",
  "zhipuai",
];

/** Each price key of the data: its class, and what turns its number into USD per million units. */
const KEYS: Readonly<Record<string, readonly [UsageClass, "million" | "thousand" | "hour"]>> = {
  input_mtok: ["input", "million"],
  cache_read_mtok: ["cache_read", "million"],
  cache_write_mtok: ["cache_write_5m", "million"],
  cache_write_1h_mtok: ["cache_write_1h", "million"],
  output_mtok: ["output", "million"],
  output_reasoning_mtok: ["reasoning", "million"],
  input_audio_mtok: ["audio_input", "million"],
  output_audio_mtok: ["audio_output", "million"],
  input_image_mtok: ["image_input", "million"],
  output_image_mtok: ["image_output", "million"],
  requests_kcount: ["requests", "thousand"],
  audio_hours: ["seconds", "hour"],
};

/**
 * Keys left aside though the model stays: hosted tools are refused or counted as unbounded by the
 * dialect; `input_audio_hours` repeats `audio_hours`; cached audio and images are counted with the
 * cached text, whose price is the same or lower by a few cents per million.
 */
const IGNORED_KEYS = new Set([
  "web_searches_kcount",
  "storage_searches_kcount",
  "input_audio_hours",
  "cache_audio_read_mtok",
  "cache_image_read_mtok",
]);

/** Most output tokens of one answer, from OpenAI's model pages; the longest matching prefix holds. */
const OUTPUT_TOKENS_MAX: readonly (readonly [string, number])[] = [
  ["gpt-3.5-turbo", 4_096],
  ["gpt-4", 8_192],
  ["gpt-4-turbo", 4_096],
  ["gpt-4-0125", 4_096],
  ["gpt-4-1106", 4_096],
  ["gpt-4-vision", 4_096],
  ["gpt-4.1", 32_768],
  ["gpt-4.5", 16_384],
  ["gpt-4o", 16_384],
  ["gpt-4o-2024-05-13", 4_096],
  ["gpt-4o-realtime", 4_096],
  ["gpt-4o-mini-realtime", 4_096],
  ["gpt-4o-transcribe", 2_000],
  ["gpt-4o-mini-transcribe", 2_000],
  ["chatgpt-4o", 16_384],
  ["gpt-5", 128_000],
  ["gpt-5-chat", 16_384],
  ["gpt-5.1-chat", 16_384],
  ["gpt-5.2-chat", 16_384],
  ["gpt-5.3-chat", 16_384],
  ["gpt-5-1-chat", 16_384],
  ["gpt-5-2-chat", 16_384],
  ["gpt-5-3-chat", 16_384],
  ["gpt-5-pro", 272_000],
  ["gpt-audio", 16_384],
  ["o1", 100_000],
  ["o1-mini", 65_536],
  ["o1-preview", 32_768],
  ["o3", 100_000],
  ["o4-mini", 100_000],
  ["codex-mini", 100_000],
  ["computer-use", 1_024],
];

/** Model names of the table above are OpenAI's, whoever serves them; `openai/` is OpenRouter's prefix. */
const OPENAI_MODELS_AT = new Set(["openai", "azure", "openrouter"]);

/** Charged as tokens of image or audio, which the data lists under plain output. */
const OUTPUT_IS: Readonly<Record<string, UsageClass>> = {
  "gpt-image-1": "image_output",
  "gpt-image-1-mini": "image_output",
  "gpt-image-2": "image_output",
  "gpt-4o-mini-tts": "audio_output",
};

/** What OpenAI's price list says and the data leaves out. USD per million units. */
const ADDITIONS: readonly Row[] = [
  addition("tts-1", "characters 15"),
  addition("tts-1-1106", "characters 15"),
  addition("tts-1-hd", "characters 30"),
  addition("tts-1-hd-1106", "characters 30"),
  addition("omni-moderation-latest", "input 0 image_input 0"),
  addition("omni-moderation-2024-09-26", "input 0 image_input 0"),
  addition("text-moderation-latest", "input 0"),
  addition("text-moderation-stable", "input 0"),
];

/** Snapshots that can be fine-tuned, whose date is not one of the two forms that a lookup removes. */
const FINE_TUNED_35 = ["0125", "1106", "0613"].map((date) => `ft:gpt-3.5-turbo-${date}`);

const TARGET = new URL("../../src/core/prices.json", import.meta.url);

type Row = {
  readonly upstream: string;
  readonly model: string;
  readonly from: string;
  readonly rates: string;
  readonly tiers: string;
  readonly service_tiers?: string;
  readonly context: number;
  readonly output_max: number;
  readonly note: string;
};

function addition(model: string, rates: string): Row {
  const note = "openai price list";
  return {
    upstream: "openai",
    model,
    from: DAWN,
    rates,
    tiers: "",
    context: 0,
    output_max: 0,
    note,
  };
}

const left: string[] = [];

function main(tiersFile: string | undefined): void {
  if (tiersFile === undefined) throw new Error(`name the file of ${TIERS_SOURCE}`);
  const { tiersOf, leftOut } = readTierData(readFileSync(tiersFile, "utf8"));
  const rows = new Map<string, Row>();
  for (const id of PROVIDERS) {
    const provider = findProvider({ providerId: id });
    if (provider === undefined) throw new Error(`no such provider in the data: ${id}`);
    for (const row of rowsOf(provider)) rows.set(sortKey(row), row);
  }
  for (const row of borrowed([...rows.values()])) rows.set(sortKey(row), row);
  for (const row of ADDITIONS) rows.set(sortKey(row), row);
  const sorted = [...rows]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, row]) => {
      const tiers = tiersOf(row);
      return tiers === "" ? row : { ...row, service_tiers: tiers };
    });
  const { version } = JSON.parse(
    readFileSync(
      new URL("../../node_modules/@pydantic/genai-prices/package.json", import.meta.url),
      "utf8",
    ),
  ) as { version: string };
  const lines = sorted.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
  const source = JSON.stringify(`genai-prices ${version}`);
  const sources = `  "source": ${source},\n  "tiers_source": ${JSON.stringify(TIERS_SOURCE)},\n`;
  writeFileSync(TARGET, `{\n${sources}  "prices": [\n${lines}\n  ]\n}\n`);
  for (const line of [...left, ...leftOut]) console.log(`left out: ${line}`);
  console.log(`${sorted.length} prices written, ${left.length + leftOut.length} left out`);
}

/** Models that a provider resells at their maker's price, as the data says: Azure does OpenAI's. */
function* borrowed(rows: readonly Row[]): Generator<Row> {
  for (const id of PROVIDERS) {
    const own = new Set(rows.filter((row) => row.upstream === id).map((row) => row.model));
    for (const maker of findProvider({ providerId: id })?.fallback_model_providers ?? []) {
      for (const row of rows.filter(
        (listed) => listed.upstream === maker && !own.has(listed.model),
      )) {
        // Where a looser clause of the reseller claims the name for another model, nobody knows.
        if (resolved(id, row.model) !== resolved(maker, row.model)) continue;
        const note = [`price of ${maker}`, row.note].filter((text) => text !== "").join(", ");
        yield { ...row, upstream: id, note };
      }
      for (const row of rows) if (row.upstream === maker) own.add(row.model);
    }
  }
}

/** The entry of the data itself, so that two entries of one name are told apart. */
function resolved(provider: string, name: string): Provider["models"][number] | null {
  return calcPrice({ input_tokens: 1 }, name, { providerId: provider })?.model ?? null;
}

function* rowsOf(provider: Provider): Generator<Row> {
  for (const model of provider.models) {
    const dated = datedPrices(model.prices).map(({ from, prices, note }) => {
      return { from, note, stated: ratesOf(`${provider.id}/${model.id}`, model.id, prices) };
    });
    // One date left out would let the price before it hold for too long: all are left out.
    if (dated.some(({ stated }) => stated === null)) continue;
    for (const { from, stated, note } of dated) {
      if (stated === null) continue;
      for (const name of namesOf(provider, model)) {
        yield {
          upstream: provider.id,
          model: name,
          from,
          ...stated,
          context: model.context_window ?? 0,
          output_max: OPENAI_MODELS_AT.has(provider.id) ? outputTokensMaxOf(name) : 0,
          note,
        };
      }
    }
  }
}

/** The id and every name that its clauses spell out, as far as the data itself resolves them to it. */
function namesOf(provider: Provider, model: Provider["models"][number]): string[] {
  const names = new Set([model.id.replace(/[-.]$/, ""), ...spelled(model.match)]);
  if (model.id === "ft:gpt-3.5-turbo-") for (const name of FINE_TUNED_35) names.add(name);
  return [...names].filter((name) => {
    if (name === "" || name === model.id) return name !== "";
    const found = calcPrice({ input_tokens: 1 }, name, { providerId: provider.id });
    return found === null || found.model.id === model.id;
  });
}

function spelled(match: MatchLogic): string[] {
  if ("or" in match) return match.or.flatMap(spelled);
  if ("equals" in match) return [match.equals];
  if ("starts_with" in match) return /[-.:/]$/.test(match.starts_with) ? [] : [match.starts_with];
  return [];
}

type Dated = { readonly from: string; readonly prices: ModelPrice; readonly note: string };

/** By date; where prices change with the time of day, the dearest of the day holds from the last date. */
function datedPrices(prices: Provider["models"][number]["prices"]): Dated[] {
  if (!Array.isArray(prices)) return [{ from: DAWN, prices, note: "" }];
  const dated: Dated[] = [];
  const hourly: ModelPrice[] = [];
  for (const entry of prices) {
    if (entry.constraint?.type === "time_of_date") hourly.push(entry.prices);
    else dated.push({ from: entry.constraint?.start_date ?? DAWN, prices: entry.prices, note: "" });
  }
  const last = dated.pop();
  if (last === undefined) throw new Error("a price list without a price for all hours");
  const note = "dearest hours of the day";
  return [
    ...dated,
    hourly.length === 0 ? last : { ...last, prices: dearest([last.prices, ...hourly]), note },
  ];
}

function dearest(all: readonly ModelPrice[]): ModelPrice {
  const worst: ModelPrice = {};
  for (const [key, price] of all.flatMap((prices) => Object.entries(prices))) {
    const held = worst[key];
    if (price === undefined || typeof price !== "number")
      throw new Error(`tiers by the hour: ${key}`);
    if (typeof held !== "number" || price > held) worst[key] = price;
  }
  return worst;
}

function ratesOf(
  name: string,
  id: string,
  prices: ModelPrice,
): Pick<Row, "rates" | "tiers"> | null {
  const starts = new Set<number>();
  for (const price of Object.values(prices)) {
    if (typeof price === "object") for (const tier of price.tiers) starts.add(tier.start);
  }
  const rates = ratesText(name, id, prices, 0);
  if (rates === null) return null;
  const tiers = [...starts].toSorted((a, b) => a - b);
  const texts: string[] = [];
  for (const start of tiers) {
    const tier = ratesText(name, id, prices, start);
    if (tier === null) return null;
    texts.push(`${start}: ${tier}`);
  }
  return { rates, tiers: texts.join("; ") };
}

/** `class rate` pairs for inputs just above `start`, or null when one of them cannot be stated. */
function ratesText(name: string, id: string, prices: ModelPrice, start: number): string | null {
  const pairs: string[] = [];
  for (const [key, price] of Object.entries(prices)) {
    if (price === undefined || IGNORED_KEYS.has(key)) continue;
    const known = KEYS[key];
    if (known === undefined) return leaveOut(`${name}: ${key} has no class`);
    const amount = typeof price === "number" ? price : priceAbove(price, start);
    const [kind, per] = known;
    const rate = ratePerUnit(String(amount), per);
    if (rate === null) return leaveOut(`${name}: ${key} ${amount} is finer than a pico-dollar`);
    const ownKind = kind === "output" ? (OUTPUT_IS[id] ?? kind) : kind;
    pairs.push(`${ownKind} ${perMillion(rate)}`);
  }
  // OpenRouter's suffix states the price that the data then leaves empty.
  if (pairs.length === 0 && /^openrouter\/.*:free$/.test(name)) return "input 0 output 0";
  return pairs.length === 0 ? leaveOut(`${name}: no price at all`) : pairs.join(" ");
}

function leaveOut(why: string): null {
  left.push(why);
  return null;
}

function priceAbove(
  price: { base: number; tiers: { start: number; price: number }[] },
  start: number,
): number {
  let amount = price.base;
  for (const tier of price.tiers.toSorted((a, b) => a.start - b.start)) {
    if (start >= tier.start) amount = tier.price;
  }
  return amount;
}

function ratePerUnit(amount: string, per: "million" | "thousand" | "hour"): bigint | null {
  try {
    if (per === "million") return ratePerMillion(amount);
    const total = picousdFromUsd(amount);
    const units = per === "thousand" ? 1_000n : 3_600n;
    return total % units === 0n ? total / units : null;
  } catch {
    return null;
  }
}

function perMillion(rate: bigint): string {
  return usdFromPicousd((rate * 1_000_000n) as Picousd).replace(/\.?0+$/, "");
}

function outputTokensMaxOf(name: string): number {
  const plain = name.replace(/^openai\//, "").replace(/^ft:/, "");
  let best: readonly [string, number] = ["", 0];
  for (const entry of OUTPUT_TOKENS_MAX) {
    if (plain.startsWith(entry[0]) && entry[0].length > best[0].length) best = entry;
  }
  return /image|tts|oss|instruct|32k/.test(plain) ? 0 : best[1];
}

function sortKey(row: Row): string {
  return `${row.upstream}\n${row.model}\n${row.from}`;
}

main(process.argv[2]);
