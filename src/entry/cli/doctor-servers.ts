/** Whether an MCP server answers from here: what an agent's first call would need. */
import { Client, SdkHttpError, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

import { HANDSHAKE_MS_MAX, LIST_MS_MAX } from "../../core/limits-tools.ts";
import type { McpServer } from "../../gate/authority.ts";
import type { Check } from "./doctor.ts";

export async function serverCheck(server: McpServer): Promise<Check> {
  const check = `server ${server.name}`;
  const url = new URL(server.path, server.origin);
  const client = new Client(
    { name: "tollgate", version: "1" },
    { versionNegotiation: { mode: "auto", probe: { timeoutMs: HANDSHAKE_MS_MAX } } },
  );
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { ...server.headers }, redirect: "manual" },
  });
  try {
    await client.connect(transport, { timeout: HANDSHAKE_MS_MAX });
    const { tools } = await client.listTools(undefined, { timeout: LIST_MS_MAX });
    await transport.terminateSession();
    return { check, status: "ok", detail: `${url.href} lists ${tools.length} tools` };
  } catch (error) {
    return { check, status: "fail", detail: `${url.href} ${wrongOf(error)}` };
  } finally {
    await client.close();
  }
}

function wrongOf(error: unknown): string {
  const status = error instanceof SdkHttpError ? error.status : undefined;
  if (status === 401 || status === 403) return `answered ${status}: check its headers`;
  if (status !== undefined) return `answered ${status}: check the path of its url`;
  return "does not answer as an MCP server: start it, or check its url";
}
