import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { startServed, type Place, type Served } from "./command.ts";

/** One Tollgate for the file, started as people start it, and managed as people manage it. */
let served: Served;
let place: Place;
let url = "";
let firstKey = "";
let tollgate: Served["tollgate"];

beforeAll(async () => {
  served = await startServed(({ directory }) => {
    const yaml = "mcp_servers: [{ name: files, url: 'http://127.0.0.1:1/mcp' }]\n";
    writeFileSync(join(directory, "tollgate.yaml"), yaml);
  });
  ({ place, url, firstKey, tollgate } = served);
});

afterAll(() => served.close());

/** What the command answered as JSON; a failure shows what it said. */
async function json(...words: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await tollgate(...words, "--json");
  expect(code, err).toBe(0);
  return JSON.parse(out) as Record<string, unknown>;
}

/** Runs a command and expects it to say this, in order and line by line. */
async function check(words: readonly string[], ...says: readonly RegExp[]): Promise<string> {
  const { code, out, err } = await tollgate(...words);
  expect(code, err).toBe(0);
  for (const pattern of says) expect(`${out}${err}`).toMatch(pattern);
  return out;
}

/** A call through the model door, to the built-in upstream. */
async function call(key: string, run: string): Promise<Response> {
  return await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "tollgate-run": run,
    },
    body: JSON.stringify({
      model: "demo/chat",
      max_completion_tokens: 50,
      messages: [{ role: "user", content: "Hello" }],
    }),
  });
}

test("a tenant is created, shown by name and by id, and changed", async () => {
  const { id } = await json("tenants", "create", "acme");
  expect(id).toMatch(/^ten_/);
  await check(["tenants", "show", "acme"], new RegExp(`id +${String(id)}`), /mode +strict/);
  await check(["tenants", "set-mode", String(id), "tolerant"], /mode +tolerant/);
  const guards = ["tenants", "set-guards", String(id)];
  await check([...guards, "--run-share", "50"], /attempts +5/, /run share +50 %/);
  await check([...guards, "--attempts", "off"], /attempts +off/, /run share +50 %/);
  await check([...guards, "--attempts", "7", "--run-share", "off"], /attempts +7/, /share +off/);
  const approvals = ["tenants", "set-approval-price", String(id)];
  await check([...approvals, "1.50"], /approval +1\.50 USD/, /attempts +7/);
  await check([...approvals, "off"], /approval +off/);
  const alerts = ["tenants", "set-alerts", String(id)];
  await check(["tenants", "show", "acme"], /alerts +50, 80, 100 %/);
  await check([...alerts, "90", "25"], /alerts +25, 90 %/);
  await check([...alerts, "off"], /alerts +off/);
  expect((await tollgate(...alerts, "most")).code).toBe(2);
  await check(["tenants", "list"], /^ID +NAME +MODE/, /default/, /acme/);
});

test("a key passes the door from its creation to its revocation, and is shown once", async () => {
  const { out, err } = await tollgate("keys", "create", "robot", "--expires", "30d");
  const key = out.trim();
  expect(key).toMatch(/^tg_/);
  expect(err).toMatch(/^key_\S+: keep the key now, it is not shown again\.\n$/);
  const id = err.split(":")[0] ?? "";
  expect((await call(key, "keyed")).status).toBe(200);
  const listed = await check(
    ["keys", "list"],
    new RegExp(`${id} +robot +invoke +- +all +active +20`),
  );
  expect(listed).not.toContain(key);
  const rotated = await json("keys", "rotate", id);
  expect((await call(String(rotated["key"]), "keyed")).status).toBe(200);
  await check(["keys", "revoke", id], new RegExp(`^Revoked ${id}\\.\n`));
  expect((await call(key, "keyed")).status).toBe(401);
  await check(["keys", "list"], new RegExp(`${id} +robot +invoke +- +all +revoked`));
});

