/** One process of Tollgate on Node: database, gateway, demo upstream, server; ended in the other order. */
import { randomBytes } from "node:crypto";
import { createServer, IncomingMessage, ServerResponse, type Server } from "node:http";

import { getRequestListener } from "@hono/node-server";
import { pino, type Logger } from "pino";

import { createConsole, type Console } from "../console/console.ts";
import { isConsolePath } from "../console/visit.ts";
import { priceSnapshot } from "../core/price-snapshot.ts";
import { startDemoUpstream } from "../demo/upstream.ts";
import { createAdministration, type Administration } from "../gate/administration.ts";
import { createDeliverer } from "../gate/deliver.ts";
import { createGateway, type Gateway } from "../gate/gateway.ts";
import { guardedUpstream } from "../gate/guarded-upstream.ts";
import type { CountTokens, Ports } from "../gate/ports.ts";
import { createSeal, establishDataKey, type Seal } from "../gate/sealing.ts";
import { createApp, isModelPath } from "../http/app.ts";
import type { Figures, Readiness } from "../http/env.ts";
import type { ToolDoor } from "../http/mcp.ts";
import type { LargeBodies } from "../http/request-body.ts";
import { createLedger } from "../ledger/ledger.ts";
import { Fault } from "../lib/assert.ts";
import { hmacSha256Hex } from "../lib/hash.ts";
import { createRandomId } from "../lib/random-id.ts";
import { keyFromSecret } from "../lib/seal.ts";
import { appliedVersion } from "../store/applied-version.ts";
import { connect, CONNECTIONS, type Address, type Database } from "../store/database.ts";
import { endAllLeases, findOrCreateInstallation } from "../store/installation.ts";
import { migrate } from "../store/migrate.ts";
import { listenForChanges } from "../store/snapshot.ts";
import { chores } from "./chores.ts";
import { establishAdminKey, establishFirstTenant, type FirstKeys } from "./bootstrap.ts";
import { sealingSecretsOf, type Config } from "./config.ts";
import { readForm } from "./console-form.ts";
import {
  CUT_MS_MAX,
  drain,
  DRAIN_MS_MAX,
  patienceOf,
  runSteps,
  type Patience,
  type Step,
} from "./closing.ts";
import { createNodeExchanges, endUnread } from "./exchange-node.ts";
import { createLargeBodies } from "./large-bodies.ts";
import { lingerAtEnd } from "./linger.ts";
import { recordListPrices } from "./list-prices.ts";
import { answerMalformed, answerUnread, refuseTransferCoding } from "./malformed.ts";
import { requireSoundDatabase } from "./database-checks.ts";
import { openEmbedded, type Embedded } from "./pglite.ts";
import { askInside } from "./ask-inside.ts";
import { createDocsAssets } from "./docs-assets.ts";
import { openToolDoor } from "./tool-door.ts";
import { createTokenCounter } from "./tokens.ts";
import { createUndiciUpstream } from "./upstream-undici.ts";
import { createWebhookPort, type NodeWebhookPort } from "./webhook-undici.ts";
import { configurationOf } from "./upstreams.ts";

/** Connections to one upstream from one process. */
const UPSTREAM_CONNECTIONS = 1_024;

/**
 * Connections that may wait to be accepted; the system caps it (`net.core.somaxconn`). Node's 511 made
 * some of two thousand that came at once wait for seconds, and reset others.
 */
const BACKLOG = 4_096;

/** When what is below `/api` is loaded: behind the first calls of a fresh process, and before most ask for it. */
const MANAGED_AFTER_MS = 500;

/** Proxies in front keep connections for 60 s; ours must outlive theirs (WIRE E). */
export const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADER_BYTES_MAX = 64 * 1024;
/** Node's own limit, stated: a client has a few dozen. Beyond it the request is refused, not cut. */
const HEADERS_MAX = 1_000;
/** A client that takes longer to send its head is none. */
const HEADERS_TIMEOUT_MS = 20_000;

export type Running = {
  readonly url: string;
  readonly firstKeys: FirstKeys;
  /** Whether any limit is set, of any tenant. */
  readonly hasLimits: boolean;
  readonly gateway: Gateway;
  /** Ends it; without a patience within the ordinary time. */
  readonly close: (patience?: Patience) => Promise<void>;
};

export type StartOptions = {
  /** One that was opened already. */
  readonly database?: Opened;
  /** How long answers under way may take once it was told to end, in ms. */
  readonly drainMsMax?: number;
  /** Instead of counting in threads of its own. */
  readonly countTokens?: CountTokens;
  /** The counters of all processes that serve the same address; absent: this is the only one. */
  readonly figures?: () => Promise<Figures>;
};

