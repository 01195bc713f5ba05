/**
 * One isolate of a Worker. It keeps data between requests (what was configured, the last snapshot of
 * keys and limits, the app itself) and nothing that holds a socket: a gateway, its connections and its
 * batch of one are made for each request, and end when its settlement is written.
 */
import { randomBytes } from "node:crypto";

import { priceSnapshot } from "../../core/price-snapshot.ts";
import { REFRESH_MS, type Configuration, type Held } from "../../gate/authority.ts";
import { createGateway, type Gateway } from "../../gate/gateway.ts";
import { guardedUpstream } from "../../gate/guarded-upstream.ts";
import type { Log, Ports } from "../../gate/ports.ts";
import { createSeal, establishDataKey, type Seal } from "../../gate/sealing.ts";
import { Unavailable } from "../../gate/unavailable.ts";
import { createApp, type App } from "../../http/app.ts";
import { assert, Fault } from "../../lib/assert.ts";
import { hmacSha256Hex } from "../../lib/hash.ts";
import { createRandomId } from "../../lib/random-id.ts";
import { appliedVersion, SCHEMA_VERSION } from "../../store/applied-version.ts";
import { connectForRequest, type Database } from "../../store/database.ts";
import {
  answersFromMemory,
  findOrCreateInstallation,
  holdEndlessLease,
} from "../../store/installation.ts";
import { readSnapshot } from "../../store/snapshot.ts";
import type { BodyBudget } from "../body-node.ts";
import { sealingSecretsOf } from "../config.ts";
import { recordListPrices } from "../list-prices.ts";
import { configurationOf } from "../upstreams.ts";
import { createIsolateBudget } from "./body-budget.ts";
import { WORKER_BODIES_BYTES_MAX } from "./body-web.ts";
import { inPlaceBodies } from "./bodies-in-place.ts";
import type { Life } from "./life.ts";
import { createConsoleLog } from "./log-console.ts";
import type { Bindings } from "./platform.ts";
import { databaseUrlOf, readSettings, type Settings } from "./settings.ts";
import { createFetchUpstream } from "./upstream-fetch.ts";
import { createFetchWebhookPort } from "./webhook-fetch.ts";

/** All Workers of an installation are one replica: none lives long enough to renew a lease. */
const REPLICA_ID = "rep_workers";

/** What the database said when the isolate woke, and of keys and limits when it was last asked. */
type Standing = {
  readonly replicaId: string;
  readonly configuration: Configuration;
  readonly held: Held;
  readonly seal: Seal;
};

export type Isolate = {
  readonly settings: Settings;
  readonly log: Log;
  readonly app: App;
  readonly bodies: BodyBudget;
  readonly newId: () => string;
  standing: Standing | null;
};

/** Throws ConfigError. */
export function createIsolate(bindings: Bindings, yaml: string | null): Isolate {
  const settings = readSettings(bindings, yaml);
  const log = createConsoleLog(settings.config.logLevel);
  const randomId = createRandomId();
  const newId = () => randomId(Date.now());
  const app = createApp({
    log,
    newId,
    // The page's files would be half of the program: `absent.ts` says where the page is.
    readAsset: () => Promise.resolve(null),
    monotonicMs,
    largeBodies: inPlaceBodies(),
    // Its packages would be half of the program again, and what it drains ends with a request: see docs/workers.md.
    toolDoor: null,
  });
  const bodies = createIsolateBudget(WORKER_BODIES_BYTES_MAX);
  return { settings, log, app, bodies, newId, standing: null };
}

export type Invocation = {
  readonly db: Database;
  readonly ports: Ports;
  readonly gateway: Gateway;
};

/** A gateway of this invocation's own. Its connections end with `life`. */
export async function openGateway(
  isolate: Isolate,
  bindings: Bindings,
  life: Life,
): Promise<Invocation> {
  const url = databaseUrlOf(bindings);
  assert(url !== null, "a binding does not go while its isolate lives");
  const db = connectForRequest(url);
  life.atEnd(db.close);
  try {
    const standing = isolate.standing ?? (await stand(isolate, db));
    const ports = portsOn(isolate, { db, seal: standing.seal }, life);
    return { db, ports, gateway: await gatewayOn(standing, ports) };
  } catch (error) {
    throw isAnswered(error) ? error : away(error);
  }
}

