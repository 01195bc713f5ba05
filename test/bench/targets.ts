/** What is measured: how each target is started, called, and asked afterwards whether it did its work. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT, soundBundleIn } from "../../src/entry/bundle.js";
import { startPostgres } from "../support/postgres.ts";
import { aboutPostgres } from "./about-postgres.ts";
import {
  freePort,
  LOOPBACK,
  portOf,
  readyAt,
  startModule,
  startNode,
  type Child,
} from "./child.ts";

import { countDurableRows, createDurableTables } from "./durable-rows.ts";
import { SERVER, TOOL } from "./tool-call.ts";

export const TARGET_NAMES = ["direct", "raw", "durable", "tollgate", "portkey"] as const;
export type TargetName = (typeof TARGET_NAMES)[number];

export type Target = {
  readonly name: TargetName;
  readonly origin: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly gatewayPid: number | null;
  readonly databasePid: number | null;
  /** The program's own version, for the report. */
  readonly version: string | null;
  /** What a reader must know of this target to read its figures; null when there is nothing. */
  readonly note: string | null;
  /**
   * Called when all is measured: throws when the target did less than it was measured for, and says
   * what it did otherwise, for the report.
   */
  readonly evidence: () => Promise<Evidence>;
};

export type Evidence = Readonly<Record<string, unknown>> | null;

/** Registers what must be ended, whatever happens; ended in the opposite order. */
export type Defer = (end: () => Promise<void>) => void;

const PATH = "/v1/chat/completions";
const UPSTREAM_KEY = "sk-bench-upstream";
const noEvidence = (): Promise<null> => Promise.resolve(null);

export const startTarget = (
  name: TargetName,
  upstreamPort: number,
  defer: Defer,
): Promise<Target> => {
  switch (name) {
    case "direct":
      return Promise.resolve(direct(upstreamPort));
    case "raw":
      return startRaw(upstreamPort, defer);
    case "durable":
      return startDurable(upstreamPort, defer);
    case "tollgate":
      return startTollgate(upstreamPort, defer, 1);
    case "portkey":
      return startPortkey(upstreamPort, defer);
  }
};

const bearer = (key: string): readonly string[] => ["authorization", `Bearer ${key}`];

const direct = (upstreamPort: number): Target => ({
  name: "direct",
  origin: `http://${LOOPBACK}:${upstreamPort}`,
  path: PATH,
  headers: bearer(UPSTREAM_KEY),
  gatewayPid: null,
  databasePid: null,
  version: null,
  note: null,
  evidence: noEvidence,
});

const startRaw = async (upstreamPort: number, defer: Defer): Promise<Target> => {
  const child = startModule("./raw-proxy.ts", [`http://${LOOPBACK}:${upstreamPort}`]);
  defer(child.stop);
  return {
    ...direct(await portOf(child)),
    name: "raw",
    gatewayPid: child.pid,
    version: `node:http + undici ${await versionOf("undici")}`,
  };
};

/** The raw proxy, with what a gateway cannot leave out that decides before it spends: its two rows. */
const startDurable = async (upstreamPort: number, defer: Defer): Promise<Target> => {
  const databaseUrl = await startDatabase(defer);
  await createDurableTables(databaseUrl);
  const database = await aboutPostgres(databaseUrl);
  const child = startModule("./raw-proxy.ts", [`http://${LOOPBACK}:${upstreamPort}`, databaseUrl]);
  defer(child.stop);
  return {
    ...direct(await portOf(child)),
    name: "durable",
    gatewayPid: child.pid,
    databasePid: database.pid,
    version: `the same, PostgreSQL ${database.version}, ${database.durability}`,
    note: "a row of 1 KB committed before each call is forwarded, one of 256 bytes after it: nothing judged, nothing counted.",
    evidence: () => durableEvidence(databaseUrl),
  };
};

/** Every call has both of its rows, or what was measured was no such gateway. */
const durableEvidence = async (databaseUrl: string): Promise<Evidence> => {
  const { decided, settled } = await countDurableRows(databaseUrl);
  if (decided === 0 || decided !== settled) {
    throw new Error(`${decided} calls were decided and ${settled} settled`);
  }
  return { decided, settled };
};

/** A PostgreSQL of a target's own, with fsync on. */
const startDatabase = async (defer: Defer): Promise<string> => {
  const cluster = await startPostgres();
  defer(cluster.stop);
  const { host, port, user } = cluster.address;
  return `postgres://${user}@${host}:${port}/postgres`;
};

/** The version in the package.json of an installed package. */
const versionOf = async (name: string): Promise<string> => {
  const text = await readFile(join(packageRoot(name), "package.json"), "utf8");
  return String((JSON.parse(text) as { version?: unknown }).version);
};

const packageRoot = (name: string): string =>
  fileURLToPath(new URL(`../../node_modules/${name}`, import.meta.url));

