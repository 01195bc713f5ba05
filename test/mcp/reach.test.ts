/** What reaches a server, and what of its credentials comes back: the routes of the tool door against a budget of nothing. */
import { once } from "node:events";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call } from "../http/http-call.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { startTollgateProcess, type Tenant } from "../support/tollgate.ts";
import { doorOf, mcpServer, startToolDoor, type ToolDoor } from "./tool-door.ts";

const PAID = { effect: "pure", price_usd: "0.25" } as const;
const SECRET = "bank-canary-77e0a4";

/** What Tollgate asks a server by itself: who it is, and which tools it lists. */
const OWN: ReadonlySet<string | null> = new Set([
  "initialize",
  "notifications/initialized",
  "notifications/cancelled",
  "server/discover",
  "tools/list",
]);

const METHODS = [
  ["tools/call", { name: "echo", arguments: {} }],
  ["resources/list", {}],
  ["resources/templates/list", {}],
  ["resources/read", { uri: "file:///a" }],
  ["resources/subscribe", { uri: "file:///a" }],
  ["prompts/list", {}],
  ["prompts/get", { name: "p", arguments: {} }],
  [
    "completion/complete",
    { ref: { type: "ref/prompt", name: "p" }, argument: { name: "a", value: "" } },
  ],
  ["tools/list", {}],
  ["tools/list", { cursor: "any" }],
  ["logging/setLevel", { level: "debug" }],
  ["sampling/createMessage", { messages: [] }],
  ["tasks/get", { taskId: "t" }],
  ["Tools/Call", { name: "echo", arguments: {} }],
  ["tools/call ", { name: "echo", arguments: {} }],
  ["ping", {}],
  [
    "initialize",
    { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "c", version: "1" } },
  ],
  ["server/discover", {}],
  ["anything", {}],
] as const;

const SPELLINGS = [
  "/mcp/bank",
  "/mcp/bank/",
  "//mcp/bank",
  "/mcp//bank",
  "/MCP/bank",
  "/mcp/BANK",
  "/run/r/mcp/bank",
  "/run/r/step/s/mcp/bank",
  "//run/r/mcp/bank",
  "/mcp/bank?x=1",
  "/mcp/%62ank",
  "/%6dcp/bank",
  "/mcp/bank%2f",
  "/mcp/bank/x",
  "/x/../mcp/bank",
  "/mcp/x/../bank",
  "/v1/mcp/bank",
  "/openai/mcp/bank",
  "/run/r/v1/mcp/bank",
  "/mcp/bank;x",
  "/mcp/bank#x",
  "/api/mcp/bank",
];

