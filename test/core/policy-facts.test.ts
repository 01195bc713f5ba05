import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { STARTER_POLICIES } from "../../src/entry/cli/starter-policies.ts";
import { needsHistory } from "../../src/core/policy-bundle.ts";
import { policyFacts } from "../../src/core/policy-facts.ts";
import { readBundle } from "../../src/core/policy-source.ts";
import { bundleOf, intentOf, judge, policies, policy } from "../support/judging.ts";

const DOCUMENT = readFileSync(new URL("../../docs/policies.md", import.meta.url), "utf8");

describe("the documentation of policies", () => {
  test("lists every fact as it is, and no other", () => {
    const rows = policyFacts().map(({ path, type, needs, about, isMoney }) => {
      const shown = isMoney ? "int (pico-dollars)" : type;
      return `| \`${path}\` | ${shown} | ${needs === "nothing" ? "" : needs} | ${about} |`;
    });
    // Columns are padded by the formatter.
    const listed = DOCUMENT.split("\n")
      .filter((line) => /^\| `[a-z_.]+` +\| (?:string|int|bool|list|map|timestamp|dyn)/u.test(line))
      .map((line) => line.replaceAll(/ +/g, " "));
    expect(listed).toEqual(rows.map((row) => row.replaceAll(/ +/g, " ")));
  });

  test("shows bundles that are sound", () => {
    const samples = [...DOCUMENT.matchAll(/```yaml\n(.*?)```/gsu)].map(([, text = ""]) => text);
    expect(samples.length).toBeGreaterThan(0);
    for (const sample of samples) expect(readBundle(sample)).toMatchObject({ kind: "sound" });
  });

  test("explains every policy of the starter bundle", () => {
    const reading = readBundle(STARTER_POLICIES);
    if (reading.kind === "broken") throw new Error(JSON.stringify(reading.problems));
    for (const { id } of reading.bundle.policies) expect(DOCUMENT).toContain(`**${id}**`);
  });
});

describe("every fact", () => {
  const looked = {
    history: {
      runAgeSeconds: 1,
      runAttempts: 1,
      runSpendPicousd: 1n,
      attempt: 1,
      priorStatus: "" as const,
      taintedBy: null,
    },
    findings: { secrets: 0, pii: 0, injection: 0, found: [], complete: true, outside: [] },
  };
  const SAMPLES = {
    string: (path: string) => `${path} == ${path}`,
    int: (path: string) => `${path} >= 0`,
    bool: (path: string) => `${path} || !${path}`,
    "list<string>": (path: string) => `size(${path}) >= 0`,
    "map<string, string>": (path: string) => `size(${path}) >= 0`,
    timestamp: (path: string) => `${path} > timestamp("2020-01-01T00:00:00Z")`,
    dyn: (path: string) => `${path} == null`,
  };
  test.each(policyFacts().map(({ path, type }) => ({ path, type })))(
    "$path has a value of its type, $type",
    ({ path, type }) => {
      const text = policies(policy("a", SAMPLES[type](path)));
      expect(judge(text, looked).policies?.results[0]).toMatchObject({ result: "matched" });
    },
  );
});

test("the starter bundle lets an ordinary call pass, and asks about a dear one", () => {
  const findings = { secrets: 0, pii: 0, injection: 0, found: [], complete: true, outside: [] };
  expect(judge(STARTER_POLICIES, { findings })).toMatchObject({ kind: "ask", approval: null });
  // Its policy on tainted runs is about tools: model calls read no history for it.
  expect(needsHistory(bundleOf(STARTER_POLICIES), intentOf())).toBe(false);
  expect(needsHistory(bundleOf(STARTER_POLICIES), intentOf({ door: "tool" }))).toBe(true);
  const dear = judge(STARTER_POLICIES, { findings }, { demand: { inputBytes: 200_000_000_000 } });
  expect(dear).toMatchObject({ kind: "ask", approval: { quorum: 1 } });
  expect(judge(STARTER_POLICIES, { findings, price: null })).toMatchObject({
    kind: "block",
    reason: "policy_denied",
  });
});
