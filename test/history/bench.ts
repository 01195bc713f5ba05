/**
 * `npm run bench:reports`: how long reports take on made-up ledgers of several sizes, asked by HTTP of a gateway on a
 * PostgreSQL that this starts and ends. Forty tenants over four months; the month of the largest one is asked for.
 */
import { randomBytes } from "node:crypto";
import { readConfig } from "../../src/entry/config.ts";
import { diskFiles } from "../../src/entry/config-files.ts";
import { start } from "../../src/entry/node.ts";
import { open, type Address } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { rollUp } from "../../src/store/roll-up.ts";
import { startPostgres, type PostgresAddress } from "../support/postgres.ts";
import { urlOf } from "../support/templates.ts";
import { generateHistory } from "./generate.ts";

const HELP = `npm run bench:reports [-- ATTEMPTS …]

Fills a ledger of each size (default 100000 1000000; ten million take an hour and 15 GB of disk), and tells how
long reports of the largest tenant's month take, in ms: median of five, least and most.
`;
const SIZES_DEFAULT = [100_000, 1_000_000];
const SIZE_MAX = 10_000_000;
const TENANTS = 40;
const REPEATS = 5;
/** Lines rolled up at once: nobody else waits for this database. */
const LINES = 50_000;
const MONTH = "tenant=tenant%200&from=2026-08-01&to=2026-09-01";
const DAY = "tenant=tenant%200&from=2026-08-11&to=2026-08-12";

const REPORTS: Readonly<Record<string, string>> = {
  "cost per outcome": `/reports/cost-per-outcome?${MONTH}`,
  "cost per outcome, in Europe/Berlin": `/reports/cost-per-outcome?${MONTH}&time_zone=Europe/Berlin`,
  "cost per outcome, by day": `/reports/cost-per-outcome?${MONTH}&group_by=day`,
  "cost per outcome, by customer": `/reports/cost-per-outcome?${MONTH}&group_by=customer`,
  "cost per outcome, by model, of a day": `/reports/cost-per-outcome?${DAY}&group_by=model`,
  "spend by model": `/reports/spend?${MONTH}&group_by=model`,
  "spend by customer": `/reports/spend?${MONTH}&group_by=customer`,
  "spend of all tenants": "/reports/spend?from=2026-08-01&to=2026-09-01&group_by=tenant",
  waste: `/reports/waste?${MONTH}`,
  "the dearest runs of a type": `/reports/runs?${MONTH}&type=ticket_resolved`,
  "the dearest runs of a type, of a day": `/reports/runs?${DAY}&type=ticket_resolved`,
};

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) return void process.stdout.write(HELP);
  const sizes = args.length === 0 ? SIZES_DEFAULT : args.map(Number);
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0 && size <= SIZE_MAX)) {
    throw new Error(
      `Sizes are whole numbers from 1 to ${SIZE_MAX}: see npm run bench:reports -- --help`,
    );
  }
  const cluster = await startPostgres();
  const end = () => void cluster.stop().finally(() => process.exit(130));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  try {
    for (const attempts of sizes) await measure(cluster.address, attempts);
  } finally {
    await cluster.stop();
  }
}

async function measure(server: PostgresAddress, attempts: number): Promise<void> {
  const root = open(urlOf(server, "postgres"), 1);
  await root.unsafe(`create database history_${attempts}`);
  await root.end();
  const address = urlOf(server, `history_${attempts}`);
  await migrate(address);
  // Of the session from its beginning: the driver makes a new connection where one is half an hour old.
  const sql = open(address, 1, { settings: { statement_timeout: "0" } });
  const tenants = Array.from({ length: TENANTS }, (_, i) => ({
    tenantId: `ten_${String(i).padStart(26, "0")}`,
    keyIds: ["key_a", "key_b", "key_c"],
  }));
  for (const [i, { tenantId }] of tenants.entries()) {
    await sql`insert into tenants (tenant_id, name) values (${tenantId}, ${`tenant ${i}`})`;
  }
  const period = { from: new Date("2026-08-01"), to: new Date("2026-11-28") };
  const tell = (text: string) => void process.stderr.write(`${text}\n`);
  const progress = (done: number) => tell(`written: ${done.toLocaleString("en-US")} attempts`);
  const [filled, ms] = await timed(() =>
    generateHistory(sql, { tenants, attempts, ...period, seed: 7, progress }),
  );
  const [, rolledMs] = await timed(async () => {
    while ((await rollUp(sql, LINES))?.isBehind !== false) tell("rolling up");
  });
  await sql.unsafe("vacuum analyze");
  await sql.end();
  const each = (whole: number) => Math.round((whole * 1_000) / filled);
  process.stdout.write(
    `\n## ${filled.toLocaleString("en-US")} attempts\n\nwritten at ${each(ms)} µs each, rolled up at ${each(rolledMs)} µs each\n\n`,
  );
  await askAll(address);
}

async function askAll(address: Address): Promise<void> {
  if (address.kind !== "url") throw new Error("a PostgreSQL has a URL");
  const adminKey = randomBytes(32).toString("hex");
  const env = { DATABASE_URL: address.url, TOLLGATE_ADMIN_KEY: adminKey, LOG_LEVEL: "warn" };
  const gateway = await start({ ...readConfig(env, diskFiles), port: 0 });
  try {
    for (const [name, path] of Object.entries(REPORTS)) {
      await ask({ url: gateway.url, adminKey }, name, path);
    }
  } finally {
    await gateway.close();
  }
}

async function ask(
  { url, adminKey }: { readonly url: string; readonly adminKey: string },
  name: string,
  path: string,
): Promise<void> {
  const took: number[] = [];
  for (let i = 0; i < REPEATS; i += 1) {
    const [answer, ms] = await timed(() =>
      fetch(`${url}/api${path}`, { headers: { authorization: `Bearer ${adminKey}` } }).then(
        async (response) => ({ status: response.status, text: await response.text() }),
      ),
    );
    if (answer.status !== 200) throw new Error(`${name}: ${answer.status} ${answer.text}`);
    took.push(ms);
  }
  const sorted = took.map(Math.round).toSorted((a, b) => a - b);
  process.stdout.write(
    `| ${name} | ${sorted[REPEATS >> 1]} | ${sorted[0]} to ${sorted.at(-1)} |\n`,
  );
}

async function timed<Result>(work: () => Promise<Result>): Promise<readonly [Result, number]> {
  const begun = performance.now();
  const result = await work();
  return [result, performance.now() - begun];
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
