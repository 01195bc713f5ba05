/** Starts Tollgate on Node: database, gateway, demo upstream, server; and ends them in the other order. */
import { randomBytes } from "node:crypto";
import { createServer, IncomingMessage, ServerResponse, type Server } from "node:http";

import { getRequestListener } from "@hono/node-server";
import { pino, type Logger } from "pino";

import { demoPrices, priceSnapshot } from "../core/price-snapshot.ts";
import { LEASE_MS } from "../core/limits.ts";
import { startDemoUpstream } from "../demo/upstream.ts";
import { createAdministration, type Administration } from "../gate/administration.ts";
import { REFRESH_MS } from "../gate/authority.ts";
import { createGateway, type Gateway } from "../gate/gateway.ts";
import type { Ports } from "../gate/ports.ts";
import { createApp } from "../http/app.ts";
import type { Readiness } from "../http/env.ts";
import type { LargeBodies } from "../http/request-body.ts";
import { createLedger } from "../ledger/ledger.ts";
import { Fault } from "../lib/assert.ts";
import { hmacSha256Hex, sha256Hex } from "../lib/hash.ts";
import { createRandomId } from "../lib/random-id.ts";
import { appliedVersion } from "../store/applied-version.ts";
import { connect, type Address, type Database } from "../store/database.ts";
import {
  endAllLeases,
  findOrCreateInstallation,
  recordPrices,
  renewLease,
} from "../store/installation.ts";
import { migrate } from "../store/migrate.ts";
import { establishAdminKey, establishFirstTenant, type FirstKeys } from "./bootstrap.ts";
import { printBanner } from "./banner.ts";
import { readConfig, ConfigError, type Config } from "./config.ts";
import { diskFiles } from "./config-files.ts";
import { CUT_MS_MAX, drain, runSteps, type Step } from "./closing.ts";
import { createNodeExchanges } from "./exchange-node.ts";
import { every, type Repeated } from "./every.ts";
import { createLargeBodies } from "./large-bodies.ts";
import { answerMalformed, answerUnread, refuseTransferCoding } from "./malformed.ts";
import { openEmbedded, type Embedded } from "./pglite.ts";
import { createDocsAssets } from "./docs-assets.ts";
import { createTokenCounter } from "./tokens.ts";
import { createUndiciUpstream } from "./upstream-undici.ts";
import { configurationOf } from "./upstreams.ts";

/** Connections to one upstream from one process. */
const UPSTREAM_CONNECTIONS = 1_024;

/** How long answers under way may take once the process was told to end. */
const DRAIN_MS_MAX = 30_000;

/** Proxies in front keep connections for 60 s; ours must outlive theirs (WIRE E). */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADER_BYTES_MAX = 64 * 1024;
/** Node's own limit, stated: a client has a few dozen. Beyond it the request is refused, not cut. */
const HEADERS_MAX = 1_000;
/** A client that takes longer to send its head is none. */
const HEADERS_TIMEOUT_MS = 20_000;

export type Running = {
  readonly url: string;
  readonly firstKeys: FirstKeys;
  readonly gateway: Gateway;
  readonly close: () => Promise<void>;
};

