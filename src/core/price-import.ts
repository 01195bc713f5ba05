/**
 * What a file of prices would change, before anything is changed: a pure comparison with the prices that are
 * known. An entry takes effect from its date on and from its import on, whichever is later; what was
 * settled before names the version it was settled by, so no import prices history anew.
 */
import {
  ANY,
  entryAt,
  priceFor,
  type ImportedPrice,
  type ImportedPrices,
} from "./imported-prices.ts";
import { PRICE_BOOK_ENTRIES_MAX } from "./limits-finance.ts";
import type { FilePrice, PriceFile, PriceProblem } from "./price-file.ts";
import { priceFrom, type Price, type PriceBook, type RateSet } from "./price.ts";
import { USAGE_CLASSES } from "./usage.ts";

export type PriceChange = {
  readonly entry: ImportedPrice;
  /** What holds there without it, at its beginning; null: nothing does. */
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
  /** The provider whose list prices hold at an upstream; itself, where it is none that is configured. */
  readonly listOf: (upstream: string) => string;
  /** The tenants that the file names, by name or id. */
  readonly tenantIds: ReadonlyMap<string, string>;
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
  const before = priceBefore(key, file.from, { known, prior: prior?.entry ?? null });
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
      contextTokensMax: file.contextTokensMax ?? before?.contextTokensMax ?? null,
      outputTokensMax: file.outputTokensMax ?? before?.outputTokensMax ?? null,
      source: given.source,
    }),
  };
  own.push({ entry, file });
  if (isStored(known.imported, entry)) plan.unchanged += 1;
  else if (before === null) plan.added.push({ entry, before });
  else plan.changed.push({ entry, before });
}

type Key = { readonly tenantId: string; readonly upstream: string; readonly model: string };

function priceBefore(
  key: Key,
  at: Date,
  { known, prior }: { readonly known: KnownPrices; readonly prior: ImportedPrice | null },
): Price | null {
  const stored = entryAt(known.imported, key, at);
  const isPriorNewer =
    prior !== null &&
    (prior.until === null || prior.until > at) &&
    (stored === null || stored.price.from < prior.price.from);
  if (isPriorNewer) return prior.price;
  // Of every tenant alike is what a tenant has that has negotiated nothing.
  const tenantId = key.tenantId === ANY ? "" : key.tenantId;
  return priceFor(known, { ...key, tenantId, list: known.listOf(key.upstream), at });
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
