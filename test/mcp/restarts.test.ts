/** Servers that end and come back while their clients go on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startEverything, type McpServer } from "../support/mcp-servers.ts";
import type { Tenant } from "../support/tollgate.ts";
import { LIBRARIES } from "./libraries.ts";
import { mcpServer, startToolDoor, type ToolDoor } from "./tool-door.ts";

describeOnPostgres("an MCP server that", (database) => {
  let server: McpServer;
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    server = await startEverything();
    door = await startToolDoor(database, { mcpServers: [mcpServer("every", server.url)] });
    tenant = await door.tollgate.tenant({ guards: "off" });
    await door.declareAll(tenant, "every", { effect: "effectful", price_usd: "0.25" });
  });
  afterAll(async () => {
    await door?.close();
    await server?.close();
  });

  test.each(LIBRARIES)("ends and comes back is met again by $name", async (library) => {
    const run = `with ${library.name}`;
    const client = await library.connect(door.endpoint(tenant, "every", { "tollgate-run": run }));
    const sum = (a: number) => client.call("get-sum", { a, b: 0 });
    expect((await sum(1)).text).toContain("is 1.");
    const port = Number(new URL(server.url).port);
    await server.close();
    // Nobody listens: nothing was sent, nothing is held, and the client is told so.
    const away = await sum(2).catch((error: unknown) => ({ isError: true, text: String(error) }));
    expect(away.isError).toBe(true);
    server = await startEverything(port);
    // Its sessions are gone with it. A client that knows nothing of them goes on.
    expect((await sum(3)).text).toContain("is 3.");
    await client.close();
    const attempts = await door.attempts(tenant, run);
    const endings = attempts.map(({ status, reserved_usd }) => [status, reserved_usd]);
    expect(endings.filter(([status]) => status === "succeeded")).toHaveLength(2);
    expect(endings.filter(([, reserved]) => reserved !== "0.00")).toEqual([]);
  });
});
