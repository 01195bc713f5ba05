/** Reads `tollgate.yaml`: every mistake with its line and column, all of them at once. */
import { ratePerHour, type Hourly } from "../core/hourly.ts";
import { ratePerMillion, type Picousd } from "../core/money.ts";
import { listedProviders, priceSnapshot } from "../core/price-snapshot.ts";
import {
  ANY_MODEL,
  findPrice,
  priceBook,
  priceFrom,
  type Price,
  type PriceBook,
} from "../core/price.ts";
import { routeModel, type Catalogue } from "../core/route.ts";
import { USAGE_CLASSES, type UsageClass } from "../core/usage.ts";
import type { McpServer } from "../gate/authority.ts";
import type { UpstreamConfig } from "./config.ts";
import { readServers } from "./config-servers.ts";
import {
  aliasSchema,
  areTooManyAliases,
  isModelName,
  priceSchema,
  rootSchema,
  upstreamSchema,
  webhooksSchema,
  wrongHeaders,
  type PriceEntry,
  type UpstreamEntry,
} from "./config-schema.ts";
import { createReader, inOrder, parse, type Path, type Reader } from "../lib/yaml-reader.ts";
import { didYouMean } from "../lib/nearest.ts";
import { readTree, type TreeProblem } from "../lib/yaml-tree.ts";

export type FileConfig = {
  readonly upstreams: readonly UpstreamConfig[];
  readonly aliases: Readonly<Record<string, string>>;
  readonly prices: readonly Price[];
  readonly mcpServers: readonly McpServer[];
  /** Webhooks may go to private addresses, and by http. */
  readonly allowsPrivateWebhooks: boolean;
};

export type FileReading = FileConfig & {
  /** In the order of the file; empty when the file is sound. */
  readonly problems: readonly TreeProblem[];
};

/** The built-in upstream: it is always there, so a model may be aliased to it. */
const BUILT_IN = "demo";

const TIMEOUT_MS_DEFAULT = 600_000;

/** An upstream of the environment, which the file may name in aliases and prices. */
export type Surroundings = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly implied: readonly UpstreamConfig[];
};

/** Reads the text of a configuration file. Never throws: see `problems`. No problem repeats a secret. */
export function readConfigFile(text: string, surroundings: Surroundings): FileReading {
  const tree = readTree(text, { env: surroundings.env, keepsNumberText });
  const problems = [...tree.problems];
  const reader = createReader(tree, problems);
  const root = parse(reader, rootSchema(), tree.value ?? {}, []);
  if (root === null) {
    const none = {
      upstreams: [],
      aliases: {},
      prices: [],
      mcpServers: [],
      allowsPrivateWebhooks: false,
    };
    return { ...none, problems: inOrder(problems) };
  }
  const own = readUpstreams(reader, root.upstreams ?? []);
  const upstreams = [...own.upstreams];
  for (const implied of surroundings.implied) {
    if (!upstreams.some(({ name }) => name === implied.name)) upstreams.push(implied);
  }
  // With a broken upstream it is not known what the file can name, and guessing would only add noise.
  const known = own.complete ? upstreams : null;
  const aliases = readAliases(reader, root.aliases ?? {}, known);
  const prices = readPrices(reader, root.prices ?? [], known);
  const mcpServers = readServers(reader, root.mcp_servers ?? []);
  const webhooks = parse(reader, webhooksSchema(), root.webhooks ?? {}, ["webhooks"]);
  const allowsPrivateWebhooks = webhooks?.allow_private ?? false;
  return {
    upstreams,
    aliases,
    prices,
    mcpServers,
    allowsPrivateWebhooks,
    problems: inOrder(problems),
  };
}

