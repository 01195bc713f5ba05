/** The price book as the API shows it, and the import of a file into it. */
import { z } from "@hono/zod-openapi";

import type { Administrator, Caller } from "../core/caller.ts";
import { ANY, entryAt, type ImportedPrice, type Prices } from "../core/imported-prices.ts";
import { PRICE_FILE_BYTES_MAX } from "../core/limits-finance.ts";
import { usdOf, usdOrNull } from "../core/money.ts";
import {
  percentOf,
  rateChanges,
  sizeChanges,
  type PriceChange,
  type RateChange,
} from "../core/price-import.ts";
import { findPrice, type Price, type Rates, type RateSet } from "../core/price.ts";
import type { Imported } from "../gate/administer-prices.ts";
import { scopeMissing } from "../gate/acts.ts";
import { pageOf as pageView, type Page, type Paged } from "../ledger/paged.ts";
import { define, NONE, pageOf as pageFrom, type Api } from "./api.ts";
import { Price as PriceSchema } from "./look-schemas.ts";
import { Event, ModelName, pageOf, Paging, time } from "./schemas.ts";

const Change = z.object({
  tenant: z.string().nullable(),
  upstream: z.string().nullable(),
  model: z.string(),
  from: time,
  until: time.nullable(),
  version: z.string(),
  before_version: z.string().nullable(),
  rates: z
    .array(
      z.object({
        name: z.string().openapi({ example: "priority output above 272000" }),
        per: z.enum(["million", "hour"]).openapi({
          description: "Of what the amounts are: a million units, or an hour of a machine.",
        }),
        before_usd: z.string().nullable(),
        after_usd: z.string().nullable(),
        percent: z.string().nullable().openapi({ example: "+12.5" }),
      }),
    )
    .readonly(),
  sizes: z
    .array(
      z.object({
        name: z.enum(["context_tokens_max", "output_tokens_max"]),
        before: z.number().int().nullable(),
        after: z.number().int().nullable(),
      }),
    )
    .readonly()
    .openapi({
      description:
        "Sizes in tokens that differ. What the file does not say is as of the price in whose place it holds.",
    }),
});

const Import = z
  .object({
    applied: z.boolean(),
    event: z.string().nullable(),
    added: z.array(Change).readonly(),
    changed: z.array(Change).readonly(),
    unchanged: z.number().int(),
    refused: z
      .array(z.object({ line: z.number().int(), column: z.number().int(), message: z.string() }))
      .readonly()
      .openapi({ description: "With any of them nothing of the file is applied." }),
  })
  .openapi("PriceImport");

export function priceRoutes(api: Api): void {
  listRoute(api);
  importRoutes(api);
}

function listRoute(api: Api): void {
  define(
    api,
    {
      method: "get",
      path: "/prices",
      summary: "List the prices that hold now, or with `history` all that are known",
      description: "A tenant sees its own negotiated prices, and no other's.",
      scopes: [],
      tenancy: "installation",
      params: NONE,
      query: z.strictObject({
        ...Paging,
        upstream: ModelName.optional(),
        model: ModelName.optional(),
        search: ModelName.optional().openapi({
          description: "Stands somewhere in `upstream/model`, in any case.",
        }),
        history: z.enum(["true", "false"]).optional(),
      }),
      body: NONE,
      status: 200,
      answer: pageOf(PriceSchema),
    },
    async ({ bindings: { gateway, ledger }, actor, query }) =>
      listPrices(gateway.authority.prices(), {
        ...pageFrom(query),
        actor,
        upstream: query.upstream ?? null,
        model: query.model ?? null,
        search: query.search ?? null,
        at: query.history === "true" ? null : await ledger.now(),
      }),
  );
}

