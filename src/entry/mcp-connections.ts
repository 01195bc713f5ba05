/**
 * Connections to MCP servers, made by the official client in the generation that each server speaks. What a caller asks
 * goes by `gate/server-exchange.ts`.
 *
 * Nothing is sent with it that nobody was permitted: the client's own way to the server passes the beginning and the
 * end of a connection only.
 */
import {
  Client,
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  PROTOCOL_VERSION_META_KEY,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";

import {
  HANDSHAKE_BYTES_MAX,
  HANDSHAKE_MS_MAX,
  SERVER_CONNECTIONS_MAX,
  SESSION_END_MS_MAX,
} from "../core/limits-tools.ts";
import type { McpServer } from "../gate/authority.ts";
import type { Ports } from "../gate/ports.ts";
import { poolOf } from "../gate/server-exchange.ts";
import type { Connection, Connections, Unreached } from "../gate/servers.ts";
import { Fault } from "../lib/assert.ts";
import { isRecord, parseJson } from "../lib/json.ts";

/** Who asks servers, for all tenants alike: a server learns of them what its operator configures, and nothing else. */
const OURSELVES = { name: "tollgate", version: "1" };

type Kept = {
  readonly made: Promise<Made | Unreached>;
  /** Once it is made. */
  connection: Connection | null;
  usedMs: number;
};
type Made = {
  readonly kind: "reached";
  readonly connection: Connection;
  readonly end: () => Promise<void>;
};

export function createConnections(
  ports: Pick<Ports, "upstream" | "monotonicMs" | "log">,
): Connections {
  const kept = new Map<string, Kept>();
  const end = async ({ made }: Kept): Promise<void> => {
    const each = await made;
    if (each.kind === "reached") await each.end();
  };
  return {
    reach: async (tenantId, server) => {
      const key = poolOf(server, tenantId);
      const usedMs = ports.monotonicMs();
      const known = kept.get(key);
      if (known !== undefined) {
        known.usedMs = usedMs;
        return known.made;
      }
      const oldest = kept.size < SERVER_CONNECTIONS_MAX ? null : leastUsed(kept);
      const evicted = oldest === null ? undefined : kept.get(oldest);
      if (oldest !== null) kept.delete(oldest);
      if (evicted !== undefined) void end(evicted);
      const entry: Kept = { made: make(ports, tenantId, server), connection: null, usedMs };
      kept.set(key, entry);
      const made = await entry.made;
      if (made.kind === "reached") entry.connection = made.connection;
      if (made.kind === "unreached" && kept.get(key) === entry) kept.delete(key);
      return made;
    },
    forget: (tenantId, server, known) => {
      // At once: who forgets it asks for another one next, and must not be given the same.
      const key = poolOf(server, tenantId);
      if (kept.get(key)?.connection === known) kept.delete(key);
    },
    close: async () => {
      // One that is still being made has nothing to end, and may never be made.
      const all = [...kept.values()].filter(({ connection }) => connection !== null);
      kept.clear();
      await Promise.all(all.map(end));
    },
  };
}

function leastUsed(kept: ReadonlyMap<string, Kept>): string | null {
  let least: string | null = null;
  let leastMs = Number.POSITIVE_INFINITY;
  for (const [key, { usedMs }] of kept) {
    if (usedMs < leastMs) [least, leastMs] = [key, usedMs];
  }
  return least;
}

async function make(
  ports: Pick<Ports, "upstream" | "log">,
  tenantId: string,
  server: McpServer,
): Promise<Made | Unreached> {
  const client = new Client(OURSELVES, {
    versionNegotiation: { mode: "auto", probe: { timeoutMs: HANDSHAKE_MS_MAX } },
    // What a server would ask its client is nothing that a gate answers.
    capabilities: {},
  });
  const open: Open = new Set();
  const transport = new StreamableHTTPClientTransport(new URL(server.path, server.origin), {
    requestInit: { headers: { ...server.headers } },
    fetch: handshakeFetch(ports, tenantId, { server, open }),
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1_000,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1,
    },
  });
  try {
    await client.connect(transport, { timeout: HANDSHAKE_MS_MAX });
  } catch (error) {
    await closeQuietly(client);
    const why = error instanceof Error ? (reasonOf(error) ?? error.message) : String(error);
    const message = `The MCP server \`${server.name}\` cannot be reached: ${why.slice(0, 300)}.`;
    return { kind: "unreached", message };
  } finally {
    // A server may leave the streams open on which it answered.
    for (const over of open) over("it is over");
  }
  const version = transport.protocolVersion ?? client.getNegotiatedProtocolVersion();
  if (version === undefined) {
    await closeQuietly(client);
    const message = `The MCP server \`${server.name}\` cannot be reached: it names no revision of the protocol.`;
    return { kind: "unreached", message };
  }
  const isModern = client.getProtocolEra() === "modern";
  const envelope = {
    [PROTOCOL_VERSION_META_KEY]: version,
    [CLIENT_INFO_META_KEY]: OURSELVES,
    [CLIENT_CAPABILITIES_META_KEY]: {},
  };
  const said = client.getServerVersion();
  return {
    kind: "reached",
    connection: {
      handshake: {
        version,
        envelope: isModern ? envelope : null,
        session: transport.sessionId ?? null,
      },
      capabilities: { ...client.getServerCapabilities() },
      about: { name: said?.name ?? server.name, version: said?.version ?? "" },
    },
    end: async () => {
      try {
        await transport.terminateSession();
      } catch (error) {
        ports.log.debug({ error, server: server.name }, "a session could not be ended");
      }
      await closeQuietly(client);
    },
  };
}

