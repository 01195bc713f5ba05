/**
 * Who may ask, and what holds: this replica's snapshot of keys, tenants and limits, with the
 * configured upstreams and prices. It is read again when the database tells of a change, and at most
 * `REFRESH_MS` later; it never answers from a revision it has not read whole.
 *
 * Its age counts from when the database was last asked whether it still holds. One older than
 * SNAPSHOT_MS_MAX is not judged by: whoever needs it waits for a newer one, or is told to come again. So
 * a revoked key ends everywhere, whatever becomes of a notice, a timer or a connection.
 */
import type { Administrator, Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import { SNAPSHOT_MS_MAX } from "../core/limits.ts";
import { isDailyQuota } from "../core/most-meters.ts";
import { looksLikeKey, parseKey } from "../core/key.ts";
import { type CompiledBundle, needsFindings } from "../core/policy-bundle.ts";
import type { Prices } from "../core/imported-prices.ts";
import type { PriceBook } from "../core/price.ts";
import type { Tool } from "../core/tool.ts";
import { matchesGlob, routeModel, type Catalogue, type ModelRoute } from "../core/route.ts";
import { assert } from "../lib/assert.ts";
import { equalConstantTime, hmacSha256HexBy } from "../lib/hash.ts";
import type { Sql } from "../store/database.ts";
import type { LimitRef } from "../store/posting.ts";
import {
  readRevision,
  readSnapshot,
  type KeyRow,
  type LimitRow,
  type Snapshot,
} from "../store/snapshot.ts";

/** One place where models are served, as configured. */
export type Upstream = {
  readonly name: string;
  readonly origin: string;
  /** The path of its base URL, without a trailing slash: `/v1`. */
  readonly basePath: string;
  readonly apiKey: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly outputLimitField: "max_completion_tokens" | "max_tokens";
  /** The provider whose list prices hold here: a name in the price book. */
  readonly priceList: string;
  /** Tenants may reach each other's objects stored at this upstream (files, responses, batches). */
  readonly sharedObjects: boolean;
};

/** One MCP server, as configured. */
export type McpServer = {
  readonly name: string;
  readonly origin: string;
  readonly path: string;
  /** Its credentials among them; they go to this origin and nowhere else. */
  readonly headers: Readonly<Record<string, string>>;
  /** The tenants that it is for, by id or name; null: all. */
  readonly tenants: readonly string[] | null;
  /** Tools that nobody declared may be called, and are recorded as such. */
  readonly observesUndeclared: boolean;
  readonly timeoutMs: number;
};

export type Configuration = {
  readonly catalogue: Catalogue;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly servers: ReadonlyMap<string, McpServer>;
  /** All but the imported ones, which the database has. */
  readonly prices: PriceBook;
  /** HMAC of the installation's administration key. */
  readonly adminDigest: string;
  readonly pepper: string;
};

/** How stale a replica's keys and limits may be: a second, so that a revocation holds everywhere within two. */
export const REFRESH_MS = 1_000;

/** The price lists of those whose API is OpenAI's own. */
const OPENAI_LISTS: ReadonlySet<string> = new Set(["openai", "azure"]);

export type Authority = {
  readonly identify: (credential: string | null) => Caller | Administrator;
  readonly route: (model: string) => ModelRoute | null;
  /** Where a pass-through goes: the upstream named first in the configuration. */
  readonly defaultUpstream: () => string | null;
  /** Whether that upstream is OpenAI's API, at OpenAI or at Azure, as the list of its prices says. */
  readonly isOpenAI: () => boolean;
  readonly upstream: (name: string) => Upstream | undefined;
  /** The MCP server of that name, where it is one of this tenant's, or null. */
  readonly server: (tenantId: string, name: string) => McpServer | null;
  /** All MCP servers of this tenant. */
  readonly servers: (tenantId: string) => readonly McpServer[];
  readonly configuration: Configuration;
  /** All prices, the imported ones as this snapshot knows them. */
  readonly prices: () => Prices;
  /** The limits on an ask's path that this snapshot knows. */
  readonly limitsFor: (counted: Counted) => LimitRef[];
  readonly tenants: () => Snapshot["tenants"];
  /** The policies that judge a tenant's calls now, or null. */
  readonly bundle: (tenantId: string) => CompiledBundle | null;
  /** Whether a tenant's policies read what detectors find in the texts of a request. */
  readonly searches: (tenantId: string) => boolean;
  readonly keyLabels: (keyId: string) => Readonly<Record<string, string>>;
  /** What the tenant declares of a tool, or null where it declares nothing. */
  readonly tool: (tenantId: string, name: string) => Tool | null;
  /** Whether a key may call a tool behind the tool door, by the globs that it was made with. */
  readonly mayCall: (keyId: string, name: string) => boolean;
  /** Whether a caller's key still holds: it may have been revoked since the call began. */
  readonly isCurrent: (caller: Caller) => boolean;
  /** Whether what is known is new enough to judge by. */
  readonly isFresh: () => boolean;
  /** Reads the snapshot again when its revision is behind. */
  readonly refresh: () => Promise<void>;
};

/**
 * What was read last, and the monotonic moment at which the database was last asked whether it holds.
 * Workers keep one for all requests of an isolate, which may share data but no sockets.
 */
export type Held = {
  snapshot: Snapshot;
  confirmedMs: number;
  /** The monotonic moment at which the snapshot had been read. */
  readMs: number;
};

export type AuthorityClocks = {
  readonly now: () => Date;
  readonly monotonicMs: () => number;
  /** Told when the database has answered what it was asked at that monotonic moment. */
  readonly answered: (askedAtMs: number) => void;
};

export async function createAuthority(
  sql: Sql,
  configuration: Configuration,
  clocks: AuthorityClocks,
  held?: Held,
): Promise<Authority> {
  const { now, monotonicMs, answered } = clocks;
  const confirmedMs = monotonicMs();
  const known = held ?? {
    snapshot: await readSnapshot(sql, null),
    confirmedMs,
    readMs: monotonicMs(),
  };
  let reading: Promise<void> | null = null;
  const readLater = async () => {
    const askedMs = monotonicMs();
    const newer = await readSnapshot(sql, known.snapshot);
    // A database that was restored goes back to a lower revision: what is read after the last read has
    // ended holds whatever its number. Of reads that overlap (the requests of a Worker's isolate have each
    // their own) only the number tells which is the later one; the next refresh settles what is left.
    if (newer.revision > known.snapshot.revision || askedMs >= known.readMs) {
      known.snapshot = newer;
      known.readMs = monotonicMs();
    }
  };
  const readIfBehind = async () => {
    if ((await readRevision(sql)) === known.snapshot.revision) return;
    // Readers that come meanwhile may need a newer revision than the read under way will find.
    if (reading !== null) await reading;
    reading ??= readLater().finally(() => {
      reading = null;
    });
    await reading;
  };
  const [first] = configuration.catalogue.upstreams;
  const isFirstOpenAI = OPENAI_LISTS.has(
    configuration.upstreams.get(first?.name ?? "")?.priceList ?? "",
  );
  const terms = { digestOf: hmacSha256HexBy(configuration.pepper), ...configuration };
  return {
    identify: (credential) => identify(credential, known.snapshot, terms, now().getTime()),
    route: (model) => routeModel(configuration.catalogue, model),
    defaultUpstream: () => configuration.catalogue.upstreams[0]?.name ?? null,
    isOpenAI: () => isFirstOpenAI,
    upstream: (name) => configuration.upstreams.get(name),
    server: (tenantId, name) => {
      const server = configuration.servers.get(name);
      return server !== undefined && isFor(server, tenantId, known.snapshot) ? server : null;
    },
    servers: (tenantId) =>
      [...configuration.servers.values()].filter((server) =>
        isFor(server, tenantId, known.snapshot),
      ),
    configuration,
    prices: () => ({ imported: known.snapshot.prices.imported, listed: configuration.prices }),
    limitsFor: (counted) => limitsFor(known.snapshot, configuration.catalogue, counted),
    tenants: () => known.snapshot.tenants,
    bundle: (tenantId) => activeBundle(known.snapshot, tenantId),
    searches: (tenantId) => needsFindings(activeBundle(known.snapshot, tenantId)),
    keyLabels: (keyId) => known.snapshot.keys.get(keyId)?.labels ?? {},
    tool: (tenantId, name) => known.snapshot.tenants.get(tenantId)?.tools.get(name) ?? null,
    mayCall: (keyId, name) => {
      const key = known.snapshot.keys.get(keyId);
      if (key === undefined) return false;
      return key.tools === null || key.tools.some((glob) => matchesGlob(glob, name));
    },
    isCurrent: ({ keyId }) => {
      const key = known.snapshot.keys.get(keyId);
      return key !== undefined && isCurrent(key, now().getTime());
    },
    isFresh: () => monotonicMs() - known.confirmedMs <= SNAPSHOT_MS_MAX,
    refresh: async () => {
      const askedAtMs = monotonicMs();
      await readIfBehind();
      known.confirmedMs = Math.max(known.confirmedMs, askedAtMs);
      answered(askedAtMs);
    },
  };
}

function isFor({ tenants: ids }: McpServer, tenantId: string, { tenants }: Snapshot): boolean {
  if (ids === null) return true;
  return ids.includes(tenantId) || ids.includes(tenants.get(tenantId)?.name ?? tenantId);
}

function activeBundle({ tenants, bundles }: Snapshot, tenantId: string): CompiledBundle | null {
  const version = tenants.get(tenantId)?.bundle ?? null;
  if (version === null) return null;
  const bundle = bundles.get(version);
  assert(bundle !== undefined, "a snapshot holds the policies that are active in it");
  return bundle;
}

function isCurrent({ expiresAtMs }: KeyRow, nowMs: number): boolean {
  return expiresAtMs === null || expiresAtMs > nowMs;
}

type Terms = Pick<Configuration, "adminDigest"> & { readonly digestOf: (text: string) => string };

function identify(
  credential: string | null,
  snapshot: Snapshot,
  { digestOf, adminDigest }: Terms,
  nowMs: number,
): Caller | Administrator {
  if (credential === null || credential === "") {
    throw new InputError(
      "invalid_api_key",
      null,
      "You didn't provide an API key. Send a Tollgate key as `Authorization: Bearer tg_…`.",
    );
  }
  const parsed = parseKey(credential);
  const key = parsed === null ? undefined : snapshot.keys.get(parsed.id);
  if (parsed !== null && key !== undefined) {
    const digest = digestOf(parsed.secret);
    const tenant = snapshot.tenants.get(key.tenantId);
    const isValid = equalConstantTime(digest, key.digest) && isCurrent(key, nowMs);
    if (isValid && tenant !== undefined) {
      return { tenantId: key.tenantId, keyId: key.keyId, scopes: key.scopes, mode: tenant.mode };
    }
  }
  if (equalConstantTime(digestOf(credential), adminDigest)) return { installation: true };
  throw new InputError("invalid_api_key", null, whyUnknown(credential, parsed !== null));
}

function whyUnknown(credential: string, isWellFormed: boolean): string {
  if (isWellFormed) return "This API key is not valid here: it is unknown, revoked or expired.";
  return looksLikeKey(credential)
    ? "This API key is mistyped or cut off: its checksum does not match."
    : "This is not a Tollgate key. Tollgate keys begin with `tg_`; an upstream's own key stays in Tollgate's configuration.";
}

/** What an ask is counted under. */
export type Counted = {
  readonly caller: Caller;
  readonly runId: string;
  readonly isRunNamed: boolean;
  /** Every name of the model: as asked, as routed, and with its upstream. */
  readonly models: readonly string[];
  readonly customer: string | null;
  readonly operation: string | null;
  /** By what its further attempts are counted apart: a tool, or `model:<name>`. */
  readonly retryResource: string;
};

function limitsFor(snapshot: Snapshot, catalogue: Catalogue, counted: Counted): LimitRef[] {
  const refs: LimitRef[] = [];
  const tenant = snapshot.tenants.get(counted.caller.tenantId);
  for (const limit of tenant?.limits ?? []) {
    const subject = subjectOf(limit, catalogue, counted);
    if (subject === null || !countsResource(limit, counted.retryResource)) continue;
    const { limitId } = limit;
    const apart =
      limit.resource === "*" ? `${subject} ${counted.retryResource}`.trimStart() : subject;
    refs.push({ limitId, subject: apart, share: null });
    const share = tenant?.runSharePercent ?? null;
    if (share !== null && counted.isRunNamed && isDailyQuota(limit.scope, limit)) {
      refs.push({ limitId, subject: `run:${counted.runId}`, share });
    }
  }
  return refs;
}

/** Whom a limit counts this ask under, or null when it does not. */
function subjectOf(limit: LimitRow, catalogue: Catalogue, counted: Counted): string | null {
  switch (limit.scope) {
    case "tenant":
      return "";
    case "key":
      return limit.scopeId === counted.caller.keyId ? limit.scopeId : null;
    case "model":
      return meansOneOf(counted.models, limit.scopeId, catalogue) ? limit.scopeId : null;
    case "tool":
      return limit.scopeId === counted.retryResource ? limit.scopeId : null;
    case "each_run":
      return counted.runId;
    case "each_customer":
      return counted.customer;
    case "each_operation":
      return counted.operation;
    case "run":
      // Runs are too many to be known here: the posting finds their limits itself.
      return null;
  }
}

function countsResource({ resource }: LimitRow, retryResource: string): boolean {
  return resource === "" || resource === "*" || resource === retryResource;
}

/** A limit names a model as a caller would: by alias, with its upstream or without. It holds for every spelling. */
function meansOneOf(models: readonly string[], named: string, catalogue: Catalogue): boolean {
  if (models.includes(named)) return true;
  const target = models.length === 0 ? null : routeModel(catalogue, named);
  return target !== null && models.includes(`${target.upstream}/${target.model}`);
}
