/**
 * The tool door: MCP servers behind `/mcp/{server}`, for clients of both generations of the protocol's HTTP transport.
 *
 * The official server package speaks with the client: it tells generations apart, checks headers, answers the
 * beginning of a connection, frames progress and results. What is asked of a server goes to the gate in between, and
 * its answer to the client as the server gave it, unread by anybody else.
 *
 * No session is kept: any process answers any request. The id that a client of the older generation is given only tells
 * which of its calls it cancels.
 */
import { createMcpHandler, Server, type Transport } from "@modelcontextprotocol/server";
import type { Context as HonoContext } from "hono";

import { InputError } from "../core/errors.ts";
import { STEP_BODY_BYTES_MAX } from "../core/limits.ts";
import {
  isLogAsked,
  readClientMessage,
  type ClientMessage,
  type Members,
} from "../dialects/mcp.ts";
import { splitRunPrefix } from "../dialects/openai/path.ts";
import type { Log } from "../gate/ports.ts";
import { noServer, type Connection } from "../gate/servers.ts";
import { asWritten } from "../lib/exact-json.ts";
import { isRecord } from "../lib/json.ts";
import { readJson } from "./api-body.ts";
import type { Env } from "./env.ts";
import { createListeners, TOO_MANY_LISTEN, type Listeners } from "./mcp-listening.ts";
import { needsLog, phraseThrown, phraseUnavailable } from "./errors.ts";
import { identifyCaller } from "./identify.ts";
import { admitCall, answerCall, type Call, type CallHooks, isPassed, unused } from "./mcp-calls.ts";
import { LOG_LEVEL, type Carrier } from "./tool-asking.ts";

export type ToolDoor = (c: HonoContext<Env>) => Promise<Response>;

export type ToolDoorParts = {
  readonly log: Log;
  readonly newId: () => string;
};

export function createToolDoor(parts: ToolDoorParts): ToolDoor {
  const running = new Map<string, AbortController>();
  const listeners = createListeners();
  const handler = createMcpHandler(
    ({ era, authInfo }) => {
      const turn = authInfo?.extra?.["turn"];
      if (!isTurn(turn)) throw new TypeError("a request comes with its turn");
      return serverFor(turn, era === "modern");
    },
    { onerror: (error) => parts.log.debug({ error }, "a message of the tool door was refused") },
  );
  return async (c) => {
    const requestId = `req_${parts.newId()}`;
    c.set("requestId", requestId);
    try {
      const turn = await readTurn(parts, c, running);
      if (turn instanceof Response) return turn;
      const heard = listening(listeners, c, turn);
      return await (heard ?? answer(handler, c, turn));
    } catch (error) {
      if (needsLog(error))
        parts.log.error({ error, requestId, path: c.req.path }, "a request failed");
      return phraseHttp(error, requestId);
    }
  };
}

/** One message of a client on its way. */
type Turn = {
  readonly [ours]: true;
  readonly message: Exclude<ClientMessage, { kind: "response" }>;
  /** As the package takes it: numbers are written as they were. */
  readonly body: unknown;
  /** What its server is, where the message asks that. */
  readonly connection: Connection | null;
  /** What the gate said of it, where it is asked of the server. */
  readonly call: Call | null;
  readonly hooks: CallHooks;
  readonly newSession: () => string;
  readonly log: Log;
};

const ours: unique symbol = Symbol("turn");

function isTurn(value: unknown): value is Turn {
  return typeof value === "object" && value !== null && ours in value;
}

