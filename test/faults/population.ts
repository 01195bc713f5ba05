import { picousd, usdFromPicousd } from "../../src/core/money.ts";
import type { Random } from "../sim/random.ts";
import type { Call, Mode } from "./history.ts";

/** Tenants by what they are there to show. */
const ROLES = ["tight", "ample", "broke", "held", "changing", "guest", "honest"] as const;
export type Role = (typeof ROLES)[number];

export type Key = { readonly id: string; readonly text: string };
export type Tenant = { readonly id: string; readonly keys: readonly Key[] };
export type Population = Readonly<Record<Role, Tenant>> & {
  /** Keys of `ample` that are to be revoked, in order. */
  readonly revocable: Key[];
  /** The limit of `changing`, and the amounts between which it moves. */
  readonly changing: { readonly limitId: string; readonly amounts: readonly bigint[] };
  readonly honestCalls: number;
};

/** The management API with the installation's key; throws what it says when it does not do it. */
export type Manage = (
  method: string,
  path: string,
  body?: object,
) => Promise<Record<string, string>>;

export function manageOn(port: number, adminKey: string): Manage {
  return async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Record<string, string>;
  };
}

/** What one run of `tight` may spend: about eight of its calls at once, some twenty in a row. */
const TIGHT_PICOUSD = 260_000n;
const AMPLE_PICOUSD = 10n ** 12n;
const CHANGING_PICOUSD = [5n * 10n ** 11n, 6n * 10n ** 11n] as const;
const HONEST_CALLS = 100;
const HONEST_BYTES = 20_000;
/**
 * What one of the honest calls truly costs, nearly: 5,000 tokens in, some twenty out, and the wrapping. It
 * reserves four times as much, so that of a hundred at once a quarter must wait for others to settle.
 */
const HONEST_NEED_PICOUSD = 52_000n;
const REVOCABLE_KEYS = 4;

const usd = (amount: bigint): string => usdFromPicousd(picousd(amount));

export async function populate(manage: Manage): Promise<Population> {
  const made: Partial<Record<Role, Tenant>> = {};
  const limit = (tenant: string, terms: object) => manage("POST", "/limits", { tenant, ...terms });
  for (const role of ROLES) {
    const { id = "" } = await manage("POST", "/tenants", {
      name: `faults ${role}`,
      mode: "strict",
    });
    const key = await newKey(manage, id);
    made[role] = { id, keys: [key] };
  }
  const tenants = made as Record<Role, Tenant>;
  const budget = (amount: bigint, scope = "tenant", window = "none") => ({
    scope: { kind: scope },
    unit: "usd",
    window,
    limit: usd(amount),
  });
  await limit(tenants.tight.id, budget(TIGHT_PICOUSD, "each_run"));
  await limit(tenants.tight.id, budget(AMPLE_PICOUSD));
  await limit(tenants.ample.id, budget(AMPLE_PICOUSD, "tenant", "day"));
  await limit(tenants.ample.id, {
    ...budget(0n),
    unit: "requests",
    window: "day",
    limit: 1_000_000,
  });
  await limit(tenants.ample.id, { ...budget(0n), unit: "in_flight", limit: 500 });
  await limit(tenants.broke.id, budget(0n));
  await limit(tenants.held.id, budget(AMPLE_PICOUSD));
  await limit(tenants.guest.id, budget(AMPLE_PICOUSD));
  await limit(tenants.honest.id, budget(BigInt(HONEST_CALLS) * 3n * HONEST_NEED_PICOUSD));
  const { id: limitId = "" } = await limit(tenants.changing.id, budget(CHANGING_PICOUSD[0]));
  const revocable: Key[] = [];
  for (let i = 0; i < REVOCABLE_KEYS; i += 1)
    revocable.push(await newKey(manage, tenants.ample.id));
  return {
    ...tenants,
    changing: { ...tenants.changing, limitId, amounts: CHANGING_PICOUSD },
    revocable,
    honestCalls: HONEST_CALLS,
  };
}

async function newKey(manage: Manage, tenant: string): Promise<Key> {
  const terms = { tenant, name: "faults", scopes: ["invoke"] };
  const { id = "", key = "" } = await manage("POST", "/keys", terms);
  return { id, text: key };
}

