/**
 * `npm run demo:data`: fills an empty instance with a made-up quarter of a year, so that reports and the console
 * have something to show; and with a few things that wait for somebody. Where a database holds any decision
 * already, nothing is written.
 */
import { PORT_DEFAULT, readConfig } from "../../src/entry/config.ts";
import { start, type Opened } from "../../src/entry/node.ts";
import { openEmbedded } from "../../src/entry/pglite.ts";
import { rollUpTurn } from "../../src/ledger/roll-up.ts";
import { connect, open, type Address } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { analyzeGrown } from "../../src/store/statistics.ts";
import { generateHistory, type MadeTenant } from "./generate.ts";

const DAYS = 90;
const ATTEMPTS_DEFAULT = 30_000;
const ATTEMPTS_MAX = 10_000_000;
/** A month of the first tenant costs some three quarters of what this makes of it. */
const ATTEMPTS_OF_A_DOLLAR = 750;
/** Beside the tenant that the first start makes. */
const OTHERS = ["acme-support", "northwind", "globex-research"];

const HELP = `npm run demo:data [-- --attempts N] [--seed N]

Fills an empty instance with ${DAYS} days of a made-up business: runs, outcomes, budgets, refusals, retries, and
approvals that wait. It writes where \`npm start\` would read: DATABASE_URL, or the embedded database in
TOLLGATE_DATA (./.tollgate). Stop the gateway first where the database is the embedded one.

  --attempts N   about so many attempts (default 30,000; at most 10,000,000)
  --seed N       another history
`;

type Filled = { readonly tenants: readonly MadeTenant[]; readonly attempts: number };
type Asked = { readonly attempts: number; readonly seed: number; readonly help: boolean };

function askedOf(args: readonly string[]): Asked {
  let [attempts, seed, help] = [ATTEMPTS_DEFAULT, 1, false];
  for (let i = 0; i < args.length; i += 1) {
    const name = args[i];
    if (name === "--help" || name === "-h") help = true;
    else if (name === "--attempts" || name === "--seed") {
      i += 1;
      const value = Number(args[i]);
      if (!Number.isSafeInteger(value) || value < 1 || value > ATTEMPTS_MAX) {
        throw new Error(
          `${name} takes a whole number from 1 to ${ATTEMPTS_MAX}, not ${args[i] ?? "nothing"}.`,
        );
      }
      if (name === "--attempts") attempts = value;
      else seed = value;
    } else throw new Error(`Unknown option ${name}: see npm run demo:data -- --help`);
  }
  return { attempts, seed, help };
}

