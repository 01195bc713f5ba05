/**
 * The messages of the Model Context Protocol, pure: what a client asks, strictly read; what a server is asked and
 * answers; and refusals in the protocol's own words. What carries them (HTTP, sessions, generations) is not here.
 *
 * A client's message is read in one way only: a member that stands twice was refused before it was parsed, and one
 * that differs from another, or from a name of the protocol, in its case alone is refused here, as is what a call holds
 * beside its arguments: nobody would have judged it. What is sent on is the
 * writing anew of what was judged, so no server can read another call in it.
 */
import { InputError } from "../core/errors.ts";
import { JSON_DEPTH_MAX } from "../core/limits.ts";
import { DISPOSITIONS, type Refusal } from "../core/verdict.ts";
import { parseStrictJson } from "../lib/canonical-json.ts";
import { asWritten, isExactNumber } from "../lib/exact-json.ts";
import { isList, isRecord } from "../lib/json.ts";

export type Members = Readonly<Record<string, unknown>>;

/** Numbers are exact: see `lib/exact-json.ts`. `response`: an answer to a server, and nobody here asked. */
export type ClientMessage =
  | {
      readonly kind: "request";
      readonly id: string | number;
      readonly method: string;
      readonly params: Members;
    }
  | { readonly kind: "notification"; readonly method: string; readonly params: Members }
  | { readonly kind: "response" };

const OUTER = ["jsonrpc", "id", "method", "params", "result", "error"] as const;

/** Of all methods: who may read `Name` for `name` reads another call. */
const OF_PARAMS = ["name", "arguments", "uri", "_meta", "cursor", "ref", "argument", "context"];

/** Reads one message. Throws InputError. */
export function readClientMessage(value: unknown): ClientMessage {
  if (isList(value)) {
    const message = "Batches are not served: send each message by itself.";
    throw new InputError("invalid_value", null, message);
  }
  if (!isRecord(value)) throw invalid(null, "A message is a JSON object.");
  for (const name of Object.keys(value)) {
    if (!OUTER.some((known) => known === name)) {
      throw invalid(
        name,
        `A message has the members ${OUTER.slice(0, 4).join(", ")}, and no \`${name}\`.`,
      );
    }
  }
  if (value["jsonrpc"] !== "2.0") throw invalid("jsonrpc", 'A message says `"jsonrpc": "2.0"`.');
  const { id, method, params = {} } = value;
  if (method === undefined) return { kind: "response" };
  if (typeof method !== "string") throw invalid("method", "The method of a message is a string.");
  if (!isRecord(params) || isExactNumber(params)) {
    throw invalid("params", "The params of a message are an object.");
  }
  refuseVariants(params);
  if (method === "tools/call") refuseUnjudged(params);
  if (id === undefined) return { kind: "notification", method, params };
  if (typeof id !== "string" && typeof id !== "number") {
    throw invalid("id", "The id of a message is a string or a whole number.");
  }
  return { kind: "request", id, method, params };
}

/** All that a call of a tool has. What else it held would be sent with what was judged and approved, and be neither. */
const OF_CALL = ["name", "arguments", "_meta"] as const;

function refuseUnjudged(params: Members): void {
  const other = Object.keys(params).find((name) => !OF_CALL.some((known) => known === name));
  if (other === undefined) return;
  throw invalid(other, `A call of a tool has ${OF_CALL.join(", ")}, and no \`${other}\`.`);
}

function refuseVariants(params: Members): void {
  for (const name of Object.keys(params)) {
    const known = OF_PARAMS.find((each) => each === folded(name));
    if (known !== undefined && known !== name) {
      throw invalid(name, `\`params\` has the member \`${name}\`: write \`${known}\`.`);
    }
  }
  const twice = variantIn(params);
  if (twice === null) return;
  const message = `\`${twice}\` stands twice in one object, in another case: servers would read one or the other.`;
  throw invalid(twice, message);
}

/** A member whose name another one of its object has in another case, or null. The depth was bounded by the reading. */
function variantIn(value: unknown): string | null {
  if (typeof value !== "object" || value === null || isExactNumber(value)) return null;
  const seen = new Set<string>();
  for (const [name, part] of Object.entries(value)) {
    const same = folded(name);
    if (seen.has(same)) return name;
    seen.add(same);
    const within = variantIn(part);
    if (within !== null) return within;
  }
  return null;
}

