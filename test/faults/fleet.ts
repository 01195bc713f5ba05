import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bareEnvironment } from "../support/built.ts";
import { keep } from "../support/keeper.ts";
import type { Door } from "./caller.ts";
import { startFaultProxy, type FaultProxy } from "./fault-proxy.ts";
import type { Exit } from "./history.ts";

/** Two upstreams at one address, with two credentials: no connection may carry both. */
const CREDENTIALS = { up: "sk-up-3f9c", other: "sk-other-77ad" } as const;
/** Ample for an upstream that answers on a loaded machine: what passes it is unknown, and holds its money. */
const UPSTREAM_TIMEOUT_MS = 7_000;

const START_MS_MAX = 40_000;
const START_TRIES_MAX = 40;
const LED_ELSEWHERE_MS = 200;

/** One place of the fleet: its process may be killed and replaced, its three proxies stay. */
export type Slot = {
  readonly number: number;
  /** Clients come in here. */
  readonly door: FaultProxy;
  /** Its connections to PostgreSQL. */
  readonly database: FaultProxy;
  /** Its connections to the upstream. */
  readonly upstream: FaultProxy;
  incarnation: number;
  replica: Replica | null;
};

export type Replica = {
  readonly port: number;
  readonly output: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  readonly exited: Promise<number | null>;
  readonly hasEnded: () => boolean;
};

export type Fleet = {
  readonly slots: readonly Slot[];
  readonly adminKey: string;
  readonly exits: readonly Exit[];
  readonly doorOf: (slot: Slot) => Door;
  /** Ends the replica at once and starts another in its place. */
  readonly killAndRestart: (slot: Slot) => Promise<void>;
  /** Starts another beside it, leads clients to that one, and tells the old one to end in order. */
  readonly replace: (slot: Slot) => Promise<void>;
  readonly heal: () => void;
  readonly close: () => Promise<void>;
};

export type FleetOptions = {
  readonly replicas: number;
  readonly databasePort: number;
  readonly databaseUrl: (port: number) => string;
  readonly upstreamPort: number;
  readonly adminKey: string;
  /** The source tree to run: a mutant's copy, or this repository. */
  readonly root: string;
  /** Done through the first replica, which has migrated; the others start on what it leaves. */
  readonly prepare: (port: number) => Promise<void>;
};

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const exits: Exit[] = [];
  const slots: Slot[] = [];
  const launch = (slot: Slot) => startReplica(options, slot);
  const stand = (slot: Slot, replica: Replica): void => {
    slot.replica = replica;
    slot.incarnation += 1;
    slot.door.lead(replica.port);
    const { number, incarnation } = slot;
    // Whoever ends one on purpose has put another, or nobody, in its place before.
    void replica.exited.then((code) => {
      if (slot.replica !== replica) return;
      const says = replica.output();
      exits.push({ slot: number, incarnation, isTold: false, code, says });
    });
  };
  for (let number = 0; number < options.replicas; number += 1) {
    const slot: Slot = {
      number,
      door: await startFaultProxy(null),
      database: await startFaultProxy(options.databasePort),
      upstream: await startFaultProxy(options.upstreamPort),
      incarnation: 0,
      replica: null,
    };
    slots.push(slot);
  }
  const [first, ...others] = slots;
  if (first === undefined) throw new Error("a fleet has a replica");
  stand(first, await launch(first));
  await options.prepare(first.door.port);
  await Promise.all(others.map(async (slot) => stand(slot, await launch(slot))));
  return {
    slots,
    adminKey: options.adminKey,
    exits,
    doorOf: ({ number, incarnation, door }) => ({ slot: number, incarnation, port: door.port }),
    killAndRestart: async (slot) => {
      const { replica } = slot;
      slot.door.lead(null);
      slot.replica = null;
      replica?.signal("SIGKILL");
      await replica?.exited;
      stand(slot, await launch(slot));
    },
    replace: async (slot) => {
      const { replica: old, incarnation } = slot;
      stand(slot, await launch(slot));
      // As a balancer does: whoever was led to the old one a moment ago has sent its request by now.
      await sleep(LED_ELSEWHERE_MS);
      old?.signal("SIGTERM");
      const code = await old?.exited;
      const says = old?.output() ?? "";
      exits.push({ slot: slot.number, incarnation, isTold: true, code: code ?? null, says });
    },
    heal: () => {
      for (const { door, database, upstream } of slots) {
        for (const proxy of [door, database, upstream]) proxy.heal();
      }
    },
    close: async () => {
      for (const slot of slots) {
        const { replica } = slot;
        slot.replica = null;
        // A replica that stands stopped could not even be killed in order.
        replica?.signal("SIGKILL");
        await replica?.exited;
      }
      const proxies = slots.flatMap(({ door, database, upstream }) => [door, database, upstream]);
      await Promise.all(proxies.map((proxy) => proxy.close()));
    },
  };
}

