/**
 * The building inspector. It reads the code and holds the architecture that no compiler or linter
 * knows: who may import whom, and what must be absent where. Each rule is shown to see its own
 * violation (the mutants) before it is believed that there is none.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { getTableConfig, PgTable } from "drizzle-orm/pg-core";
import { describe, expect, test } from "vitest";
import * as control from "../src/store/schema-control.ts";
import * as finance from "../src/store/schema-finance.ts";
import * as money from "../src/store/schema-money.ts";
import * as rollUps from "../src/store/schema-roll-up.ts";
import * as toolTables from "../src/store/schema-tools.ts";
import * as schema from "../src/store/schema.ts";
import { longFunctions } from "./support/function-length.ts";
import * as inspector from "./support/inspector.ts";
import type { Source, Violation } from "./support/inspector.ts";
import { file, MUTANTS, type Mutants } from "./support/mutants.ts";

/** Who may import whom. This table is the architecture. */
const ROOMS = {
  entry: ["console", "http", "gate", "ledger", "dialects", "store", "demo", "core", "lib"],
  http: ["gate", "ledger", "dialects", "core", "lib"],
  gate: ["dialects", "store", "core", "lib"],
  ledger: ["store", "core", "lib"],
  store: ["core", "lib"],
  dialects: ["core", "lib"],
  demo: ["core", "lib"],
  core: ["lib"],
  lib: [],
  // It is published by itself, and speaks HTTP.
  client: [],
  // A client of the public API: it knows nothing of what is behind it.
  console: ["lib"],
};

/** Who may use which package. What is not listed is used nowhere in `src`. */
const PACKAGES = {
  // The policies' expressions, and their regular expressions in linear time: both compute and do nothing else.
  "@marcbachmann/cel-js": ["core"],
  re2js: ["core"],
  "node:": ["entry", "http", "gate", "ledger", "store", "demo", "lib"],
  "@electric-sql/pglite": ["entry"],
  "@hono/node-server": ["entry", "http"],
  // The wire of MCP: its client begins connections, its server answers clients.
  "@modelcontextprotocol/client": ["entry"],
  "@modelcontextprotocol/server": ["http"],
  "@hono/zod-openapi": ["http"],
  "cli-table3": ["entry"],
  commander: ["entry"],
  "drizzle-orm": ["store"],
  hono: ["entry", "http", "console"],
  pino: ["entry"],
  postgres: ["store"],
  "swagger-ui-dist": ["entry", "http"],
  tiktoken: ["entry"],
  undici: ["entry", "gate"],
  // Reads a text and does nothing else.
  yaml: ["lib"],
  zod: ["core", "entry", "http", "console", "lib"],
};

/** Where something may be caught. A place ending in a slash is a whole folder. */
const CATCHES = {
  "src/http/outcome-members.ts": "a mistake in one row of a file is a line of its report",
  "src/gate/batch.ts": "a failed posting is told to each ask of its batch",
  "src/gate/dispatch.ts": "a body that cannot be made ready releases its permit",
  "src/gate/gateway.ts": "an ask that cannot be posted is counted and logged, and becomes a 503",
  "src/gate/guarded-upstream.ts": "what fails on an answer ends its exchange, and is logged",
  "src/gate/lanes.ts": "a batch that met a locked row goes on by tenant",
  "src/gate/once.ts": "an act that was refused gives its idempotency key back",
  "src/gate/answers.ts": "an answer that somebody paid for is kept once the database is back",
  "src/gate/post-again.ts": "a posting whose answer got lost is asked for what it recorded",
  "src/gate/server-calls.ts":
    "a call that a fault of ours ended has its ending, and the fault goes on",
  "src/gate/settle.ts": "a settlement is tried again until the database takes it or refuses it",
  "src/ledger/scheduled-reports.ts":
    "a report that cannot be made as it is asked for is told as such, and holds up no other",
  "src/ledger/roll-up.ts": "outcomes that take longer than a statement may wait, and nobody else",
  "src/ledger/summed.ts": "a report that the database ended becomes a 400 that says what to ask",
  "src/entry/": "the outermost frame: what nobody handled is told and ends the process",
  "src/core/policy-cel.ts": "cel-js says in no other way that an expression cannot be evaluated",
  "src/lib/exact-json.ts": "JSON.parse says no in no other way; the caller is answered a value",
  "src/lib/seal.ts":
    "a cipher says that a tag is wrong in no other way; the caller is answered null",
  "src/client/heartbeat.ts":
    "a lost heartbeat is made up for by the next; a refused one ends the step",
  "src/client/step.ts":
    "what a step threw is told to the gate and thrown on; a prior result is no error",
  "src/client/transport.ts":
    "fetch says that nobody answered in no other way; the caller gets an error that fits",
  "src/lib/json.ts": "JSON.parse says no in no other way; the caller is answered a value",
  "src/lib/zones.ts": "Intl says that a time zone is unknown in no other way",
  "src/http/mcp.ts": "what fails at the tool door is told as clients of MCP read it",
  "src/http/mcp-calls.ts": "a mistake in a message is an error of JSON-RPC",
  "src/http/app.ts": "what fails on the short way to the model door is answered as `onError` does",
  "src/demo/upstream.ts":
    "stands for a foreign server: it answers its own errors, in OpenAI's words",
};