/** The management API of the gateway that this process starts; each answer must be a good one. */
function apiOf(url: string, key: string) {
  return async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const read = (await answer.json()) as Record<string, unknown>;
    // An ask that waits for somebody is refused, and that is what is wanted here.
    if (!answer.ok && path !== "/gate") {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(read)}`);
    }
    return read;
  };
}

type Api = ReturnType<typeof apiOf>;

/** Tenants with three keys each: the history is theirs. */
async function makeTenants(api: Api, first: string): Promise<readonly MadeTenant[]> {
  const tenants: MadeTenant[] = [];
  for (const name of [first, ...OTHERS]) {
    if (name !== first) await api("POST", "/tenants", { name });
    const { id } = await api("GET", `/tenants/${name}`);
    const keyIds: string[] = [];
    for (const key of ["support-agent", "back-office", "research-agent"]) {
      const made = await api("POST", "/keys", { tenant: name, name: key, scopes: ["invoke"] });
      keyIds.push(String(made["id"]));
    }
    tenants.push({ tenantId: String(id), keyIds });
  }
  return tenants;
}

const POLICIES = `description: What the demo's business has decided
policies:
  - id: large-refunds
    name: Large refunds
    applies_to: { doors: [step], resources: [refund_payment] }
    when: arguments.usd > 100
    effect: require_approval
    approval: { quorum: 1, expires_in: 72h }
    risk: 40
    reason: "A refund of more than 100 dollars is approved by a person."
  - id: no-secrets
    name: No secrets in prompts
    when: detectors.secrets > 0
    effect: block
    mode: shadow
    risk: 30
    reason: "The request holds {detectors.secrets} secrets ({detectors.kinds})."
  - id: retry-storms
    name: Retry storms
    when: retry.sdk_retries >= 3
    effect: block
    mode: shadow
    risk: 10
    reason: "The client's library has tried {retry.sdk_retries} times already."
`;

/** A month's budget of each tenant that its history comes near to: the generator's is for millions of attempts. */
async function fitBudgets(api: Api, { tenants, attempts }: Filled): Promise<void> {
  for (const [i, { tenantId }] of tenants.entries()) {
    const { data } = await api("GET", `/limits?tenant=${tenantId}`);
    for (const limit of data as { id: string }[]) {
      const usd = Math.ceil(attempts / ATTEMPTS_OF_A_DOLLAR / (i + 1));
      await api("PATCH", `/limits/${limit.id}?tenant=${tenantId}`, { limit: String(usd) });
    }
  }
}

/** Policies, a tool, budgets, somebody who may approve, and refunds that wait for him. Answers his key. */
async function makeWaiting(url: string, api: Api, tenant: string): Promise<string> {
  const { version } = await api("POST", "/policies", { tenant, source: POLICIES });
  await api("POST", `/policies/${String(version)}/activate`, { tenant });
  await api("PUT", "/tools/refund_payment", { tenant, effect: "effectful", price_usd: "0.001" });
  await api("POST", "/limits", {
    tenant,
    scope: { kind: "each_customer" },
    unit: "usd",
    window: "day",
    limit: "5",
  });
  await api("POST", "/limits", {
    tenant,
    scope: { kind: "each_run" },
    unit: "usd",
    window: "none",
    limit: "2",
  });
  const approver = await api("POST", "/keys", {
    tenant,
    name: "finance lead",
    scopes: ["approve", "report"],
  });
  const agent = await api("POST", "/keys", { tenant, name: "refund-agent", scopes: ["invoke"] });
  const ask = apiOf(url, String(agent["key"]));
  for (const [order, usd] of [
    ["order-4711", 240],
    ["order-4720", 1_150],
    ["order-4733", 135],
  ] as const) {
    await ask("POST", "/gate", {
      kind: "tool",
      name: "refund_payment",
      run: `refund-${order}`,
      operation: `refund:${order}`,
      customer: "customer-17",
      arguments: { order, usd, currency: "USD", reason: "arrived damaged" },
    });
  }
  return String(approver["key"]);
}

async function openWhatStartOpens(databaseUrl: string | null, directory: string): Promise<Opened> {
  const embedded = databaseUrl === null ? await openEmbedded(directory) : null;
  const address: Address = embedded?.address ?? { kind: "url", url: databaseUrl ?? "" };
  await migrate(address);
  const connections = embedded === null ? 2 : 1;
  const db = connect(address, { gateConnections: connections, adminConnections: connections });
  return { db, embedded };
}

async function main(): Promise<void> {
  const { attempts, seed, help } = askedOf(process.argv.slice(2));
  if (help) return void process.stdout.write(HELP);
  // Nothing is called, so upstreams and their keys are not asked for: a file that wants some does not stop it.
  const { TOLLGATE_CONFIG: _, ...env } = process.env;
  const config = readConfig(env, { read: () => null });
  const database = await openWhatStartOpens(config.databaseUrl, config.dataDirectory);
  const [used] = await database.db.admin`select 1 from decisions limit 1`;
  if (used !== undefined) {
    await database.db.close();
    await database.embedded?.close();
    throw new Error(
      "This instance has decisions already, and demo:data fills an empty one. Name another data folder, for\n" +
        "example: TOLLGATE_DATA=./.tollgate-demo npm run demo:data, and start it with the same variable.",
    );
  }
  const running = await start({ ...config, port: 0, logLevel: "warn" }, { database });
  try {
    const { adminKey, tenantKey } = running.firstKeys;
    const api = apiOf(running.url, adminKey);
    const tenants = await makeTenants(api, "default");
    await fill(database, { tenants, attempts, seed });
    await fitBudgets(api, { tenants, attempts });
    const approverKey = await makeWaiting(running.url, api, "default");
    await rollUpTurn(database.db);
    tell(config.dataDirectory, { tenantKey, approverKey, port: config.port });
  } finally {
    await running.close();
  }
}

async function fill(
  { db }: Opened,
  { tenants, attempts, seed }: Omit<Asked, "help"> & { readonly tenants: readonly MadeTenant[] },
): Promise<void> {
  const sql = open(db.address, 1);
  const to = new Date();
  const from = new Date(to.getTime() - DAYS * 86_400_000);
  const isTerminal = process.stderr.isTTY;
  const say = (text: string) => void process.stderr.write(isTerminal ? `\r${text}` : `${text}\n`);
  const written = await generateHistory(sql, {
    tenants,
    attempts,
    from,
    to,
    seed,
    progress: (done) => say(`written: ${done.toLocaleString("en-US")} attempts`),
  });
  for (let lines = -1, sum = 0; lines !== 0 && sum < 2 * ATTEMPTS_MAX; sum += lines) {
    lines = await rollUpTurn(db);
    say(`rolled up: ${Math.min(written, sum + lines).toLocaleString("en-US")} attempts `);
  }
  if (isTerminal) process.stderr.write("\n");
  await analyzeGrown(sql);
  await sql.end();
}

function tell(
  directory: string,
  keys: { readonly tenantKey: string | null; readonly approverKey: string; readonly port: number },
): void {
  process.stdout.write(
    [
      "",
      `  Filled with ${DAYS} days of a made-up business. Nothing of it was ever called or paid.`,
      "",
      "  npm start",
      `  http://127.0.0.1:${keys.port}/console   sign in with one of these keys:`,
      "",
      `    everything:             the text of ${directory}/admin-key (or TOLLGATE_ADMIN_KEY)`,
      ...(keys.tenantKey === null
        ? []
        : [`    tenant default, calls and reports:  ${keys.tenantKey}`]),
      `    tenant default, may approve:        ${keys.approverKey}`,
      "",
      `  And for commands, in another terminal:  export TOLLGATE_DATA=${directory}${keys.port === PORT_DEFAULT ? "" : ` TOLLGATE_URL=http://127.0.0.1:${keys.port}`}`,
      "    npx tollgate report cost-per-outcome --period last_month --csv --output last-month.csv",
      "",
    ].join("\n"),
  );
}

try {
  await main();
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