test("a limit is created, listed with its figures, changed and removed", async () => {
  const words = [
    "--unit",
    "usd",
    "--limit",
    "0.000000000001",
    "--window",
    "day",
    "--scope",
    "model",
  ];
  const { id } = await json("limits", "create", ...words, "--id", "demo-small");
  const lim = String(id);
  expect(lim).toMatch(/^lim_/);
  await check(
    ["limits", "list"],
    new RegExp(`${lim} +model demo-small +- +usd +day +0\\.000000000001 +0\\.00`),
  );
  await check(["limits", "change", lim, "--limit", "2.50"], /limit +2\.50/, /remaining +2\.50/);
  await check(["limits", "remove", lim], new RegExp(`^Removed ${lim}\\.`));
  expect(await check(["limits", "list"])).not.toContain(lim);
});

test.each(["tokens", "requests", "in_flight"])("a limit in %s is a whole number", async (unit) => {
  const { id, limit } = await json(
    "limits",
    "create",
    "--unit",
    unit,
    "--limit",
    "1000",
    "--tenant",
    "acme",
  );
  expect(limit).toBe(1000);
  await json("limits", "remove", String(id), "--tenant", "acme");
});

describe("a run", () => {
  test("is set up, spends, is looked back at, explained and stopped", async () => {
    const set = ["runs", "set", "nightly", "--budget", "1.50", "--label", "team=red"];
    await check(set, /run +nightly/, /state +open/, /labels +team=red/, /budget +1\.50/);
    expect((await call(firstKey, "nightly")).status).toBe(200);

    // The answer does not wait for its settlement.
    const shown = await vi.waitFor(
      () =>
        check(
          ["runs", "show", "nightly"],
          /attempts +1/,
          /remaining +1\.4/,
          /demo-chat +- +succeeded/,
        ),
      { timeout: 10_000 },
    );
    const decision = /dec_\w+/.exec(shown)?.[0] ?? "";
    await check(
      ["decisions", "explain", decision],
      /in run nightly/,
      /was admitted/,
      /It succeeded on/,
    );
    await check(
      ["decisions", "show", decision],
      /verdict +allow/,
      /LIMIT +SCOPE/,
      /run +nightly +usd/,
    );
    await check(["decisions", "list", "--run", "nightly"], new RegExp(decision));
    await check(["runs", "list"], /nightly/);

    await check(["runs", "stop", "nightly"], /^Stopped nightly; nothing is in flight\.\n$/);
    expect((await call(firstKey, "nightly")).status).toBe(403);
    await check(["runs", "show", "nightly"], /state +stopped/, /blocked +1/, /run_stopped/);
  });

  test("shows which attempt took up what its model asked for", async () => {
    const post = async (path: string, body: object) => {
      const answer = await fetch(`${url}/${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${firstKey}`,
          "content-type": "application/json",
          "tollgate-run": "agent",
        },
        body: JSON.stringify(body),
      });
      expect(answer.status).toBe(200);
      return answer.json();
    };
    const parameters = { type: "object", properties: { city: { type: "string" } } };
    const asked = (await post("v1/chat/completions", {
      model: "demo/chat",
      max_completion_tokens: 50,
      messages: [{ role: "user", content: "Use get_weather please" }],
      tools: [{ type: "function", function: { name: "get_weather", parameters } }],
    })) as {
      choices: [
        {
          message: { tool_calls: [{ id: string; function: { name: string; arguments: string } }] };
        },
      ];
    };
    const [{ id, function: called }] = asked.choices[0].message.tool_calls;
    const { attempt_id: attempt } = (await post("api/gate", {
      kind: "tool",
      name: called.name,
      estimate_usd: "0",
      arguments: JSON.parse(called.arguments),
    })) as { attempt_id: string };
    await post(`api/attempts/${attempt}/complete`, {});
    const shown = await vi.waitFor(
      () =>
        check(
          ["runs", "show", "agent"],
          new RegExp(
            `TOOL CALLS\\n.*demo-chat .*asks get_weather: ${attempt}\\n.* get_weather .*asked by att_`,
          ),
        ),
      { timeout: 10_000 },
    );
    const decision = /dec_\w+/.exec(shown)?.[0] ?? "";
    await check(
      ["decisions", "explain", decision],
      new RegExp(
        `Its model asked for the tool get_weather \\(${id}\\); ${attempt} took that up\\.`,
      ),
    );
    await check(
      ["decisions", "explain", attempt],
      new RegExp(`A model had asked for it \\(${id}\\), in att_`),
    );
  });

  test("of the same name in another tenant is another run", async () => {
    const ran = await tollgate("runs", "show", "keyed", "--tenant", "acme");
    expect(ran.code).toBe(1);
  });
});

