import { afterAll, beforeAll } from "vitest";
import { describeOnPostgres, type TestDatabase } from "../support/databases.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { startTollgate, type Clients } from "../support/tollgate.ts";
import { bundleWorker, startWorker, type Bundle } from "./workers.ts";

export type RuntimeKind = "Node" | "workerd";

/** How long an upstream has for an answer, where a test waits for that. */
const HASTY_MS = 1_000;

/** The whole program on one runtime, its database and its upstream. Read inside tests and hooks. */
export type Runtime = Clients & {
  readonly kind: RuntimeKind;
  readonly database: TestDatabase;
  readonly upstream: ScriptedUpstream;
  /** A second gateway on the same database, whose upstream has `HASTY_MS`. */
  readonly hasty: Clients;
  /** A third one, whose upstream is not there. */
  readonly away: Clients;
  readonly sweep: () => Promise<void>;
};

type Gateway = Clients & {
  readonly sweep: () => Promise<void>;
  readonly close: () => Promise<void>;
};

type Terms = { readonly upstream: string; readonly timeoutMs?: number };

/** Nothing listens on port 1: a connection to it is refused. */
const NOWHERE = "http://127.0.0.1:1/v1";

/** The same suite on Node and on workerd, each on a PostgreSQL database of its own. */
export function describeEachRuntime(name: string, suite: (runtime: Runtime) => void): void {
  for (const kind of ["Node", "workerd"] as const) {
    describeOnPostgres(`${name} on ${kind}`, (database) => {
      let runtime: Runtime | undefined;
      const closing: (() => Promise<void>)[] = [];
      beforeAll(async () => {
        const upstream = await startScriptedUpstream();
        closing.push(upstream.close);
        const start = kind === "Node" ? onNode(database) : await onWorkerd(database);
        const each = async (terms: Terms) => {
          const gateway = await start(terms);
          closing.push(gateway.close);
          return gateway;
        };
        const main = await each({ upstream: upstream.url });
        const hasty = await each({ upstream: upstream.url, timeoutMs: HASTY_MS });
        const away = await each({ upstream: NOWHERE });
        runtime = { ...main, kind, database, upstream, hasty, away };
      });
      afterAll(async () => {
        for (const close of closing.toReversed()) await close();
      });
      suite(
        new Proxy({} as Runtime, {
          get: (_, member) => {
            if (runtime === undefined)
              throw new Error("a runtime is there in tests and hooks only");
            return runtime[member as keyof Runtime];
          },
        }),
      );
    });
  }
}

function onNode(database: TestDatabase) {
  return async (terms: Terms): Promise<Gateway> => {
    // A test may leave a call whose upstream never answers: it is cut, and not waited for.
    const tollgate = await startTollgate({ database, drainMsMax: 1_000, ...terms });
    return { ...tollgate, sweep: async () => void (await tollgate.gateway.sweep()) };
  };
}

/** One for all suites of a file: it takes three seconds. */
let bundled: Promise<Bundle> | undefined;

async function onWorkerd(database: TestDatabase) {
  const { address } = database;
  if (address.kind !== "url") throw new Error("workerd reaches PostgreSQL only");
  const databaseUrl = address.url;
  bundled ??= bundleWorker();
  const bundle = await bundled;
  return (terms: Terms): Promise<Gateway> => startWorker({ bundle, databaseUrl, ...terms });
}

/** The endings of a tenant's attempts, as `ending/basis`, in the order of their decisions. */
export async function endingsOf({ db }: TestDatabase, tenantId: string): Promise<string[]> {
  const rows = await db.admin`
    select s.ending || '/' || s.basis as told
    from settlements s join decisions d on d.tenant_id = s.tenant_id and d.attempt_id = s.attempt_id
    where s.tenant_id = ${tenantId} order by d.attempt_id`;
  return rows.map((row) => String(row["told"]));
}

/** Reservations of a tenant in a state: `open`, `unknown`. */
export async function reserved(
  { db }: TestDatabase,
  tenantId: string,
  state: string,
): Promise<number> {
  const rows = await db.admin`
    select 1 from reservations where tenant_id = ${tenantId} and state = ${state}`;
  return rows.length;
}