function readUpstreams(
  reader: Reader,
  entries: readonly unknown[],
): { readonly upstreams: readonly UpstreamConfig[]; readonly complete: boolean } {
  const upstreams: UpstreamConfig[] = [];
  let complete = true;
  for (const [at, entry] of entries.entries()) {
    const path = ["upstreams", at];
    const read = parse(reader, upstreamSchema(), entry, path);
    const upstream = read === null ? null : upstreamOf(reader, read, path);
    if (upstream === null) {
      complete = false;
    } else if (upstreams.some(({ name }) => name === upstream.name)) {
      reader.report([...path, "name"], `a second upstream called ${upstream.name}: rename one`);
    } else {
      upstreams.push(upstream);
    }
  }
  return { upstreams, complete };
}

function upstreamOf(reader: Reader, entry: UpstreamEntry, path: Path): UpstreamConfig | null {
  const headers = entry.headers ?? {};
  const wrong = wrongHeaders(headers);
  if (wrong !== null) {
    reader.reportKey([...path, "headers", wrong[0]], `headers: ${wrong[1]}`);
    return null;
  }
  const lowercase = Object.entries(headers).map(([name, text]) => [name.toLowerCase(), text]);
  const sent: Readonly<Record<string, string>> = Object.fromEntries(lowercase);
  if (typeof entry.api_key === "string" && Object.hasOwn(sent, "authorization")) {
    reader.reportKey(
      [...path, "api_key"],
      "api_key and the header authorization: keep one of them",
    );
    return null;
  }
  if (entry.name === BUILT_IN) {
    reader.report([...path, "name"], `${BUILT_IN} is the built-in upstream: choose another name`);
    return null;
  }
  if (typeof entry.prices === "string" && !isProvider(entry.prices)) {
    const guess = didYouMean(entry.prices, listedProviders());
    const message = `prices: no provider of that name in the price list.${guess}`;
    reader.report([...path, "prices"], `${message} List them with: npx tollgate prices`);
    return null;
  }
  return {
    name: entry.name,
    kind: entry.kind,
    baseUrl: entry.base_url.replace(/\/+$/, ""),
    apiKey: entry.api_key ?? null,
    models: entry.models,
    headers: sent,
    timeoutMs: entry.timeout_ms ?? TIMEOUT_MS_DEFAULT,
    outputLimitField: entry.output_limit_field ?? "max_completion_tokens",
    priceList: entry.prices ?? entry.name,
    sharedObjects: entry.shared_objects ?? false,
  };
}

function readAliases(
  reader: Reader,
  entries: Readonly<Record<string, unknown>>,
  upstreams: readonly UpstreamConfig[] | null,
): Readonly<Record<string, string>> {
  const aliases: [string, string][] = [];
  const names = Object.keys(entries);
  if (areTooManyAliases(names.length)) reader.report(["aliases"], "more aliases than fit");
  const catalogue: Catalogue | null =
    upstreams === null
      ? null
      : { upstreams: [...upstreams, { name: BUILT_IN, models: [] }], aliases: {} };
  for (const alias of names) {
    const path = ["aliases", alias];
    const target = parse(reader, aliasSchema(), entries[alias], path);
    if (target === null) continue;
    if (!isModelName(alias))
      reader.reportKey(path, "an alias is 1 to 256 printable ASCII characters");
    if (Object.hasOwn(entries, target)) {
      reader.report(path, `alias ${alias} points at another alias: point it at the model itself`);
    } else if (catalogue !== null && routeModel(catalogue, target) === null) {
      const served = catalogue.upstreams.map(({ name }) => name);
      const guess = didYouMean(target.split("/")[0] ?? "", served);
      const message = `alias ${alias} points at a model that no upstream serves: write upstream/model`;
      reader.report(path, `${message}, where upstream is one of ${served.join(", ")}.${guess}`);
    }
    aliases.push([alias, target]);
  }
  return Object.fromEntries(aliases);
}