/** Tables whose rows belong to no tenant. */
const TENANTLESS = {
  installation: "one row about the installation itself",
  replicas: "processes serve all tenants",
  roll_up_state: "one row: how far the roll-ups of all are",
  budget_alert_state: "one row: how far the alerts of all are",
  prices: "what upstreams charge is the same for all; tenants' own prices carry their upstream",
};

/** Insert-only: by this rule in code, and by trigger in the database. */
const LEDGER = [
  "decisions",
  "settlements",
  "events",
  "policy_bundles",
  "approval_votes",
  "reconciliations",
  "tool_definitions",
];

/**
 * SHA-256 of each migration that a release has shipped: databases in the field have run that text, so
 * it never changes again. A release adds its own here.
 */
const RELEASED: Record<string, string> = {};

/** The most lines of one file; about 300 is the aim. Tests are tables of data, which may run longer. */
const LINES_MAX = { src: 400, test: 600 };

/** A function fits a screen. */
const FUNCTION_LINES_MAX = 60;

type Rule = Mutants & {
  readonly name: string;
  readonly broken: (sources: readonly Source[]) => Violation[];
};

const tables = Object.values({
  ...schema,
  ...control,
  ...finance,
  ...money,
  ...rollUps,
  ...toolTables,
})
  .filter((value) => value instanceof PgTable)
  .map((table) => getTableConfig(table));
const tenantTables = tables.map(({ name }) => name).filter((name) => !(name in TENANTLESS));

const RULES: readonly Rule[] = [
  {
    name: "rooms import only whom the table allows",
    broken: (sources) => inspector.forbiddenImports(sources, ROOMS),
    ...MUTANTS.imports,
  },
  {
    name: "packages are used only in their rooms",
    broken: (sources) => inspector.forbiddenPackages(sources, PACKAGES),
    ...MUTANTS.packages,
  },
  {
    name: "core and dialects have no await, clock, chance, process or network",
    broken: inspector.impurities,
    ...MUTANTS.purity,
  },
  {
    name: "only the store writes SQL",
    broken: inspector.strayedSql,
    ...MUTANTS.sql,
  },
  {
    name: "only the entry reads the environment or asks for the runtime",
    broken: inspector.strayedEnvironment,
    ...MUTANTS.environment,
  },
  {
    name: "only the entry makes a database",
    broken: inspector.strayedDatabases,
    ...MUTANTS.databases,
  },
  {
    name: "only gate/admit.ts makes a Permit",
    broken: (sources) => inspector.forgedPermits(sources, "src/gate/admit.ts"),
    ...MUTANTS.permits,
  },
  {
    name: "the doors compare nothing with a limit and read no policy",
    broken: inspector.judgingDoors,
    ...MUTANTS.doors,
  },
  {
    name: "every query of the store names its tenant, or says that it crosses tenants",
    broken: (sources) => inspector.queriesWithoutTenant(sources, tenantTables),
    ...MUTANTS.tenants,
  },
  {
    name: "nothing changes or removes a row of the ledger",
    broken: (sources) => inspector.ledgerEdits(sources, LEDGER),
    ...MUTANTS.ledger,
  },
  {
    name: "things are caught only where there is a reason to",
    broken: (sources) => inspector.strayedCatches(sources, CATCHES),
    ...MUTANTS.catches,
  },
  {
    name: "the console calls only the public API",
    broken: inspector.privateEndpoints,
    ...MUTANTS.console,
  },
  {
    name: "every limit is enforced somewhere",
    broken: inspector.unusedLimits,
    ...MUTANTS.limits,
  },
  {
    name: `no file is longer than ${LINES_MAX.src} lines, in test ${LINES_MAX.test}`,
    broken: (sources) => inspector.longFiles(sources, LINES_MAX),
    ...MUTANTS.length,
  },
  {
    name: `no function has more than ${FUNCTION_LINES_MAX} lines of its own`,
    broken: (sources) => longFunctions(sources, FUNCTION_LINES_MAX),
    ...MUTANTS.functions,
  },
  {
    name: "no file or folder is named for a kind of thing",
    broken: inspector.purposelessNames,
    ...MUTANTS.names,
  },
  {
    name: "files are kebab-case",
    broken: inspector.oddFileNames,
    ...MUTANTS.kebab,
  },
  {
    name: "no work is put off and no test left out",
    broken: inspector.unfinishedWork,
    ...MUTANTS.unfinished,
  },
  {
    name: "nothing refers to what a clone does not have",
    broken: inspector.outsideReferences,
    ...MUTANTS.outside,
  },
  {
    name: "no module keeps state, and there are no enums, classes but errors, or barrels",
    broken: inspector.strayedDeclarations,
    ...MUTANTS.declarations,
  },
];

