/** The MCP servers of `tollgate.yaml`. */
import type { McpServer } from "../gate/authority.ts";
import { isRecord } from "../lib/json.ts";
import { parse, type Path, type Reader } from "../lib/yaml-reader.ts";
import { serverSchema, type ServerEntry, wrongHeaders } from "./config-schema.ts";

/** A tool that takes longer tells how far it is, and its server is given the time that it needs. */
const TIMEOUT_MS_DEFAULT = 60_000;

/** As the files of desktop clients name a server. */
const STDIO =
  "no process is started from here: put the server behind streamable HTTP and name its url (docs/mcp.md, A server that speaks stdio)";

export function readServers(reader: Reader, entries: readonly unknown[]): readonly McpServer[] {
  const servers: McpServer[] = [];
  for (const [at, entry] of entries.entries()) {
    const path = ["mcp_servers", at];
    if (isRecord(entry) && entry["command"] !== undefined) {
      reader.reportKey([...path, "command"], STDIO);
      continue;
    }
    const read = parse(reader, serverSchema(), entry, path);
    const server = read === null ? null : serverOf(reader, read, path);
    if (server === null) continue;
    if (servers.some(({ name }) => name === server.name)) {
      reader.report([...path, "name"], `a second server called ${server.name}: rename one`);
    } else {
      servers.push(server);
    }
  }
  return servers;
}

function serverOf(reader: Reader, entry: ServerEntry, path: Path): McpServer | null {
  const headers = entry.headers ?? {};
  const wrong = wrongHeaders(headers) ?? wrongForServer(headers);
  if (wrong !== null) {
    reader.reportKey([...path, "headers", wrong[0]], `headers: ${wrong[1]}`);
    return null;
  }
  const { origin, pathname } = new URL(entry.url);
  return {
    name: entry.name,
    origin,
    path: pathname,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, text]) => [name.toLowerCase(), text] as const),
    ),
    tenants: entry.tenants ?? null,
    observesUndeclared: entry.unknown_tools === "observe",
    timeoutMs: entry.timeout_ms ?? TIMEOUT_MS_DEFAULT,
  };
}

/** What belongs to the protocol is said by the gate. */
function wrongForServer(headers: Readonly<Record<string, string>>): [string, string] | null {
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (lower.startsWith("mcp-") || ["accept", "content-type", "last-event-id"].includes(lower)) {
      return [name, "this header is the protocol's own: remove it"];
    }
  }
  return null;
}
