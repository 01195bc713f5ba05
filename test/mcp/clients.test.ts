/** The clients of the Model Context Protocol, unmodified but for the URL. */
import { afterAll, beforeAll } from "vitest";
import {
  startEverything,
  startFiles,
  type FilesServer,
  type McpServer,
} from "../support/mcp-servers.ts";
import { startScriptedMcp, type ScriptedMcp } from "../support/scripted-mcp.ts";
import { startScriptedUpstream, type ScriptedUpstream } from "../support/scripted-upstream.ts";
import { describeClients } from "./matrix.ts";

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

describeClients("straight at the servers", behind, () => ({
  endpoint: (server) => ({ url: { everything, files, scripted }[server].url, headers: {} }),
  model: { baseURL: upstream.url, apiKey: "sk-test" },
}));
