import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import type { Scope } from "../../src/core/caller.ts";
import type { Price } from "../../src/core/price.ts";
import type { ScopeKind, Unit, Window } from "../../src/core/verdict.ts";
import type { Config, UpstreamConfig } from "../../src/entry/config.ts";
import { REFRESH_MS } from "../../src/gate/authority.ts";
import type { McpServer } from "../../src/gate/authority.ts";
import { start } from "../../src/entry/node.ts";
import type { Gateway } from "../../src/gate/gateway.ts";
import type { CountTokens } from "../../src/gate/ports.ts";
import { backtestOf } from "../../src/ledger/backtest.ts";
import { connect, type Address, type Database } from "../../src/store/database.ts";
import { bareEnvironment } from "./built.ts";
import { keep } from "./keeper.ts";
import { priceOf } from "./prices.ts";
import { SEALING_KEY } from "./seal.ts";

/** The name under which the scripted upstream is configured, and the models that it serves. */
export const UPSTREAM = "up";
/** What the gateway shows to the scripted upstream: no client has it. */
export const UPSTREAM_KEY = "sk-upstream-canary-5f1c";
/** Priced at 10 pico-dollars a token in and 100 out, with a maximum output of 1,000 tokens. */
export const MODEL = "m";

export type StartOptions = {
  readonly database: { readonly address: Address };
  /** The base URL of `UPSTREAM`, with `/v1`: a scripted upstream's `url`. */
  readonly upstream?: string;
  /** How long that upstream has for an answer. */
  readonly timeoutMs?: number;
  /** More of its configuration, or other upstreams after it. */
  readonly upstreamConfig?: Partial<UpstreamConfig>;
  readonly moreUpstreams?: readonly UpstreamConfig[];
  readonly aliases?: Readonly<Record<string, string>>;
  /** Instead of the one price of `MODEL`. */
  readonly prices?: readonly Price[];
  readonly mcpServers?: readonly McpServer[];
  /** Webhooks may go to receivers of the test itself. */
  readonly allowsPrivateWebhooks?: boolean;
  /** How long `close` waits for answers under way before it cuts them. */
  readonly drainMsMax?: number;
  /** Instead of counting tokens. */
  readonly countTokens?: CountTokens;
};

export type TenantTerms = {
  readonly mode?: "strict" | "tolerant";
  /** `off`: the same content may fail as often as a test repeats it. */
  readonly guards?: "off";
};

type KeyTerms = { readonly scopes?: readonly Scope[]; readonly expiresAt?: Date };

export type LimitTerms = {
  readonly scope: ScopeKind;
  readonly id?: string;
  readonly unit: Unit;
  /** With `attempts`. */
  readonly resource?: string;
  /** `none` when absent. */
  readonly window?: Window;
  /** Dollars as a decimal text, or a whole number. */
  readonly limit: string | number;
  readonly mode?: "enforce" | "shadow";
  readonly onExceed?: "refuse" | "clamp";
  readonly timeZone?: string;
};

export type RunTerms = {
  readonly budgetUsd?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly parent?: string;
};

export type Key = { readonly id: string; readonly key: string };

/** A tenant of a test's own, with a first key (`invoke`, `report`). */
export type Tenant = {
  readonly id: string;
  readonly keyId: string;
  readonly key: string;
  /** The official library with the first key. */
  readonly client: OpenAI;
  readonly newKey: (terms?: KeyTerms) => Promise<Key>;
  readonly revoke: (keyId: string) => Promise<void>;
  /** Answers the limit's id. */
  readonly limit: (terms: LimitTerms) => Promise<string>;
  /** A new amount for a limit. */
  readonly change: (limitId: string, limit: string | number) => Promise<void>;
  readonly run: (run: string, terms?: RunTerms) => Promise<void>;
  readonly stop: (run: string) => Promise<void>;
};

export type Clients = {
  /** Without `/v1`. */
  readonly url: string;
  readonly adminKey: string;
  readonly tenant: (terms?: TenantTerms) => Promise<Tenant>;
  /** The official library, unmodified; it retries nothing, so that a test sees each answer. */
  readonly client: (key: string, options?: { readonly maxRetries?: number }) => OpenAI;
};

export type Query = <Row extends object = Record<string, unknown>>(
  statement: string,
  values?: readonly (string | number)[],
) => Promise<Row[]>;

export type Tollgate = Clients & {
  readonly gateway: Gateway;
  /** Its own connections to the test's database. */
  readonly db: Database;
  /** Resolves when nothing is in flight and every ending is written. */
  readonly settled: () => Promise<void>;
  /** Rows of the ledger and its working tables, once nothing is in flight and every ending is written. */
  readonly ledger: Query;
  /** The same rows as they are now, calls in flight or not. */
  readonly rows: Query;
  readonly close: () => Promise<void>;
};

/** PGlite has one backend: more connections to it only queue there. */
const connectionsTo = (address: Address) =>
  address.kind === "socket"
    ? { gateConnections: 1, adminConnections: 1 }
    : { gateConnections: 3, adminConnections: 2 };