describe("the house", () => {
  const sources = everyFile();

  test("is read whole", () => {
    const rooms = new Set(sources.map(({ path }) => /^src\/(\w+)\//u.exec(path)?.[1]));
    for (const room of ["core", "store", "gate", "http", "entry", "dialects", "lib", "demo"]) {
      expect(rooms).toContain(room);
    }
  });

  test.each(RULES)("$name", ({ broken }) => {
    expect(broken(sources)).toEqual([]);
  });

  test("a released migration is never edited", () => {
    expect(inspector.editedMigrations(sources, RELEASED)).toEqual([]);
  });

  test("every tenant's row is keyed by its tenant first", () => {
    expect(tables.length).toBeGreaterThan(0);
    expect(inspector.keysWithoutTenant(tables.map(tableKey), TENANTLESS)).toEqual([]);
  });

  test("a trigger guards each table of the ledger", () => {
    expect(inspector.unguardedLedger(sources, LEDGER)).toEqual([]);
  });

  test("no reason for a catch outlives it", () => {
    expect(inspector.staleCatches(sources, CATCHES)).toEqual([]);
  });
});

describe("the inspector sees what it looks for", () => {
  const rows = RULES.flatMap(({ name, broken, mutants }) =>
    mutants.map((mutant) => ({ name, broken, mutant, shown: mutant.text.slice(0, 60) })),
  );
  test.each(rows)("$name: $mutant.path: $shown", ({ broken, mutant }) => {
    expect(broken([mutant])).not.toEqual([]);
  });

  test.each(RULES)("$name: and lets the innocent pass", ({ broken, innocent }) => {
    expect(broken([innocent])).toEqual([]);
  });

  test("an edited and a removed migration", () => {
    const released = { "drizzle/0000_a.sql": inspector.sha256("select 1;") };
    const edited = [file("drizzle/0000_a.sql", "select 2;")];
    expect(inspector.editedMigrations(edited, released)).toEqual(["drizzle/0000_a.sql"]);
    expect(inspector.editedMigrations([], released)).toEqual(["drizzle/0000_a.sql"]);
    const kept = [file("drizzle/0000_a.sql", "select 1;")];
    expect(inspector.editedMigrations(kept, released)).toEqual([]);
  });

  test("a key without its tenant", () => {
    const odd = [{ table: "runs", primaryKey: ["run_id", "tenant_id"] }];
    expect(inspector.keysWithoutTenant(odd, TENANTLESS)).not.toEqual([]);
    expect(inspector.keysWithoutTenant([{ table: "runs", primaryKey: [] }], {})).not.toEqual([]);
  });

  test("a ledger table without a trigger, and a catch that is gone", () => {
    const sql = "create trigger a before update or delete on decisions for each row x;";
    expect(
      inspector.unguardedLedger([file("drizzle/0.sql", sql)], ["decisions", "events"]),
    ).toEqual(["events: no trigger before update or delete"]);
    expect(inspector.staleCatches([file("src/a/b.ts", "f();")], { "src/a/": "" })).toEqual([
      "src/a/",
    ]);
  });
});

/** The key's columns as the database orders them. */
function tableKey(table: (typeof tables)[number]): inspector.TableKey {
  const single = table.columns.filter((column) => column.primary);
  const composite = table.primaryKeys.flatMap((key) => key.columns);
  const columns = composite.length > 0 ? composite : single;
  return { table: table.name, primaryKey: columns.map((column) => column.name) };
}

/** Every text file of the repository that is ours. */
function everyFile(): Source[] {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const ours = /^(?:src|test|drizzle|\.ci|\.github)\/|^[^/]+$/u;
  const text = /(?:\.(?:[cm]?[jt]s|json|sql|md|html|css|ya?ml|toml)|\/run)$/u;
  const skipped =
    /(?:^|\/)(?:node_modules|\.git|\.tollgate|\.cache|coverage)(?:\/|$)|^test\/fixtures\//u;
  const walk = (folder: string): string[] =>
    readdirSync(`${root}/${folder}`, { withFileTypes: true }).flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (skipped.test(path)) return [];
      return entry.isDirectory() ? walk(path) : [path];
    });
  return walk("")
    .filter((path) => ours.test(path) && text.test(path))
    .map((path) => file(path, readFileSync(`${root}/${path}`, "utf8")));
}
