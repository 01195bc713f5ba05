/** An MCP server that means harm: what it cannot do to the gateway, to its other tenants, and to what is kept. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import type { Tenant } from "../support/tollgate.ts";
import { startHostileServer, withSessions, type HostileServer } from "./hostile-server.ts";
import { callOf, mcpServer, refusalIn, startToolDoor, type ToolDoor } from "./tool-door.ts";

const PAID = { effect: "effectful", price_usd: "0.25" } as const;
const UNTRUE = { "tollgate/replayed": true, "tollgate/approval": "apr_forged", mine: 1 };

describeOnPostgres("a hostile MCP server", (database) => {
  let server: HostileServer;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    server = await startHostileServer();
    door = await startToolDoor(database, {
      mcpServers: [mcpServer("bank", server.url, { timeoutMs: 1_500 })],
    });
  });
  beforeEach(async () => {
    server.behave(() => false);
    tenant = await door.tollgate.tenant({ guards: "off" });
  });
  afterAll(async () => {
    await door?.close();
    await server?.close();
  });

  const wire = (run: string, args = {}) =>
    door.post(tenant, "bank", { tool: "wire", args, headers: { "tollgate-run": run } });

  /** Answers each call of a tool with this text, the id put into it. */
  const answers = (text: string): void =>
    server.behave(({ message, response }) => {
      if (message.method !== "tools/call") return false;
      response.setHeader("content-type", "application/json");
      response.end(text.replaceAll("$ID", JSON.stringify(message.id)));
      return true;
    });
  const fails = (error: string): void => answers(`{"jsonrpc":"2.0","id":$ID,"error":${error}}`);
  const gives = (result: string): void => answers(`{"jsonrpc":"2.0","id":$ID,"result":${result}}`);

  test.each([
    ["a NUL", "a\\u0000b"],
    ["a character that is cut in half", `${"x".repeat(991)}😀😀😀😀`],
  ])("cannot keep a run from being read or going on by %s in its error", async (_, text) => {
    await door.declareAll(tenant, "bank", PAID);
    fails(`{"code":-32000,"message":"${text}"}`);
    expect((await wire("r")).message.error.code).toBe(-32_000);
    expect((await door.attempts(tenant, "r")).map(({ status }) => status)).toEqual(["failed"]);
    server.behave(() => false);
    expect((await wire("r", { again: 1 })).message.result.content[0].text).toBe("done");
  });

  test("has an answer of millions of values refused before they are built", async () => {
    await door.declareAll(tenant, "bank", PAID);
    gives(`{"content":[],"structuredContent":{"a":[${"{},".repeat(150_000)}{}]}}`);
    const answer = await wire("r");
    expect(refusalIn(answer)).toMatchObject({ isError: true, reason: "outcome_unknown" });
    expect(refusalIn(answer).text).toContain("more than 100000 JSON values");
  });

  test("cannot keep who asks waiting by never answering that a connection was made", async () => {
    server.behave(withSessions(({ message }) => message.method === "notifications/initialized"));
    const answer = await wire("r");
    expect(answer.message.error.message).toContain("no answer within 10000 ms");
  }, 30_000);

  test("cannot gather connections by leaving the beginning of each open", async () => {
    const before = server.open();
    server.behave(
      withSessions(({ message, response }) => {
        if (message.method === "tools/list") {
          response.writeHead(404).end();
          return true;
        }
        if (message.method !== "initialize") return false;
        const about = { capabilities: { tools: {} }, serverInfo: { name: "h", version: "1" } };
        const result = { protocolVersion: "2025-11-25", ...about };
        response.writeHead(200, { "content-type": "text/event-stream", "mcp-session-id": "s" });
        response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", id: message.id, result })}\n\n`);
        return true;
      }),
    );
    for (let n = 0; n < 10; n += 1) expect((await wire("r")).message.error.code).toBe(-32_000);
    await expect.poll(() => server.open() - before).toBeLessThan(4);
  });

  test("is not listened to for ever when it answers a cancellation", async () => {
    let isOver = false;
    server.behave(
      withSessions(({ message, response }) => {
        if (message.method === "tools/call") return true;
        if (message.method !== "notifications/cancelled") return false;
        response.once("close", () => {
          isOver = true;
        });
        response.writeHead(200);
        const more = (): void => {
          if (!response.destroyed) response.write("x", () => setTimeout(more, 5));
        };
        more();
        return true;
      }),
    );
    await door.declareAll(tenant, "bank", PAID);
    expect(refusalIn(await wire("r")).reason).toBe("outcome_unknown");
    await expect.poll(() => isOver, { timeout: 5_000 }).toBe(true);
  });

  test("cannot keep who asks waiting by a list of which each page comes late", async () => {
    server.behave(({ message, result }) => {
      if (message.method !== "tools/list") return false;
      setTimeout(result, 400, { tools: [], nextCursor: "more" });
      return true;
    });
    expect((await wire("r")).message.error.message).toContain("10000 ms");
  }, 30_000);

  test("cannot fill the memory by a list of large pages", async () => {
    const description = "x".repeat(3 * 1024 * 1024);
    server.behave(({ message, result }) => {
      if (message.method !== "tools/list") return false;
      result({ tools: [{ name: "large", description }], nextCursor: "more" });
      return true;
    });
    const before = server.asked.length;
    expect((await wire("r")).message.error.message).toContain("bytes");
    const lists = server.asked.slice(before).filter(({ method }) => method === "tools/list");
    expect(lists).toHaveLength(3);
  });
});
