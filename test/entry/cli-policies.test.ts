import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readBundle } from "../../src/core/policy-source.ts";
import { policies, policy } from "../support/judging.ts";
import { startServed, type Place, type Served } from "./command.ts";

/** Policies as people manage them: files, the command line, and a Tollgate that was started as they start it. */
let served: Served;
let place: Place;
let url = "";
let firstKey = "";
let tollgate: Served["tollgate"];

beforeAll(async () => {
  served = await startServed(({ install }) => install(".tollgate"));
  ({ place, url, firstKey, tollgate } = served);
});

afterAll(() => served.close());

async function said(...words: string[]): Promise<string> {
  const { code, out, err } = await tollgate(...words);
  expect(code, err).toBe(0);
  return out;
}

const file = (name: string, text: string): string => {
  writeFileSync(join(place.directory, name), text);
  return name;
};

const call = (team: string): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${firstKey}`,
      "content-type": "application/json",
      "tollgate-run": "cli",
      "tollgate-labels": `team=${team}`,
    },
    body: JSON.stringify({
      model: "demo/chat",
      max_completion_tokens: 50,
      messages: [{ role: "user", content: `Hello ${team}` }],
    }),
  });

test("the starter bundle is sound, and is checked without a server", async () => {
  const { code, out } = await place.run(["policies", "starter"]);
  expect(code).toBe(0);
  const checked = await place.run(["policies", "check", file("starter.yaml", out)]);
  expect(checked).toMatchObject({ code: 0, err: "" });
  expect(checked.out).toMatch(/^sound {2}pol_[0-9a-f]{64} · 7 policies\n$/);
  // Its head says which of them hold from the first moment.
  const reading = readBundle(out);
  const policiesOf = reading.kind === "sound" ? reading.bundle.policies : [];
  const held = policiesOf.filter(({ mode }) => mode === "enforce").map(({ id }) => id);
  expect(held).toEqual(["large-single-call", "unknown-models", "bounded-answers"]);
  const [head = ""] = out.split("description:");
  for (const { id, mode } of policiesOf) expect(head.includes(id)).toBe(mode === "enforce");
});

test("a broken bundle is told with file, line and column, and the exit code is 1", async () => {
  const name = file("broken.yaml", policies(policy("a", "run.attemps > 1"), policy("b", "x")));
  for (const words of [
    ["policies", "check", name],
    ["policies", "apply", name],
  ]) {
    const { code, err } = await tollgate(...words);
    expect(code).toBe(1);
    expect(err).toMatch(/^broken\.yaml:2:\d+: when: No such key: attemps \(at character 5\)$/m);
    expect(err).toMatch(/^broken\.yaml:3:\d+: when: Unknown variable: x$/m);
    expect(err).toContain("2 mistakes found.");
  }
  const json = await place.run(["policies", "check", name, "--json"]);
  expect([json.code, JSON.parse(json.out)]).toMatchObject([
    1,
    { valid: false, problems: [{ line: 2 }, {}] },
  ]);
  expect((await tollgate("policies", "check", "nowhere.yaml")).code).toBe(1);
});

test("a bundle is backtested, applied, activated, shown, compared and deactivated", async () => {
  expect((await call("red")).status).toBe(200);
  expect((await call("blue")).status).toBe(200);
  const red = file("red.yaml", `# Why.\n${policies(policy("no-red", "labels.team == 'red'"))}`);
  const tested = await said("policies", "backtest", red);
  expect(tested).toMatch(/DECISION +RESOURCE +WAS +WOULD BE/);
  expect(tested).toMatch(/dec_\S+ +demo\/chat +allow +block +policy_denied/);
  expect(tested).toMatch(/^decisions +2$/m);
  expect(tested).toMatch(/^changed +1$/m);

  const applied = await said("policies", "apply", red, "--activate");
  const version = /pol_[0-9a-f]{64}/.exec(applied)?.[0] ?? "";
  expect(applied).toMatch(/^Active: pol_/);
  const refused = await call("red");
  expect([refused.status, refused.headers.get("tollgate-policy-version")]).toEqual([
    403,
    version.slice(0, 16),
  ]);
  const decision = refused.headers.get("tollgate-decision") ?? "";
  expect(await said("decisions", "explain", decision)).toMatch(
    /^Policy no-red \(.*\) matched, and it blocks/m,
  );
  expect(await said("decisions", "replay", decision)).toMatch(
    /^the same verdict\nrecorded +block \(policy_denied\)/,
  );
  expect(await said("decisions", "replay")).toMatch(/^unchanged +3$/m);

  const none = file("none.yaml", "policies: []\n");
  expect(await said("policies", "apply", none)).toMatch(/^Stored pol_.*tollgate policies activate/);
  const stored = await said("policies", "apply", none, "--tenant", "default");
  expect(stored).toMatch(/Activate it: tollgate policies activate pol_\w+ --tenant default\n$/);
  const list = await said("policies", "list");
  expect(list.split("\n")).toHaveLength(4);
  expect(list).toMatch(new RegExp(`^${version.slice(0, 16)} +active +no-red`, "m"));
  expect(await said("policies", "show")).toContain("\n# Why.\n");
  const empty = /pol_[0-9a-f]{64}/.exec(await said("policies", "apply", none, "--json"))?.[0] ?? "";
  expect(await said("policies", "diff", version.slice(0, 12), empty)).toMatch(/no-red +removed/);
  expect(await said("policies", "shadow-report")).toBe("");
  await said("policies", "deactivate");
  expect((await call("red")).status).toBe(200);
  expect((await tollgate("policies", "activate", "pol_00000000")).code).toBe(1);
});

test("a run is exported in parts to standard output, and what goes on is told apart from it", async () => {
  const { code, out, err } = await tollgate("runs", "export", "cli", "--rows", "2");
  expect(code, err).toBe(0);
  const kinds = out
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { kind: string }).kind);
  expect(kinds.filter((kind) => kind === "decision")).toHaveLength(4);
  expect(kinds.filter((kind) => kind === "manifest")).toHaveLength(2);
  expect(err).toMatch(/go on with --cursor/);
});
