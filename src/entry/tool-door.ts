/**
 * The tool door's own parts. They are loaded only where a server is configured: who has none neither waits for the
 * packages of the protocol at the start nor keeps them in memory.
 */
import type { Ports } from "../gate/ports.ts";
import type { Connections } from "../gate/servers.ts";
import type { ToolDoor } from "../http/mcp.ts";
import type { Config } from "./config.ts";

export type ToolDoorOnNode = {
  readonly connections: Connections;
  readonly toolDoor: ToolDoor;
};

export async function openToolDoor(
  { mcpServers }: Pick<Config, "mcpServers">,
  ports: Ports,
): Promise<ToolDoorOnNode | null> {
  if (mcpServers.length === 0) return null;
  const [{ createConnections }, { createToolDoor }] = await Promise.all([
    import("./mcp-connections.ts"),
    import("../http/mcp.ts"),
  ]);
  return { connections: createConnections(ports), toolDoor: createToolDoor(ports) };
}
