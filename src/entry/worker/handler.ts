/** The two events of a Worker: a request, and the clock's turn. */
import { tellBudgetsTurn } from "../../ledger/budget-alerts.ts";
import { tellReportsTurn } from "../../ledger/scheduled-reports.ts";
import { rollUpTurn, tellStaleTurn } from "../../ledger/roll-up.ts";
import { createDeliverer } from "../../gate/deliver.ts";
import type { Ports } from "../../gate/ports.ts";
import { Unavailable } from "../../gate/unavailable.ts";
import type { Gateway } from "../../gate/gateway.ts";
import type { Env, Health } from "../../http/env.ts";
import { phraseThrown } from "../../http/errors.ts";
import { createLedger } from "../../ledger/ledger.ts";
import { createRandomId } from "../../lib/random-id.ts";
import { createAdministration } from "../../gate/administration.ts";
import { appliedVersion } from "../../store/applied-version.ts";
import type { Database } from "../../store/database.ts";
import { ConfigError } from "../config.ts";
import { refuseAbsent } from "./absent.ts";
import { createWebExchange, type WebExchange } from "./exchange-web.ts";
import { createIsolate, monotonicMs, openGateway, type Isolate } from "./isolate.ts";
import { live, type Life } from "./life.ts";
import { createConsoleLog } from "./log-console.ts";
import type { Bindings, Context } from "./platform.ts";

export type WorkerHandler = {
  readonly fetch: (request: Request, bindings: Bindings, context: Context) => Promise<Response>;
  /** The sweep, the messages of the outbox and the roll-ups, by the minute: nobody else does it for a Worker. */
  readonly scheduled: (event: unknown, bindings: Bindings, context: Context) => Promise<void>;
};

/** `yaml`: the text of `tollgate.yaml` as part of the program, for one that is too long for a variable. */
export function createWorker(yaml: string | null = null): WorkerHandler {
  // All that is kept between requests. Made by the first of them: a Worker may do no work before.
  let isolate: Isolate | null = null;
  const isolateOn = (bindings: Bindings): Isolate => {
    isolate ??= createIsolate(bindings, yaml);
    return isolate;
  };
  return {
    fetch: async (request, bindings, context) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/healthz") return Response.json({ status: "ok" });
      try {
        refuseAbsent(pathname);
        const current = isolateOn(bindings);
        const web = createWebExchange(request, current.bodies);
        const served = live(context, monotonicMs, async (life) => {
          life.atEnd(async () => web.release());
          return serve(current, life, { request, bindings, web });
        });
        // A proxied answer is given at its head; the app returns after its last byte.
        return await Promise.race([web.answered, served]);
      } catch (error) {
        return phrased(error);
      }
    },
    scheduled: async (_, bindings, context) => {
      const current = isolateOn(bindings);
      await live(context, monotonicMs, async (life) => {
        const { gateway, ports } = await openGateway(current, bindings, life);
        await gateway.sweep();
        await rollUpTurn(ports.db);
        await tellStaleTurn(ports.db);
        await tellBudgetsTurn(ports.db, ports.newId);
        await deliverDue(ports);
        // Last: reports take longest, and what they tell is delivered a minute later.
        await tellReportsTurn(ports.db, ports.newId);
      });
    },
  };
}

/** Whoever has more than this to be told in a minute is told it in the next one. */
const DELIVERY_TURNS_MAX = 8;

async function deliverDue(ports: Ports): Promise<void> {
  const deliverer = createDeliverer(ports);
  for (let turn = 0; turn < DELIVERY_TURNS_MAX; turn += 1) {
    const taken = await deliverer.turn();
    await deliverer.drained();
    if (taken === 0) break;
  }
  await deliverer.forget();
}

type Served = {
  readonly request: Request;
  readonly bindings: Bindings;
  readonly web: WebExchange;
};

async function serve(isolate: Isolate, life: Life, served: Served): Promise<Response> {
  const { request, bindings, web } = served;
  try {
    const { db, ports, gateway } = await openGateway(isolate, bindings, life);
    const administration = createAdministration({
      ...ports,
      refresh: gateway.refresh,
      configuration: gateway.authority.configuration,
    });
    const bound: Env["Bindings"] = {
      gateway,
      administration,
      ledger: createLedger(db),
      health: healthOf(gateway, db),
      exchange: web.exchange,
    };
    return await isolate.app.fetch(request, bound);
  } catch (error) {
    isolate.log.error({ error }, "the gate could not be opened");
    return phrased(error);
  }
}

function healthOf(gateway: Gateway, db: Database): Health {
  return {
    isClosing: () => false,
    readiness: async () => {
      const why = await gateway.hindrance();
      if (why !== null) return { kind: "not_ready", why };
      return { kind: "ready", schemaVersion: await appliedVersion(db.control) };
    },
    // Of this one request: nobody is shown them, see `absent.ts`.
    figures: async () => gateway.trust(),
  };
}

/** What no route answered: the gate could not be opened, or there is no such place here. */
function phrased(error: unknown): Response {
  const requestId = `req_${createRandomId()(Date.now())}`;
  if (error instanceof ConfigError) {
    createConsoleLog("error").error({ requestId }, error.message);
    const told = "Tollgate is not configured here: the Worker's log says what to mend.";
    return phrased(new Unavailable(error.message, { told }));
  }
  const { status, headers, body } = phraseThrown(error, requestId);
  return new Response(body, { status, headers: { ...headers, "x-request-id": requestId } });
}
