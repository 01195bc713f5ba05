/**
 * What a replica keeps in memory to judge without asking: keys, tenants, limits, tools. One query reads all
 * of it at one revision, so no judgement mixes two. Runs are too many and are read by the posting.
 */
import type { Scope } from "../core/caller.ts";
import { SCOPES } from "../core/caller.ts";
import { type CompiledBundle, unreadableBundle } from "../core/policy-bundle.ts";
import { importedPrices, type ImportedPrices } from "../core/imported-prices.ts";
import { loadBundle } from "../core/policy-source.ts";
import type { Tool } from "../core/tool.ts";
import { UNITS, WINDOWS, type ScopeKind, type Unit, type Window } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import { isList, isRecord } from "../lib/json.ts";
import { open, type Address, type Sql } from "./database.ts";
import { REGISTER_CHANNEL } from "./events.ts";
import { arrayLiteral } from "./literal.ts";
import { listImported } from "./prices.ts";
import { toolFrom } from "./tools.ts";

export type KeyRow = {
  readonly tenantId: string;
  readonly keyId: string;
  readonly digest: string;
  readonly scopes: readonly Scope[];
  readonly labels: Readonly<Record<string, string>>;
  /** Globs of the tools behind the tool door that it may call; null: all that its tenant may. */
  readonly tools: readonly string[] | null;
  readonly expiresAtMs: number | null;
};

export type LimitRow = {
  readonly limitId: string;
  readonly scope: ScopeKind;
  readonly scopeId: string;
  readonly unit: Unit;
  readonly window: Window;
  /** Of a retry budget: what it counts, `*` for each apart, empty for all together. */
  readonly resource: string;
};

export type TenantRow = {
  readonly tenantId: string;
  readonly name: string;
  readonly mode: "strict" | "tolerant";
  /** The part of a daily limit that one named run may take, in percent, or null. */
  readonly runSharePercent: number | null;
  readonly limits: readonly LimitRow[];
  /** The version of its active policies, or null. */
  readonly bundle: string | null;
  /** By name. */
  readonly tools: ReadonlyMap<string, Tool>;
};

export type Snapshot = {
  readonly revision: bigint;
  readonly keys: ReadonlyMap<string, KeyRow>;
  readonly tenants: ReadonlyMap<string, TenantRow>;
  /** The active policies of all tenants, by version. */
  readonly bundles: ReadonlyMap<string, CompiledBundle>;
  /** What was imported, as of the import with this revision. */
  readonly prices: { readonly revision: bigint; readonly imported: ImportedPrices };
};

export async function readRevision(sql: Sql): Promise<bigint> {
  const [row] = await sql`select revision from installation`;
  assert(row !== undefined, "an installation has its row");
  return BigInt(String(row["revision"]));
}

/**
 * Reads keys, tenants, limits and tools of every tenant in one statement, hence at one moment. Policies and
 * prices are read after it, and only what `before` lacks: a version has one content for ever.
 */
export async function readSnapshot(sql: Sql, before: Snapshot | null): Promise<Snapshot> {
  const [row] = await sql`
    select revision::text, prices_revision::text,
      (select coalesce(json_agg(json_build_object(
         'tenant', tenant_id, 'id', key_id, 'digest', digest, 'scopes', scopes, 'labels', labels,
         'tools', tools, 'expires_ms', floor(extract(epoch from expires_at) * 1000))), '[]')
       from keys where revoked_at is null)::text as keys,
      (select coalesce(json_agg(json_build_object(
         'id', tenant_id, 'name', name, 'mode', mode, 'run_share', run_share_percent,
         'bundle', active_bundle)), '[]')
       from tenants)::text as tenants,
      (select coalesce(json_agg(json_build_object(
         'tenant', tenant_id, 'id', limit_id, 'scope', scope_kind, 'subject', scope_id,
         'unit', unit, 'window', window_kind, 'resource', resource)
         order by limit_id), '[]')
       from limits where scope_kind <> 'run' and removed_at is null)::text as limits,
      (select coalesce(json_agg(json_build_object(
         'tenant', tenant_id, 'name', name, 'effect', effect_class, 'price', price_picousd::text,
         'extractor', extractor, 'definition', definition_sha256, 'approval', approval, 'output', output,
         'trusted', trusted)), '[]')
       from tools where removed_at is null)::text as tools
    from installation`;
  assert(row !== undefined, "an installation has its row");
  const limits = limitsFrom(records(row["limits"]));
  const tools = toolsFrom(records(row["tools"]));
  const tenants = records(row["tenants"]).map((tenant): TenantRow => ({
    tenantId: String(tenant["id"]),
    name: String(tenant["name"]),
    mode: tenant["mode"] === "tolerant" ? "tolerant" : "strict",
    runSharePercent: tenant["run_share"] === null ? null : Number(tenant["run_share"]),
    limits: limits.get(String(tenant["id"])) ?? [],
    bundle: typeof tenant["bundle"] === "string" ? tenant["bundle"] : null,
    tools: tools.get(String(tenant["id"])) ?? new Map<string, Tool>(),
  }));
  const revision = BigInt(String(row["revision"]));
  // A database that was restored counts from where it was: the same number may be another import's.
  const stillHolding = before !== null && before.revision <= revision ? before : null;
  const keys = records(row["keys"]).map(keyFrom);
  return {
    revision,
    keys: new Map(keys.map((key) => [key.keyId, key])),
    tenants: new Map(tenants.map((tenant) => [tenant.tenantId, tenant])),
    bundles: await readBundles(sql, tenants, before),
    prices: await readPrices(sql, BigInt(String(row["prices_revision"])), stillHolding),
  };
}