/** As readers compare that do not tell cases apart: of three characters two may be capital, as of `ſ`, `s` and `S`. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase();
}

function invalid(param: string | null, message: string): InputError {
  return new InputError("invalid_value", param, message);
}

/** How a connection to a server was made: what each request must carry. */
export type Handshake = {
  /** The protocol's revision. */
  readonly version: string;
  /** Each request says who asks, in its `_meta`; the generation before says it once, at the beginning. */
  readonly envelope: Members | null;
  /** The server's session, or null where it has none. */
  readonly session: string | null;
};

export type ServerRequest = {
  readonly id: string;
  readonly method: string;
  readonly params: Members;
  /** Its server may tell how far it is. */
  readonly wantsProgress: boolean;
};

/** Headers (name, value, …) and body. */
export type Written = { readonly headers: string[]; readonly body: string };

export function writeServerRequest(
  handshake: Handshake,
  { id, method, params, wantsProgress }: ServerRequest,
): Written {
  const progress = wantsProgress ? { progressToken: id } : {};
  return written(handshake, { id, method, params }, progress);
}

/** Asks a server to end what is under way there; it has no answer. */
export function writeCancellation(
  handshake: Handshake,
  requestId: string,
  reason: string,
): Written {
  const params = { requestId, reason };
  return written(handshake, { method: "notifications/cancelled", params }, {});
}

function written(
  { version, envelope, session }: Handshake,
  message: { readonly id?: string; readonly method: string; readonly params: Members },
  more: Members,
): Written {
  const { method, params } = message;
  const own = isRecord(params["_meta"]) ? params["_meta"] : {};
  const meta = { ...own, ...envelope, ...more };
  const headers = ["mcp-protocol-version", version];
  if (session !== null) headers.push("mcp-session-id", session);
  if (envelope !== null) {
    headers.push("mcp-method", method);
    const name = params["name"] ?? params["uri"];
    if (typeof name === "string") headers.push("mcp-name", headerValue(name));
  }
  const hasMeta = Object.keys(meta).length > 0;
  const sent = asWritten({ ...params, ...(hasMeta ? { _meta: meta } : {}) });
  return { headers, body: JSON.stringify({ jsonrpc: "2.0", ...message, params: sent }) };
}

/** A text as the protocol writes it into a header: as it is where it is plain, else in Base64 between marks. */
function headerValue(text: string): string {
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text);
  if (isPlain && !(text.startsWith("=?base64?") && text.endsWith("?="))) return text;
  return `=?base64?${Buffer.from(text).toString("base64")}?=`;
}

/** One message of a server, by the id that it answers. Numbers are exact. */
export type ServerMessage =
  | { readonly kind: "result"; readonly result: Members }
  | {
      readonly kind: "error";
      readonly code: number;
      readonly message: string;
      readonly data: unknown;
    }
  | { readonly kind: "progress"; readonly params: Members }
  | { readonly kind: "log"; readonly params: Members }
  /** It is for somebody else, or nothing that is passed on. */
  | { readonly kind: "other" }
  /** `why`: in words that may be stored and shown. */
  | { readonly kind: "malformed"; readonly why: string };

export function readServerMessage(text: string, id: string): ServerMessage {
  const read = parseStrictJson(text, JSON_DEPTH_MAX);
  if (read.kind === "refused") return malformed(`its answer is no sound JSON (${read.why})`);
  const message = read.value;
  if (!isRecord(message) || message["jsonrpc"] !== "2.0") {
    return malformed("its answer is no message of JSON-RPC 2.0");
  }
  if (message["method"] !== undefined) {
    const { params } = message;
    if (!isRecord(params)) return { kind: "other" };
    const isOurs = params["progressToken"] === id;
    if (message["method"] === "notifications/progress" && isOurs)
      return { kind: "progress", params };
    return message["method"] === "notifications/message"
      ? { kind: "log", params }
      : { kind: "other" };
  }
  if (message["id"] !== id) return { kind: "other" };
  const { result, error } = message;
  if (isRecord(result) && error === undefined) return { kind: "result", result };
  if (result !== undefined || !isRecord(error)) {
    return malformed("its answer has no result and no error, or both");
  }
  const code = error["code"];
  return {
    kind: "error",
    code: typeof code === "number" ? code : -32_000,
    message: typeof error["message"] === "string" ? error["message"] : "The server told an error.",
    data: error["data"],
  };
}

function malformed(why: string): ServerMessage {
  return { kind: "malformed", why };
}

/** What any result must be, as the end of a sentence, or null where it is that. */
export function flawOfResult({ resultType }: Members): string | null {
  // Whatever a server wants of a client before it goes on (its words, its model) would go around the gate.
  const isWhole = resultType === undefined || resultType === "complete";
  return isWhole ? null : "it asks for more, which is not passed on";
}