/** The whole program in this process, over real HTTP, on a test's own database. */
export async function startTollgate(options: StartOptions): Promise<Tollgate> {
  const { address } = options.database;
  const db = connect(address, connectionsTo(address));
  const adminKey = randomBytes(24).toString("hex");
  const opened = { db, embedded: null };
  const { drainMsMax, countTokens } = options;
  const running = await start(configFor(options, adminKey), {
    database: opened,
    ...(drainMsMax === undefined ? {} : { drainMsMax }),
    ...(countTokens === undefined ? {} : { countTokens }),
  });
  const { gateway, url } = running;
  const rows: Query = async (statement, values = []) =>
    [...(await db.admin.unsafe(statement, [...values]))] as never[];
  return {
    ...clientsOf(url, adminKey, () => Promise.resolve()),
    gateway,
    db,
    settled: gateway.settled,
    rows,
    ledger: async (statement, values) => {
      await gateway.settled();
      return rows(statement, values);
    },
    close: async () => {
      await running.close();
      const changed = await rejudged(address);
      if (changed.length > 0) throw new Error(`judged differently now: ${changed.join("; ")}`);
    },
  };
}

/** Every decision of every tenant there is, judged again by its own facts: what became another verdict. */
async function rejudged(address: Address): Promise<readonly string[]> {
  const db = connect(address, connectionsTo(address));
  try {
    return await rejudgedIn(db);
  } finally {
    await db.close();
  }
}

async function rejudgedIn(db: Database): Promise<readonly string[]> {
  const tenants = await db.admin<{ id: string }[]>`select tenant_id as id from tenants`;
  const changed: string[] = [];
  for (const { id } of tenants) {
    const part = {
      from: new Date(0),
      to: new Date("9000-01-01"),
      run: null,
      after: null,
      rows: null,
    };
    const { changes, unknowable_because: why } = await backtestOf(db, id, {
      part,
      candidate: null,
    });
    for (const { decision, before, after } of changes) {
      changed.push(`${decision}: ${before}, now ${after}`);
    }
    for (const [because, times] of Object.entries(why))
      changed.push(`${times} of ${id}: ${because}`);
  }
  return changed;
}

type ProcessOptions = {
  /** PostgreSQL; absent: the embedded database in `dataDirectory`. */
  readonly databaseUrl?: string;
  /** Made and removed by `close` when absent. */
  readonly dataDirectory?: string;
  readonly upstream?: string;
  readonly timeoutMs?: number;
  /** One key for several processes on one database. */
  readonly adminKey?: string;
  /** More text of `tollgate.yaml`, after the upstream and its price. */
  readonly yaml?: string;
  readonly env?: Readonly<Record<string, string>>;
};

export type TollgateProcess = Clients & {
  readonly pid: number;
  /** All that it has written so far. */
  readonly output: () => { readonly stdout: string; readonly stderr: string };
  /** The tenant key that a first start prints, or null. */
  readonly firstKey: string | null;
  /** Sends the signal; resolves with the exit code (null when the signal ended it). */
  readonly kill: (signal: NodeJS.Signals) => Promise<number | null>;
  /** Sends the signal and does not wait: SIGSTOP, SIGCONT. */
  readonly signal: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<number | null>;
  /** Ends it if it runs, and removes what was made for it. */
  readonly close: () => Promise<void>;
};

/** What `npm start` starts, in a process of its own; resolves when it listens, throws when it ends first. */
export async function startTollgateProcess(options: ProcessOptions): Promise<TollgateProcess> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-process-"));
  const adminKey = options.adminKey ?? randomBytes(24).toString("hex");
  const config = join(directory, "tollgate.yaml");
  await writeFile(config, yamlFor(options));
  const child = spawn(process.execPath, ["src/entry/start.js", "serve"], {
    cwd: join(import.meta.dirname, "..", ".."),
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...bareEnvironment(),
      PORT: "0",
      LOG_LEVEL: "warn",
      // One, so that its id is the id of all that a signal must reach; a test of several says so.
      TOLLGATE_PROCESSES: "1",
      TOLLGATE_ADMIN_KEY: adminKey,
      TOLLGATE_SEALING_KEY: SEALING_KEY,
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA: options.dataDirectory ?? join(directory, "data"),
      ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
      ...options.env,
    },
  });
  keep(child);
  const written = { stdout: "", stderr: "" };
  const exited = once(child, "exit").then(([code]) => code as number | null);
  const listening = Promise.withResolvers<string>();
  child.stderr.on("data", (text: Buffer) => (written.stderr += text.toString()));
  child.stdout.on("data", (text: Buffer) => {
    written.stdout += text.toString();
    const url = /listening on (http:\S+)\n[\s\S]*\n$/u.exec(written.stdout)?.[1];
    if (url !== undefined) listening.resolve(url);
  });
  void exited.then((code) =>
    listening.reject(new Error(`tollgate ended with ${code}:\n${written.stdout}${written.stderr}`)),
  );
  const remove = () => rm(directory, { recursive: true, force: true });
  const url = await listening.promise.catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  const kill = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    return await exited;
  };
  // Processes on one database read what another changed at most a refresh later.
  const known = () => new Promise((done) => setTimeout(done, 2 * REFRESH_MS));
  return {
    ...clientsOf(url, adminKey, known),
    pid: child.pid ?? 0,
    output: () => ({ ...written }),
    firstKey: /^ +(tg_\S+)$/mu.exec(written.stdout)?.[1] ?? null,
    kill,
    signal: (signal) => void child.kill(signal),
    exited,
    close: async () => {
      if (child.exitCode === null && child.signalCode === null) await kill("SIGKILL");
      await remove();
    },
  };
}