describeOnPostgres("a tenant without money", (database) => {
  let bank: ScriptedMcp;
  let upstream: ScriptedUpstream;
  let door: ToolDoor;
  beforeAll(async () => {
    bank = await startScriptedMcp();
    upstream = await startScriptedUpstream();
    upstream.otherwise({ kind: "json", body: { ok: true } });
    door = await startToolDoor(database, {
      upstream: upstream.url,
      mcpServers: [mcpServer("bank", bank.url)],
    });
  });
  afterAll(async () => {
    await door?.close();
    await upstream?.close();
    await bank?.close();
  });

  const ask = (tenant: Tenant, verb: string, path: string, method: string, params: object) => {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "raw", version: "1.0.0" },
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const name = "name" in params ? { "mcp-name": String(params.name) } : {};
    return call(`${door.tollgate.url}${path}`, {
      method: verb,
      headers: {
        authorization: `Bearer ${tenant.key}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method.trim(),
        ...name,
      },
      body:
        verb === "GET"
          ? null
          : JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } }),
    });
  };
  const reached = (from: number) =>
    bank.journal.slice(from).flatMap(({ method }) => (OWN.has(method) ? [] : [method]));

  test("calls no tool that costs anything, by any method, path or spelling", async () => {
    const tenant = await door.tollgate.tenant();
    await door.declareAll(tenant, "bank", PAID);
    await tenant.limit({ scope: "tenant", unit: "usd", limit: 0 });
    const from = bank.journal.length;
    for (const path of SPELLINGS) {
      for (const verb of ["POST", "GET", "PUT", "PATCH", "DELETE"]) {
        const { status } = await ask(tenant, verb, path, "tools/call", {
          name: "echo",
          arguments: {},
        });
        expect(status, `${verb} ${path}`).toBeLessThan(500);
      }
    }
    expect(reached(from)).toEqual([]);
    expect(upstream.connections()).toBe(0);
  });

  test("that may make no request asks nothing of a server, and is told so of each that could pass", async () => {
    const tenant = await door.tollgate.tenant({ guards: "off" });
    await door.declareAll(tenant, "bank", { ...PAID, price_usd: "0" });
    await tenant.limit({ scope: "tenant", unit: "requests", window: "day", limit: 0 });
    const from = bank.journal.length;
    for (const path of SPELLINGS) {
      for (const [method, params] of METHODS) {
        const { status } = await ask(tenant, "POST", path, method, params);
        expect(status, `${method} ${path}`).toBeLessThan(500);
      }
    }
    expect(reached(from)).toEqual([]);
    expect(upstream.connections()).toBe(0);
    // What it is asked for them is Tollgate's own, at most once in a while, whoever asks how often.
    expect(bank.journal.length - from).toBeLessThan(30);
    const decisions = await door.tollgate.ledger<{ verdict: string; reason: string }>(
      "select distinct verdict, reason from decisions where tenant_id = $1 and door = 'tool'",
      [tenant.id],
    );
    expect(decisions).toEqual([{ verdict: "block", reason: "quota_exceeded" }]);
  });
});

describeOnPostgres("the credentials of a server", (database) => {
  test("come back in no error, log or row, though the server says them", async () => {
    const { address, db } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    const bank = await startScriptedMcp();
    const parrot = createServer((incoming, response) => {
      const said = `{"error":"no: ${incoming.headers.authorization}"}`;
      response.writeHead(401, { "content-type": "application/json" }).end(said);
    });
    parrot.listen(0, "127.0.0.1");
    await once(parrot, "listening");
    const { port } = parrot.address() as { readonly port: number };
    const server = (name: string, url: string) =>
      `  - { name: ${name}, url: "${url}", timeout_ms: 1500, headers: { Authorization: "Bearer ${SECRET}" } }\n`;
    const tollgate = await startTollgateProcess({
      databaseUrl: address.url,
      adminKey: randomUUID() + randomUUID(),
      yaml: `mcp_servers:\n${server("bank", bank.url)}${server("parrot", `http://127.0.0.1:${port}/mcp`)}`,
      env: { LOG_LEVEL: "debug" },
    });
    const told: string[] = [];
    try {
      const tenant = await tollgate.tenant({ guards: "off" });
      const asked = doorOf(tollgate);
      await asked.declareAll(tenant, "bank", PAID);
      const message = `You sent Bearer ${SECRET}`;
      for (const conduct of [
        { kind: "rpc_error", code: -32000, message },
        { kind: "rpc_error", code: -32602, message: `${SECRET} is none` },
        { kind: "die" },
        { kind: "hang" },
        { kind: "broken_json" },
        { kind: "status", status: 401, by: "proxy" },
        { kind: "redirect", to: `http://127.0.0.1:9/${SECRET}` },
      ] as const) {
        bank.next(conduct);
        told.push(
          (await asked.post(tenant, "bank", { tool: "echo", args: { n: told.length } })).text,
        );
      }
      told.push((await asked.post(tenant, "parrot", { tool: "echo" })).text);
      const begun = await asked.manage("POST", "/mcp-servers/parrot/discover", {
        tenant: tenant.id,
      });
      told.push(JSON.stringify(begun.body));
      expect(bank.calls("echo").at(-1)?.headers["authorization"]).toBe(`Bearer ${SECRET}`);
      const { stdout, stderr } = tollgate.output();
      expect(told.filter((text) => text.includes(SECRET))).toEqual([]);
      expect((stdout + stderr).includes(SECRET)).toBe(false);
    } finally {
      await tollgate.close();
      parrot.closeAllConnections();
      parrot.close();
      await bank.close();
    }
    const tables = await db.admin<{ name: string }[]>`
      select table_name as name from information_schema.tables
      where table_schema = 'public' and table_type = 'BASE TABLE'`;
    expect(tables.length).toBeGreaterThan(20);
    const found: string[] = [];
    for (const { name } of tables) {
      const rows = await db.admin.unsafe(
        `select 1 from "${name}" t where t::text like '%${SECRET}%'`,
      );
      if (rows.length > 0) found.push(name);
    }
    expect(found).toEqual([]);
  });
});