/** Starts one process's everything, on the configured database or on one that was opened already. */
export async function start(config: Config, options: StartOptions = {}): Promise<Running> {
  const { drainMsMax = DRAIN_MS_MAX, countTokens = null } = options;
  const log = pino(
    { level: config.logLevel, serializers: { error: pino.stdSerializers.err } },
    pino.destination(2),
  );
  const { db, embedded } = options.database ?? (await openDatabase(config, log));
  const listed = priceSnapshot();
  const randomId = createRandomId();
  const newId = () => randomId(Date.now());
  const [installation, demo] = await Promise.all([
    findOrCreateInstallation(db.admin, randomBytes(32).toString("hex")),
    startDemoUpstream(),
    recordListPrices(db.admin, config, listed),
  ]);
  const adminKey = await establishAdminKey(db, config, installation);
  const configuration = configurationOf(config, demo.url, {
    listed,
    pepper: installation.pepper,
    adminDigest: hmacSha256Hex(installation.pepper, adminKey),
  });
  const secrets = sealingSecretsOf(config, adminKey);
  const seal = createSeal(await establishDataKey(db.admin, installation.pepper, secrets));
  const allowsPrivate = config.allowsPrivateWebhooks;
  const ports = portsOn(db, log, { newId, seal, allowsPrivate, countTokens });
  const tools = await openToolDoor(config, ports);
  const gateway = await createGateway(ports, configuration, { connections: tools?.connections });
  const administration = createAdministration({
    ...ports,
    refresh: gateway.refresh,
    configuration: gateway.authority.configuration,
  });
  let isDraining = false;
  const server = await listen(config, {
    console: createConsole({
      sealingKey: keyFromSecret(secrets[0], installation.pepper, "tollgate console session"),
      now: () => new Date(),
      faulted: (error) => log.error({ error }, "a page of the console failed"),
    }),
    gateway,
    administration,
    toolDoor: tools?.toolDoor ?? null,
    db,
    log,
    newId,
    ports,
    isReady: () => !isDraining,
    figures: options.figures ?? (async () => gateway.trust()),
  });
  // A key is shown once, and only by a start that succeeds: nothing of it may be in the way any more.
  const firstKeys = { adminKey, ...(await establishFirstTenant(gateway, administration)) };
  const deliverer = createDeliverer(ports);
  const repeated = chores(gateway, deliverer, ports);
  const changes = await listenTo(db.address, gateway, log);
  return {
    url: urlOf(server, config),
    firstKeys,
    hasLimits: [...gateway.authority.tenants().values()].some(({ limits }) => limits.length > 0),
    gateway,
    close: async (patience = patienceOf(drainMsMax)) => {
      isDraining = true;
      const finish = () => drain(server, gateway, patience);
      await runSteps([
        ["answers under way", finish, patience.msMax + patience.hurriedMsMax + 2 * CUT_MS_MAX],
        // Settlements are tried again for as long as they were waited for, and no longer.
        ["settlements", async () => ports.close()],
        ["notices", changes.close],
        ...repeated.map(({ stop }): Step => ["chores", stop]),
        ["gateway", gateway.close],
        ["servers", async () => tools?.connections.close()],
        ["workers", ports.workersClose],
        // A message that a receiver takes its time with is sent once more, by whoever comes after us.
        ["webhooks", ports.webhook.close],
        ["messages", deliverer.drained],
        ["upstream", ports.upstream.close],
        ["demo", demo.close],
        ["database", db.close],
        ["embedded database", async () => embedded?.close()],
      ]);
    },
  };
}

export type Opened = { readonly db: Database; readonly embedded: Embedded | null };

async function openDatabase(config: Config, log: Logger): Promise<Opened> {
  // Nothing can be decided or recorded any more, so nothing may look as if it could.
  const onDeath = (error: Fault) => {
    log.fatal({ error }, "the embedded database has ended");
    process.exit(1);
  };
  const embedded =
    config.databaseUrl === null ? await openEmbedded(config.dataDirectory, onDeath) : null;
  const address: Address = embedded?.address ?? { kind: "url", url: config.databaseUrl ?? "" };
  if (address.kind === "socket") await migrate(address);
  else {
    const { schemaApplied, schemaKnown } = await requireSoundDatabase(address.url);
    // All migrations are one transaction: what is as it should be needs nobody to wait for.
    if (schemaApplied < schemaKnown) await migrate(address);
  }
  const db = connect(address, embedded ? CONNECTIONS.embedded : CONNECTIONS.server);
  // Nobody else can own an embedded database, so whoever held reservations in it is gone.
  if (embedded !== null) await endAllLeases(db.admin);
  return { db, embedded };
}

type NodePorts = Ports & {
  readonly webhook: NodeWebhookPort;
  readonly close: () => void;
  readonly largeBodies: LargeBodies;
  /** Ends the worker threads. */
  readonly workersClose: () => Promise<void>;
};

type PortParts = {
  readonly newId: () => string;
  readonly seal: Seal;
  readonly allowsPrivate: boolean;
  readonly countTokens: CountTokens | null;
};