function importRoutes(api: Api): void {
  define(
    api,
    {
      method: "post",
      path: "/prices/import",
      summary: "Compare a file of prices with those that are known, and apply it when told so",
      description:
        "Only the installation's administration key may. Without `apply` nothing is changed. Calls that were " +
        "admitted before keep the price that they were admitted by, whatever the dates in the file.",
      scopes: ["admin"],
      tenancy: "installation",
      params: NONE,
      query: NONE,
      body: z.strictObject({
        source: z
          .string()
          .min(1)
          .max(PRICE_FILE_BYTES_MAX)
          .refine((text) => !text.includes("\0"), "a text without NUL characters")
          .openapi({ description: "The text of a file of prices, in YAML or JSON." }),
        apply: z.boolean(),
      }),
      // As JSON a text is up to twice as long, by its quotes and line breaks.
      bodyBytesMax: 2 * PRICE_FILE_BYTES_MAX,
      status: 200,
      answer: Import,
    },
    async ({ bindings: { administration }, actor, body }) =>
      importView(await administration.importPrices(actor, body)),
  );
  define(
    api,
    {
      method: "get",
      path: "/prices/imports",
      summary: "List the imports of prices, newest first",
      description: "Only the installation's administration key may.",
      scopes: ["admin"],
      tenancy: "installation",
      params: NONE,
      query: z.strictObject(Paging),
      body: NONE,
      status: 200,
      answer: pageOf(Event),
    },
    async ({ bindings: { ledger }, actor, query }) => {
      if (!("installation" in actor)) throw scopeMissing(["admin"]);
      return ledger.events(ANY, pageFrom(query));
    },
  );
}

export type PriceView = z.input<typeof PriceSchema>;

/** Prices per unit are whole pico-dollars, and are shown per million as price lists print them. */
const UNITS_SHOWN = 1_000_000n;

type Wanted = {
  readonly actor: Caller | Administrator;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly search: string | null;
  /** Null: every price known. */
  readonly at: Date | null;
};

/** By upstream, model, date and tenant; the cursor is the last row of the page before. */
export function listPrices(prices: Prices, wanted: Page & Wanted): Paged<PriceView> {
  const rows = [...importedRows(prices, wanted), ...listedRows(prices, wanted)].toSorted(inOrder);
  const last = wanted.after === null ? -1 : rows.findIndex((row) => cursorOf(row) === wanted.after);
  const page = rows.slice(last + 1, last + 2 + wanted.rows);
  const { data, next } = pageView(page, wanted, cursorOf);
  return { data: data.map(viewOf), next };
}

/** Tenant null: of every tenant. `until` null: until the next one begins. */
type PriceRow = {
  readonly tenantId: string | null;
  readonly price: Price;
  readonly until: Date | null;
};

function importedRows({ imported }: Prices, wanted: Wanted): readonly PriceRow[] {
  const { actor, at } = wanted;
  const rows: PriceRow[] = [];
  for (const [tenantId, upstreams] of imported) {
    const isVisible = "installation" in actor || tenantId === ANY || tenantId === actor.tenantId;
    if (!isVisible) continue;
    for (const [upstream, models] of upstreams) {
      for (const [model, dated] of models) {
        if (!isWanted(wanted, upstream, model)) continue;
        const current = at === null ? null : entryAt(imported, { tenantId, upstream, model }, at);
        rows.push(...(at === null ? dated : current === null ? [] : [current]).map(rowOf));
      }
    }
  }
  return rows;
}

function rowOf({ tenantId, price, until }: ImportedPrice): PriceRow {
  return { tenantId: tenantId === ANY ? null : tenantId, price, until };
}

function listedRows({ imported, listed }: Prices, wanted: Wanted): readonly PriceRow[] {
  const rows: PriceRow[] = [];
  for (const [upstream, models] of listed.byUpstream) {
    for (const [model, dated] of models) {
      if (!isWanted(wanted, upstream, model)) continue;
      const known = imported.get(ANY)?.get(upstream)?.get(model) ?? [];
      const again = new Set(known.map(({ price }) => price.version));
      for (const price of shown(dated, { ...wanted, listed, upstream, model })) {
        const hidden = wanted.at !== null && isHidden(imported, { upstream, model }, wanted.at);
        if (!hidden && !again.has(price.version)) rows.push({ tenantId: null, price, until: null });
      }
    }
  }
  return rows;
}

