/**
 * What a file of prices would change, before anything is changed: a pure comparison with the prices that are
 * known. An entry takes effect from its date on and from its import on, whichever is later; what was
 * settled before names the version it was settled by, so no import prices history anew.
 */
import {
  ANY,
  entryAt,
  pricesFrom,
  type ImportedPrice,
  type ImportedPrices,
  type Place,
} from "./imported-prices.ts";
import { PRICE_BOOK_ENTRIES_MAX } from "./limits-finance.ts";
import type { FilePrice, PriceFile, PriceProblem } from "./price-file.ts";
import { priceFrom, type Price, type PriceBook, type RateSet } from "./price.ts";
import { USAGE_CLASSES } from "./usage.ts";

export type PriceChange = {
  readonly entry: ImportedPrice;
  /**
   * What holds there without it, at its beginning; null: nothing does, or of an entry of any upstream not the same at
   * all of them.
   */
  readonly before: Price | null;
};

export type ImportPlan = {
  /** Prices of models that had none. */
  readonly added: readonly PriceChange[];
  readonly changed: readonly PriceChange[];
  /** Entries that stand in the book just so. */
  readonly unchanged: number;
  /** Top to bottom. With any of them nothing of the file is applied. */
  readonly refused: readonly PriceProblem[];
};

export type KnownPrices = {
  readonly imported: ImportedPrices;
  readonly listed: PriceBook;
  /** Those that are configured, each with the provider whose list prices hold there. */
  readonly upstreams: ReadonlyMap<string, { readonly priceList: string }>;
  /** The tenants that the file names, by name or id. */
  readonly tenantIds: ReadonlyMap<string, string>;
  /** What begins before now holds from now on. */
  readonly now: Date;
};

export function planImport(file: PriceFile, known: KnownPrices): ImportPlan {
  const plan: Plan = { added: [], changed: [], unchanged: 0, refused: [...file.problems] };
  const placed = new Map<string, Placed[]>();
  for (const price of file.prices.toSorted((a, b) => a.from.getTime() - b.from.getTime())) {
    place(plan, placed, { price, source: file.source, known });
  }
  for (const entries of placed.values()) refuseOverlaps(plan, entries, known.imported);
  const count = countEntries(known.imported) + plan.added.length + plan.changed.length;
  if (count > PRICE_BOOK_ENTRIES_MAX) {
    const message = `the book would hold more than ${PRICE_BOOK_ENTRIES_MAX} entries`;
    plan.refused.push({ line: 1, column: 1, message });
  }
  const refused = plan.refused.toSorted((a, b) => a.line - b.line || a.column - b.column);
  return { ...plan, refused };
}

type Plan = {
  readonly added: PriceChange[];
  readonly changed: PriceChange[];
  unchanged: number;
  readonly refused: PriceProblem[];
};

type Placed = { readonly entry: ImportedPrice; readonly file: FilePrice };

type Given = { readonly price: FilePrice; readonly source: string; readonly known: KnownPrices };

/** In the order of their dates, so that each sees what the file itself says before it. */
function place(plan: Plan, placed: Map<string, Placed[]>, given: Given): void {
  const { price: file, known } = given;
  const tenantId = file.tenant === null ? ANY : known.tenantIds.get(file.tenant);
  if (tenantId === undefined) {
    plan.refused.push({ ...file.position, message: "tenant: there is no such tenant" });
    return;
  }
  const key = { tenantId, upstream: file.upstream ?? ANY, model: file.model };
  const own = placed.get(JSON.stringify(key)) ?? [];
  placed.set(JSON.stringify(key), own);
  const prior = own.at(-1);
  if (prior !== undefined && prior.file.from.getTime() === file.from.getTime()) {
    const message = "a second price of the same model from the same date: remove one";
    plan.refused.push({ ...file.position, message });
    return;
  }
  const held = ownBefore(known, key, { at: file.from, prior: prior?.entry ?? null });
  const hidden = hiddenBy(known, key, file.from);
  const before = held ?? firstOf(known, key, hidden);
  const entry: ImportedPrice = {
    tenantId,
    until: file.until,
    price: priceFrom({
      upstream: key.upstream,
      model: file.model,
      from: file.from,
      rates: file.rates,
      tiers: file.tiers,
      serviceTiers: file.serviceTiers,
      hourly: file.hourly,
      contextTokensMax:
        file.contextTokensMax ?? held?.contextTokensMax ?? leastOf(hidden, "contextTokensMax"),
      outputTokensMax:
        file.outputTokensMax ?? held?.outputTokensMax ?? leastOf(hidden, "outputTokensMax"),
      source: given.source,
    }),
  };
  own.push({ entry, file });
  if (isStored(known.imported, entry)) plan.unchanged += 1;
  else if (before === null) plan.added.push({ entry, before });
  else plan.changed.push({ entry, before });
}

