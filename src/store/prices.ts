/** The price book: entries of prices, which are imported and never changed; the newest of each holds. */
import type { ImportedPrice } from "../core/imported-prices.ts";
import { assert } from "../lib/assert.ts";
import type { Queryable } from "./events.ts";
import { priceFromRow, ratesToJson, type PriceRow } from "./price-json.ts";

type EntryRow = PriceRow & { readonly tenantId: string; readonly until: Date | null };

/** Of every tenant: a replica prices the calls of all. */
export async function listImported(sql: Queryable): Promise<readonly ImportedPrice[]> {
  const rows = await sql<EntryRow[]>`
    select distinct on (b.tenant_id, b.upstream, b.model, b.valid_from)
           b.tenant_id as "tenantId", b.valid_until as until, p.version, p.upstream, p.model,
           p.valid_from as "validFrom", p.content, p.source
    from price_book b join prices p on p.version = b.version
    order by b.tenant_id, b.upstream, b.model, b.valid_from, b.revision desc`;
  return rows.map(({ tenantId, until, ...row }) => {
    const price = priceFromRow(row);
    // Nobody may be charged by a price that is not what its version says.
    assert(price?.version === row.version, `the price ${row.version} is as it was recorded`);
    return { tenantId, price, until };
  });
}

/** Records entries under the revision of their import, which replicas then see. */
export async function insertImported(
  tx: Queryable,
  entries: readonly ImportedPrice[],
): Promise<void> {
  await insertPrices(
    tx,
    entries.map(({ price }) => price),
  );
  const rows = entries.map(({ tenantId, price, until }) => ({
    tenant_id: tenantId,
    upstream: price.upstream,
    model: price.model,
    valid_from: price.from.toISOString(),
    valid_until: until?.toISOString() ?? null,
    version: price.version,
  }));
  await tx`update installation set prices_revision = revision`;
  await tx`
    insert into price_book (tenant_id, upstream, model, valid_from, revision, valid_until, version)
    select b.tenant_id, b.upstream, b.model, b.valid_from, i.revision, b.valid_until, b.version
    from json_to_recordset(${JSON.stringify(rows)}::text::json)
      as b(tenant_id text, upstream text, model text, valid_from timestamptz,
           valid_until timestamptz, version text), installation i`;
}

/** Records prices not yet recorded: a settlement names its price by version. */
export async function insertPrices(
  sql: Queryable,
  prices: readonly ImportedPrice["price"][],
): Promise<void> {
  const rows = prices.map((price) => ({
    version: price.version,
    upstream: price.upstream,
    model: price.model,
    valid_from: price.from.toISOString(),
    content: ratesToJson(price),
    source: price.source,
  }));
  await sql`
    insert into prices (version, upstream, model, valid_from, content, source)
    select version, upstream, model, valid_from, content, source
    from json_to_recordset(${JSON.stringify(rows)}::text::json)
      as p(version text, upstream text, model text, valid_from timestamptz, content json, source text)
    on conflict do nothing`;
}