function shown(
  dated: readonly Price[],
  about: Pick<Prices, "listed"> & {
    readonly upstream: string;
    readonly model: string;
    readonly at: Date | null;
  },
): readonly Price[] {
  if (about.at === null) return dated;
  const current = findPrice(about.listed, about.upstream, about.model, about.at);
  return current === null ? [] : [current];
}

/** Whether what was imported for everybody holds in its place. */
function isHidden(
  imported: Prices["imported"],
  key: { readonly upstream: string; readonly model: string },
  at: Date,
): boolean {
  return entryAt(imported, { tenantId: ANY, ...key }, at) !== null;
}

function isWanted(wanted: Wanted, upstream: string, model: string): boolean {
  if (wanted.upstream !== null && wanted.upstream !== upstream) return false;
  const search = wanted.search?.toLowerCase() ?? "";
  if (!`${upstream}/${model}`.toLowerCase().includes(search)) return false;
  return wanted.model === null || wanted.model === model;
}

/** Two tenants may have one price, which then has one version. */
function cursorOf({ tenantId, price }: PriceRow): string {
  return tenantId === null ? price.version : `${price.version}.${tenantId}`;
}

function inOrder(a: PriceRow, b: PriceRow): number {
  return (
    compare(a.price.upstream, b.price.upstream) ||
    compare(a.price.model, b.price.model) ||
    a.price.from.getTime() - b.price.from.getTime() ||
    compare(cursorOf(a), cursorOf(b))
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function viewOf({ tenantId, price, until }: PriceRow): PriceView {
  return {
    version: price.version,
    tenant: tenantId,
    upstream: price.upstream === ANY ? null : price.upstream,
    model: price.model,
    from: price.from.toISOString(),
    until: until?.toISOString() ?? null,
    source: price.source,
    ...setView(price),
    usd_per_hour: usdOrNull(price.hourly?.picousdPerHour ?? null),
    concurrency: price.hourly?.concurrency ?? null,
    service_tiers: Object.fromEntries(price.serviceTiers.map((tier) => [tier.name, setView(tier)])),
    context_tokens_max: price.contextTokensMax,
    output_tokens_max: price.outputTokensMax,
  };
}

function setView({ rates, tiers }: RateSet) {
  return {
    usd_per_million: perMillion(rates),
    tiers: tiers.map((tier) => ({
      above_input_tokens: tier.aboveInputTokens,
      usd_per_million: perMillion(tier.rates),
    })),
  };
}

function perMillion(rates: Rates): Readonly<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const [kind, rate] of Object.entries(rates)) texts[kind] = millionOf(rate);
  return texts;
}

function millionOf(rate: bigint): string {
  return usdOf(rate * UNITS_SHOWN);
}

function shownOf(per: RateChange["per"], rate: bigint | null): string | null {
  if (rate === null) return null;
  return per === "hour" ? usdOf(rate) : millionOf(rate);
}

function importView({ plan, eventId }: Imported): z.input<typeof Import> {
  return {
    applied: eventId !== null,
    event: eventId,
    added: plan.added.map(changeView),
    changed: plan.changed.map(changeView),
    unchanged: plan.unchanged,
    refused: plan.refused,
  };
}

function changeView({ entry, before }: PriceChange): z.input<typeof Change> {
  const { tenantId, price, until } = entry;
  return {
    tenant: tenantId === ANY ? null : tenantId,
    upstream: price.upstream === ANY ? null : price.upstream,
    model: price.model,
    from: price.from.toISOString(),
    until: until?.toISOString() ?? null,
    version: price.version,
    before_version: before?.version ?? null,
    rates: rateChanges(before, price).map((change) => ({
      name: change.name,
      per: change.per === "hour" ? "hour" : "million",
      before_usd: shownOf(change.per, change.before),
      after_usd: shownOf(change.per, change.after),
      percent: percentOf(change.before, change.after),
    })),
    sizes: sizeChanges(before, price),
  };
}
