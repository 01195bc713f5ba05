/**
 * The client libraries of the Model Context Protocol as people use them, each as it comes: all that a test gives
 * them is a URL and headers.
 */
import { createMCPClient } from "@ai-sdk/mcp";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { MCPServerStreamableHttp } from "@openai/agents";

export type Endpoint = { readonly url: string; readonly headers: Readonly<Record<string, string>> };

export type Members = Readonly<Record<string, unknown>>;

/** A result of a tool as every library tells it. */
export type Result = {
  readonly text: string;
  readonly isError: boolean;
  readonly meta: Members;
  readonly structured: unknown;
};

export type CallOptions = {
  readonly onProgress?: (progress: number, total: number | undefined) => void;
  readonly signal?: AbortSignal;
  readonly meta?: Members;
};

/** A connected client. What a library has no call for is null. */
export type Connected = {
  readonly tools: () => Promise<readonly string[]>;
  readonly call: (tool: string, args: Members, options?: CallOptions) => Promise<Result>;
  readonly read: (uri: string) => Promise<string>;
  readonly prompt: ((name: string, args: Record<string, string>) => Promise<string>) | null;
  readonly close: () => Promise<void>;
};

export type Library = {
  readonly name: string;
  readonly tellsProgress: boolean;
  /** Whether a call can carry `_meta` of the caller's own. */
  readonly carriesMeta: boolean;
  readonly connect: (endpoint: Endpoint) => Promise<Connected>;
};

const INFO = { name: "tollgate-test", version: "1.0.0" };

/** No call of these tests takes as long, unless it hangs. */
const CALL_MS_MAX = 30_000;

/** The members of a result that any library knows; the types of each library are its own. */
function resultOf(given: unknown): Result {
  const { content, isError, _meta, structuredContent } = given as {
    readonly content?: readonly { readonly type: string; readonly text?: string }[];
    readonly isError?: boolean;
    readonly _meta?: Members;
    readonly structuredContent?: unknown;
  };
  const texts = (content ?? []).flatMap(({ type, text }) => (type === "text" ? [text ?? ""] : []));
  return {
    text: texts.join(""),
    isError: isError === true,
    meta: _meta ?? {},
    structured: structuredContent,
  };
}

function textOfResource(given: unknown): string {
  const { contents } = given as { readonly contents: readonly { readonly text?: string }[] };
  return contents.map(({ text = "" }) => text).join("");
}

function textOfPrompt(given: unknown): string {
  const { messages } = given as {
    readonly messages: readonly { readonly content: { readonly text?: string } }[];
  };
  return messages.map(({ content }) => content.text ?? "").join("");
}

const progressOf = ({ onProgress, signal }: CallOptions) => ({
  timeout: CALL_MS_MAX,
  ...(signal === undefined ? {} : { signal }),
  ...(onProgress === undefined
    ? {}
    : {
        onprogress: (told: { readonly progress: number; readonly total?: number | undefined }) =>
          onProgress(told.progress, told.total),
      }),
});

const paramsOf = (name: string, args: Members, meta: Members | undefined) => ({
  name,
  arguments: { ...args },
  ...(meta === undefined ? {} : { _meta: { ...meta } }),
});

/** The official client: `auto` asks for the present generation first, `legacy` begins with the handshake. */
export async function connectOfficial(
  { url, headers }: Endpoint,
  mode: "auto" | "legacy",
): Promise<Connected & { readonly client: Client }> {
  const client = new Client(INFO, { versionNegotiation: { mode } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
  );
  return {
    client,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (tool, args, options = {}) =>
      resultOf(await client.callTool(paramsOf(tool, args, options.meta), progressOf(options))),
    read: async (uri) => textOfResource(await client.readResource({ uri })),
    prompt: async (name, args) => textOfPrompt(await client.getPrompt({ name, arguments: args })),
    close: () => client.close(),
  };
}

async function connectOld({ url, headers }: Endpoint): Promise<Connected> {
  const client = new OldClient(INFO);
  const transport = new OldTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (tool, args, options = {}) =>
      resultOf(
        await client.callTool(paramsOf(tool, args, options.meta), undefined, progressOf(options)),
      ),
    read: async (uri) => textOfResource(await client.readResource({ uri })),
    prompt: async (name, args) => textOfPrompt(await client.getPrompt({ name, arguments: args })),
    close: () => client.close(),
  };
}

/** What an agent of OpenAI Agents is given as its tools. */
export function agentsServer({ url, headers }: Endpoint): MCPServerStreamableHttp {
  return new MCPServerStreamableHttp({ url, requestInit: { headers }, cacheToolsList: false });
}

async function connectAgents(endpoint: Endpoint): Promise<Connected> {
  const server = agentsServer(endpoint);
  await server.connect();
  return {
    tools: async () => (await server.listTools()).map(({ name }) => name),
    call: async (tool, args, { signal, meta } = {}) =>
      resultOf(
        await server.callToolResult(
          tool,
          { ...args },
          meta === undefined ? null : { ...meta },
          signal === undefined ? {} : { signal },
        ),
      ),
    read: async (uri) => textOfResource(await server.readResource(uri)),
    prompt: null,
    close: () => server.close(),
  };
}

/** What the AI SDK is given its tools by. */
export function aiClient({ url, headers }: Endpoint) {
  return createMCPClient({ transport: { type: "http", url, headers: { ...headers } } });
}

async function connectAi(endpoint: Endpoint): Promise<Connected> {
  const client = await aiClient(endpoint);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, { signal } = {}) =>
      resultOf(
        await client.callTool({
          name,
          arguments: { ...args },
          options: { timeout: CALL_MS_MAX, ...(signal === undefined ? {} : { signal }) },
        }),
      ),
    read: async (uri) => textOfResource(await client.readResource({ uri })),
    prompt: async (name, args) => textOfPrompt(await client.getPrompt({ name, arguments: args })),
    close: () => client.close(),
  };
}

const FULL = { tellsProgress: true, carriesMeta: true };

export const LIBRARIES: readonly Library[] = [
  { name: "the official client", ...FULL, connect: (at) => connectOfficial(at, "auto") },
  {
    name: "the official client with the handshake",
    ...FULL,
    connect: (at) => connectOfficial(at, "legacy"),
  },
  { name: "the official client of the 1.x line", ...FULL, connect: connectOld },
  { name: "OpenAI Agents", tellsProgress: false, carriesMeta: true, connect: connectAgents },
  { name: "the AI SDK", tellsProgress: false, carriesMeta: false, connect: connectAi },
];