/** All that is decided before a byte of an answer is written; a Response where that is the answer. */
async function readTurn(
  parts: ToolDoorParts,
  c: HonoContext<Env>,
  running: Map<string, AbortController>,
): Promise<Turn | Response> {
  const { gateway, exchange } = c.env;
  const aging = gateway.fresh();
  if (aging !== null) await aging;
  const caller = identifyCaller(gateway, exchange.header);
  // Before its body is read: turning calls away must cost little, or those let in pay for it.
  if (gateway.turnsAway(caller.tenantId)) return phraseHttpOf(phraseUnavailable(null));
  const { path, run: pathRun, step: pathStep } = splitRunPrefix(c.req.path);
  const name = path.split("/")[2] ?? "";
  const server = gateway.authority.server(caller.tenantId, name);
  if (server === null || gateway.servers === null) throw noServer(name);
  if (c.req.method !== "POST") {
    // Sessions are not kept, and servers have nothing to say by themselves.
    throw new InputError("method_not_allowed", null, "MCP is asked with POST here.");
  }
  const value = await readJson(exchange, STEP_BODY_BYTES_MAX);
  gateway.confirm(caller);
  const message = readClientMessage(value);
  if (message.kind === "response") return new Response(null, { status: 202 });
  const session = exchange.header("mcp-session-id");
  const nameOf = (id: unknown) => `${caller.keyId} ${session} ${JSON.stringify(id)}`;
  if (message.kind === "notification") {
    if (message.method === "notifications/cancelled" && session !== null) {
      running.get(nameOf(message.params["requestId"]))?.abort();
    }
  }
  const { header, rawHeaders } = exchange;
  const from: Carrier = { caller, server, header, rawHeaders, pathRun, pathStep };
  const asks = message.kind === "request" ? message : null;
  const control = new AbortController();
  const hooks: CallHooks = {
    gateway,
    from,
    isGone: () => c.req.raw.signal.aborted,
    onGone: (listener) => c.req.raw.signal.addEventListener("abort", listener, { once: true }),
    begin: () => {
      if (session !== null && asks !== null) running.set(nameOf(asks.id), control);
    },
    end: () => {
      if (session === null || asks === null) return;
      if (running.get(nameOf(asks.id)) === control) running.delete(nameOf(asks.id));
    },
    control,
  };
  const opening = isOpening(message)
    ? await gateway.servers.about({ tenantId: caller.tenantId, server })
    : null;
  if (opening?.kind === "unreached") {
    return phraseError(502, { code: null, message: opening.message });
  }
  const turn: Turn = {
    message,
    body: asWritten(value),
    connection: opening?.connection ?? null,
    call: asks !== null && isPassed(asks.method) ? await admitCall(hooks, asks) : null,
    hooks,
    newSession: parts.newId,
    log: parts.log,
    [ours]: true,
  };
  return turn;
}

function isOpening({ method }: Turn["message"]): boolean {
  return method === "initialize" || method === "server/discover";
}

/** Null for every other message. */
function listening(
  listeners: Listeners,
  c: HonoContext<Env>,
  turn: Turn,
): Promise<Response> | null {
  const { message, hooks, body } = turn;
  if (message.kind !== "request" || message.method !== "subscriptions/listen") return null;
  const request = requestOf(c);
  const { isClosing } = c.env.health;
  const heard = listeners.listen({ hooks, request, body, isClosing });
  const { code, message: text } = TOO_MANY_LISTEN;
  return heard ?? Promise.resolve(Response.json(errorOf(message.id, code, text)));
}

function errorOf(id: string | number, code: number, message: string): object {
  return { jsonrpc: "2.0", id, error: { code, message } };
}

function requestOf(c: HonoContext<Env>): Request {
  return new Request(`http://tollgate${c.req.path}`, {
    method: "POST",
    headers: headersOf(c.env.exchange.rawHeaders),
    signal: c.req.raw.signal,
  });
}

async function answer(
  handler: ReturnType<typeof createMcpHandler>,
  c: HonoContext<Env>,
  turn: Turn,
): Promise<Response> {
  const request = requestOf(c);
  try {
    const authInfo = { token: "", clientId: "", scopes: [], extra: { turn } };
    const response = await handler.fetch(request, { parsedBody: turn.body, authInfo });
    if (turn.message.method !== "initialize" || !response.ok) return response;
    const headers = new Headers(response.headers);
    headers.set("mcp-session-id", turn.newSession());
    return new Response(response.body, { status: response.status, headers });
  } finally {
    // Refused by the protocol's own rules behind our back: what was admitted was never sent.
    if (turn.call !== null) await unused(turn.hooks, turn.call);
  }
}

/** What the protocol reads; the rest is ours, or the connection's. */
const READ_HEADERS = /^(?:accept|content-type|mcp-[a-z0-9-]+|user-agent)$/i;

function headersOf(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? "";
    if (READ_HEADERS.test(name)) headers.append(name, raw[at + 1] ?? "");
  }
  return headers;
}

/** What of a server's abilities can pass a door that keeps no sessions and asks clients nothing. */
const ABILITIES = ["tools", "resources", "prompts", "completions"] as const;

const ALL: Readonly<Record<string, object>> = Object.fromEntries(
  ABILITIES.map((name) => [name, {}]),
);