/** Both found in its published build; the first is most of what one lone connection sees. */
const PORTKEY_NOTE =
  "its code waits 25 ms before the first event of every stream, so at 1 connection its streams per second " +
  "are that wait: compare streams at 64 and more, and CPU. Its issue 1389 (every stream answered 500) " +
  "is worked around by a preload that copies headers.";

/** The published gateway, nothing on: no guardrail, cache, retry, log or console. See its preload. */
const startPortkey = async (upstreamPort: number, defer: Defer): Promise<Target> => {
  const port = await freePort();
  const child = startNode(
    [
      "--import",
      new URL("./portkey-preload.ts", import.meta.url).href,
      join(packageRoot("@portkey-ai/gateway"), "build", "start-server.js"),
      `--port=${port}`,
      "--headless",
    ],
    { NODE_ENV: "production" },
  );
  defer(child.stop);
  const origin = `http://${LOOPBACK}:${port}`;
  await readyAt(child, `${origin}/`);
  return {
    name: "portkey",
    origin,
    path: PATH,
    headers: [
      ...bearer(UPSTREAM_KEY),
      "x-portkey-provider",
      "openai",
      "x-portkey-custom-host",
      `http://${LOOPBACK}:${upstreamPort}/v1`,
    ],
    gatewayPid: child.pid,
    databasePid: null,
    version: `@portkey-ai/gateway ${await versionOf("@portkey-ai/gateway")}, nothing on`,
    note: PORTKEY_NOTE,
    evidence: noEvidence,
  };
};

const ADMIN_KEY = "bench-admin-key-0123456789-0123456789-0123456789";
const RUN = "bench";
/** Limits that no run of the bench reaches: what is measured is the counting, not the refusing. */
const BUDGET_USD = "1000000";
const REQUESTS_QUOTA = "1000000000";

/** What a Tollgate is started with, and where it will listen; it may be started more than once. */
export type Installation = {
  readonly origin: string;
  readonly databaseUrl: string;
  readonly launch: (processes: number) => Child;
};

/** With a PostgreSQL of its own, and a configuration with one upstream and what more is given. */
export const installTollgate = async (
  upstreamPort: number,
  defer: Defer,
  yaml = "",
): Promise<Installation> => {
  const databaseUrl = await startDatabase(defer);
  const home = await mkdtemp(join(tmpdir(), "tollgate-bench-"));
  defer(() => rm(home, { recursive: true, force: true }));
  const config = join(home, "tollgate.yaml");
  await writeFile(config, `${configOf(upstreamPort)}${yaml}`);
  const port = await freePort();
  const started = await startArguments();
  const launch = (processes: number): Child => {
    const child = startNode(started, {
      HOST: LOOPBACK,
      PORT: String(port),
      DATABASE_URL: databaseUrl,
      TOLLGATE_PROCESSES: String(processes),
      TOLLGATE_ADMIN_KEY: ADMIN_KEY,
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA: home,
      LOG_LEVEL: "warn",
    });
    defer(child.stop);
    return child;
  };
  return { origin: `http://${LOOPBACK}:${port}`, databaseUrl, launch };
};

/** What `npm start` gives to node, so that what is measured is what is run: the bundle, as after `npm ci`. */
const startArguments = async (): Promise<readonly string[]> => {
  if (soundBundleIn(ROOT) === null) throw new Error("no bundle of these sources: npm run build");
  const { scripts } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as {
    scripts: { start: string };
  };
  const [node, ...words] = scripts.start.split(" ");
  if (node !== "node") throw new Error("npm start does not start node");
  return words.map((word) => (word.startsWith("src/") ? join(ROOT, word) : word));
};

/** Tollgate as an operator runs it, everything on and durable, in so many processes. */
export const startTollgate = async (
  upstreamPort: number,
  defer: Defer,
  processes: number,
): Promise<Target> => {
  const { origin, databaseUrl, launch } = await installTollgate(upstreamPort, defer);
  const database = await aboutPostgres(databaseUrl);
  const child = launch(processes);
  await readyAt(child, `${origin}/readyz`);
  const { tenant, key } = await provision(origin);
  return {
    name: "tollgate",
    origin,
    path: PATH,
    headers: [...bearer(key), "tollgate-run", RUN],
    gatewayPid: child.pid,
    databasePid: database.pid,
    version: `${processes === 1 ? "one process" : `${processes} processes`}, everything on, PostgreSQL ${database.version}, ${database.durability}`,
    note: "key, tenant budget in USD, requests quota of the tenant and run budget on the path.",
    evidence: () => tollgateEvidence(origin, tenant),
  };
};

export type ToolGate = {
  readonly endpoint: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
  };
  readonly version: string;
  /** Of the gateway and of its database. */
  readonly pids: readonly number[];
  readonly evidence: Target["evidence"];
};

