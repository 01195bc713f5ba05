/**
 * What service tiers cost (`flex`, `priority`, `batch`), from the open data set of LiteLLM: the file
 * `model_prices_and_context_window_backup.json` of the release below, which `price-snapshot.ts` is given.
 *
 * A tier's rates mean something only beside the ordinary ones that they were listed with. So a model has
 * tiers only where both data sets say the same of its ordinary rates, those of long calls included; what
 * they disagree on is left out and named. Long calls in a tier that lists no rates for them have none:
 * providers that do not sell the tier for those serve them in the ordinary one, and say so.
 */
import { picousdFromUsd, usdFromPicousd, type Picousd } from "../../src/core/money.ts";
import { undated } from "../../src/core/price.ts";
import type { UsageClass } from "../../src/core/usage.ts";
import { sha256Hex } from "../../src/lib/hash.ts";

export const TIERS_SOURCE = "litellm 1.110.2";
const TIERS_SHA256 = "8943af58bf9f979c6a4bef815687117ffa341e462a41faed9be17b5c33d3dcc2";

/** Their provider → the one of our list. */
const PROVIDERS: ReadonlyMap<string, string> = new Map([
  ["openai", "openai"],
  ["azure", "azure"],
  ["gemini", "google"],
  ["bedrock", "aws"],
  ["bedrock_converse", "aws"],
  ["fireworks_ai", "fireworks"],
  ["anthropic", "anthropic"],
  ["xai", "x-ai"],
]);

/** Their suffix → the name by which answers state the tier. */
const TIERS = [
  ["flex", "flex"],
  ["priority", "priority"],
  ["batches", "batch"],
] as const;

const CLASSES: ReadonlyMap<string, UsageClass> = new Map([
  ["input_cost_per_token", "input"],
  ["cache_read_input_token_cost", "cache_read"],
  ["cache_creation_input_token_cost", "cache_write_5m"],
  ["cache_creation_input_token_cost_above_1hr", "cache_write_1h"],
  // The longer of two lifetimes, as the dialect counts it, whichever a provider sells.
  ["cache_creation_input_token_cost_above_12hr", "cache_write_1h"],
  ["output_cost_per_token", "output"],
  ["output_cost_per_reasoning_token", "reasoning"],
  ["input_cost_per_audio_token", "audio_input"],
  ["output_cost_per_audio_token", "audio_output"],
  ["input_cost_per_image_token", "image_input"],
  ["output_cost_per_image_token", "image_output"],
]);

/** As the snapshot leaves it aside: cached audio is counted with the cached text. */
const IGNORED = new Set(["cache_read_input_audio_token_cost"]);

const LONG = /_above_(\d+)k_tokens$/;

/** Thousands of input tokens above which they hold, 0 for the ordinary call, and what each class costs. */
type Sets = ReadonlyMap<number, ReadonlyMap<UsageClass, Picousd>>;

export type ListedRow = {
  readonly upstream: string;
  readonly model: string;
  readonly rates: string;
  readonly tiers: string;
};

export type TierData = {
  /** `flex: input 0.625 output 5; 272000: input 1.25 output 7.5 | priority: …`, or empty. */
  readonly tiersOf: (row: ListedRow) => string;
  readonly leftOut: readonly string[];
};

export function readTierData(text: string): TierData {
  if (sha256Hex(text) !== TIERS_SHA256) throw new Error(`this is not the file of ${TIERS_SOURCE}`);
  return tierDataOf(JSON.parse(text) as Record<string, Entry>);
}

type Entry = Readonly<Record<string, unknown>>;

export function tierDataOf(data: Readonly<Record<string, Entry>>): TierData {
  const entries = new Map<string, Entry>();
  for (const [name, entry] of Object.entries(data)) {
    const provider = PROVIDERS.get(String(entry["litellm_provider"]));
    if (provider === undefined) continue;
    const key = `${provider}\n${name.replace(/^(?:azure|gemini|bedrock|fireworks_ai|xai)\//, "")}`;
    if (!entries.has(key)) entries.set(key, entry);
  }
  const leftOut: string[] = [];
  const tiersOf = (row: ListedRow): string => {
    const names = [row.model, undated(row.model)].filter((name) => name !== null);
    const [entry] = names.flatMap((name) => {
      const found = entries.get(`${row.upstream}\n${name}`);
      return found === undefined ? [] : [found];
    });
    return entry === undefined ? "" : tiersText(row, entry, leftOut);
  };
  return { tiersOf, leftOut };
}

