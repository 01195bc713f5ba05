/** An MCP server that answers whatever a test wants, in bytes: it means harm, where the scripted one only errs. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Json } from "./tool-door.ts";

export type Asked = {
  readonly message: Json;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Answers as a sound server would. */
  readonly result: (result: object) => void;
};

/** True: it was answered here. */
export type Conduct = (asked: Asked) => boolean | void;

export type HostileServer = {
  readonly url: string;
  /** What came, in order. */
  readonly asked: Json[];
  /** Connections that stand open. */
  readonly open: () => number;
  readonly behave: (conduct: Conduct) => void;
  readonly close: () => Promise<void>;
};

export const TOOL = { name: "wire", inputSchema: { type: "object" } };
const SAID = {
  capabilities: { tools: {}, resources: {} },
  serverInfo: { name: "h", version: "1" },
};

export async function startHostileServer(): Promise<HostileServer> {
  let conduct: Conduct = () => false;
  const asked: Json[] = [];
  const sockets = new Set<unknown>();
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const message: Json = text === "" ? {} : JSON.parse(text);
      asked.push(message);
      const result = (given: object): void => {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ jsonrpc: "2.0", id: message.id, result: given }));
      };
      if (conduct({ message, request, response, result }) === true) return;
      ordinary({ message, request, response, result });
    })();
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    asked,
    open: () => sockets.size,
    behave: (given) => void (conduct = given),
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function ordinary({ message, response, result }: Asked): void {
  if (message.id === undefined) {
    response.statusCode = 202;
    response.end();
    return;
  }
  switch (message.method) {
    case "server/discover":
      return result({
        supportedVersions: ["2026-07-28"],
        ...SAID,
        ttlMs: 0,
        cacheScope: "private",
      });
    case "initialize":
      response.setHeader("mcp-session-id", "session");
      return result({ protocolVersion: "2025-11-25", ...SAID });
    case "tools/list":
      return result({ tools: [TOOL], ttlMs: 0, cacheScope: "private" });
    default:
      return result({ content: [{ type: "text", text: "done" }] });
  }
}

/** Makes it speak the generation before, whose connection begins with `initialize`. */
export function withSessions(conduct: Conduct = () => false): Conduct {
  return (asked) => {
    if (asked.message.method !== "server/discover") return conduct(asked);
    asked.response.statusCode = 400;
    asked.response.end();
    return true;
  };
}