test("usage and prices are told by model and by day", async () => {
  await check(
    ["usage"],
    /cost +\d+\.\d+/,
    /UPSTREAM +MODEL +ATTEMPTS/,
    /^demo +demo-chat /m,
    /DAY +ATTEMPTS/,
  );
  await check(["prices", "--upstream", "demo"], /demo +demo-chat +.*input=2\.50/);
});

test("a page says how the next one is asked for, and it goes on there", async () => {
  const { data, next } = await json("prices", "--rows", "2");
  expect(data).toHaveLength(2);
  const after = await json("prices", "--rows", "2", "--cursor", String(next));
  expect(after["data"]).toHaveLength(2);
  expect(JSON.stringify(after["data"])).not.toContain(String(next));
});

test("--json is the API's answer, byte for byte", async () => {
  const words = ["tenants", "list", "--json", "--key", firstKey];
  const { out } = await place.run(words, { TOLLGATE_URL: url });
  const answer = await fetch(`${url}/api/tenants?limit=100`, {
    headers: { authorization: `Bearer ${firstKey}` },
  });
  expect(out).toBe(`${await answer.text()}\n`);
});

test("a key without the scope is told which one it lacks", async () => {
  const ran = await tollgate("keys", "create", "x", "--key", firstKey);
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(/This needs a key with the scope "admin"; the key comes from --key/);
});

test("a wrong key is told where the right one comes from", async () => {
  const ran = await tollgate("tenants", "list", "--key", "wrong-key");
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(/does not know this key\. It comes from --key\./);
});

test("a start names the MCP servers, whether they answer or not, and where agents find them", () => {
  expect(served.banner).toContain(`MCP servers: files   ·   at ${url}/mcp/`);
});

test("doctor knows the Tollgate that is running", async () => {
  const ran = await place.run(["doctor"], { PORT: new URL(url).port });
  expect(ran.out).toMatch(/port +ok +Tollgate answers at/);
  expect(ran.out).toMatch(/database +ok +embedded in .*, in use/);
  expect(ran.code).toBe(0);
});

test("a second Tollgate on the same embedded database is refused in a sentence", async () => {
  const ran = await place.run(["serve"], { PORT: "0" });
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(
    /^error: another Tollgate \(process \d+\) has the embedded database open/,
  );
});

test("a port that is taken is told in a sentence, and the process ends", async () => {
  place.install("other");
  const ran = await place.run(["serve"], { PORT: new URL(url).port, TOLLGATE_DATA: "other" });
  expect(ran.code).toBe(1);
  expect(ran.err).toMatch(
    /error: 127\.0\.0\.1:\d+ is taken by another program \(EADDRINUSE\): stop it, or set PORT\./,
  );
});

test("a tool is declared, shown, listed and removed", async () => {
  await check(
    ["tools", "set", "refund", "--effect", "effectful", "--price", "0.05"].concat([
      "--operation",
      "refund",
      "--pointer",
      "/order_id",
    ]),
    /effect +effectful/,
    /price +0\.05/,
    /operation +refund at \/order_id/,
    /mode +observe/,
  );
  await check(["tools", "list"], /^NAME +STATE +EFFECT +PRICE/, /refund +own +effectful +0\.05/);
  await check(["tools", "show", "refund"], /name +refund/);
  const half = await tollgate("tools", "set", "x", "--effect", "pure", "--operation", "refund");
  expect([half.code, half.err]).toEqual([2, expect.stringContaining("--pointer")]);
  await check(["tools", "remove", "refund"], /^Removed refund\.$/m);
  expect((await tollgate("tools", "show", "refund")).code).toBe(1);
});