function configFor(options: StartOptions, adminKey: string): Config {
  const { upstream, timeoutMs = 60_000 } = options;
  const own: UpstreamConfig = {
    name: UPSTREAM,
    kind: "openai",
    baseUrl: upstream ?? "",
    apiKey: UPSTREAM_KEY,
    models: ["*"],
    headers: {},
    timeoutMs,
    outputLimitField: "max_completion_tokens",
    priceList: UPSTREAM,
    sharedObjects: true,
    ...options.upstreamConfig,
  };
  return {
    host: "127.0.0.1",
    port: 0,
    databaseUrl: null,
    dataDirectory: join(tmpdir(), "tollgate-unused"),
    processes: 1,
    adminKey,
    // Several of a test share a database, each with an administration key of its own.
    sealingKeys: [SEALING_KEY],
    logLevel: "silent",
    upstreams: [...(upstream === undefined ? [] : [own]), ...(options.moreUpstreams ?? [])],
    aliases: options.aliases ?? {},
    prices: options.prices ?? [
      priceOf({ upstream: UPSTREAM, model: MODEL, outputTokensMax: 1_000 }),
    ],
    mcpServers: options.mcpServers ?? [],
    allowsPrivateWebhooks: options.allowsPrivateWebhooks ?? false,
    configFile: null,
  };
}

/** The same upstream and price for a process of its own. */
export function yamlFor({ upstream, timeoutMs = 60_000, yaml = "" }: ProcessOptions): string {
  if (upstream === undefined) return yaml;
  return `upstreams:
  - name: ${UPSTREAM}
    kind: openai
    base_url: ${upstream}
    api_key: ${UPSTREAM_KEY}
    models: ["*"]
    timeout_ms: ${timeoutMs}
prices:
  - { upstream: ${UPSTREAM}, model: ${MODEL}, input: 0.00001, output: 0.0001, output_tokens_max: 1000 }
${yaml}`;
}

type Management = (method: string, path: string, body?: object) => Promise<Record<string, string>>;

/** The management API with the installation's key. Throws what it says when it does not do it. */
function managementOf(url: string, adminKey: string): Management {
  return async (method, path, body) => {
    const answer = await fetch(`${url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Record<string, string>;
  };
}

/** `known` resolves when every replica on the database has seen what was changed. */
export function clientsOf(url: string, adminKey: string, known: () => Promise<unknown>): Clients {
  const manage = managementOf(url, adminKey);
  const client: Clients["client"] = (key, { maxRetries = 0 } = {}) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries });
  const act = async (...given: Parameters<Management>): ReturnType<Management> => {
    const answer = await manage(...given);
    await known();
    return answer;
  };
  return {
    url,
    adminKey,
    client,
    tenant: async ({ mode = "strict", guards } = {}) => {
      const made = await manage("POST", "/tenants", { name: `test ${randomUUID()}`, mode });
      const off = { derived_attempts_max: null, run_share_percent: null };
      if (guards === "off") await manage("PATCH", `/tenants/${String(made["id"])}`, off);
      const tenant = made["id"] ?? "";
      const newKey = async (terms: KeyTerms = {}): Promise<Key> => {
        const { scopes = ["invoke", "report"], expiresAt } = terms;
        const expires = expiresAt === undefined ? {} : { expires_at: expiresAt.toISOString() };
        const body = { tenant, name: "test", scopes, ...expires };
        const { id = "", key = "" } = await act("POST", "/keys", body);
        return { id, key };
      };
      const first = await newKey();
      return {
        id: tenant,
        keyId: first.id,
        key: first.key,
        client: client(first.key),
        newKey,
        revoke: async (keyId) => void (await act("DELETE", `/keys/${keyId}?tenant=${tenant}`)),
        limit: async ({ scope, id, unit, window = "none", limit, ...rest }) => {
          const { mode: enforced, onExceed, timeZone } = rest;
          const { id: limitId = "" } = await act("POST", "/limits", {
            tenant,
            scope: { kind: scope, id },
            resource: rest.resource,
            unit,
            window,
            limit,
            mode: enforced,
            on_exceed: onExceed,
            time_zone: timeZone,
          });
          return limitId;
        },
        change: async (limitId, limit) =>
          void (await act("PATCH", `/limits/${limitId}`, { tenant, limit })),
        run: async (run, { budgetUsd, labels, parent } = {}) =>
          void (await act("PUT", `/runs/${encodeURIComponent(run)}`, {
            tenant,
            budget_usd: budgetUsd,
            labels,
            parent,
          })),
        stop: async (run) =>
          void (await act("POST", `/runs/${encodeURIComponent(run)}/stop`, { tenant })),
      };
    },
  };
}