/** Starts everything and says so on standard output. The process ends by SIGINT or SIGTERM. */
export async function serve(config: Config): Promise<Running> {
  const running = await start(config);
  printBanner(config, running);
  let isEnding = false;
  const end = (signal: string) => {
    if (isEnding) return;
    isEnding = true;
    process.stderr.write(
      `${signal}: finishing what is under way, at most ${DRAIN_MS_MAX / 1_000} s\n`,
    );
    void running.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`could not end cleanly: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.once("SIGINT", () => end("SIGINT"));
  process.once("SIGTERM", () => end("SIGTERM"));
  return running;
}

/** Starts everything on the configured database, or on one that was opened already. */
export async function start(
  config: Config,
  database?: Opened,
  drainMsMax: number = DRAIN_MS_MAX,
): Promise<Running> {
  const log = pino(
    { level: config.logLevel, serializers: { error: pino.stdSerializers.err } },
    pino.destination(2),
  );
  const { db, embedded } = database ?? (await openDatabase(config, log));
  await recordListPrices(db, config);
  const demo = await startDemoUpstream();
  const randomId = createRandomId();
  const newId = () => randomId(Date.now());
  const installation = await findOrCreateInstallation(db.admin, randomBytes(32).toString("hex"));
  const adminKey = await establishAdminKey(db, config, installation);
  const configuration = configurationOf(config, demo.url, {
    pepper: installation.pepper,
    adminDigest: hmacSha256Hex(installation.pepper, adminKey),
  });
  const ports = portsOn(db, log, newId);
  const gateway = await createGateway(ports, configuration);
  const administration = createAdministration({
    db,
    newId,
    now: ports.now,
    refresh: gateway.authority.refresh,
  });
  const firstKeys = { adminKey, ...(await establishFirstTenant(gateway, administration)) };
  let isDraining = false;
  const server = await listen(config, {
    gateway,
    administration,
    db,
    log,
    newId,
    ports,
    isReady: () => !isDraining,
  });
  const repeated = chores(gateway, db, log);
  return {
    url: urlOf(server, config),
    firstKeys,
    gateway,
    close: async () => {
      isDraining = true;
      const finish = () => drain(server, gateway.settled, drainMsMax);
      await runSteps([
        ["answers under way", finish, drainMsMax + 2 * CUT_MS_MAX],
        // Settlements are tried again for as long as they were waited for, and no longer.
        ["settlements", async () => ports.close()],
        ...repeated.map(({ stop }): Step => ["chores", stop]),
        ["gateway", gateway.close],
        ["workers", ports.workersClose],
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
  await migrate(address);
  // PGlite has one backend; on PostgreSQL two postings and one settlement fly at a time.
  const options = embedded
    ? { gateConnections: 1, adminConnections: 1 }
    : { gateConnections: 4, adminConnections: 4 };
  const db = connect(address, options);
  // Nobody else can own an embedded database, so whoever held reservations in it is gone.
  if (embedded !== null) await endAllLeases(db.admin);
  return { db, embedded };
}

/** A settlement names its price by version: every price that may be used is in the ledger before. */
async function recordListPrices(db: Database, config: Config): Promise<void> {
  const prices = [...priceSnapshot(), ...demoPrices(), ...config.prices];
  const digest = sha256Hex(prices.map((price) => price.version).join());
  await recordPrices(db.admin, digest, prices);
}

type NodePorts = Ports & {
  readonly close: () => void;
  readonly largeBodies: LargeBodies;
  /** Ends the worker threads. */
  readonly workersClose: () => Promise<void>;
};

function portsOn(db: Database, log: Logger, newId: () => string): NodePorts {
  const counter = createTokenCounter();
  const largeBodies = createLargeBodies();
  let isClosing = false;
  return {
    db,
    upstream: createUndiciUpstream({ connections: UPSTREAM_CONNECTIONS }),
    monotonicMs: () => performance.now(),
    now: () => new Date(),
    newId,
    countTokens: counter.count,
    runAfter: (name, work) => {
      void work().catch((error: unknown) =>
        log.error({ error, name }, "work after an answer failed"),
      );
    },
    log,
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
  readonly gateway: Gateway;
  readonly administration: Administration;
  readonly db: Database;
  readonly log: Logger;
  readonly newId: () => string;
  readonly ports: NodePorts;
  readonly isReady: () => boolean;
};

async function listen(config: Config, served: Served): Promise<Server> {
  const { gateway, administration, db, log, newId, ports } = served;
  const app = createApp({
    log,
    newId,
    readAsset: createDocsAssets(),
    monotonicMs: ports.monotonicMs,
    largeBodies: ports.largeBodies,
  });
  const ledger = createLedger(db);
  const health = {
    readiness: async (): Promise<Readiness> => {
      if (!served.isReady()) return { kind: "closing" };
      const why = await gateway.hindrance();
      if (why !== null) return { kind: "not_ready", why };
      return { kind: "ready", schemaVersion: await appliedVersion(db.control) };
    },
    figures: async () => gateway.trust(),
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
      return app.fetch(request, { gateway, administration, ledger, health, exchange });
    },
    { overrideGlobalObjects: false, errorHandler: answerUnread(newId) },
  );
  const server = createServer(
    // Without a Host the adapter refuses, in words; Node would in none.
    { maxHeaderSize: HEADER_BYTES_MAX, requireHostHeader: false },
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxHeadersCount = HEADERS_MAX;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = 0;
  answerMalformed(server, newId);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.port, config.host, resolve);
  });
  return server;
}

/** What this replica does again and again, beside serving. */
function chores(gateway: Gateway, db: Database, log: Logger): readonly Repeated[] {
  const failed = (name: string) => (error: unknown) => log.warn({ error, name }, "a chore failed");
  return [
    every(REFRESH_MS, () => gateway.authority.refresh(), failed("refresh")),
    every(LEASE_MS / 3, () => renewLease(db.control, gateway.replicaId), failed("lease")),
    every(
      LEASE_MS / 3,
      async () => {
        await gateway.sweep();
      },
      failed("sweep"),
    ),
  ];
}

function urlOf(server: Server, config: Config): string {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  return `http://${config.host.includes(":") ? `[${config.host}]` : config.host}:${port}`;
}

if (import.meta.main) {
  try {
    await serve(readConfig(process.env, diskFiles));
  } catch (error) {
    const isExpected = error instanceof ConfigError || error instanceof Fault;
    process.stderr.write(
      `${isExpected ? error.message : String(error instanceof Error ? error.stack : error)}\n`,
    );
    process.exit(1);
  }
}
