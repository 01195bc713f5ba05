/**
 * What is asked of an MCP server, over the connection of its tenant. A server that has forgotten a session said so
 * before it ran anything: it is asked once more over a new one.
 */
import {
  LIST_BYTES_MAX,
  LIST_MS_MAX,
  LIST_PAGES_MAX,
  LISTED_TOOLS_MAX,
} from "../core/limits-tools.ts";
import type { Members } from "../dialects/mcp.ts";
import { isList } from "../lib/json.ts";
import type { McpServer } from "./authority.ts";
import {
  askServer,
  cancelAt,
  type ExchangeParts,
  type ExchangeTerms,
  type ServerAnswer,
} from "./server-exchange.ts";
import type { Connections, Unreached } from "./servers.ts";

export type AskParts = ExchangeParts & {
  readonly connections: Connections;
  readonly newId: () => string;
};

export type Place = { readonly tenantId: string; readonly server: McpServer };

export async function ask(
  parts: AskParts,
  { tenantId, server }: Place,
  asked: { readonly method: string; readonly params: Members },
  terms: ExchangeTerms,
): Promise<ServerAnswer> {
  const { connections } = parts;
  for (let turn = 0; ; turn += 1) {
    const reached = await connections.reach(tenantId, server);
    if (reached.kind === "unreached") {
      const { message } = reached;
      return { kind: "unanswered", sent: false, message, isTimeout: false };
    }
    if (terms.signal?.aborted === true) {
      const message = "its caller cancelled it";
      return { kind: "unanswered", sent: false, message, isTimeout: false };
    }
    const { connection } = reached;
    const { handshake } = connection;
    const request = { id: parts.newId(), ...asked, wantsProgress: terms.onProgress !== null };
    const answer = await askServer(parts, { tenantId, server, handshake }, request, terms);
    if (answer.kind === "unanswered" && answer.sent && isGivenUp(answer, terms)) {
      cancelAt(parts, { tenantId, server, handshake }, { id: request.id, reason: answer.message });
    }
    if (!isForgotten(answer, handshake.session !== null)) return answer;
    connections.forget(tenantId, server, connection);
    if (turn > 0) return answer;
  }
}

/** By us, and not by the server. */
function isGivenUp({ isTimeout }: { readonly isTimeout: boolean }, { signal }: ExchangeTerms) {
  return isTimeout || signal?.aborted === true;
}

/**
 * By the standard 404; servers made after its examples answer 400. And one that speaks another generation now, because
 * it was upgraded or set back, says 400, or that it does not know our revision. Some say it by HTTP alone, some with an
 * error of JSON-RPC beside it, and in no case was anything run.
 */
function isForgotten(answer: ServerAnswer, hasSession: boolean): boolean {
  if (answer.kind !== "refused" && answer.kind !== "error") return false;
  if (answer.kind === "error") {
    if (answer.code === UNSUPPORTED_VERSION) return true;
    if (NOT_ABOUT_US.has(answer.code)) return false;
  }
  return answer.status === 400 || (answer.status === 404 && hasSession);
}

/** Errors that the request has met, not its connection: an unknown method, and params that are none of it. */
const NOT_ABOUT_US: ReadonlySet<number> = new Set([-32_601, -32_602]);

const UNSUPPORTED_VERSION = -32_022;

export type ToolsListed = { readonly kind: "listed"; readonly tools: readonly unknown[] };

/** All tools that a server lists, as it tells them. */
export async function listTools(parts: AskParts, place: Place): Promise<ToolsListed | Unreached> {
  const name = `The MCP server \`${place.server.name}\``;
  const tools: unknown[] = [];
  const startedMs = parts.monotonicMs();
  let bytes = 0;
  let cursor: unknown;
  for (let page = 0; page < LIST_PAGES_MAX; page += 1) {
    const params = cursor === undefined ? {} : { cursor };
    const timeoutMs = Math.ceil(LIST_MS_MAX - (parts.monotonicMs() - startedMs));
    if (timeoutMs <= 0) break;
    const listing = { ...LISTING, timeoutMs };
    const answer = await ask(parts, place, { method: "tools/list", params }, listing);
    if (answer.kind === "error" && answer.code === METHOD_NOT_FOUND)
      return { kind: "listed", tools };
    if (answer.kind !== "result") {
      // What a server says itself need not end as a sentence does.
      const why = answer.message.replace(/\.$/u, "");
      return unreached(`${name} does not list its tools: ${why}.`);
    }
    const { tools: listed, nextCursor } = answer.result;
    bytes += answer.bytes;
    if (bytes > LIST_BYTES_MAX) break;
    if (!isList(listed)) return unreached(`${name} lists its tools as something that is no list.`);
    tools.push(...listed.slice(0, LISTED_TOOLS_MAX + 1));
    if (tools.length > LISTED_TOOLS_MAX) break;
    if (typeof nextCursor !== "string" || nextCursor === "") return { kind: "listed", tools };
    cursor = nextCursor;
  }
  return unreached(
    `${name} lists more than ${LISTED_TOOLS_MAX} tools, ${LIST_PAGES_MAX} pages or ${LIST_BYTES_MAX} bytes, or takes longer than ${LIST_MS_MAX} ms.`,
  );
}

function unreached(message: string): Unreached {
  return { kind: "unreached", message };
}

const METHOD_NOT_FOUND = -32_601;

const LISTING: Omit<ExchangeTerms, "timeoutMs"> = {
  mayStart: () => true,
  onProgress: null,
  onLog: null,
  signal: null,
};
