/**
 * Prices that were imported, each for every tenant or for one, and which of all prices holds for a call.
 *
 * One order, for the bound of an admission and for the cost of its settlement alike: what a tenant has
 * negotiated at an upstream, what it has negotiated anywhere, the price of the upstream, the list price of
 * its provider. Both ask the prices as they were when the call was admitted, so that an import cannot
 * make a call dearer than what it had reserved.
 */
import { ANY_MODEL, findPrice, undated, type Price, type PriceBook } from "./price.ts";

/** Of an entry: every tenant, or any upstream. No id and no name is written like this. */
export const ANY = "*";

export type ImportedPrice = {
  readonly tenantId: string;
  /** Its upstream may be `*`, where it is one tenant's. */
  readonly price: Price;
  /** Null: it holds until the next entry of its tenant, upstream and model begins. */
  readonly until: Date | null;
};

/** Tenant → upstream → model → its entries, ascending by their beginning. */
export type ImportedPrices = ReadonlyMap<string, Upstreams>;
type Upstreams = ReadonlyMap<string, ReadonlyMap<string, readonly ImportedPrice[]>>;

export type Prices = {
  readonly imported: ImportedPrices;
  /** The shipped list, and what the configuration says instead. */
  readonly listed: PriceBook;
};

export type PriceAsked = {
  readonly tenantId: string;
  readonly upstream: string;
  /** The provider whose list prices hold at the upstream. */
  readonly list: string;
  readonly model: string;
  readonly at: Date;
};

/** Indexes entries, of which no two have one tenant, upstream, model and beginning. */
export function importedPrices(entries: readonly ImportedPrice[]): ImportedPrices {
  const tenants = new Map<string, Map<string, Map<string, ImportedPrice[]>>>();
  for (const entry of entries) {
    const upstreams =
      tenants.get(entry.tenantId) ?? new Map<string, Map<string, ImportedPrice[]>>();
    tenants.set(entry.tenantId, upstreams);
    const models = upstreams.get(entry.price.upstream) ?? new Map<string, ImportedPrice[]>();
    upstreams.set(entry.price.upstream, models);
    const dated = models.get(entry.price.model) ?? [];
    models.set(entry.price.model, dated);
    dated.push(entry);
  }
  for (const upstreams of tenants.values()) {
    for (const models of upstreams.values()) for (const dated of models.values()) sort(dated);
  }
  return tenants;
}

/** The price that holds for a call, or null when none is known. */
export function priceFor(prices: Prices, asked: PriceAsked): Price | null {
  for (const { look } of PLACES) {
    const price = look(prices, asked);
    if (price !== null) return price;
  }
  return null;
}

/** The prices that hold for a call from one place on, in their order: those that an entry of this place hides. */
export function pricesFrom(prices: Prices, asked: PriceAsked, place: Place): readonly Price[] {
  const first = PLACES.findIndex((each) => each.place === place);
  return PLACES.slice(first).flatMap(({ look }) => look(prices, asked) ?? []);
}

/** Whose a price is, and of what: an upstream by its name, the list of its provider, or any upstream. */
export type Place =
  | "own upstream"
  | "own list"
  | "own anywhere"
  | "upstream"
  | "configured"
  | "list"
  | "shipped";

/** The order is the precedence. */
const PLACES: readonly {
  readonly place: Place;
  readonly look: (prices: Prices, asked: PriceAsked) => Price | null;
}[] = [
  {
    place: "own upstream",
    look: (all, asked) => importedAt(ownOf(all, asked), asked.upstream, asked),
  },
  { place: "own list", look: (all, asked) => importedAt(ownOf(all, asked), asked.list, asked) },
  { place: "own anywhere", look: (all, asked) => importedAt(ownOf(all, asked), ANY, asked) },
  { place: "upstream", look: (all, asked) => importedAt(commonOf(all), asked.upstream, asked) },
  {
    place: "configured",
    look: ({ listed }, asked) => findPrice(listed, asked.upstream, asked.model, asked.at),
  },
  { place: "list", look: (all, asked) => importedAt(commonOf(all), asked.list, asked) },
  {
    place: "shipped",
    look: ({ listed }, asked) => findPrice(listed, asked.list, asked.model, asked.at),
  },
];

function ownOf({ imported }: Prices, { tenantId }: PriceAsked): Upstreams | undefined {
  return imported.get(tenantId);
}

function commonOf({ imported }: Prices): Upstreams | undefined {
  return imported.get(ANY);
}

/** The entry of exactly this name at a moment, or null. */
export function entryAt(
  imported: ImportedPrices,
  key: { readonly tenantId: string; readonly upstream: string; readonly model: string },
  at: Date,
): ImportedPrice | null {
  return current(imported.get(key.tenantId)?.get(key.upstream)?.get(key.model), at);
}

/** By the exact name, else by the name without its date, else of any model: as list prices are looked up. */
function importedAt(
  upstreams: Upstreams | undefined,
  upstream: string,
  { model, at }: PriceAsked,
): Price | null {
  const models = upstreams?.get(upstream);
  if (models === undefined) return null;
  const exact = current(models.get(model), at);
  if (exact !== null) return exact.price;
  const base = undated(model);
  const own = base === null ? null : current(models.get(base), at);
  return (own ?? current(models.get(ANY_MODEL), at))?.price ?? null;
}

function current(entries: readonly ImportedPrice[] | undefined, at: Date): ImportedPrice | null {
  const latest = entries?.findLast(({ price }) => price.from.getTime() <= at.getTime());
  if (latest === undefined) return null;
  return latest.until === null || at.getTime() < latest.until.getTime() ? latest : null;
}

function sort(entries: ImportedPrice[]): void {
  entries.sort((a, b) => a.price.from.getTime() - b.price.from.getTime());
}
