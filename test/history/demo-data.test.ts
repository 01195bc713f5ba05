import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, onTestFinished, test } from "vitest";

import { bareEnvironment } from "../support/built.ts";

const DEMO_DATA = fileURLToPath(new URL("demo-data.ts", import.meta.url));

test("demo data needs nothing of a configuration whose upstreams it never calls", () => {
  const directory = mkdtempSync(join(tmpdir(), "tollgate-demo-data-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const upstream =
    "{ name: mine, kind: openai, base_url: 'https://a.test', api_key: '${MINE_KEY}' }";
  writeFileSync(join(directory, "tollgate.yaml"), `upstreams: [${upstream}]\n`);
  // A database that is away ends it at the next step.
  const env = { ...bareEnvironment(), DATABASE_URL: "postgres://u@127.0.0.1:1/d" };
  for (const config of [{}, { TOLLGATE_CONFIG: "tollgate.yaml" }]) {
    const ran = spawnSync(process.execPath, [DEMO_DATA], {
      cwd: directory,
      env: { ...env, ...config },
      encoding: "utf8",
    });
    expect(ran.stderr).toContain("ECONNREFUSED");
    expect(ran.stderr).not.toContain("MINE_KEY");
  }
});
