import { Hono } from "hono";
import { priceSnapshot } from "../../src/core/price-snapshot.ts";
import { priceBook } from "../../src/core/price.ts";
import { createAdministration, type Administration } from "../../src/gate/administration.ts";
import type { McpServer } from "../../src/gate/authority.ts";
import { createGateway, type Gateway } from "../../src/gate/gateway.ts";
import type { Ports } from "../../src/gate/ports.ts";
import { createManagement, createDocs } from "../../src/http/docs.ts";
import type { Env } from "../../src/http/env.ts";
import { phraseThrown } from "../../src/http/errors.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { BODIES_HELD_BYTES_MAX } from "../../src/core/limits.ts";
import { createBodyBudget } from "../../src/entry/body-node.ts";
import { PACE } from "../../src/entry/body-pace.ts";
import { createWebExchange } from "../../src/entry/worker/exchange-web.ts";
import { createDocsAssets } from "../../src/entry/docs-assets.ts";
import { hmacSha256Hex } from "../../src/lib/hash.ts";
import { createRandomId } from "../../src/lib/random-id.ts";
import type { Database } from "../../src/store/database.ts";
import { findOrCreateInstallation } from "../../src/store/installation.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { settle, type Settlement } from "../../src/store/settlement.ts";
import { TEST_SEAL } from "./seal.ts";

export const ADMIN_KEY = "installation-key-of-the-tests-0123456789";

/** A JSON answer, of which a test looks at what it expects: a wrong path is undefined, and fails there. */
// oxlint-disable-next-line typescript/no-explicit-any -- the assertion on each member is its check
export type Json = any;

export type Answer = { readonly status: number; readonly body: Json; readonly headers: Headers };

