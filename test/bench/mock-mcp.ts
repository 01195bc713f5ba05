/**
 * An MCP server whose own cost is small: one tool that answers what it was given, no sessions, every answer one
 * JSON body. It speaks the present generation of the protocol and the handshake of the one before.
 *
 * Started by fork; says its port over IPC. `GET /served` tells how many calls it answered.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tellPort } from "./child.ts";
import { TOOL } from "./tool-call.ts";

type Message = {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: { readonly arguments?: { readonly n?: unknown } };
};

const REQUEST_BYTES_MAX = 64 * 1024;
const STATELESS = "2026-07-28";
const SERVER = { name: "bench", version: "1.0.0" };
const CAPABILITIES = { tools: {} };
const INPUT = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
const TOOLS = [{ name: TOOL, description: "Answers what it was given.", inputSchema: INPUT }];

let served = 0;

const resultOf = ({ method, params }: Message): object | null => {
  switch (method) {
    case "initialize":
      return { protocolVersion: "2025-11-25", capabilities: CAPABILITIES, serverInfo: SERVER };
    case "server/discover": {
      const told = { supportedVersions: [STATELESS], capabilities: CAPABILITIES };
      return { ...told, ttlMs: 0, cacheScope: "private" };
    }
    case "tools/list":
      return { tools: TOOLS, ttlMs: 0, cacheScope: "private" };
    case "tools/call":
      served += 1;
      return { content: [{ type: "text", text: `n is ${String(params?.arguments?.n)}` }] };
    default:
      return null;
  }
};

const answerTo = (message: Message, isStateless: boolean): string => {
  const { id } = message;
  const result = resultOf(message);
  if (result === null) {
    const error = { code: -32601, message: "Method not found" };
    return JSON.stringify({ jsonrpc: "2.0", id, error });
  }
  const meta = { "io.modelcontextprotocol/serverInfo": SERVER };
  const whole = isStateless ? { ...result, resultType: "complete", _meta: meta } : result;
  return JSON.stringify({ jsonrpc: "2.0", id, result: whole });
};

const send = (response: ServerResponse, status: number, body: string): void => {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
};

const serve = (request: IncomingMessage, response: ServerResponse): void => {
  if (request.method === "GET" && request.url === "/served") {
    return send(response, 200, JSON.stringify({ served }));
  }
  if (request.method !== "POST") return send(response, 405, "{}");
  const chunks: Buffer[] = [];
  let bytes = 0;
  request.on("error", () => response.destroy());
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes > REQUEST_BYTES_MAX) request.destroy();
    else chunks.push(chunk);
  });
  request.on("end", () => {
    const message = JSON.parse(Buffer.concat(chunks).toString()) as Message;
    // A notification has no answer.
    if (message.id === undefined) return send(response, 202, "");
    const isStateless = request.headers["mcp-protocol-version"] === STATELESS;
    send(response, 200, answerTo(message, isStateless));
  });
};

const server = createServer({ noDelay: true }, serve);
server.keepAliveTimeout = 120_000;
tellPort(server);