/** The same, with an MCP server behind it whose one tool is declared and priced, so that the budgets count. */
export const startToolGate = async (serverUrl: string, defer: Defer): Promise<ToolGate> => {
  const yaml = `mcp_servers:\n  - { name: ${SERVER}, url: "${serverUrl}" }\n`;
  // No model is called: nobody listens on the port of the upstream.
  const upstreamPort = await freePort();
  const { origin, databaseUrl, launch } = await installTollgate(upstreamPort, defer, yaml);
  const database = await aboutPostgres(databaseUrl);
  const child = launch(1);
  await readyAt(child, `${origin}/readyz`);
  const { tenant, key } = await provision(origin);
  const discovered = await api(origin, "POST", `/mcp-servers/${SERVER}/discover`, { tenant });
  const { tools } = discovered as { tools: readonly unknown[] };
  const definition = textMember(tools[0], "sha256");
  const declared = { effect: "pure", price_usd: "0.000001", definition };
  await api(origin, "PUT", `/tools/${SERVER}%2F${TOOL}?tenant=${tenant}`, declared);
  return {
    endpoint: {
      url: `${origin}/mcp/${SERVER}`,
      headers: { authorization: `Bearer ${key}`, "tollgate-run": RUN },
    },
    version: `one process, everything on, PostgreSQL ${database.version}, ${database.durability}`,
    pids: [child.pid, database.pid].filter((pid) => pid !== null),
    evidence: () => tollgateEvidence(origin, tenant),
  };
};

const configOf = (upstreamPort: number): string =>
  [
    "upstreams:",
    "  - name: openai",
    "    kind: openai",
    `    base_url: http://${LOOPBACK}:${upstreamPort}/v1`,
    `    api_key: ${UPSTREAM_KEY}`,
    '    models: ["*"]',
    "",
  ].join("\n");

const api = async (
  origin: string,
  method: "GET" | "POST" | "PUT",
  path: string,
  body?: Readonly<Record<string, unknown>>,
): Promise<unknown> => {
  const response = await fetch(`${origin}/api${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} /api${path}: ${response.status} ${text}`);
  return JSON.parse(text);
};

const textMember = (value: unknown, name: string): string => {
  const member = (value as Readonly<Record<string, unknown>>)[name];
  if (typeof member !== "string") throw new Error(`no ${name} in ${JSON.stringify(value)}`);
  return member;
};

/** A tenant with a money budget and a requests quota, a run with a budget, a key that may only call. */
const provision = async (origin: string): Promise<{ tenant: string; key: string }> => {
  const tenant = textMember(await api(origin, "POST", "/tenants", { name: "bench" }), "id");
  const made = await api(origin, "POST", "/keys", { tenant, name: "bench", scopes: ["invoke"] });
  const scope = { kind: "tenant" };
  const budget = { tenant, scope, unit: "usd", window: "none", limit: BUDGET_USD };
  await api(origin, "POST", "/limits", budget);
  const quota = { tenant, scope, unit: "requests", window: "day", limit: REQUESTS_QUOTA };
  await api(origin, "POST", "/limits", quota);
  await api(origin, "PUT", `/runs/${RUN}`, { tenant, budget_usd: BUDGET_USD });
  return { tenant, key: textMember(made, "key") };
};

/** Every limit must have counted, or what was measured was not the gate with everything on. */
const tollgateEvidence = async (origin: string, tenant: string): Promise<Evidence> => {
  const answer = await api(origin, "GET", `/limits?tenant=${encodeURIComponent(tenant)}`);
  const limits = Array.isArray(answer) ? answer : (answer as { data?: unknown }).data;
  if (!Array.isArray(limits) || limits.length === 0) {
    throw new Error(`no limits in ${JSON.stringify(answer)}`);
  }
  for (const limit of limits as Readonly<Record<string, unknown>>[]) {
    if (!(Number(limit["committed"]) > 0)) {
      throw new Error(`a limit on the path counted nothing: ${JSON.stringify(limit)}`);
    }
  }
  return { limits };
};

/** `hold`: its streams stand after their first event until `releaseStreams`; `paced`: see `chunks.ts`. */
export const startUpstream = async (
  defer: Defer,
  mode?: "hold" | "paced",
): Promise<{ port: number; pid: number }> => {
  const child = startModule("./mock-upstream.ts", mode === undefined ? [] : [mode]);
  defer(child.stop);
  return { port: await portOf(child), pid: child.pid };
};

/** Lets the streams of an upstream that holds them go on to their end; answers how many they were. */
export const releaseStreams = async (upstreamPort: number): Promise<number> => {
  const response = await fetch(`http://${LOOPBACK}:${upstreamPort}/release`, { method: "POST" });
  const told = (await response.json()) as { released?: unknown };
  if (typeof told.released !== "number") throw new Error("the upstream did not say what it let go");
  return told.released;
};

/** Calls that the mock upstream answered so far. */
export const servedBy = async (upstreamPort: number): Promise<number> => {
  const response = await fetch(`http://${LOOPBACK}:${upstreamPort}/served`);
  const told = (await response.json()) as { served?: unknown };
  if (typeof told.served !== "number") throw new Error("the upstream did not say what it served");
  return told.served;
};
