import type { Source } from "./source-text.ts";

/** What a rule of the house must see, and what it must not take for it. */
export type Mutants = {
  /** Files that break the rule, each by itself. */
  readonly mutants: readonly Source[];
  /** A file that comes close and does not. */
  readonly innocent: Source;
};

export const file = (path: string, text: string): Source => ({ path, text });

/** Joined here, so that this file itself does not hold what the rules forbid. */
const joined = (...pieces: readonly string[]): string => pieces.join("");

/** Planted violations: a rule that misses one of its own cannot be believed about the house. */
export const MUTANTS = {
  imports: {
    mutants: [
      file("src/core/decide.ts", 'import { a } from "../gate/admit.ts";'),
      file("src/http/app.ts", 'import type { A } from "../store/schema.ts";'),
      file("src/gate/a.ts", 'export { a } from "../http/app.ts";'),
      file("src/lib/a.ts", 'const a = await import("../core/money.ts");'),
      file("src/demo/a.ts", 'import "../gate/admit.ts";'),
      file("src/console/a.ts", 'import { a } from "../core/money.ts";'),
      file("src/core/a.ts", 'import { a } from "../../test/support/a.ts";'),
      file("src/cellar/a.ts", "export const a = 1;"),
    ],
    innocent: file(
      "src/gate/a.ts",
      '// import { x } from "../http/app.ts";\nimport {\n  a,\n} from "../store/posting.ts";\nimport { b } from "./batch.ts";\nconst c = \'from "../http/app.ts"\';',
    ),
  },
  packages: {
    mutants: [
      file("src/core/a.ts", 'import { createHash } from "node:crypto";'),
      file("src/gate/a.ts", 'import { eq } from "drizzle-orm/pg-core";'),
      file("src/http/a.ts", 'import postgres from "postgres";'),
      file("src/lib/a.ts", 'import _ from "lodash";'),
    ],
    innocent: file("src/store/a.ts", 'import { sql } from "drizzle-orm";'),
  },
  purity: {
    mutants: [
      "async function f() {}",
      "const a = await b;",
      "const a = Date.now();",
      "const a = new Date();",
      "const a = Math.random();",
      "const a = process.env;",
      "const a = fetch(b);",
      "setTimeout(f, 1);",
      "const a = `${crypto.randomUUID()}`;",
      "const a = performance.now();",
    ].map((text) => file("src/core/a.ts", text)),
    innocent: file(
      "src/dialects/a.ts",
      '// await the process\nconst a = "fetch()"; const b = new Date(facts.now); const c = /await/u;\nconst d = `process ${a}`;',
    ),
  },
  sql: {
    mutants: [
      'const a = "select a from b";',
      "const a = `\n  INSERT INTO runs values (1)`;",
      "await db`update runs set a = 1`;",
      "const a = sql`now()`;",
      "await client.unsafe(text);",
      'const a = "delete from runs";',
      'const a = "create table a (b int)";',
    ].map((text) => file("src/http/a.ts", text)),
    innocent: file(
      "src/http/a.ts",
      '// select a from b\nconst a = "choose a model, or select one from the list"; const sql = 1;',
    ),
  },
  environment: {
    mutants: [
      file("src/gate/a.ts", "const a = process.env.A;"),
      file("src/store/a.ts", 'const a = process["env"];'),
      file("src/lib/a.ts", "const a = process.versions.node;"),
      file("src/http/a.ts", "const a = `${process.argv}`;"),
    ],
    innocent: file("src/entry/node.ts", "const a = process.env; // process.env"),
  },
  databases: {
    mutants: [
      file("src/gate/a.ts", "const db = connect(address);"),
      file("src/http/a.ts", "const db = postgres(url);"),
      file("src/ledger/a.ts", "const db = await openEmbedded(folder);"),
    ],
    innocent: file("src/entry/node.ts", "const db = connect(address);"),
  },
  permits: {
    mutants: [
      "const a = {} as Permit;",
      "const a: Permit = { id };",
      "function a(): Permit { return b; }",
      "async function a(): Promise<Permit> { return b; }",
      "const a = { id } satisfies Permit;",
    ].map((text) => file("src/gate/dispatch.ts", text)),
    innocent: file(
      "src/gate/dispatch.ts",
      "// const a = {} as Permit;\nexport function dispatch(permit: Permit): Ending {}\ntype A = { readonly permit: Permit };",
    ),
  },
  doors: {
    mutants: [
      "if (meter.committed >= meter.limit) return;",
      "if (cost > meter.remaining) return;",
      'import { decide } from "../core/decide.ts";',
    ].map((text) => file("src/http/a.ts", text)),
    innocent: file(
      "src/http/a.ts",
      "const a = (m: Meter) => m.limit; if (bytes > BODY_BYTES_MAX) return; const b: Array<Limit> = [];",
    ),
  },
  tenants: {
    mutants: [
      file("src/store/a.ts", "await sql`select * from reservations where attempt_id = ${a}`;"),
      file("src/store/a.ts", "await sql`\n  update\n  meters set reserved = 0`;"),
    ],
    innocent: file(
      "src/store/a.ts",
      "await sql`select * from runs where tenant_id = ${t}`;\n// The sweep works across tenants.\nawait sql`select * from reservations`;\nawait sql`select * from prices`;",
    ),
  },
  ledger: {
    mutants: [
      file("src/store/a.ts", "await sql`update decisions set verdict = 1`;"),
      file("src/store/a.ts", "await sql`delete from  settlements where true`;"),
      file("src/store/a.ts", "await db.delete(events);"),
      file("drizzle/0009_a.sql", "DELETE FROM decisions;"),
      file("drizzle/0009_a.sql", "truncate events;"),
    ],
    innocent: file(
      "drizzle/0009_a.sql",
      "-- delete from decisions\ncreate trigger t before update or delete on decisions;\ndelete from reservations;",
    ),
  },
  catches: {
    mutants: [
      file("src/gate/admit.ts", "try { a(); } catch { b(); }"),
      file("src/core/a.ts", "a().catch(() => undefined);"),
      file("src/http/app.test-helper.ts", "try { a(); } catch (error) { throw error; }"),
    ],
    innocent: file("src/entry/cli/a.ts", "try { a(); } catch (error) { tell(error); }"),
  },
  console: {
    mutants: [
      file("src/console/pages/a.ts", "await c.env.call(request);"),
      file("src/console/pages/a.ts", 'await fetch("http://127.0.0.1/api/runs");'),
      file("src/console/session.ts", "const request = new Request(url);"),
      file("src/console/api.ts", "const url = new URL(`${ORIGIN}/internal${path}`);"),
      file("src/console/api.ts", 'call(new Request("http://tollgate.invalid/readyz"));'),
    ],
    innocent: file(
      "src/console/api.ts",
      "const url = new URL(`${ORIGIN}/api${path}`); await call(new Request(url, { method }));",
    ),
  },
  limits: {
    mutants: [file("src/core/limits.ts", "export const NOBODY_ASKS_MAX = 1;")],
    innocent: file("src/core/limits.ts", "// export const A_MAX = 1;\n"),
  },
  length: {
    mutants: [file("src/gate/a.ts", "a();\n".repeat(401))],
    innocent: file("src/gate/a.ts", "a();\n".repeat(400)),
  },
  functions: {
    mutants: [
      file("src/gate/a.ts", `function a(b: string): { c: d } {\n${"  f();\n".repeat(60)}}`),
      file("src/gate/a.ts", `const a = (\n  b: string,\n) => {\n${"  `x`;\n".repeat(60)}};`),
    ],
    innocent: file(
      "src/gate/a.ts",
      `function a() {\n  function b() {\n${"    f();\n".repeat(50)}  }\n${"  f(); // {\n\n".repeat(50)}}`,
    ),
  },
  names: {
    mutants: [
      file("src/http/middleware/a.ts", ""),
      file("src/lib/utils.ts", ""),
      file("src/core/types.ts", ""),
      file("src/core/index.ts", ""),
      file("test/helpers/a.ts", ""),
    ],
    innocent: file("src/store/model-prices.ts", ""),
  },
  kebab: {
    mutants: [file("src/gate/groupCommit.ts", ""), file("test/Gate/a.test.ts", "")],
    innocent: file("test/gate/group-commit.test.ts", ""),
  },
  unfinished: {
    mutants: [
      file("src/gate/a.ts", joined("// TO", "DO: later")),
      file("src/gate/a.ts", joined("/* FIX", "ME */")),
      file("test/a.test.ts", joined("test.sk", 'ip("a", f);')),
      file("test/a.test.ts", joined("describe.concurrent.on", 'ly("a", f);')),
      file("test/a.test.ts", joined("test.skip", "If(windows)(f);")),
    ],
    innocent: file("test/a.test.ts", "page.skip(3); // todos are a product word\ntest.each(rows);"),
  },
  outside: {
    mutants: [
      file("README.md", joined("see ..", "/shared/A.md")),
      file("src/gate/a.ts", joined('const a = "/wo', 'rk/main";')),
      file("test/a.ts", joined("cd /wo", "rk ")),
      file("package-lock.json", '"resolved": "https://mirror.example/a.tgz"'),
    ],
    innocent: file(
      "README.md",
      "https://example.com/work/1 and .github/workflows and src/work/a and /workers/",
    ),
  },
  declarations: {
    mutants: [
      "let count = 0;",
      "export let count = 0;",
      "enum A { B }",
      "export class Gate {",
      "const cache = new Map<string, number>();",
      "class Gate extends Base {",
      'export * from "./a.ts";',
    ].map((text) => file("src/gate/a.ts", text)),
    innocent: file(
      "src/gate/a.ts",
      "// let count\nexport class InputError extends Error {}\nclass Missing extends InputError {}\nconst KNOWN = new Set([1]);\nfunction a() {\n  let b = 0;\n}",
    ),
  },
} satisfies Record<string, Mutants>;