/** An import under way meanwhile is read already, and read again when its revision is seen. */
async function readPrices(
  sql: Sql,
  revision: bigint,
  before: Snapshot | null,
): Promise<Snapshot["prices"]> {
  if (before?.prices.revision === revision) return before.prices;
  return { revision, imported: importedPrices(await listImported(sql)) };
}

/** Those that are active now, compiled once each; what no tenant has active any more is dropped. */
async function readBundles(
  sql: Sql,
  tenants: readonly TenantRow[],
  before: Snapshot | null,
): Promise<ReadonlyMap<string, CompiledBundle>> {
  const bundles = new Map<string, CompiledBundle>();
  const missing = new Map<string, string>();
  for (const { tenantId, bundle } of tenants) {
    if (bundle === null) continue;
    const known = before?.bundles.get(bundle);
    if (known === undefined) missing.set(bundle, tenantId);
    else bundles.set(bundle, known);
  }
  if (missing.size === 0) return bundles;
  const rows = await sql`
    select b.version, b.content::text as content
    from unnest(${arrayLiteral([...missing.values()])}::text::text[],
                ${arrayLiteral([...missing.keys()])}::text::text[]) as u(tenant_id, version)
    join policy_bundles b on b.tenant_id = u.tenant_id and b.version = u.version`;
  for (const { version, content } of rows) {
    bundles.set(String(version), loadBundle(String(version), String(content)));
  }
  for (const version of missing.keys()) {
    // A tenant whose policies are gone is not a tenant without policies.
    if (!bundles.has(version))
      bundles.set(version, unreadableBundle(version, "they are not stored"));
  }
  return bundles;
}

/**
 * Calls `onChange` when the register was changed by anyone, and when the connection was lost and is back,
 * for what was told meanwhile is lost. It is only quicker than asking: a pooler in between may swallow
 * it all. Its connection is of its own, because the server ends the waiting of any other.
 */
export async function listenForChanges(
  address: Address,
  onChange: () => void,
): Promise<{ readonly close: () => Promise<void> }> {
  const client = open(address, 1, { readsArrays: false });
  await client.listen(REGISTER_CHANNEL, onChange, onChange);
  return { close: () => client.end({ timeout: 1 }) };
}

const SCOPE_KINDS = [
  "tenant",
  "key",
  "model",
  "tool",
  "each_run",
  "each_customer",
  "each_operation",
] as const;

function keyFrom(key: Readonly<Record<string, unknown>>): KeyRow {
  const { scopes, labels, tools, expires_ms: expiresMs } = key;
  assert(isList(scopes), "a key's scopes are a list");
  assert(isRecord(labels), "a key's labels are an object");
  return {
    tenantId: String(key["tenant"]),
    keyId: String(key["id"]),
    digest: String(key["digest"]),
    scopes: SCOPES.filter((scope) => scopes.includes(scope)),
    labels: Object.fromEntries(Object.entries(labels).map(([name, text]) => [name, String(text)])),
    tools: isList(tools) ? tools.map(String) : null,
    expiresAtMs: expiresMs === null ? null : Number(expiresMs),
  };
}

/** By tenant. */
function limitsFrom(
  rows: readonly Readonly<Record<string, unknown>>[],
): ReadonlyMap<string, readonly LimitRow[]> {
  const limits = new Map<string, LimitRow[]>();
  for (const limit of rows) {
    const tenantId = String(limit["tenant"]);
    const scope = SCOPE_KINDS.find((kind) => kind === limit["scope"]);
    assert(scope !== undefined, "a limit's scope is known");
    const unit = UNITS.find((known) => known === limit["unit"]);
    const window = WINDOWS.find((known) => known === limit["window"]);
    assert(unit !== undefined && window !== undefined, "what a limit counts is known");
    const own = limits.get(tenantId) ?? [];
    own.push({
      limitId: String(limit["id"]),
      scope,
      scopeId: String(limit["subject"]),
      unit,
      window,
      resource: String(limit["resource"]),
    });
    limits.set(tenantId, own);
  }
  return limits;
}

/** By tenant, then by name. */
function toolsFrom(
  rows: readonly Readonly<Record<string, unknown>>[],
): ReadonlyMap<string, ReadonlyMap<string, Tool>> {
  const tools = new Map<string, Map<string, Tool>>();
  for (const row of rows) {
    const { tenant, price } = row;
    const own = tools.get(String(tenant)) ?? new Map<string, Tool>();
    tools.set(String(tenant), own);
    const pricePicousd = typeof price === "string" ? price : null;
    const tool = toolFrom({
      name: row["name"],
      effectClass: row["effect"],
      pricePicousd,
      extractor: row["extractor"],
      definition: row["definition"],
      approval: row["approval"],
      output: row["output"],
      isTrusted: row["trusted"],
    });
    own.set(tool.name, tool);
  }
  return tools;
}

function records(text: unknown): readonly Readonly<Record<string, unknown>>[] {
  const list: unknown = JSON.parse(String(text));
  assert(isList(list) && list.every(isRecord), "a list of objects");
  return list;
}