/** What it closes is gone already, or of no use any more. */
async function closeQuietly(client: Client): Promise<void> {
  await Promise.allSettled([client.close()]);
}

/** The deepest cause: `fetch failed` says nothing. */
function reasonOf(error: Error): string | null {
  const { cause } = error;
  return cause instanceof Error ? (reasonOf(cause) ?? cause.message) : null;
}

/** What the client may send by itself. Everything else is asked of the gate. */
const HANDSHAKE: ReadonlySet<unknown> = new Set([
  "server/discover",
  "initialize",
  "notifications/initialized",
  "notifications/cancelled",
]);

/** What ends each exchange that is under way, by the reason. */
type Open = Set<(why: string) => void>;

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * `fetch` over the port, for the beginning and the end of a connection. Follows no redirect. Each exchange has a
 * deadline here: for some of what it sends the client has none, and everybody who asks this server waits for it.
 */
function handshakeFetch(
  { upstream }: Pick<Ports, "upstream">,
  tenantId: string,
  { server, open }: { readonly server: McpServer; readonly open: Open },
): Fetch {
  return (_, init) => {
    const method = init?.method ?? "GET";
    // A stream of what the server has to say by itself is not kept: its tools are asked for instead.
    if (method === "GET") return Promise.resolve(new Response(null, { status: 405 }));
    const body = typeof init?.body === "string" ? init.body : null;
    const message = body === null ? null : parseJson(body);
    const asked = message !== null && isRecord(message.value) ? message.value["method"] : null;
    if (method !== "DELETE" && !HANDSHAKE.has(asked)) {
      return Promise.reject(new Fault(`${String(asked)} is asked of the gate`));
    }
    return new Promise((resolve, reject) => {
      const answer = createAnswer(resolve);
      const ended = () => {
        clearTimeout(timer);
        open.delete(over);
      };
      const failed = (why: string) => {
        ended();
        answer.fail(why);
        reject(new Error(why));
      };
      const over = (why: string) => {
        failed(why);
        exchange.abort();
      };
      const msMax = method === "DELETE" ? SESSION_END_MS_MAX : HANDSHAKE_MS_MAX;
      const timer = setTimeout(over, msMax, `no answer within ${msMax} ms`);
      open.add(over);
      const exchange = upstream.dispatch(
        {
          upstream: poolOf(server, tenantId),
          origin: server.origin,
          path: server.path,
          method,
          headers: [...new Headers(init?.headers)].flat(),
          body: body === null ? null : new TextEncoder().encode(body),
          mayStart: () => true,
        },
        {
          onHead: answer.head,
          onData: (chunk) => {
            if (!answer.data(chunk)) over("it tells more than there is to tell");
            return true;
          },
          onEnd: () => {
            ended();
            answer.end();
          },
          onFail: ({ message: why }) => failed(why),
        },
      );
      init?.signal?.addEventListener("abort", () => over("it was given up"), { once: true });
    });
  };
}

/** An answer as `fetch` gives it: its body as it comes, up to a limit. */
function createAnswer(resolve: (response: Response) => void) {
  let bytes = 0;
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  const body = new ReadableStream<Uint8Array>({
    start: (each) => {
      controller = each;
    },
  });
  let isOver = false;
  return {
    head: (status: number, headers: readonly string[]) => {
      const told = new Headers();
      for (let at = 0; at + 1 < headers.length; at += 2) {
        told.append(headers[at] ?? "", headers[at + 1] ?? "");
      }
      const isEmpty = status === 204 || status === 205 || status === 304;
      resolve(new Response(isEmpty ? null : body, { status, headers: told }));
    },
    /** False: it is more than an answer of this kind has. */
    data: (chunk: Uint8Array): boolean => {
      bytes += chunk.byteLength;
      if (bytes > HANDSHAKE_BYTES_MAX) return false;
      if (!isOver) controller?.enqueue(chunk);
      return true;
    },
    end: () => {
      if (!isOver) controller?.close();
      isOver = true;
    },
    fail: (why: string) => {
      if (!isOver) controller?.error(new Error(why));
      isOver = true;
    },
  };
}