type Key = { readonly tenantId: string; readonly upstream: string; readonly model: string };

/** What an entry follows in its own place: in the file, or in the book. */
function ownBefore(
  { imported }: KnownPrices,
  key: Key,
  { at, prior }: { readonly at: Date; readonly prior: ImportedPrice | null },
): Price | null {
  const stored = entryAt(imported, key, at);
  const isPriorNewer =
    prior !== null &&
    (prior.until === null || prior.until > at) &&
    (stored === null || stored.price.from < prior.price.from);
  return isPriorNewer ? prior.price : (stored?.price ?? null);
}

/**
 * The prices that an entry hides at each upstream at which it holds, in the order in which they would hold. At its
 * beginning; where that is over and nothing was known then, now.
 */
function hiddenBy(known: KnownPrices, key: Key, from: Date): readonly (readonly Price[])[] {
  const at = (moment: Date) =>
    placesOf(known, key).map(({ place: first, ...where }) =>
      pricesFrom(known, { ...key, ...where, at: moment }, first),
    );
  const then = at(from);
  const isKnown = then.some((prices) => prices.length > 0);
  return isKnown || from >= known.now ? then : at(known.now);
}

/** Of the upstream of this name first; a name that is no upstream's is a provider's, whose list may be known. */
function placesOf({ upstreams }: KnownPrices, { tenantId, upstream: named }: Key): readonly At[] {
  const isOwn = tenantId !== ANY;
  const places: At[] = [];
  for (const [upstream, { priceList: list }] of upstreams) {
    const at = { upstream, list };
    if (named === upstream) places.unshift({ ...at, place: isOwn ? "own upstream" : "upstream" });
    else if (named === list) places.push({ ...at, place: isOwn ? "own list" : "list" });
    else if (named === ANY) places.push({ ...at, place: "own anywhere" });
  }
  if (places.length > 0 || named === ANY) return places;
  return [{ upstream: named, list: named, place: isOwn ? "own upstream" : "upstream" }];
}

type At = { readonly upstream: string; readonly list: string; readonly place: Place };

/** What holds where the entry will: at the upstream that it names, else the one that all its upstreams have. */
function firstOf(
  { upstreams }: KnownPrices,
  key: Key,
  hidden: readonly (readonly Price[])[],
): Price | null {
  if (upstreams.has(key.upstream)) return hidden[0]?.[0] ?? null;
  const firsts = hidden.flatMap(([price]) => price ?? []);
  const [first = null] = firsts;
  return firsts.every(({ version }) => version === first?.version) ? first : null;
}

/**
 * At each upstream the size that is said first, of these the least: it is sent where a call names no maximum, and one
 * upstream may refuse what another serves.
 */
function leastOf(
  hidden: readonly (readonly Price[])[],
  size: "contextTokensMax" | "outputTokensMax",
): number | null {
  const sizes = hidden.flatMap(
    (prices) => prices.find((price) => price[size] !== null)?.[size] ?? [],
  );
  return sizes.length === 0 ? null : Math.min(...sizes);
}

function entriesOf(imported: ImportedPrices, entry: ImportedPrice): readonly ImportedPrice[] {
  const { upstream, model } = entry.price;
  return imported.get(entry.tenantId)?.get(upstream)?.get(model) ?? [];
}

function isStored(imported: ImportedPrices, { price, until, tenantId }: ImportedPrice): boolean {
  return entriesOf(imported, { price, until, tenantId }).some(
    (stored) =>
      stored.price.version === price.version &&
      stored.until?.getTime() === until?.getTime() &&
      stored.price.from.getTime() === price.from.getTime(),
  );
}

