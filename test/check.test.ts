/** Format, lint and types are tests too, so that whoever runs the tests has run every check. */
import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a tool as `npm run` does: with the checkout's own binaries first. */
async function tool(
  cwd: string,
  name: string,
  ...args: string[]
): Promise<{ code: number | null; said: string }> {
  const PATH = `${join(root, "node_modules", ".bin")}:${process.env["PATH"] ?? ""}`;
  const child = spawn(name, args, { cwd, env: { ...process.env, PATH, NO_COLOR: "1" } });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, said }));
  });
}

describe("every file of the repository", () => {
  const rows: [string, string, ...string[]][] = [
    ["is formatted", "oxfmt", "--check"],
    ["passes the linter, with types", "oxlint", "--deny-warnings", "--type-aware"],
    ["has no type error", "tsc"],
  ];
  test.each(rows)("%s", async (_name, command, ...args) => {
    const { code, said } = await tool(root, command, ...args);
    expect(code, said).toBe(0);
  });
});

test("the linter sees what the house forbids", async () => {
  const planted = {
    "typescript(no-floating-promises)":
      "async function f() { await g(); }\nexport const g = async () => { f(); };",
    "typescript(no-explicit-any)": "export const f = (a: any) => String(a);",
    "typescript(consistent-type-assertions)": "export const f = (a: unknown) => a as string;",
    "typescript(no-non-null-assertion)": "export const f = (a: string | null) => a!.length;",
    "typescript(switch-exhaustiveness-check)":
      'export function f(a: "b" | "c"): void { switch (a) { case "b": throw new Error(a); } }',
    "eslint(eqeqeq)": "export const f = (a: string) => a == '';",
    "import(no-default-export)": "export default 1;",
  };
  // A project of its own with our configuration: nothing is ever planted in the checkout.
  const project = await mkdtemp(join(tmpdir(), "tollgate-lint-"));
  try {
    await symlink(join(root, "node_modules"), join(project, "node_modules"));
    for (const name of [".oxlintrc.json", "tsconfig.json"]) {
      await copyFile(join(root, name), join(project, name));
    }
    await mkdir(join(project, "src", "lib"), { recursive: true });
    for (const [index, text] of Object.values(planted).entries()) {
      await writeFile(join(project, "src", "lib", `planted-${index}.ts`), text);
    }
    const { said } = await tool(project, "oxlint", "--deny-warnings", "--type-aware", "-f", "unix");
    for (const [index, rule] of Object.keys(planted).entries()) {
      const name = rule.replace(/^(\w+)\((.*)\)$/u, "$2");
      const line = said
        .split("\n")
        .find((l) => l.includes(`planted-${index}.ts`) && l.includes(name));
      expect(line, `${rule} in\n${said}`).toBeDefined();
    }
  } finally {
    await rm(project, { recursive: true });
  }
});
