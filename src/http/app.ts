/** Every route on one page (those below `/api` in `docs.ts`), and the one place where what was thrown is answered. */
import { Hono, type ErrorHandler } from "hono";

import { InputError } from "../core/errors.ts";
import type { Gateway } from "../gate/gateway.ts";
import type { Log } from "../gate/ports.ts";
import { unreachable } from "../lib/assert.ts";
import { keepAnswer } from "../lib/kept.ts";
import type { ReadAsset } from "./docs.ts";
import type { Env, Health } from "./env.ts";
import { needsLog, phraseThrown } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { ToolDoor } from "./mcp.ts";
import { metricsText } from "./metrics.ts";
import { createModelDoor, send, type ModelDoorParts } from "./proxy.ts";

/** When a process that is not ready is worth probing again. */
const RETRY_AFTER_S = "1";

/**
 * How long what a probe found is told again, in ms: who probes needs no key, and each probe is a query.
 * Far below the seconds between two probes of whoever means it.
 */
const PROBE_KEPT_MS = 500;

export type AppParts = ModelDoorParts & {
  readonly log: Log;
  readonly newId: () => string;
  /** A file of the API page, which is served from this machine and not from somebody's network. */
  readonly readAsset: ReadAsset;
  /** Null where no MCP server is configured, or none can be reached from here. */
  readonly toolDoor: ToolDoor | null;
};

export type App = {
  /** Any request, by the routes below. */
  readonly fetch: Hono<Env>["fetch"];
  /**
   * A request that is the model door's by `isModelPath`, without the router and the web objects that only
   * the other routes need: they were a sixth of what a call cost. Rejects where
   * what failed cannot be answered any more.
   */
  readonly callModel: (gateway: Gateway, exchange: Exchange) => Promise<void>;
  /** Loads what is below `/api` before somebody asks for it, which holds the loop for a tenth of a second. */
  readonly loadManaged: () => Promise<unknown>;
};

/**
 * Whether a request is plainly the model door's: no other route begins like this, and no server would
 * read another path in it (no dot segment, nothing encoded). What it does not know goes by the routes,
 * the last of which is the model door's too.
 */
export function isModelPath(url: string): boolean {
  return (
    !isToolPath(url) && /^\/(?:v1|run|openai)(?:\/[\w:-][\w.:-]*)+(?:\?[\w.:=&-]*)?$/.test(url)
  );
}

/** Whether a path is the tool door's: `/mcp/{server}`, also below `/run/{run}`. */
export function isToolPath(url: string): boolean {
  return /^(?:\/+run\/[^/?]+(?:\/step\/[^/?]+)?)?\/mcp\/[^/?]+\/?(?:\?|$)/.test(url);
}

export function createApp({ log, newId, readAsset, toolDoor, ...door }: AppParts): App {
  const app = new Hono<Env>();
  const modelDoor = createModelDoor(door);
  const probesOf = createProbes(door.monotonicMs);
  const phraseFailed = (error: unknown, requestId: string, path: string) => {
    if (needsLog(error)) log.error({ error, requestId, path }, "a request failed");
    return phraseThrown(error, requestId);
  };

  const onError: ErrorHandler<Env> = (error, c) => {
    const requestId = c.get("requestId") ?? `req_${newId()}`;
    const { status, headers, body } = phraseFailed(error, requestId, c.req.path);
    return new Response(body, { status, headers: { ...headers, "x-request-id": requestId } });
  };
  app.onError(onError);

  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    if (c.env.health.isClosing()) {
      return c.json({ status: "closing" }, 503, { "retry-after": RETRY_AFTER_S });
    }
    const readiness = await probesOf(c.env).readiness();
    switch (readiness.kind) {
      case "ready":
        return c.json({ status: "ready", schema_version: readiness.schemaVersion });
      case "not_ready":
        return c.json({ status: "not_ready", why: readiness.why }, 503, {
          "retry-after": RETRY_AFTER_S,
        });
      default:
        return unreachable(readiness);
    }
  });
  app.get("/metrics", async (c) => {
    const figures = await c.env.health.figures();
    const probes = probesOf(c.env);
    const stored = {
      reservations: await probes.openReservations(),
      waiting: await probes.waiting(),
    };
    const text = metricsText(figures, stored);
    return c.text(text, 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });
  // Thirty files of routes and their schemas, which no model call needs: a start does not wait for them.
  let managed: Promise<Hono<Env>["fetch"]> | null = null;
  const loadManaged = () =>
    (managed ??= import("./managed.ts").then(({ createManaged }) =>
      createManaged({ newId, readAsset, onError }),
    ));
  app.on("ALL", ["/api/*", "/openapi.json", "/docs", "/docs/*"], async (c) => {
    const fetch = await loadManaged();
    return fetch(c.req.raw, c.env);
  });
  app.use("*", async (c, next) => {
    if (!isToolPath(c.req.path)) return next();
    if (toolDoor !== null) return toolDoor(c);
    const message =
      "No MCP server is configured here: name one under `mcp_servers` in tollgate.yaml.";
    throw new InputError("unknown_url", null, message);
  });
  // Everything else is the model door's: with and without /v1, under /run/{run}, in Azure's shape.
  app.all("*", (c) => {
    const requestId = `req_${newId()}`;
    c.set("requestId", requestId);
    return modelDoor(c.env.gateway, c.env.exchange, requestId);
  });
  return {
    fetch: app.fetch,
    loadManaged,
    callModel: async (gateway, exchange) => {
      const requestId = `req_${newId()}`;
      try {
        await modelDoor(gateway, exchange, requestId);
      } catch (error) {
        send(exchange, phraseFailed(error, requestId, exchange.url), requestId);
      }
    },
  };
}

type Bound = Env["Bindings"];
type Probes = Pick<Health, "readiness"> & Pick<Bound["ledger"], "openReservations" | "waiting">;

/**
 * Asked for by one query at a time, whoever probes. By what the app is bound to: on Node that is one for
 * life; where each request has its own, nothing is shared, because its sockets may not be.
 */
function createProbes(monotonicMs: () => number): (bound: Bound) => Probes {
  const known = new WeakMap<Health, Probes>();
  const keeping = { msMax: PROBE_KEPT_MS, monotonicMs };
  return ({ health, ledger }) => {
    const probes = known.get(health) ?? {
      readiness: keepAnswer(health.readiness, keeping),
      openReservations: keepAnswer(ledger.openReservations, keeping),
      waiting: keepAnswer(ledger.waiting, keeping),
    };
    known.set(health, probes);
    return probes;
  };
}
