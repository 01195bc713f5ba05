/** Format, lint and types are tests too, so that whoever runs the tests has run every check. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a tool as `npm run` does: from the root, with the checkout's own binaries first. */
async function tool(
  name: string,
  ...args: string[]
): Promise<{ code: number | null; said: string }> {
  const PATH = `${join(root, "node_modules", ".bin")}:${process.env["PATH"] ?? ""}`;
  const child = spawn(name, args, { cwd: root, env: { ...process.env, PATH, NO_COLOR: "1" } });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, said }));
  });
}

describe("every file of the repository", () => {
  test("is formatted", async () => {
    expect(await tool("oxfmt", "--check")).toMatchObject({ code: 0 });
  });

  test("passes the linter, with types", async () => {
    expect(await tool("oxlint", "--deny-warnings", "--type-aware")).toMatchObject({ code: 0 });
  });

  test("has no type error", async () => {
    expect(await tool("tsc")).toMatchObject({ code: 0 });
  });
});

describe("the linter is the strict one", () => {
  const rows: [string, string][] = [
    ["typescript(no-floating-promises)", "async function f() {}\nexport const g = () => { f(); };"],
    ["typescript(no-explicit-any)", "export const f = (a: any) => String(a);"],
    ["typescript(consistent-type-assertions)", "export const f = (a: unknown) => a as string;"],
    ["typescript(no-non-null-assertion)", "export const f = (a: string | null) => a!.length;"],
    ["eslint(eqeqeq)", "export const f = (a: string) => a == '';"],
    ["import(no-default-export)", "export default 1;"],
    [
      "typescript(switch-exhaustiveness-check)",
      'export function f(a: "b" | "c"): void { switch (a) { case "b": throw new Error(a); } }',
    ],
    [
      "eslint(max-lines-per-function)",
      `export function f(): void {\n${"  String(1);\n".repeat(70)}}`,
    ],
  ];
  test.each(rows)("%s", async (rule, text) => {
    // Inside the project, so that it is judged with its configuration and types.
    const folder = await mkdtemp(join(root, "src", "lib", "planted-"));
    try {
      await writeFile(join(folder, "planted.ts"), text);
      const { code, said } = await tool("oxlint", "--deny-warnings", "--type-aware", folder);
      expect(said).toContain(rule);
      expect(code).not.toBe(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