/** Of one model two entries never hold at once: one that says when it ends ends before the next begins. */
function refuseOverlaps(plan: Plan, placed: readonly Placed[], imported: ImportedPrices): void {
  const [first] = placed;
  if (first === undefined) return;
  const starts = new Set(placed.map(({ file }) => file.from.getTime()));
  const stored = entriesOf(imported, first.entry)
    .filter(({ price }) => !starts.has(price.from.getTime()))
    .map((entry) => ({ entry, file: null }));
  const all = [...placed, ...stored].toSorted(
    (a, b) => a.entry.price.from.getTime() - b.entry.price.from.getTime(),
  );
  for (const [at, { entry, file }] of all.entries()) {
    const next = all[at + 1];
    if (next === undefined || entry.until === null) continue;
    if (entry.until <= next.entry.price.from) continue;
    const position = (next.file ?? file)?.position;
    // Two stored ones do not overlap: they were refused when they came.
    if (position === undefined) continue;
    const message =
      `the price of ${entry.price.model} from ${dayOf(entry.price.from)} holds until ${dayOf(entry.until)}, ` +
      `and another begins on ${dayOf(next.entry.price.from)}: two would hold at once`;
    plan.refused.push({ ...position, message });
  }
}

function dayOf(at: Date): string {
  return at.toISOString().replace("T00:00:00.000Z", "");
}

function countEntries(imported: ImportedPrices): number {
  let count = 0;
  for (const upstreams of imported.values()) {
    for (const models of upstreams.values())
      for (const dated of models.values()) count += dated.length;
  }
  return count;
}

/** One rate that differs, in pico-dollars a unit or an hour; null where there is none. */
export type RateChange = {
  /** `input`, `output above 272000`, `flex input`, `hour`, `hour shared by 4`. */
  readonly name: string;
  readonly per: "unit" | "hour";
  readonly before: bigint | null;
  readonly after: bigint | null;
};

/** What differs between two prices, in the order in which prices are written. */
export function rateChanges(before: Price | null, after: Price): readonly RateChange[] {
  return [
    ...changesOf("hour", before === null ? new Map() : hourOf(before), hourOf(after)),
    ...changesOf("unit", before === null ? new Map() : flat(before), flat(after)),
  ];
}

/** A size that differs, in tokens; null where it is not known. */
export type SizeChange = {
  readonly name: "context_tokens_max" | "output_tokens_max";
  readonly before: number | null;
  readonly after: number | null;
};

export function sizeChanges(before: Price | null, after: Price): readonly SizeChange[] {
  const context = { before: before?.contextTokensMax ?? null, after: after.contextTokensMax };
  const output = { before: before?.outputTokensMax ?? null, after: after.outputTokensMax };
  const all = [
    { name: "context_tokens_max" as const, ...context },
    { name: "output_tokens_max" as const, ...output },
  ];
  return all.filter((size) => size.before !== size.after);
}

function changesOf(
  per: RateChange["per"],
  old: ReadonlyMap<string, bigint>,
  now: ReadonlyMap<string, bigint>,
): readonly RateChange[] {
  const names = new Set([...now.keys(), ...old.keys()]);
  return [...names].flatMap((name) => {
    const change = { name, per, before: old.get(name) ?? null, after: now.get(name) ?? null };
    return change.before === change.after ? [] : [change];
  });
}

function hourOf({ hourly }: Price): ReadonlyMap<string, bigint> {
  if (hourly === null) return new Map();
  const { picousdPerHour, concurrency } = hourly;
  const name = concurrency === 1 ? "hour" : `hour shared by ${concurrency}`;
  return new Map([[name, picousdPerHour]]);
}

function flat(price: Price): ReadonlyMap<string, bigint> {
  const rates = new Map<string, bigint>();
  addSet(rates, price, "");
  for (const tier of price.serviceTiers) addSet(rates, tier, `${tier.name} `);
  return rates;
}

function addSet(rates: Map<string, bigint>, set: RateSet, prefix: string): void {
  const steps = [{ aboveInputTokens: 0, rates: set.rates }, ...set.tiers];
  for (const { aboveInputTokens, rates: own } of steps) {
    const suffix = aboveInputTokens === 0 ? "" : ` above ${aboveInputTokens}`;
    for (const kind of USAGE_CLASSES) {
      const rate = own[kind];
      if (rate !== undefined) rates.set(`${prefix}${kind}${suffix}`, rate);
    }
  }
}

/** `+12.5`, `-50.0`, cut to a tenth; null where nothing was or it was free. */
export function percentOf(before: bigint | null, after: bigint | null): string | null {
  if (before === null || after === null || before === 0n) return null;
  const tenths = ((after - before) * 1_000n) / before;
  const digits = (tenths < 0n ? -tenths : tenths).toString().padStart(2, "0");
  return `${tenths < 0n ? "-" : "+"}${digits.slice(0, -1)}.${digits.slice(-1)}`;
}