/** How often each way of the upstream is met: mostly the usual one, each other one every few seconds. */
const MODE_WEIGHTS: Readonly<Record<Mode, number>> = {
  usual: 40,
  most: 20,
  "slow-head": 5,
  "tells-nothing": 5,
  "tells-zero": 4,
  fails: 5,
  resets: 5,
  garbles: 5,
  "keeps-on": 4,
  stalls: 2,
  // It ends when its client leaves, and not before: for a test that makes sure that one does.
  waits: 0,
};

const ROLE_WEIGHTS: Readonly<Record<Exclude<Role, "honest">, number>> = {
  tight: 40,
  ample: 25,
  held: 10,
  guest: 10,
  changing: 10,
  broke: 5,
};

/** Calls of `tight` after which its agents go on to the next run, and the next budget. */
const CALLS_OF_A_RUN = 60;
/** A first event's worth of bytes, up to some of the last. */
const LEAVE_BYTES_MAX = 2_500;

export type Planner = {
  readonly next: () => Call;
  readonly modeOf: (tag: string) => Mode;
  /** A plain call of that tenant; large for the honest one. */
  readonly plain: (role: Role) => Call;
  /** One by one of the keys that are to be revoked. */
  readonly byRevocable: (key: Key) => Call;
};

/** The calls of a seed, in order. Which agent makes which one is chance, as in life. */
export function planner(seed: number, people: Population, random: Random): Planner {
  const modes = new Map<string, Mode>();
  let number = 0;
  let tightCalls = 0;
  const plan = (role: Role, terms: Partial<Call>): Call => {
    const mode = terms.mode ?? "usual";
    const tag = `s${seed}-${role}-${(number += 1)}`;
    modes.set(tag, mode);
    const [key] = people[role].keys;
    if (key === undefined) throw new Error(`${role} has no key`);
    return {
      tag,
      tenant: people[role].id,
      keyId: key.id,
      key: key.text,
      model: role === "guest" ? "other/m" : "m",
      mode,
      stream: false,
      outputTokensMax: 64,
      promptBytes: 100,
      run: null,
      step: null,
      leavesAtByte: null,
      ...terms,
    };
  };
  return {
    modeOf: (tag) => modes.get(tag) ?? "usual",
    plain: (role) => plan(role, role === "honest" ? { promptBytes: HONEST_BYTES } : {}),
    byRevocable: ({ id, text }) => plan("ample", { keyId: id, key: text }),
    next: () => {
      const role = weighted(ROLE_WEIGHTS, random);
      const mode = weighted(MODE_WEIGHTS, random);
      const stream = mode === "keeps-on" || mode === "garbles" || random.below(2) === 0;
      const leaves = random.below(mode === "keeps-on" ? 2 : 12) === 0;
      const common = {
        mode,
        stream,
        outputTokensMax: 32 + random.below(200),
        promptBytes: 40 * (1 + random.below(10)),
        leavesAtByte: leaves ? random.below(LEAVE_BYTES_MAX) : null,
      };
      if (role === "tight") {
        tightCalls += 1;
        const run = `s${seed}-run-${Math.floor(tightCalls / CALLS_OF_A_RUN)}`;
        return plan(role, { ...common, run });
      }
      if (role !== "ample") return plan(role, common);
      const key = random.below(3) === 0 ? random.pick(people.revocable) : people.ample.keys[0];
      if (key === undefined) throw new Error("ample has no key");
      const shared = random.below(3) === 0;
      const run = shared ? `s${seed}-shared-${random.below(4)}` : null;
      const step = shared ? `step-${random.below(5)}` : null;
      return plan(role, { ...common, run, step, keyId: key.id, key: key.text });
    },
  };
}

function weighted<Name extends string>(
  weights: Readonly<Record<Name, number>>,
  random: Random,
): Name {
  const names = Object.keys(weights) as Name[];
  let left = random.below(names.reduce((sum, name) => sum + weights[name], 0));
  for (const name of names) {
    left -= weights[name];
    if (left < 0) return name;
  }
  throw new Error("no weight was met");
}
