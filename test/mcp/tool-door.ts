/** A gateway with MCP servers behind it: how tests start one, declare its tools, call them, and look back. */
import type { McpServer } from "../../src/gate/authority.ts";
import type { TestDatabase } from "../support/databases.ts";
import {
  startTollgate,
  type Clients,
  type StartOptions,
  type Tenant,
  type Tollgate,
} from "../support/tollgate.ts";
import type { Endpoint, Members } from "./libraries.ts";

/** JSON of any shape: tests reach into it and compare. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export type Answered = { readonly status: number; readonly body: Json; readonly headers: Headers };

/** What a tool is declared with. */
export type Terms = {
  readonly effect: "pure" | "idempotent" | "keyed" | "effectful";
  readonly price_usd: string;
  readonly operation?: Members;
  readonly approval?: Members;
  readonly output?: Members;
  readonly trusted?: boolean;
};

/** How an attempt of a run stands, as `GET /api/runs/{run}` tells it. */
export type Attempt = {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly resource: string;
  readonly reserved_usd: string;
  readonly cost_usd: string | null;
};

/** What any gateway can be asked, whichever process it is in. */
export type Asked = {
  /** With the administration key, which needs the tenant named. */
  readonly manage: (method: string, path: string, body?: object) => Promise<Answered>;
  /** Lists the tools of a server for a tenant and declares each of them as it is listed. */
  readonly declareAll: (tenant: Tenant, server: string, terms: Terms) => Promise<void>;
  /** Declares one tool as it is listed now. */
  readonly declare: (tenant: Tenant, tool: string, terms: Terms) => Promise<void>;
  readonly endpoint: (
    tenant: Pick<Tenant, "key">,
    server: string,
    headers?: Readonly<Record<string, string>>,
  ) => Endpoint;
  /** One `tools/call` as raw JSON-RPC, without a library that could mend anything. */
  readonly post: (tenant: Pick<Tenant, "key">, server: string, call: RawCall) => Promise<RawAnswer>;
  /** Of a run, as they are now. */
  readonly attempts: (tenant: Pick<Tenant, "id">, run: string) => Promise<readonly Attempt[]>;
};

export type ToolDoor = Asked & {
  readonly tollgate: Tollgate;
  readonly close: () => Promise<void>;
};

export type RawCall = {
  readonly tool?: string;
  readonly args?: Members;
  readonly id?: number | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of a body that is made of the others. */
  readonly body?: string;
  readonly signal?: AbortSignal;
};

/** `message`: the JSON-RPC answer, of whichever form the response has. */
export type RawAnswer = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly message: Json;
};

/** Where no server answers: for tests of which nothing asks one. */
export const NOWHERE = "http://127.0.0.1:9/mcp";

/** A server as an operator would configure it. */
export function mcpServer(name: string, url: string, more: Partial<McpServer> = {}): McpServer {
  const { origin, pathname } = new URL(url);
  return {
    name,
    origin,
    path: pathname,
    headers: {},
    tenants: null,
    observesUndeclared: false,
    timeoutMs: 60_000,
    ...more,
  };
}

/** No call of a test is answered later, unless it hangs. */
const CALL_MS_MAX = 30_000;

type Listed = { readonly name: string; readonly sha256: string };

/** A gateway of this process; its `attempts` are told once nothing is in flight. */
export async function startToolDoor(
  database: TestDatabase,
  options: Omit<StartOptions, "database">,
): Promise<ToolDoor> {
  const tollgate = await startTollgate({ database, ...options });
  const asked = doorOf(tollgate);
  return {
    ...asked,
    tollgate,
    attempts: async (tenant, run) => {
      await tollgate.gateway.settled();
      return asked.attempts(tenant, run);
    },
    close: () => tollgate.close(),
  };
}

