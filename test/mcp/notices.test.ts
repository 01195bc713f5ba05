/** What a client hears without having asked for it: logs of its calls, and that its tools have become others. */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { LIST_AGE_MS_MAX, TENANT_LISTENERS_MAX } from "../../src/core/limits-tools.ts";
import { describeOnPostgres } from "../support/databases.ts";
import type { Tenant } from "../support/tollgate.ts";
import { startHostileServer, TOOL, type HostileServer } from "./hostile-server.ts";
import { mcpServer, startToolDoor, type ToolDoor } from "./tool-door.ts";

const LOG_LEVEL = "io.modelcontextprotocol/logLevel";
const PAID = { effect: "pure", price_usd: "0" } as const;

describeOnPostgres("a client of the tool door", (database) => {
  let server: HostileServer;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    server = await startHostileServer();
    door = await startToolDoor(database, { mcpServers: [mcpServer("bank", server.url)] });
  });
  beforeEach(async () => {
    server.behave(() => false);
    tenant = await door.tollgate.tenant({ guards: "off" });
  });
  afterAll(async () => {
    await door?.close();
    await server?.close();
  });

  async function connect(onChanged?: (names: readonly string[]) => void) {
    const { url, headers } = door.endpoint(tenant, "bank");
    const listChanged = {
      tools: {
        onChanged: (_: unknown, tools: readonly { readonly name: string }[] | null) =>
          onChanged?.((tools ?? []).map(({ name }) => name)),
      },
    };
    const client = new Client(
      { name: "test", version: "1" },
      {
        versionNegotiation: { mode: "auto" },
        ...(onChanged === undefined ? {} : { listChanged }),
      },
    );
    await client.connect(
      new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
    );
    return client;
  }

  /** Logs at two levels while it is at work, and once of something else. */
  const logs = () =>
    server.behave(({ message, response }) => {
      if (message.method !== "tools/call") return false;
      const send = (content: object) =>
        response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", ...content })}\n\n`);
      response.setHeader("content-type", "text/event-stream");
      for (const level of ["debug", "warning"]) {
        send({ method: "notifications/message", params: { level, data: `a ${level}` } });
      }
      send({ method: "notifications/tools/list_changed" });
      const result = { resultType: "complete", content: [{ type: "text", text: "done" }] };
      send({ id: message.id, result });
      response.end();
      return true;
    });

  async function logged(meta: object): Promise<readonly unknown[]> {
    const client = await connect();
    const heard: unknown[] = [];
    client.setNotificationHandler("notifications/message", ({ params }) => {
      heard.push(params.data);
    });
    const answer = await client.callTool({ name: TOOL.name, arguments: {}, _meta: { ...meta } });
    expect(JSON.stringify(answer.content)).toContain("done");
    await client.close();
    return heard;
  }

  test("hears what a server logs of its call, from the level on that it asks for", async () => {
    await door.declareAll(tenant, "bank", PAID);
    logs();
    expect(await logged({})).toEqual([]);
    expect(await logged({ [LOG_LEVEL]: "debug" })).toEqual(["a debug", "a warning"]);
    expect(await logged({ [LOG_LEVEL]: "warning" })).toEqual(["a warning"]);
    expect(server.asked.at(-1).params._meta[LOG_LEVEL]).toBe("warning");
  });

  test("hears no log of a tool whose results are searched", async () => {
    await door.declareAll(tenant, "bank", { ...PAID, output: { redact: ["all"] } });
    logs();
    expect(await logged({ [LOG_LEVEL]: "debug" })).toEqual([]);
  });

  test("is told that its tools have become others, whoever changed them, until it leaves", async () => {
    const heard: (readonly string[])[] = [];
    const client = await connect((names) => heard.push(names));
    await door.declareAll(tenant, "bank", PAID);
    await expect.poll(() => heard.length, { timeout: 40_000 }).toBe(1);
    expect(heard).toEqual([[TOOL.name]]);
    server.behave(({ message, result }) => {
      if (message.method !== "tools/list") return false;
      result({
        resultType: "complete",
        tools: [{ ...TOOL, description: "Another." }],
        ttlMs: 0,
        cacheScope: "private",
      });
      return true;
    });
    await expect.poll(() => heard.length, { timeout: 40_000 }).toBe(2);
    expect(heard[1]).toEqual([]);
    await client.close();
    const looks = () => server.asked.filter(({ method }) => method === "tools/list").length;
    // A look that was under way when it left may end; none begins after it.
    await sleep(500);
    const seen = looks();
    await sleep(LIST_AGE_MS_MAX + 1_000);
    expect(looks()).toBe(seen);
  });

  test("is one of as many as its tenant may have listening, which leaves others their places", async () => {
    await door.declareAll(tenant, "bank", PAID);
    const client = await connect();
    const heard = { toolsListChanged: true };
    for (let at = 0; at < TENANT_LISTENERS_MAX; at += 1) await client.listen(heard);
    await expect(client.listen(heard)).rejects.toThrow("As many clients listen here as may");
    tenant = await door.tollgate.tenant({ guards: "off" });
    const other = await connect();
    await other.listen(heard);
    await Promise.all([client.close(), other.close()]);
  });
});
