/** The clients of the Model Context Protocol, unmodified but for the URL. */
import { afterAll, beforeAll } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import {
  startEverything,
  startFiles,
  type FilesServer,
  type McpServer,
} from "../support/mcp-servers.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import type { Tenant } from "../support/tollgate.ts";
import { describeClients, SERVERS } from "./matrix.ts";
import { mcpServer, startToolDoor, type ToolDoor } from "./tool-door.ts";

let everything: McpServer;
let files: FilesServer;
let scripted: ScriptedMcp;
let upstream: ScriptedUpstream;
beforeAll(async () => {
  everything = await startEverything();
  files = await startFiles();
  scripted = await startScriptedMcp();
  upstream = await startScriptedUpstream();
});
afterAll(async () => {
  await upstream?.close();
  await scripted?.close();
  await files?.close();
  await everything?.close();
});

const behind = () => ({ files, scripted, upstream });

describeOnPostgres("the tool door", (database) => {
  let door: ToolDoor;
  let tenant: Tenant;
  beforeAll(async () => {
    const urls = { everything, files, scripted };
    door = await startToolDoor(database, {
      upstream: upstream.url,
      mcpServers: SERVERS.map((name) => mcpServer(name, urls[name].url)),
    });
    tenant = await door.tollgate.tenant();
    for (const server of SERVERS) {
      await door.declareAll(tenant, server, { effect: "pure", price_usd: "0" });
    }
  });
  afterAll(() => door?.close());

  describeClients("through the gateway", behind, () => ({
    endpoint: (server) => door.endpoint(tenant, server),
    model: { baseURL: `${door.tollgate.url}/v1`, apiKey: tenant.key },
  }));
});