function portsOn(db: Database, log: Logger, parts: PortParts): NodePorts {
  const { newId, seal, allowsPrivate } = parts;
  const counter = createTokenCounter();
  const largeBodies = createLargeBodies();
  let isClosing = false;
  return {
    db,
    upstream: guardedUpstream(createUndiciUpstream({ connections: UPSTREAM_CONNECTIONS }), log),
    webhook: createWebhookPort({ allowsPrivate }),
    monotonicMs: () => performance.now(),
    now: () => new Date(),
    newId,
    countTokens: parts.countTokens ?? counter.count,
    runAfter: (name, work) => {
      void work().catch((error: unknown) =>
        log.error({ error, name }, "work after an answer failed"),
      );
    },
    log,
    seal,
    isClosing: () => isClosing,
    close: () => {
      isClosing = true;
    },
    largeBodies,
    workersClose: async () => {
      await counter.close();
      await largeBodies.close();
    },
  };
}

type Served = {
  readonly console: Console;
  readonly gateway: Gateway;
  readonly administration: Administration;
  readonly toolDoor: ToolDoor | null;
  readonly db: Database;
  readonly log: Logger;
  readonly newId: () => string;
  readonly ports: NodePorts;
  readonly isReady: () => boolean;
  readonly figures: () => Promise<Figures>;
};

async function listen(config: Config, served: Served): Promise<Server> {
  const { gateway, administration, db, log, newId, ports } = served;
  const app = createApp({
    log,
    newId,
    readAsset: createDocsAssets(),
    monotonicMs: ports.monotonicMs,
    largeBodies: ports.largeBodies,
    toolDoor: served.toolDoor,
  });
  const ledger = createLedger(db);
  const health = {
    isClosing: () => !served.isReady(),
    readiness: async (): Promise<Readiness> => {
      const why = await gateway.hindrance();
      if (why !== null) return { kind: "not_ready", why };
      return { kind: "ready", schemaVersion: await appliedVersion(db.control) };
    },
    figures: served.figures,
  };
  const createExchange = createNodeExchanges();
  const listener = getRequestListener(
    (request, env) => {
      const { incoming, outgoing } = env;
      if (!(incoming instanceof IncomingMessage) || !(outgoing instanceof ServerResponse)) {
        throw new Fault("HTTP/1.1 is served here");
      }
      refuseTransferCoding(incoming);
      const exchange = createExchange(incoming, outgoing);
      const bindings = { gateway, administration, ledger, health, exchange };
      if (!isConsolePath(incoming.url ?? "")) return app.fetch(request, bindings);
      const address = incoming.socket.remoteAddress ?? "";
      const call = (ask: Request) => askInside(app.fetch, ask, bindings);
      const form = (bytesMax: number) => readForm(exchange, bytesMax);
      return served.console.fetch(request, { call, form, address });
    },
    { overrideGlobalObjects: false, errorHandler: answerUnread(newId) },
  );
  const server = createServer(
    // Without a Host the adapter refuses, in words; Node would in none.
    { maxHeaderSize: HEADER_BYTES_MAX, requireHostHeader: false },
    (incoming, outgoing) => {
      const { url = "", headers } = incoming;
      // A Host that is none, and a coding that we do not know, are refused on the long way.
      const isPlain =
        headers["transfer-encoding"] === undefined && /^[\w.:[\]-]+$/.test(headers.host ?? "");
      if (!isPlain || !isModelPath(url)) void listener(incoming, outgoing);
      else
        app.callModel(gateway, createExchange(incoming, outgoing)).then(
          () => endUnread(incoming),
          (error: unknown) => {
            log.error({ error, path: url }, "an answer could not be given");
            outgoing.destroy();
          },
        );
    },
  );
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxHeadersCount = HEADERS_MAX;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = 0;
  lingerAtEnd(server);
  answerMalformed(server, newId);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.port, config.host, BACKLOG, resolve);
  });
  const loading = setTimeout(() => {
    app.loadManaged().catch((error: unknown) => {
      log.error({ error }, "what is below /api could not be loaded");
    });
  }, MANAGED_AFTER_MS).unref();
  server.once("close", () => clearTimeout(loading));
  return server;
}

/** The embedded database has one process, which hears of its own changes. */
async function listenTo(
  address: Address,
  { authority }: Gateway,
  log: Logger,
): Promise<{ readonly close: () => Promise<void> }> {
  if (address.kind === "socket") return { close: async () => undefined };
  return listenForChanges(address, () => {
    void authority
      .refresh()
      .catch((error: unknown) => log.warn({ error }, "what was changed could not be read yet"));
  });
}

function urlOf(server: Server, config: Config): string {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  return `http://${config.host.includes(":") ? `[${config.host}]` : config.host}:${port}`;
}