async function gatewayOn(standing: Standing, ports: Ports): Promise<Gateway> {
  const gateway = await createGateway(ports, standing.configuration, { standing });
  // Node asks every second; an isolate that nobody calls may not, so whoever calls next does.
  if (monotonicMs() - standing.held.confirmedMs >= REFRESH_MS) await gateway.authority.refresh();
  return gateway;
}

/** A fault of ours, or the database's own words, which have a code of five characters (SQLSTATE). */
function isAnswered(error: unknown): boolean {
  if (error instanceof Unavailable || error instanceof Fault) return true;
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code);
}

/** A socket here says what became of it in words of its own and without a code. */
function away(cause: unknown): Unavailable {
  return new Unavailable("The database cannot be reached.", { cause });
}

/** What an isolate must know before its first judgement. Requests that come together may each ask. */
async function stand(isolate: Isolate, db: Database): Promise<Standing> {
  const { config, adminKey } = isolate.settings;
  const applied = await appliedVersion(db.control);
  if (applied < SCHEMA_VERSION) throw schemaBehind(applied);
  const installation = await findOrCreateInstallation(db.control, randomBytes(32).toString("hex"));
  if (await answersFromMemory(db.control, `rep_probe_${isolate.newId()}`)) throw cached();
  const listed = priceSnapshot();
  await recordListPrices(db.control, config, listed);
  await holdEndlessLease(db.control, REPLICA_ID);
  const secrets = sealingSecretsOf(config, adminKey);
  const dataKey = establishDataKey(db.control, installation.pepper, secrets).catch(cannotOpen);
  const seal = createSeal(await dataKey);
  const confirmedMs = monotonicMs();
  const standing: Standing = {
    seal,
    replicaId: REPLICA_ID,
    configuration: configurationOf(config, null, {
      listed,
      pepper: installation.pepper,
      adminDigest: hmacSha256Hex(installation.pepper, adminKey),
    }),
    held: { snapshot: await readSnapshot(db.control, null), confirmedMs, readMs: monotonicMs() },
  };
  isolate.standing ??= standing;
  return isolate.standing;
}

type PortParts = { readonly db: Database; readonly seal: Seal };

function portsOn({ log, newId }: Isolate, { db, seal }: PortParts, life: Life): Ports {
  return {
    db,
    seal,
    upstream: guardedUpstream(createFetchUpstream(), log),
    webhook: createFetchWebhookPort(),
    monotonicMs,
    now: () => new Date(),
    newId,
    // A tokeniser's tables take 60 of an isolate's 128 MB; the byte length bounds every tokenisation.
    countTokens: (texts) => Promise.resolve(bytesOf(texts)),
    runAfter: (name, work) =>
      life.add(
        work().catch((error: unknown) => log.error({ error, name }, "work after an answer failed")),
      ),
    log,
    isClosing: life.isClosing,
  };
}

function bytesOf(texts: readonly string[]): number {
  let bytes = 0;
  for (const text of texts) bytes += Buffer.byteLength(text, "utf8");
  return bytes;
}

/** Stands still while a Worker computes, and moves on with every wait: enough for deadlines. */
export function monotonicMs(): number {
  return performance.now();
}

function schemaBehind(applied: number): Unavailable {
  const told =
    `The database has schema version ${applied} and this program needs ${SCHEMA_VERSION}: ` +
    "run `npx tollgate migrate` from the release that was deployed.";
  return new Unavailable("The schema is behind.", { told });
}

/** Told to the log in full, and to a caller that it is the operator's to mend. */
function cannotOpen(error: unknown): never {
  if (!(error instanceof Fault)) throw error;
  const told = "Tollgate cannot open what it has sealed: the Worker's log says what to mend.";
  throw new Unavailable(error.message, { told });
}

function cached(): Unavailable {
  const told =
    "Hyperdrive answers queries from its cache, by which revoked keys would live on: " +
    "run `npx wrangler hyperdrive update <id> --caching-disabled true`.";
  return new Unavailable("The database is read through a cache.", { told });
}
