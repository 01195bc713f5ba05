import type { Caller } from "../../src/core/caller.ts";
import { NOTHING, type Charge } from "../../src/core/charge.ts";
import type { Demand, Intent } from "../../src/core/intent.ts";
import { picousd } from "../../src/core/money.ts";
import { priceBook } from "../../src/core/price.ts";
import type { Admission, Permit } from "../../src/gate/admit.ts";
import type { Ending } from "../../src/gate/ending.ts";
import { createGateway, type Gateway } from "../../src/gate/gateway.ts";
import type { McpServer } from "../../src/gate/authority.ts";
import type { Ports } from "../../src/gate/ports.ts";
import type { Connections } from "../../src/gate/servers.ts";
import { createRandomId } from "../../src/lib/random-id.ts";
import type { Database } from "../../src/store/database.ts";
import { findOrCreateInstallation } from "../../src/store/installation.ts";
import { priceOf } from "../support/prices.ts";
import { TEST_SEAL } from "../support/seal.ts";

const randomId = createRandomId();
export const newId = () => randomId(Date.now());

/** A gateway without doors, and what a test of the gate looks at. */
export type Gate = {
  readonly gateway: Gateway;
  readonly ports: Ports;
  /** Errors of work after an answer, and warnings, in order. */
  readonly told: string[];
  /** Errors alone, of those. */
  readonly errors: string[];
  /** Resolves when the work after every answer so far is done, or has failed. */
  readonly idle: () => Promise<void>;
  /** Ends a permit and resolves when its ending is written. */
  readonly end: (permit: Permit, ending: Ending, charge?: Charge) => Promise<void>;
  readonly admit: (caller: Caller, intent?: Intent) => Promise<Admission>;
};

export type GateOptions = {
  /** Instead of the database's own connections for the gate. */
  readonly db?: Database;
  readonly upstream?: Ports["upstream"];
  readonly isClosing?: () => boolean;
  /** Servers of the tool door, and the way to them. */
  readonly servers?: readonly McpServer[];
  readonly connections?: Connections;
  readonly monotonicMs?: () => number;
};

/** `m` at upstream `up` costs 10 pico-dollars a token in and 100 out, at most 1,000 tokens out. */
export async function gateOn(db: Database, options: GateOptions = {}): Promise<Gate> {
  const { pepper } = await findOrCreateInstallation(db.admin, "pepper of the tests");
  const told: string[] = [];
  const errors: string[] = [];
  const warn = (_fields: object, message: string) => void told.push(message);
  const error = (fields: object, message: string) => {
    warn(fields, message);
    errors.push(message);
  };
  const running = new Set<Promise<void>>();
  const ports: Ports = {
    db: options.db ?? db,
    upstream: options.upstream ?? {
      dispatch: () => {
        throw new Error("this gate dispatches nothing");
      },
      close: async () => undefined,
    },
    monotonicMs: options.monotonicMs ?? (() => performance.now()),
    now: () => new Date(),
    newId,
    countTokens: async (texts) => texts.join("").length,
    runAfter: (name, work) => {
      const done = work()
        .catch((error: unknown) => void told.push(`${name} failed: ${String(error)}`))
        .finally(() => void running.delete(done));
      running.add(done);
    },
    log: { debug: () => undefined, info: () => undefined, warn, error },
    seal: TEST_SEAL,
    webhook: {
      allowsPrivate: false,
      post: () => Promise.reject(new Error("this gate sends no message")),
    },
    isClosing: options.isClosing ?? (() => false),
  };
  const upstream = {
    name: "up",
    origin: "http://127.0.0.1:9",
    basePath: "/v1",
    apiKey: null,
    headers: {},
    timeoutMs: 60_000,
    outputLimitField: "max_completion_tokens" as const,
    priceList: "up",
    sharedObjects: true,
  };
  const configuration = {
    catalogue: { upstreams: [{ name: "up", models: ["*"] }], aliases: {} },
    servers: new Map((options.servers ?? []).map((server) => [server.name, server])),
    upstreams: new Map([["up", upstream]]),
    prices: priceBook([priceOf({ upstream: "up", model: "m", outputTokensMax: 1_000 })]),
    adminDigest: "",
    pepper,
  };
  const { connections } = options;
  const gateway = await createGateway(ports, configuration, { connections });
  return {
    gateway,
    ports,
    told,
    errors,
    idle: async () => {
      await Promise.all(running);
    },
    end: async (permit, ending, charge = NOTHING) => {
      void gateway.settle(permit, ending, charge);
      await Promise.all(running);
    },
    admit: (caller, intent = intentOf()) => gateway.admit(caller, intent, () => false),
  };
}

