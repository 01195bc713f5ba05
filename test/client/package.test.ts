import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const TSC = join(ROOT, "node_modules", "typescript", "bin", "tsc");

/** A project that has installed the package: what the build emits, below its node_modules. */
let project = "";
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "tollgate-client-"));
  const installed = join(project, "node_modules", "tollgate");
  await mkdir(installed, { recursive: true });
  const outDir = join(installed, "dist", "client");
  await node(TSC, "--project", join(ROOT, "src/client/tsconfig.json"), "--outDir", outDir);
  await copyFile(join(ROOT, "package.json"), join(installed, "package.json"));
  await writeFile(join(project, "package.json"), '{"type":"module"}');
});
afterAll(() => rm(project, { recursive: true, force: true }));

async function node(...words: string[]): Promise<string> {
  const child = spawn(process.execPath, words, { cwd: project });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  }
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`ended with ${code}: ${said}`);
  return said;
}

/** Stands for the gate: it allows, and says what it was asked. */
const USE = `
import { createClient, Refused } from "tollgate/client";
const asked = [];
const gate = createClient({
  baseURL: "http://gate.test/v1/",
  apiKey: "k",
  fetch: async (url, init) => {
    asked.push([url, JSON.parse(init?.body ?? "null")?.run ?? null]);
    return Response.json({ verdict: "allow", attempt_id: "att_1", run: "r", lease_seconds: 60 });
  },
});
const given = await gate.run({ run: "r" }, async (inner) => {
  await Promise.resolve();
  return [
    await inner.step({ name: "by the handle" }, (attempt) => attempt.id),
    await gate.step({ name: "by itself" }, () => gate.headers()["tollgate-run"] ?? null),
  ];
});
console.log(JSON.stringify({ given, asked, refused: typeof Refused }));
`;

test("the package is plain JavaScript that runs inside node_modules", async () => {
  await writeFile(join(project, "use.js"), USE);
  expect(JSON.parse(await node("use.js"))).toEqual({
    given: ["att_1", "r"],
    asked: [
      ["http://gate.test/api/gate", "r"],
      ["http://gate.test/api/attempts/att_1/complete", null],
      ["http://gate.test/api/gate", "r"],
      ["http://gate.test/api/attempts/att_1/complete", null],
    ],
    refused: "function",
  });
});

test("without AsyncLocalStorage, as in a browser, the gate that run hands out carries the context", async () => {
  await writeFile(
    join(project, "browser.js"),
    `process.getBuiltinModule = undefined;\n${USE.replace("import {", "const {").replace('} from "tollgate/client"', '} = await import("tollgate/client")')}`,
  );
  const { given, asked } = JSON.parse(await node("browser.js")) as {
    given: unknown;
    asked: readonly (readonly unknown[])[];
  };
  expect(given).toEqual(["att_1", null]);
  expect(asked.map(([, run]) => run)).toEqual(["r", null, null, null]);
});

test("its types are understood by a project that is strict and has no types of Node", async () => {
  await writeFile(
    join(project, "typed.ts"),
    `import { createClient, OutcomeUnknown, type Gate } from "tollgate/client";
const gate: Gate = createClient({ baseURL: "http://127.0.0.1:8787", apiKey: "k" });
export const sum: Promise<number> = gate.step({ name: "s" }, async (attempt) => attempt.number);
const add = gate.wrapTool("add", (input: { a: number }, rest: string) => input.a + rest.length);
export const text: Promise<number> = add({ a: 1 }, "x");
// @ts-expect-error -- the input is what the tool takes
export const wrong = add({ b: 1 }, "x");
export const isUnknown = (error: unknown): string | null =>
  error instanceof OutcomeUnknown ? error.decisionId : null;
`,
  );
  const strict = [
    "--strict",
    "--exactOptionalPropertyTypes",
    "--noEmit",
    "--skipLibCheck",
    "false",
  ];
  const modules = ["--module", "nodenext", "--target", "es2023", "--lib", "es2023,dom"];
  await node(TSC, ...strict, ...modules, "--types", "", "typed.ts");
});