/** What a tool's own result must be besides. */
export function flawOfToolResult(result: Members): string | null {
  const { content, structuredContent } = result;
  if (content !== undefined && !isList(content)) return "its content is no list";
  if (
    isList(content) &&
    !content.every((block) => isRecord(block) && typeof block["type"] === "string")
  ) {
    return "a block of its content has no type";
  }
  if (content === undefined && structuredContent === undefined) return "it has no content";
  return null;
}

/**
 * What a call gave, as a tool's result. Who reconciles it, or runs the same act without a server, may tell any JSON:
 * clients would throw at it, or take it for a result that says nothing.
 */
export function toolResultOf(value: unknown, json: string): Members {
  const members = isRecord(value) && !isExactNumber(value) ? value : null;
  if (members !== null && flawOfToolResult(members) === null) return members;
  const content = [{ type: "text", text: json }];
  return members === null ? { content } : { content, structuredContent: members };
}

/** What is told of the gate's answer, beside its text. */
export type Told = {
  readonly decisionId: string;
  readonly attemptId: string | null;
  readonly runId: string;
};

/** The gate's no as a tool's error: agents read it, and models understand it. */
export function refusalResult(refusal: Refusal, told: Told): Members {
  const disposition = DISPOSITIONS[refusal.reason];
  const text = `${refusal.message} (Tollgate: ${refusal.reason}, decision ${refusal.decisionId}; ${ADVICE[disposition]}.)`;
  return {
    content: [{ type: "text", text }],
    isError: true,
    _meta: {
      ...metaOf(told),
      "tollgate/verdict": refusal.reason === "approval_required" ? "require_approval" : "block",
      "tollgate/reason": refusal.reason,
      "tollgate/disposition": disposition,
      ...(refusal.approvalId === null ? {} : { "tollgate/approval": refusal.approvalId }),
    },
  };
}

const ADVICE = {
  execute: "go on",
  return_prior: "take the result that there is, do not call it again",
  wait: "wait, then call it again",
  reconcile: "find out what became of it, do not call it again",
  stop: "do not call it again",
} as const;

/** What became of a call that gave no result, as a tool's error. `reason`: a word for programs. */
export function failureResult(message: string, reason: string, told: Told): Members {
  return {
    content: [
      { type: "text", text: `${message} (Tollgate: ${reason}, decision ${told.decisionId}.)` },
    ],
    isError: true,
    _meta: { ...metaOf(told), "tollgate/reason": reason },
  };
}

/** A result as its server gave it, with the decision that let it pass; `replayed`: it was given before. */
export function withDecision(result: Members, told: Told, replayed: boolean): Members {
  return {
    ...result,
    _meta: {
      ...theirs(result["_meta"]),
      ...metaOf(told),
      ...(replayed ? { "tollgate/replayed": true } : {}),
    },
  };
}

/** Without what only the gate says: a server could tell an agent of an approval, or that nothing was run. */
function theirs(meta: unknown): Members {
  if (!isRecord(meta)) return {};
  return Object.fromEntries(Object.entries(meta).filter(([name]) => !name.startsWith("tollgate/")));
}

/** A result of what is no tool, as its server gave it. */
export function withoutOurs(result: Members): Members {
  const { _meta: meta } = result;
  return meta === undefined ? result : { ...result, _meta: theirs(meta) };
}

/** The protocol's levels of log messages, the least severe first (RFC 5424). */
const LEVELS = [
  "debug",
  "info",
  "notice",
  "warning",
  "error",
  "critical",
  "alert",
  "emergency",
] as const;

/** Whether a log message is as severe as was asked for. */
export function isLogAsked({ level }: Members, asked: unknown): boolean {
  const least = LEVELS.findIndex((known) => known === asked);
  return least >= 0 && LEVELS.findIndex((known) => known === level) >= least;
}

/** How far a call is, by the protocol's own members; without its server's words where these may not pass unsearched. */
export function progressOf(params: Members, mayTell: boolean): Members {
  const { progress, total, message } = params;
  return {
    progress,
    ...(total === undefined ? {} : { total }),
    ...(mayTell && message !== undefined ? { message } : {}),
  };
}

/** What a server logs, by the protocol's own members: what else it puts beside them is nobody's. */
export function logOf({ level, logger, data }: Members): Members {
  return { level, ...(logger === undefined ? {} : { logger }), data };
}

function metaOf({ decisionId, attemptId, runId }: Told): Members {
  return {
    "tollgate/decision": decisionId,
    ...(attemptId === null ? {} : { "tollgate/attempt": attemptId }),
    "tollgate/run": runId,
  };
}
