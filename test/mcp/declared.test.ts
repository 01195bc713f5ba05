/** What an operator says of a tool and of a key, as it holds at the door: what may be called, what passes, what taints. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedMcp, type Conduct, type ScriptedMcp } from "../support/scripted-mcp.ts";
import { PAGE_EMAIL, PAGE_KEY } from "../support/scripted-mcp-tools.ts";
import type { Tenant } from "../support/tollgate.ts";
import { connectOfficial } from "./libraries.ts";
import {
  callOf,
  mcpServer,
  refusalIn,
  startToolDoor,
  type Terms,
  type ToolDoor,
} from "./tool-door.ts";

const PAID: Terms = { effect: "pure", price_usd: "0.25" };
const ORDINARY: Conduct = { kind: "ordinary" };

const NOT_AFTER_TAINT = `
policies:
  - { id: tainted, when: 'run.tainted && resource.name == "bank/wire"', effect: block, reason: "It has read {run.tainted_by}." }
`;

describeOnPostgres("a tool behind the tool door", (database) => {
  let server: ScriptedMcp;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    server = await startScriptedMcp();
    door = await startToolDoor(database, {
      mcpServers: [
        mcpServer("bank", server.url),
        mcpServer("loose", server.url, { observesUndeclared: true }),
      ],
    });
  });
  beforeEach(async () => {
    server.behave(ORDINARY);
    tenant = await door.tollgate.tenant();
  });
  afterAll(async () => {
    await door?.close();
    await server?.close();
  });

  const call = (tool: string, args: object, headers: Readonly<Record<string, string>> = {}) =>
    door.post(tenant, "bank", { tool, args: { ...args }, headers });
  const enforce = async (source: string) => {
    const of = { tenant: tenant.id };
    const { body } = await door.manage("POST", "/policies", { ...of, source });
    const made = await door.manage("POST", `/policies/${body.version}/activate`, of);
    expect(made.status).toBe(200);
  };

  test("is not called under a header or a member of `_meta` that begins as ours and is none of ours", async () => {
    await door.declare(tenant, "bank/echo", PAID);
    const from = server.calls().length;
    const header = await call("echo", {}, { "tollgate-max-costs": "0.01" });
    expect(header.text).toContain("Did you mean `Tollgate-Max-Cost`?");
    const body = callOf("echo", {}).replace('"_meta":{', '"_meta":{"tollgate/rum":"r",');
    const member = await door.post(tenant, "bank", { body });
    expect(member.text).toContain("Did you mean `_meta.tollgate/run`?");
    expect(server.calls()).toHaveLength(from);
    expect((await call("echo", {}, { "tollgate-max-cost": "1" })).text).not.toContain("error");
  });

  test("that answers more than may pass is charged, and its caller has nothing of it", async () => {
    await door.declare(tenant, "bank/rows", { ...PAID, output: { rows_max: 3 } });
    expect(refusalIn(await call("rows", { n: 3 })).isError).toBeUndefined();
    const answer = await call("rows", { n: 4 }, { "tollgate-run": "r" });
    expect(refusalIn(answer)).toMatchObject({ isError: true, reason: "withheld" });
    expect(answer.text).not.toMatch(/row\W+1/u);
    expect(answer.message.result.structuredContent).toBeUndefined();
    expect(await door.attempts(tenant, "r")).toMatchObject([
      { status: "succeeded", cost_usd: "0.25", reserved_usd: "0.00" },
    ]);
  });

  test("has replaced in its result what its declaration says, and the rest of it passes", async () => {
    const output = { redact: ["secrets", "pii"] };
    await door.declare(tenant, "bank/fetch_page", { ...PAID, output });
    const { text } = await call("fetch_page", { url: "https://example.com" });
    expect(text).toContain("Contact ");
    expect(text).not.toContain(PAGE_EMAIL);
    expect(text).not.toContain(PAGE_KEY);
  });

  test.each<readonly [string, Conduct, Partial<Terms>, boolean]>([
    ["answered", ORDINARY, {}, true],
    ["told an error of its own", { kind: "tool_error", text: "no" }, {}, true],
    [
      "told an error of the protocol",
      { kind: "rpc_error", code: -32_000, message: "no" },
      {},
      true,
    ],
    ["answered what is withheld", ORDINARY, { output: { bytes_max: 1 } }, true],
    ["answered, and is trusted", ORDINARY, { trusted: true }, false],
    ["was not reached", { kind: "status", status: 401, by: "proxy" }, {}, false],
  ])("that %s taints its run, or not: %j %j %j", async (_, conduct, terms, taints) => {
    await door.declare(tenant, "bank/echo", { ...PAID, ...terms });
    await door.declare(tenant, "bank/wire", PAID);
    await enforce(NOT_AFTER_TAINT);
    const run = { "tollgate-run": "r" };
    server.next(conduct);
    await call("echo", {}, run);
    await door.tollgate.gateway.settled();
    const after = refusalIn(await call("wire", { amount: 5, to: "acme" }, run));
    expect(after.reason).toBe(taints ? "policy_denied" : undefined);
    if (taints) expect(after.text).toContain("It has read bank/echo.");
  });

  test("that a key was not made for is refused to it and not shown, and its server is not asked", async () => {
    await door.declareAll(tenant, "bank", PAID);
    const made = { tenant: tenant.id, name: "reader", scopes: ["invoke"], tools: ["bank/e*"] };
    const { key } = (await door.manage("POST", "/keys", made)).body;
    const client = await connectOfficial(door.endpoint({ key }, "bank"), "auto");
    expect(await client.tools()).toEqual(["echo"]);
    await client.close();
    const calls = server.calls().length;
    const refused = await door.post({ key }, "bank", {
      tool: "wire",
      args: { amount: 5, to: "acme" },
      headers: { "tollgate-run": "r" },
    });
    expect(refusalIn(refused)).toMatchObject({ isError: true, reason: "tool_not_allowed" });
    expect(server.calls()).toHaveLength(calls);
    expect(await door.attempts(tenant, "r")).toMatchObject([
      { status: "blocked", reason: "tool_not_allowed", resource: "bank/wire" },
    ]);
    expect((await door.post({ key }, "bank", { args: { a: 1 } })).text).toContain('{\\"a\\":1}');
  });

  test("that policies block whatever its arguments are is not shown, and one that they judge by these is", async () => {
    await door.declare(tenant, "bank/echo", PAID);
    await door.declare(tenant, "bank/search", PAID);
    await door.declare(tenant, "bank/wire", PAID);
    await enforce(`
policies:
  - { id: no-search, when: 'resource.name == "bank/search"', effect: block, reason: "Search elsewhere." }
  - { id: small, when: 'resource.name == "bank/wire" && arguments.amount > 100', effect: block, reason: "Too large." }
`);
    const names = async (key: string) => {
      const client = await connectOfficial(door.endpoint({ key }, "bank"), "auto");
      const tools = await client.tools();
      await client.close();
      return [...tools].toSorted();
    };
    expect(await names(tenant.key)).toEqual(["echo", "wire"]);
    const reader = { tenant: tenant.id, name: "reader", scopes: ["report"] };
    expect(await names((await door.manage("POST", "/keys", reader)).body.key)).toEqual([]);
  });

  test("that nobody declared is called where its server's are observed, and nowhere else", async () => {
    tenant = await door.tollgate.tenant({ mode: "tolerant" });
    const from = server.calls().length;
    expect(refusalIn(await call("echo", {})).reason).toBe("tool_undeclared");
    expect(server.calls()).toHaveLength(from);
    expect((await door.post(tenant, "loose", { args: { a: 1 } })).text).toContain('{\\"a\\":1}');
    expect(server.calls()).toHaveLength(from + 1);
    const { body } = await door.manage("GET", `/tools?tenant=${tenant.id}`);
    const states = (body.data as readonly { readonly name: string; readonly state: string }[])
      .filter(({ name }) => name.endsWith("/echo"))
      .map(({ name, state }) => [name, state]);
    expect(states).toEqual([
      ["bank/echo", "undeclared"],
      ["loose/echo", "observed"],
    ]);
  });
});