/** Again and again while the database is away: what a supervisor does. */
async function startReplica(options: FleetOptions, slot: Slot): Promise<Replica> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await runReplica({
        root: options.root,
        adminKey: options.adminKey,
        databaseUrl: options.databaseUrl(slot.database.port),
        yaml: yamlFor(slot.upstream.port),
      });
    } catch (error) {
      if (tries >= START_TRIES_MAX) throw error;
      await sleep(250);
    }
  }
}

function yamlFor(upstreamPort: number): string {
  const upstreams = Object.entries(CREDENTIALS).map(
    ([name, key]) => `  - name: ${name}
    kind: openai
    base_url: http://127.0.0.1:${upstreamPort}/v1
    api_key: ${key}
    models: ["${name === "up" ? "*" : "other-*"}"]
    timeout_ms: ${UPSTREAM_TIMEOUT_MS}
`,
  );
  const prices = Object.keys(CREDENTIALS).map(
    (name) =>
      `  - { upstream: ${name}, model: m, input: 0.00001, output: 0.0001, output_tokens_max: 1000 }\n`,
  );
  return `upstreams:\n${upstreams.join("")}prices:\n${prices.join("")}`;
}

export type ReplicaOptions = {
  readonly root: string;
  readonly adminKey: string;
  readonly databaseUrl: string;
  readonly yaml: string;
};

/** What `npm start` starts of that tree, one process; resolves when it listens, throws what it said when it ends first. */
export async function runReplica(options: ReplicaOptions): Promise<Replica> {
  const directory = await mkdtemp(join(tmpdir(), "tollgate-faults-"));
  const config = join(directory, "tollgate.yaml");
  await writeFile(config, options.yaml);
  const child = spawn(process.execPath, ["src/entry/start.js", "serve"], {
    cwd: options.root,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...bareEnvironment(),
      PORT: "0",
      LOG_LEVEL: "warn",
      TOLLGATE_PROCESSES: "1",
      TOLLGATE_ADMIN_KEY: options.adminKey,
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA: join(directory, "data"),
      DATABASE_URL: options.databaseUrl,
    },
  });
  keep(child);
  const tail = keepTail(child);
  const output = (): string => `${child.signalCode ?? ""} ${tail()}`;
  const exited = once(child, "exit").then(async ([code]) => {
    await rm(directory, { recursive: true, force: true });
    return code as number | null;
  });
  const tooLate = setTimeout(() => void child.kill("SIGKILL"), START_MS_MAX);
  const ended = exited.then((code) => Promise.reject(new Error(`ended with ${code}: ${output()}`)));
  const port = await Promise.race([listening(child), ended]).finally(() => clearTimeout(tooLate));
  return {
    port,
    output,
    exited,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    signal: (signal) => void child.kill(signal),
  };
}

function listening(child: ChildProcess): Promise<number> {
  let text = "";
  return new Promise((resolve) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-8_192);
      const port = /listening on http:\/\/[^\s:]+:(\d+)/u.exec(text)?.[1];
      if (port !== undefined) resolve(Number(port));
    });
  });
}

/** The end of what it wrote to standard error: enough to say why it ended. */
function keepTail(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-2_048);
  });
  return () => text;
}