test("an operation is shown, and what is uncertain about it reconciled", async () => {
  const post = async (path: string, body: object, status = 200): Promise<string> => {
    const answer = await fetch(`${url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${firstKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(status);
    return answer.text();
  };
  const operation = "refund:order 1:2";
  const ask = { kind: "step", name: "wire", run: "r", operation };
  const attempt = /att_\w+/.exec(await post("/api/gate", ask))?.[0] ?? "";
  await post(`/api/attempts/${attempt}/fail`, { error: "timeout", executed: "unknown" });
  await check(
    ["operations", "show", operation],
    /^EFFECT +STATE +ATTEMPT +RUN +SINCE/,
    new RegExp(`wire +uncertain +${attempt} +r +20`),
  );
  const words = ["--applied", "yes", "--evidence", "the bank has it", "--result"];
  const result = '{"id":12345678901234567890,"rate":0.10}';
  const reconcile = ["operations", "reconcile", attempt, ...words, result, "--cost"];
  expect((await tollgate(...reconcile, "1,5")).code).toBe(2);
  await check([...reconcile, "0.25"], /status +succeeded/, /cost +0\.25/);
  expect(await post("/api/gate", { ...ask, include_result: true }, 409)).toContain(
    '"result":{"id":1.234567890123456789e+19,"rate":0.1}',
  );
  await check(["operations", "show", operation], /wire +applied/);
  const shown = await json("operations", "show", operation);
  expect(shown["effects"]).toMatchObject([{ effect: "wire", state: "applied" }]);
  expect((await tollgate("operations", "show", "refund")).code).toBe(2);
  expect((await tollgate("operations", "show", "refund:none")).code).toBe(1);
});

test("a file of prices is compared, then applied with --yes, and refused with its line", async () => {
  const file = join(place.directory, "prices.yaml");
  const price = (input: string) =>
    `source: negotiated\nprices:\n  - tenant: default\n    upstream: demo\n    model: demo-small\n    valid_from: 2026-01-01\n    usd_per_million: { input: ${input}, output: 0.30 }\n`;
  writeFileSync(file, price("0.075"));
  const compared = [
    /changed\n/,
    /demo-small +.* input +0\.15 +0\.075 +-50\.0/,
    /0 added, 1 changed/,
  ];
  await check(["prices", "import", file], ...compared, /Apply it: .*--yes/);
  await check(["prices", "import", file, "--dry-run"], ...compared);
  await check(["prices", "imports"], /^EVENT[^\n]*\n$/);
  await check(["prices", "import", file, "--yes"], ...compared, /Applied: evt_/);
  await check(["prices", "import", file, "--yes"], /0 added, 0 changed, 1 unchanged/);
  writeFileSync(file, `${price("0.075")}    output_tokens_max: 400\n`);
  await check(["prices", "import", file], /output_tokens_max +16384 +400 .*\(tokens\)/);
  await check(["prices", "imports"], /evt_\S+ +\S+ +installation +negotiated +0 +1 +0/);
  await check(["prices", "--model", "demo-small"], /ten_\S+ +demo +demo-small +2026.*input=0\.075/);
  writeFileSync(file, price("-1"));
  const refused = await tollgate("prices", "import", file, "--yes");
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/prices\.yaml:7:31: .*input must be 0 or more/);
  expect(refused.err).toMatch(/1 price or line is refused: nothing of the file is applied\./);
  const both = await tollgate("prices", "import", file, "--yes", "--dry-run");
  expect(both.code).toBe(2);
});

test("a credit is posted with its reason, and use shows it on a line of its own", async () => {
  await check(
    ["adjustments", "post", "--usd", "-1.50", "--reason", "credit note 17"],
    /id +adj_/,
    /USD +-1\.50/,
  );
  await check(["adjustments", "list"], /adj_\S+ +\S+ +-1\.50 +- +- +installation +credit note 17/);
  await check(["usage"], /cost +0\.\d+\n/, /adjustments +-1\.50\n/);
  expect((await tollgate("adjustments", "post", "--usd", "some", "--reason", "r")).code).toBe(2);
  expect((await tollgate("adjustments", "post", "--usd", "1")).code).toBe(2);
});