function serverFor(turn: Turn, isModern: boolean): Server {
  const { connection } = turn;
  const has = connection?.capabilities ?? ALL;
  const capabilities = Object.fromEntries(
    ABILITIES.filter((name) => has[name] !== undefined).map((name) => [
      name,
      // Only clients of the current generation can listen without a session.
      name === "tools" && isModern ? { listChanged: true } : {},
    ]),
  );
  const about = connection?.about ?? { name: "tollgate", version: "1" };
  const server = new Server(about, { capabilities });
  const inherited = server.connect.bind(server);
  server.connect = async (transport) => {
    await inherited(transport);
    const inner = transport.onmessage;
    transport.onmessage = (message, extra) => {
      if (turn.call === null) inner?.(message, extra);
      else void pass(turn, turn.call, { transport, isModern });
    };
  };
  return server;
}

type Way = { readonly transport: Transport; readonly isModern: boolean };

/** Gives the client what its call came to. What cannot be given any more is settled all the same. */
async function pass({ message, hooks, log }: Turn, call: Call, way: Way): Promise<void> {
  if (message.kind !== "request") return;
  const { id } = message;
  const { transport, isModern } = way;
  // A client that has left is told nothing any more.
  const send = async (content: Parameters<Transport["send"]>[0]): Promise<void> => {
    await Promise.allSettled([transport.send(content, { relatedRequestId: id })]);
  };
  const meta = message.params["_meta"];
  const token = isRecord(meta) ? meta["progressToken"] : undefined;
  const onProgress =
    token === undefined
      ? null
      : (params: Members) => {
          const told = { ...params, progressToken: token };
          void send({ jsonrpc: "2.0", method: "notifications/progress", params: written(told) });
        };
  const level = isRecord(meta) ? meta[LOG_LEVEL] : undefined;
  const onLog =
    level === undefined
      ? null
      : (params: Members) => {
          if (!isLogAsked(params, level)) return;
          void send({ jsonrpc: "2.0", method: "notifications/message", params: written(params) });
        };
  try {
    const told = await answerCall(hooks, call, { onProgress, onLog });
    if (told.kind === "error") {
      const { code, message: text, data } = told;
      const error = { code, message: text, ...(data === null ? {} : { data: asWritten(data) }) };
      await send({ jsonrpc: "2.0", id, error });
      return;
    }
    const result = written(ofGeneration(message.method, told.result, isModern));
    await send({ jsonrpc: "2.0", id, result });
  } catch (error) {
    log.error({ error }, "a call of a tool failed");
    await send({ jsonrpc: "2.0", id, error: { code: INTERNAL, message: "Tollgate failed." } });
  }
}

/** As `asWritten`, of an object. */
function written(members: Members): { [name: string]: unknown } {
  return Object.fromEntries(Object.entries(members).map(([name, part]) => [name, asWritten(part)]));
}

/** What lists and reads say of how long they hold, in the generation that has it. */
const DATED =
  /^(?:tools|resources|prompts)\/(?:list|templates\/list|read)$|^resources\/templates\/list$/;

/** The generations differ in members that say what a result is: those that it has are left, those that it needs added. */
function ofGeneration(method: string, result: Members, isModern: boolean): Members {
  if (isModern) {
    const dated = DATED.test(method) ? { ttlMs: 0, cacheScope: "private" } : {};
    return { resultType: "complete", ...dated, ...result };
  }
  const { resultType: _, ttlMs: __, cacheScope: ___, ...plain } = result;
  return plain;
}

const INTERNAL = -32_603;
/** Of the range that implementations define. */
const SERVER_AWAY = -32_000;

/** What was thrown before the package had the request: the status of HTTP, and an error as clients of MCP read it. */
function phraseHttp(error: unknown, requestId: string): Response {
  const response = phraseHttpOf(phraseThrown(error, requestId));
  response.headers.set("x-request-id", requestId);
  if (response.status === 401) response.headers.set("www-authenticate", "Bearer");
  if (response.status === 405) response.headers.set("allow", "POST");
  return response;
}

function phraseHttpOf({ status, headers, body }: ReturnType<typeof phraseThrown>): Response {
  const told: unknown = JSON.parse(body);
  const error = isRecord(told) && isRecord(told["error"]) ? told["error"] : {};
  const message = typeof error["message"] === "string" ? error["message"] : "Refused.";
  return phraseError(status, { code: error["code"] ?? null, message }, headers);
}

/** An error of HTTP, whose body is one of JSON-RPC. */
function phraseError(
  status: number,
  { code, message }: { readonly code: unknown; readonly message: string },
  headers: Readonly<Record<string, string>> = {},
): Response {
  const error = { code: SERVER_AWAY, message, ...(code === null ? {} : { data: { code } }) };
  const init = { status, headers: { ...headers, "cache-control": "no-store" } };
  return Response.json({ jsonrpc: "2.0", id: null, error }, init);
}
