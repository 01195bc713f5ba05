import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServed, type Served } from "./command.ts";

let served: Served;

beforeAll(async () => {
  served = await startServed();
});

afterAll(() => served.close());

const fixture = (name: string) =>
  readFileSync(new URL(`../fixtures/invoices/${name}`, import.meta.url), "utf8");

/** An export of 2024: days that are over by any clock. */
function place(name: string, text: string): string {
  const path = join(served.place.directory, name);
  const past = text
    .replaceAll("1893456000", "1704067200")
    .replaceAll("1893542400", "1704153600")
    .replaceAll("1893628800", "1704240000");
  writeFileSync(path, past);
  return path;
}

test("what the ledger has nothing of is shown line by line, and ends with 1", async () => {
  const files = [
    place("usage.json", fixture("openai-usage.json")),
    place("costs.json", fixture("openai-costs.json")),
  ];
  const words = ["reconcile", ...files, "--upstream", "openai"];
  const { code, out, err } = await served.tollgate(...words);
  expect(code).toBe(1);
  expect(err).toContain("The invoice differs, and 3 lines have no explanation.");
  expect(out).toMatch(
    /2024-01-01 +gpt-4o +0 \/ 3 +0 \/ 3000 +0 \/ 1024 +0 \/ 450 +0.00 \/ 0.01072/,
  );
  expect(out).toMatch(/^beside_the_gate 2024-01-01 gpt-4o: /m);
  expect(out).toMatch(/^no_model 2024-01-01 web search tool calls: /m);
  expect(out).toMatch(/^unexplained +0\.0207515$/m);
  const tolerant = await served.tollgate(...words, "--tolerance", "0.03", "--json");
  expect(tolerant.code, tolerant.err).toBe(0);
  expect(JSON.parse(tolerant.out)).toMatchObject({ state: "reconciled", from: "2024-01-01" });
  const second = [...words, "--from", "2024-01-02", "--to", "2024-01-03"];
  expect(await served.tollgate(...second)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^state +reconciled/m),
  });
});

test("a tenant's key compares its own ledger", async () => {
  const file = place("usage.json", fixture("openai-usage.json"));
  const words = ["reconcile", file, "--upstream", "up", "--provider", "openai"];
  const made = await served.tollgate("tenants", "create", "acme", "--json");
  const { code, out } = await served.tollgate(...words, "--tenant", "acme", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({ state: "differs", upstream: "up" });
  expect(JSON.parse(made.out).name).toBe("acme");
});

test("what was compared is listed, and a period says its state", async () => {
  const listed = await served.tollgate("report", "reconciliations");
  expect(listed.code, listed.err).toBe(0);
  expect(listed.out).toMatch(
    /rec_\w+ +openai +2024-01-02 +2024-01-03 +reconciled +0\.00 +installation/,
  );
  expect(listed.out).toMatch(/rec_\w+ +openai +2024-01-01 +2024-01-03 +differs +0\.0207515/);
  const own = await served.tollgate("report", "reconciliations", "--tenant", "acme");
  expect(own.out).toMatch(/^\S+ +up +2024-01-01/m);
  expect(own.out).not.toContain(" openai ");
  const days = ["--from", "2024-01-02", "--to", "2024-01-04", "--tenant", "acme"];
  const state = await served.tollgate("report", "reconciliation", ...days);
  expect(state.out).toMatch(/^openai +not_reconciled +2 +1 +0$/m);
  const none = await served.tollgate(
    "report",
    "reconciliation",
    "--from",
    "2023-01-01",
    "--to",
    "2023-02-01",
  );
  expect(none).toMatchObject({
    code: 0,
    err: expect.stringContaining("Nothing of it was compared"),
  });
});

test("what is typed or given wrongly is told, and nothing is asked", async () => {
  const file = place("usage.json", fixture("openai-usage.json"));
  const other = place("other.json", fixture("anthropic-usage.json"));
  const said = async (...words: string[]) => {
    const { code, err } = await served.tollgate("reconcile", ...words);
    return `${code} ${err}`;
  };
  expect(await said(file, "--upstream", "up")).toMatch(/^2 .*--provider openai or anthropic/);
  expect(await said(other, "--upstream", "openai")).toMatch(
    /^1 .*looks like an export of Anthropic's/,
  );
  expect(await said("absent.json", "--upstream", "openai")).toMatch(/^1 .*ENOENT/);
  expect(await said(file, "--upstream", "openai", "--from", "soon")).toMatch(
    /^2 .*Not a day: soon/,
  );
  expect(await said(file, "--upstream", "openai", "--from", "2023-12-31")).toMatch(/^1 .*tells of/);
});
