import { ANY, importedPrices } from "../core/imported-prices.ts";
import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { readPriceFile, type PriceFile } from "../core/price-file.ts";
import { planImport, type ImportPlan } from "../core/price-import.ts";
import { sha256Hex } from "../lib/hash.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import { insertImported, listImported } from "../store/prices.ts";
import { findTenant } from "../store/tenants.ts";
import { type Actor, type AdministrationPorts, nameOf, changeAndRefresh } from "./acts.ts";

export type ImportTerms = {
  /** The text of a file of prices. */
  readonly source: string;
  /** False: only says what it would change. */
  readonly apply: boolean;
};

/** `eventId`: of the import; null where nothing was to be changed, or nothing may be. */
export type Imported = { readonly plan: ImportPlan; readonly eventId: string | null };

/** Imports a file of prices whole, or, where any of it is refused, in no part. */
export async function importPrices(
  ports: AdministrationPorts,
  actor: Actor,
  { source, apply }: ImportTerms,
): Promise<Imported> {
  if (!("installation" in actor)) {
    const message = "Only the installation's administration key imports prices.";
    throw new InputError("forbidden", null, message);
  }
  const file = readPriceFile(source);
  if (!apply) return { plan: await planOn(ports, ports.db.admin, file), eventId: null };
  const imported = await changeAndRefresh(ports, async (tx) => {
    const plan = await planOn(ports, tx, file);
    const changes = [...plan.added, ...plan.changed];
    if (plan.refused.length > 0 || changes.length === 0) return { plan, eventId: null };
    await insertImported(
      tx,
      changes.map(({ entry }) => entry),
    );
    const eventId = withPrefix("event", ports.newId());
    await insertEvent(tx, {
      tenantId: ANY,
      eventId,
      kind: "prices.imported",
      actor: nameOf(actor),
      subject: file.source,
      body: eventBody(plan, source),
    });
    return { plan, eventId };
  });
  return imported;
}

async function planOn(
  { configuration, now }: AdministrationPorts,
  sql: Queryable,
  file: PriceFile,
): Promise<ImportPlan> {
  const imported = importedPrices(await listImported(sql));
  const tenantIds = new Map<string, string>();
  for (const name of new Set(file.prices.flatMap(({ tenant }) => tenant ?? []))) {
    const tenant = await findTenant(sql, name);
    if (tenant !== null) tenantIds.set(name, tenant.tenantId);
  }
  const { prices: listed, upstreams } = configuration;
  return planImport(file, { imported, listed, upstreams, tenantIds, now: now() });
}

/** The prices themselves stand in the book; this says which import they came with. */
function eventBody(plan: ImportPlan, source: string): object {
  const changes = [...plan.added, ...plan.changed];
  return {
    file_sha256: sha256Hex(source),
    added: plan.added.length,
    changed: plan.changed.length,
    unchanged: plan.unchanged,
    tenants: [...new Set(changes.map(({ entry }) => entry.tenantId))],
    versions: changes.map(({ entry }) => entry.price.version),
  };
}