/** The management API on a database, without a socket: the product's own routes, gate and ledger. */
export type Management = {
  readonly gateway: Gateway;
  readonly administration: Administration;
  readonly document: Json;
  readonly call: (
    key: string | null,
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<Answer>;
  /** The same with the body's own bytes. */
  readonly send: (path: string, init: RequestInit) => Promise<Answer>;
  /** A tenant with a key of these scopes. */
  readonly newTenant: (scopes?: readonly string[]) => Promise<{
    readonly id: string;
    readonly name: string;
    readonly key: string;
    readonly keyId: string;
  }>;
  /** Posts an ask as the gate does; answers its attempt. */
  readonly admit: (ask: Partial<Ask> & Pick<Ask, "tenantId" | "keyId">) => Promise<string>;
  readonly settle: (
    settlement: Partial<Settlement> & Pick<Settlement, "tenantId" | "attemptId">,
  ) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** A body is here at once or never comes: nobody waits a minute for one of these. */
const BODY_IDLE_MS = 500;

const randomId = createRandomId();
const newId = () => randomId(Date.now());

export async function createTestManagement(
  db: Database,
  mcpServers: readonly McpServer[] = [],
  ports: Partial<Ports> = {},
): Promise<Management> {
  const { pepper } = await findOrCreateInstallation(db.admin, "pepper of the tests");
  const gateway = await createGateway(
    { ...portsOn(db), ...ports },
    {
      catalogue: { upstreams: [], aliases: {} },
      servers: new Map(mcpServers.map((server) => [server.name, server])),
      upstreams: new Map(),
      prices: priceBook(priceSnapshot()),
      adminDigest: hmacSha256Hex(pepper, ADMIN_KEY),
      pepper,
    },
  );
  const administration = createAdministration({
    db,
    newId,
    now: () => new Date(),
    seal: TEST_SEAL,
    webhook: { allowsPrivate: false },
    refresh: gateway.refresh,
    configuration: gateway.authority.configuration,
  });
  const { api, document } = createManagement();
  const described: Json = JSON.parse(document());
  const app = new Hono<Env>();
  app.onError((error) => {
    const { status, headers, body } = phraseThrown(error, "req_test");
    if (status === 500) throw error;
    return new Response(body, { status, headers });
  });
  app.route("/api", api);
  app.route("/", createDocs(document, createDocsAssets()));
  const ledger = createLedger(db);
  const bodies = createBodyBudget({
    ...PACE,
    idleMsMax: BODY_IDLE_MS,
    heldBytesMax: BODIES_HELD_BYTES_MAX,
  });
  const send = async (path: string, init: RequestInit): Promise<Answer> => {
    const request = new Request(new URL(path, "http://localhost"), init);
    const { exchange, release } = createWebExchange(request, bodies);
    const bindings = { gateway, administration, ledger, exchange };
    const response = await app.request(request, undefined, bindings);
    release();
    const text = await response.text();
    refuseUndeclared(described, request, response);
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    return {
      status: response.status,
      body: isJson === true ? JSON.parse(text) : text,
      headers: response.headers,
    };
  };
  const call: Management["call"] = (key, method, path, body) =>
    send(path, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return {
    gateway,
    administration,
    document: described,
    call,
    send,
    newTenant: async (scopes = ["invoke", "report", "admin"]) => {
      const tenant = await call(ADMIN_KEY, "POST", "/api/tenants", { name: `tenant ${newId()}` });
      if (tenant.status !== 201) throw new Error(JSON.stringify(tenant.body));
      const { id, name } = tenant.body;
      const key = await call(ADMIN_KEY, "POST", "/api/keys", { tenant: id, name: "first", scopes });
      if (key.status !== 201) throw new Error(JSON.stringify(key.body));
      return { id, name, key: key.body.key, keyId: key.body.id };
    },
    admit: async (given) => {
      const ask: Ask = {
        ...PLAIN_ASK,
        attemptId: `att_${newId()}`,
        runId: `run_${newId()}`,
        ...given,
      };
      const [posted] = await post(db.gate, gateway.replicaId, [ask]);
      if (posted === undefined || posted.outcome === "again") throw new Error("nothing was posted");
      return ask.attemptId;
    },
    settle: async (given) => {
      const [settled] = await settle(db.gate, [{ ...PLAIN_SETTLEMENT, ...given }]);
      if (settled?.outcome !== "settled" && settled?.outcome !== "corrected") {
        throw new Error(`not settled: ${settled?.outcome}`);
      }
    },
    close: () => gateway.close(),
  };
}

/** Each answer of a route is one that the OpenAPI document tells of. */
function refuseUndeclared(document: Json, { method, url }: Request, { status }: Response): void {
  const { pathname } = new URL(url);
  const [route] = Object.keys(document.paths)
    .filter((path) => new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(pathname))
    // `/policies/diff` before `/policies/{version}`.
    .toSorted((a, b) => a.split("{").length - b.split("{").length);
  const declared = route === undefined ? undefined : document.paths[route][method.toLowerCase()];
  if (declared === undefined || String(status) in declared.responses) return;
  throw new Error(`${method} ${route} answers ${status}, of which its document tells nothing`);
}

const PLAIN_ASK: Omit<Ask, "tenantId" | "keyId" | "attemptId" | "runId"> = {
  runNamed: false,
  stepId: null,
  stepDigest: null,
  contentDigest: null,
  retryResource: "model:m",
  door: "model",
  operation: "chat",
  resource: "gpt-4o",
  upstream: "openai",
  model: "gpt-4o",
  judgedReason: null,
  costPicousd: 1_000_000_000n,
  tokens: 1_000,
  priceVersion: "0123456789abcdef0123456789abcdef",
  final: true,
  deadlineMs: 600_000,
  record: JSON.stringify({ estimate: { basis: "bound", clamped_to: null } }),
  refs: [],
  extra: null,
};

const PLAIN_SETTLEMENT: Omit<Settlement, "tenantId" | "attemptId"> = {
  ending: "succeeded",
  basis: "computed",
  costPicousd: 250_000_001n,
  tokens: 120,
  requests: 1,
  priceVersion: "0123456789abcdef0123456789abcdef",
  usage: JSON.stringify({ input: 100, output: 20 }),
  record: "{}",
};

/** The ports that a test of administration meets: no upstream is ever called here. */
function portsOn(db: Database): Ports {
  return {
    db,
    upstream: {
      dispatch: () => {
        throw new Error("administration calls no upstream");
      },
      close: async () => undefined,
    },
    monotonicMs: () => performance.now(),
    now: () => new Date(),
    newId,
    countTokens: () => Promise.reject(new Error("administration counts no tokens")),
    runAfter: (name, work) => {
      void work().catch((error: unknown) => {
        throw new Error(`work ${name} failed`, { cause: error });
      });
    },
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: () => undefined,
    },
    seal: TEST_SEAL,
    webhook: {
      allowsPrivate: false,
      post: () => Promise.reject(new Error("administration sends no message")),
    },
    isClosing: () => false,
  };
}