function readPrices(
  reader: Reader,
  entries: readonly unknown[],
  upstreams: readonly UpstreamConfig[] | null,
): readonly Price[] {
  if (entries.length === 0) return [];
  const listed = priceBook(priceSnapshot());
  const prices: Price[] = [];
  for (const [at, entry] of entries.entries()) {
    const path = ["prices", at];
    const read = parse(reader, priceSchema(), entry, path);
    if (read === null) continue;
    const upstream = upstreams?.find(({ name }) => name === read.upstream);
    if (upstreams !== null && upstream === undefined) {
      const names = upstreams.map(({ name }) => name);
      const which = names.length === 0 ? "none is configured" : `configured: ${names.join(", ")}`;
      const guess = didYouMean(read.upstream, names);
      reader.report(
        [...path, "upstream"],
        `upstream: no upstream of that name (${which}).${guess}`,
      );
      continue;
    }
    const price = priceOf(reader, read, {
      path,
      listed,
      list: upstream?.priceList ?? read.upstream,
    });
    if (price === null) continue;
    if (prices.some((other) => isSameRow(other, price))) {
      reader.report(path, `a second price of ${price.model} from the same date: remove one`);
    }
    prices.push(price);
  }
  return prices;
}

/**
 * An override replaces the rates only: what the list knows of the model's size stays, because without
 * a maximum of output tokens a call that names none cannot be bounded, and strict tenants refuse it.
 */
function priceOf(
  reader: Reader,
  entry: PriceEntry,
  about: { readonly path: Path; readonly listed: PriceBook; readonly list: string },
): Price | null {
  if (entry.cached_input !== undefined && entry.cache_read !== undefined) {
    reader.reportKey(
      [...about.path, "cached_input"],
      "cached_input and cache_read are the same: keep one",
    );
    return null;
  }
  const rates: Partial<Record<UsageClass, Picousd>> = {};
  for (const kind of USAGE_CLASSES) {
    const text = kind === "cache_read" ? (entry.cache_read ?? entry.cached_input) : entry[kind];
    if (text !== undefined) rates[kind] = ratePerMillion(text);
  }
  const hourly = hourlyOf(entry);
  const flaw = flawOfTerms(entry, hourly, Object.keys(rates).length);
  if (flaw !== null) {
    reader.report(about.path, flaw);
    return null;
  }
  const from = new Date(entry.from ?? 0);
  const latest = findPrice(about.listed, about.list, entry.model, new Date(8.64e15));
  return priceFrom({
    upstream: entry.upstream,
    model: entry.model,
    from,
    rates,
    tiers: [],
    serviceTiers: [],
    hourly,
    contextTokensMax: entry.context_tokens_max ?? latest?.contextTokensMax ?? null,
    outputTokensMax: entry.output_tokens_max ?? latest?.outputTokensMax ?? null,
    source: "config",
  });
}

function hourlyOf({ usd_per_hour: usd, concurrency = 1 }: PriceEntry): Hourly | null {
  const picousdPerHour = usd === undefined ? null : ratePerHour(usd);
  return picousdPerHour === null ? null : { picousdPerHour, concurrency };
}

/** A price is by usage or by the hour. */
function flawOfTerms(entry: PriceEntry, hourly: Hourly | null, rates: number): string | null {
  if (hourly !== null) {
    return rates === 0 ? null : "a price is usd_per_hour or by usage: remove one of them";
  }
  if (entry.concurrency !== undefined) return "concurrency goes with usd_per_hour: remove it";
  if (entry.model === ANY_MODEL) {
    return "only a price with usd_per_hour is of all models of its upstream: name one";
  }
  if (rates > 0) return null;
  return "a price without a rate: add input and output, in USD per million, or usd_per_hour";
}

const COUNTS: ReadonlySet<PropertyKey> = new Set([
  "context_tokens_max",
  "output_tokens_max",
  "concurrency",
]);

/** Money never becomes a float: a rate is read from the text in the file. */
function keepsNumberText(path: Path): boolean {
  const last = path.at(-1);
  return path[0] === "prices" && last !== undefined && !COUNTS.has(last);
}

function isSameRow(a: Price, b: Price): boolean {
  return a.upstream === b.upstream && a.model === b.model && a.from.getTime() === b.from.getTime();
}

function isProvider(name: string): boolean {
  return listedProviders().includes(name);
}