export function doorOf({ url, adminKey }: Pick<Clients, "url" | "adminKey">): Asked {
  const manage: Asked["manage"] = async (method, path, body) => {
    const answer = await fetch(`${url}/api${path}`, {
      method,
      headers: {
        authorization: `Bearer ${adminKey}`,
        "content-type": "application/json",
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      body: text === "" ? null : JSON.parse(text),
      headers: answer.headers,
    };
  };
  const done = async (...given: Parameters<typeof manage>): Promise<Json> => {
    const { status, body } = await manage(...given);
    if (status >= 300)
      throw new Error(`${given[0]} ${given[1]}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  /** What the server lists now: the full names of its tools, and the hashes of their definitions. */
  const discover = async (tenant: Tenant, server: string): Promise<readonly Listed[]> =>
    (await done("POST", `/mcp-servers/${server}/discover`, { tenant: tenant.id })).tools;
  const put = async (tenant: Tenant, { name, sha256 }: Listed, terms: Terms): Promise<void> => {
    const path = `/tools/${encodeURIComponent(name)}?tenant=${tenant.id}`;
    await done("PUT", path, { ...terms, definition: sha256 });
  };
  return {
    manage,
    declareAll: async (tenant, server, terms) => {
      const listed = await discover(tenant, server);
      if (listed.length === 0) throw new Error(`${server} lists no tool`);
      for (const tool of listed) await put(tenant, tool, terms);
    },
    declare: async (tenant, tool, terms) => {
      const listed = await discover(tenant, tool.slice(0, tool.indexOf("/")));
      const found = listed.find(({ name }) => name === tool);
      if (found === undefined) throw new Error(`${tool} is not listed`);
      await put(tenant, found, terms);
    },
    endpoint: ({ key }, server, headers = {}) => ({
      url: `${url}/mcp/${server}`,
      headers: { authorization: `Bearer ${key}`, ...headers },
    }),
    post: ({ key }, server, call) => postRaw(`${url}/mcp/${server}`, key, call),
    attempts: async (tenant, run) => {
      const path = `/runs/${encodeURIComponent(run)}?tenant=${tenant.id}`;
      return (await done("GET", path)).attempts;
    },
  };
}

const PROTOCOL = "2026-07-28";

/** What the present generation says of itself in every request. */
const META = {
  "io.modelcontextprotocol/protocolVersion": PROTOCOL,
  "io.modelcontextprotocol/clientInfo": { name: "raw", version: "1.0.0" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

/** The body of a `tools/call` of the present generation. */
export function callOf(tool: string, args: Members, id: number | string = 1): string {
  const params = { name: tool, arguments: args, _meta: META };
  return JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params });
}

async function postRaw(url: string, key: string, call: RawCall): Promise<RawAnswer> {
  const { tool = "echo", args = {}, id = 1, headers = {}, body, signal } = call;
  const late = AbortSignal.timeout(CALL_MS_MAX);
  const answer = await fetch(url, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": PROTOCOL,
      "mcp-method": "tools/call",
      "mcp-name": tool,
      ...headers,
    },
    body: body ?? callOf(tool, args, id),
    signal: signal === undefined ? late : AbortSignal.any([signal, late]),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, message: messageIn(answer, text) };
}

/** The last event of a stream is the answer; what came before it are notifications. */
function messageIn({ headers }: Response, text: string): Json {
  if (headers.get("content-type")?.startsWith("text/event-stream") !== true) return parsed(text);
  const events = text.split("\n\n").flatMap((event) => {
    const data = event.split("\n").filter((line) => line.startsWith("data:"));
    return data.length === 0 ? [] : [data.map((line) => line.slice(5).trim()).join("\n")];
  });
  return parsed(events.at(-1) ?? "");
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null; // What is no JSON is compared as text.
  }
}

/** What a refusal says to a program. */
export function refusalIn({ message }: RawAnswer): Json {
  const meta = message?.result?._meta ?? {};
  return {
    isError: message?.result?.isError,
    reason: meta["tollgate/reason"],
    disposition: meta["tollgate/disposition"],
    decision: meta["tollgate/decision"],
    text: message?.result?.content?.[0]?.text,
  };
}