function tiersText(row: ListedRow, entry: Entry, leftOut: string[]): string {
  const named = TIERS.filter(
    ([suffix]) => typeof entry[`input_cost_per_token_${suffix}`] === "number",
  );
  if (named.length === 0) return "";
  const about = `${row.upstream}/${row.model}`;
  const ordinary = listedSets(row);
  const theirs = setsOf(entry, "");
  if (typeof theirs === "string" || !agree(ordinary, theirs)) {
    leftOut.push(`service tiers of ${about}: the ordinary rates of the two data sets differ`);
    return "";
  }
  const texts: string[] = [];
  for (const [suffix, name] of named) {
    const sets = setsOf(entry, `_${suffix}`);
    const flaw = typeof sets === "string" ? sets : flawOf(sets, ordinary, NEEDED[name]);
    if (typeof sets === "string" || flaw !== null) leftOut.push(`${name} of ${about}: ${flaw}`);
    else texts.push(`${name}: ${setsText(sets, row)}`);
  }
  return texts.join(" | ");
}

/** Of the ordinary tier (`""`) or of another, or why they cannot be stated. */
function setsOf(entry: Entry, suffix: string): Sets | string {
  const sets = new Map<number, Map<UsageClass, Picousd>>();
  for (const [key, value] of Object.entries(entry)) {
    if (!key.endsWith(suffix) || typeof value !== "number") continue;
    const plain = key.slice(0, key.length - suffix.length);
    const [, thousands = "0"] = LONG.exec(plain) ?? [];
    const base = plain.replace(LONG, "");
    const kind = CLASSES.get(base);
    if (kind === undefined) {
      // Beside its ordinary rates an entry holds much else; with a tier's name it holds prices alone.
      if (suffix === "" || IGNORED.has(base)) continue;
      return `${key} has no class`;
    }
    const set = sets.get(Number(thousands)) ?? new Map<UsageClass, Picousd>();
    sets.set(Number(thousands), set);
    try {
      set.set(kind, picousdFromUsd(String(value)));
    } catch {
      return `${key} ${value} is finer than a pico-dollar`;
    }
  }
  return sets;
}

function listedSets({ rates, tiers }: ListedRow): Sets {
  const sets = new Map([[0, ratesFrom(rates)]]);
  for (const tier of tiers === "" ? [] : tiers.split("; ")) {
    const [above = "", text = ""] = tier.split(": ");
    sets.set(thousandsOf(above), ratesFrom(text));
  }
  return sets;
}

/** One list begins its long calls at 272,000 tokens, the other above 271,999. */
function thousandsOf(above: string): number {
  return Math.round(Number(above) / 1_000);
}

function ratesFrom(text: string): ReadonlyMap<UsageClass, Picousd> {
  const words = text.split(" ");
  const rates = new Map<UsageClass, Picousd>();
  for (let at = 0; at < words.length; at += 2) {
    rates.set(
      words[at] as UsageClass,
      (picousdFromUsd(words[at + 1] ?? "") / 1_000_000n) as Picousd,
    );
  }
  return rates;
}

/** The same sizes of calls, and no class that both price differently. */
function agree(ours: Sets, theirs: Sets): boolean {
  if (ours.size !== theirs.size) return false;
  for (const [thousands, rates] of ours) {
    const other = theirs.get(thousands);
    if (other === undefined || other.get("input") !== rates.get("input")) return false;
    for (const [kind, rate] of rates) if ((other.get(kind) ?? rate) !== rate) return false;
  }
  return true;
}

/** What a tier must price where the ordinary rates do. Cached input has no discount in most batches. */
const NEEDED = {
  flex: ["input", "cache_read", "output"],
  priority: ["input", "cache_read", "output"],
  batch: ["input", "output"],
} as const satisfies Readonly<Record<string, readonly UsageClass[]>>;

/** Why the rates of a tier are not whole, or null. */
function flawOf(sets: Sets, ordinary: Sets, needed: readonly UsageClass[]): string | null {
  for (const thousands of sets.keys()) {
    if (!ordinary.has(thousands))
      return `it has rates above ${thousands}k, the ordinary one has none`;
  }
  for (const [thousands, rates] of sets) {
    for (const kind of needed) {
      if (ordinary.get(thousands)?.has(kind) === true && !rates.has(kind))
        return `no rate of ${kind}`;
    }
  }
  return null;
}

function setsText(sets: Sets, { tiers }: ListedRow): string {
  const texts = [ratesText(sets.get(0))];
  for (const tier of tiers === "" ? [] : tiers.split("; ")) {
    const [above = ""] = tier.split(": ");
    texts.push(`${above}: ${ratesText(sets.get(thousandsOf(above)))}`);
  }
  return texts.join("; ");
}

function ratesText(rates: ReadonlyMap<UsageClass, Picousd> | undefined): string {
  const pairs = [...(rates ?? [])].map(([kind, rate]) => {
    const perMillion = usdFromPicousd((rate * 1_000_000n) as Picousd);
    return `${kind} ${perMillion.replace(/\.?0+$/, "")}`;
  });
  return pairs.join(" ");
}
