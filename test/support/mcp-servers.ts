/** The official servers of the Model Context Protocol, as they are published, behind streamable HTTP on loopback. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, realpath, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { getRequestListener } from "@hono/node-server";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { createMcpHandler, Server } from "@modelcontextprotocol/server";
import { bareEnvironment } from "./built.ts";
import { keep } from "./keeper.ts";

export type McpServer = {
  /** With the path at which it serves MCP. */
  readonly url: string;
  readonly close: () => Promise<void>;
};

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;

/** How much of a child's standard error is kept, to say why it did not start. */
const ERROR_CHARS_MAX = 4_000;

const binary = (name: string): string =>
  fileURLToPath(import.meta.resolve(`@modelcontextprotocol/${name}/dist/index.js`));

/**
 * `server-everything`, which has a session for each client: tools, resources, prompts, progress, requests to
 * the client. It speaks the generation before the present one. A port is named where another one listened before.
 */
export async function startEverything(port = 0): Promise<McpServer> {
  const child = fork(binary("server-everything"), ["streamableHttp"], {
    execArgv: ["--import", new URL("./mcp-loopback.ts", import.meta.url).href],
    env: { ...bareEnvironment(), LOOPBACK_PORT: String(port) },
    // It writes a line for every request, which nobody reads.
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  keep(child);
  const close = () => stopped(child);
  try {
    return { url: `http://127.0.0.1:${await portOf(child)}/mcp`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function portOf(child: ChildProcess): Promise<number> {
  let said = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-ERROR_CHARS_MAX);
  });
  const listening = Promise.withResolvers<number>();
  child.once("message", ({ port }: { readonly port: number }) => listening.resolve(port));
  child.once("error", listening.reject);
  child.once("exit", (code) => listening.reject(new Error(`it ended with ${code}: ${said}`)));
  const late = setTimeout(() => listening.reject(new Error(`no port: ${said}`)), START_MS_MAX);
  return await listening.promise.finally(() => clearTimeout(late));
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await exit;
  clearTimeout(timer);
}

export type FilesServer = McpServer & {
  /** The only directory that it reads and writes. */
  readonly directory: string;
  /** What stands in a file of it. */
  readonly read: (name: string) => Promise<string>;
};

/**
 * `server-filesystem`, which speaks to one client over its standard input: behind HTTP by the official packages,
 * without sessions, in the present generation and the one before. Its own client is one for all requests.
 */
export async function startFiles(): Promise<FilesServer> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "tollgate-files-")));
  const remove = () => rm(directory, { recursive: true, force: true });
  const client = new Client({ name: "bridge", version: "1.0.0" });
  try {
    await client.connect(
      new StdioClientTransport({
        command: process.execPath,
        args: [binary("server-filesystem"), directory],
        stderr: "ignore",
      }),
      { timeout: START_MS_MAX },
    );
    const served = await serve(() => bridgeTo(client));
    return {
      url: served.url,
      directory,
      read: (name) => readFile(join(directory, name), "utf8"),
      close: async () => {
        await served.close();
        await client.close();
        await remove();
      },
    };
  } catch (error) {
    await client.close();
    await remove();
    throw error;
  }
}

/** All that it has are tools. */
function bridgeTo(client: Client): Server {
  const server = new Server(
    { name: "files", version: "1.0.0" },
    { capabilities: { tools: client.getServerCapabilities()?.tools ?? {} } },
  );
  server.setRequestHandler("tools/list", ({ params }) => client.listTools(params));
  server.setRequestHandler("tools/call", ({ params }, { mcpReq }) =>
    client.callTool(params, { signal: mcpReq.signal }),
  );
  return server;
}

/** A server of the official package over HTTP: a new instance for every request. */
export async function serve(factory: () => Server): Promise<McpServer> {
  const handler = createMcpHandler(factory);
  const answer = getRequestListener((request) => handler.fetch(request));
  const listener = createServer((request, response) => void answer(request, response));
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no loopback port");
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    close: async () => {
      await handler.close();
      const closed = once(listener, "close");
      listener.close();
      listener.closeAllConnections();
      await closed;
    },
  };
}