const DEMAND: Demand = {
  inputBytes: 10,
  images: 0,
  audioInput: false,
  audioOutput: false,
  outputTokensMax: 9,
  choices: 1,
  fixed: {},
  producesTokens: true,
  serviceTier: null,
  unbounded: [],
};

/** What `intentOf()` could cost at most: 10 × 10 in and 9 × 100 out. */
export const ASK_PICOUSD = 1_000n;

type IntentTerms = Partial<Pick<Intent, "billing" | "resource">> & {
  readonly demand?: Partial<Demand>;
  readonly context?: Partial<Intent["context"]>;
};

export function intentOf(terms: IntentTerms = {}): Intent {
  return {
    door: "model",
    operation: "chat",
    billing: terms.billing ?? "metered",
    resource: terms.resource ?? "m",
    demand: { ...DEMAND, ...terms.demand },
    stream: false,
    reachesStored: false,
    inputDigest: "0".repeat(64),
    contentDigest: "0".repeat(64),
    call: () => new TextEncoder().encode("the call"),
    context: {
      run: null,
      step: null,
      parentStep: null,
      operation: null,
      tool: null,
      customer: null,
      labels: {},
      costPicousdMax: null,
      dryRun: false,
      traceId: null,
      ...terms.context,
    },
    client: { userAgent: "test", sdk: null, sdkRetryCount: 0, isCodex: false },
    tool: null,
    idempotency: null,
    effect: null,
    costStatedPicousd: null,
    act: null,
    leaseMs: null,
  };
}

export type Limits = readonly {
  readonly id: string;
  readonly scope: string;
  readonly scopeId?: string;
  readonly unit: string;
  /** `none` when absent. */
  readonly window?: string;
  readonly amount: bigint;
  readonly onExceed?: "refuse" | "clamp";
}[];

/** A tenant of a test's own, by rows: what the gate meets is not how it came about. */
export async function newTenant(gate: Gate, limits: Limits = []): Promise<Caller> {
  const { admin } = gate.ports.db;
  const tenantId = `ten_${newId()}`;
  await admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  const keyId = `key_${newId()}`;
  // A gate that looks again whether the key still holds must find it.
  await admin`
    insert into keys (tenant_id, key_id, name, digest, scopes, created_by)
    values (${tenantId}, ${keyId}, 'test', 'of no text', '{invoke}', 'test')`;
  await addLimits(gate, tenantId, limits);
  return { tenantId, keyId, scopes: ["invoke"], mode: "strict" };
}

export async function addLimits(gate: Gate, tenantId: string, limits: Limits): Promise<void> {
  const { admin } = gate.ports.db;
  for (const {
    id,
    scope,
    scopeId = "",
    unit,
    window = "none",
    amount,
    onExceed = "refuse",
  } of limits) {
    await admin`
      insert into limits (tenant_id, limit_id, scope_kind, scope_id, unit, window_kind, amount, on_exceed)
      values (${tenantId}, ${id}, ${scope}, ${scopeId}, ${unit}, ${window},
              ${amount.toString()}::text::numeric, ${onExceed})`;
  }
  await admin`update installation set revision = revision + 1`;
  await gate.gateway.authority.refresh();
}

export function permitOf(admission: Admission): Permit {
  if (admission.kind !== "admitted") throw new Error(`not admitted: ${JSON.stringify(admission)}`);
  return admission.permit;
}

export function reasonOf(admission: Admission): string {
  return admission.kind === "refused" ? admission.refusal.reason : admission.kind;
}

/** An ending as the dispatcher tells it. */
export function endingOf(
  kind: "succeeded" | "failed" | "aborted" | "released" | "unknown",
): Ending {
  const common = {
    durationMs: 1,
    firstByteMs: 1,
    status: 200,
    error: null,
    upstreamRequestId: null,
    clientLeft: false,
  };
  if (kind === "released" || kind === "unknown") return { ...common, kind };
  const reading = {
    usage: null,
    model: null,
    serviceTier: null,
    responseId: null,
    providerCostUsd: null,
    progress: "complete",
    error: null,
  } as const;
  return { ...common, kind, reading, text: () => "" };
}

export function chargeOf(cost: bigint): Charge {
  return {
    basis: "computed",
    costPicousd: picousd(cost),
    tokens: 7,
    usage: { input: 7 },
    priceVersion: "v",
  };
}
