/** What a message to an MCP server asks of the gate: its context, its intent, and how its tool stands. */
import type { Caller } from "../core/caller.ts";
import { detect } from "../core/detect.ts";
import { InputError } from "../core/errors.ts";
import { NO_DEMAND, type ActFacts, type Intent, type ToolListed } from "../core/intent.ts";
import { APPROVAL_CALL_BYTES_MAX, PREFER_WAIT_MS_MAX } from "../core/limits.ts";
import type { ToldOutcome } from "../core/outcome.ts";
import { operationText } from "../core/operation.ts";
import type { Tool } from "../core/tool.ts";
import { classifyStep } from "../dialects/gate.ts";
import type { Members } from "../dialects/mcp.ts";
import { textsOf } from "../dialects/openai/texts.ts";
import type { McpServer } from "../gate/authority.ts";
import { canonicalJson } from "../lib/canonical-json.ts";
import { sha256Hex } from "../lib/hash.ts";
import { isRecord } from "../lib/json.ts";
import { plainJson } from "../lib/exact-json.ts";
import { readCarriedOutcome } from "./carried-outcome.ts";
import { META, METADATA, refuseUnknown } from "./context-names.ts";
import { readClient, readContext, readIdempotency, readWaitMs } from "./context.ts";

/** Who asks whom, and with which headers. */
export type Carrier = {
  readonly caller: Caller;
  readonly server: McpServer;
  readonly header: (name: string) => string | null;
  /** Name, value, name, value, as they were sent. */
  readonly rawHeaders: readonly string[];
  readonly pathRun: string | null;
  readonly pathStep: string | null;
};

export type ToolAsking = {
  readonly intent: Intent;
  /** What it says of its own run, to be recorded before it is admitted. */
  readonly outcome: ToldOutcome | null;
  /** How long its caller waits for somebody else's answer to the same, or for a person's. */
  readonly waitMs: number;
  /** What its server is sent. */
  readonly params: Members;
  /** The part of it that people are shown where they are asked. */
  readonly shown: Members;
};

/** A call of a tool. Throws InputError. */
export function askingOfTool(
  from: Carrier,
  params: Members,
  of: { readonly tool: Tool | null; readonly listed: ToolListed; readonly name: string },
): ToolAsking {
  const { name, tool, listed } = of;
  const { arguments: args = {} } = params;
  if (!isRecord(args)) {
    throw new InputError("invalid_value", "arguments", "The arguments of a tool are an object.");
  }
  const { context, outcome, exchange, meta } = contextOf(from, params);
  const resource = `${from.server.name}/${name}`;
  const meant = classifyStep(
    {
      kind: "tool",
      name: resource,
      arguments: args,
      effect: null,
      estimatePicousd: null,
      repeats: textMember(meta, "tollgate/repeats"),
      idempotencyKey: readIdempotency(exchange)?.key ?? null,
    },
    context,
    tool,
  );
  const sent = forwarded({ ...params, name, arguments: args });
  const { name: _, arguments: __, _meta: ___, ...beside } = sent;
  // Whoever may not call it is told that, and not what others got of it.
  const isAllowed = listed.standing !== "not_allowed";
  const digestOf = (digest: string) => withParams(digest, beside);
  const intent: Intent = {
    door: "tool",
    operation: "execute_tool",
    billing: "stated",
    resource,
    demand: NO_DEMAND,
    stream: false,
    reachesStored: false,
    inputDigest: digestOf(meant.inputDigest),
    contentDigest: digestOf(meant.inputDigest),
    arguments: plainJson(args),
    inspect: () => detect(textsOf(args).map((text) => ({ text, isContent: true }))),
    call: () => shownCall(resource, args, listed),
    context: {
      ...context,
      tool: resource,
      operation: meant.business === null ? null : operationText(meant.business),
    },
    client: readClient(exchange),
    tool: resource,
    idempotency: isAllowed ? withContent(meant.idempotency, digestOf) : null,
    effect: isAllowed ? withContent(meant.effect, digestOf) : null,
    costStatedPicousd: meant.costStatedPicousd,
    act: { ...meant.act, listed },
    leaseMs: null,
  };
  const told = outcome === null ? null : readCarriedOutcome(outcome, context.run);
  const shown = { name, arguments: args };
  return { intent, outcome: told, waitMs: waitOf(exchange, meta), params: sent, shown };
}

/** Of a call with params that this revision of the protocol does not have: another call than the one without them. */
function withParams(digest: string, beside: Members): string {
  if (Object.keys(beside).length === 0) return digest;
  return sha256Hex(JSON.stringify([digest, canonicalJson(beside)]));
}

function withContent<Claim extends { readonly content: string }>(
  claim: Claim | null,
  digestOf: (digest: string) => string,
): Claim | null {
  return claim === null ? null : { ...claim, content: digestOf(claim.content) };
}

/** Such a call, before anybody has made it: without arguments, for whoever asks which tools there are. */
export function listingIntent(
  from: Carrier,
  params: Members,
  of: { readonly tool: Tool | null; readonly listed: ToolListed; readonly name: string },
): Intent {
  const {
    arguments: _,
    inspect: __,
    ...asked
  } = askingOfRequest(from, { method: "tools/list", mayAsk: true }, params).intent;
  const resource = `${from.server.name}/${of.name}`;
  const { tool, listed } = of;
  return {
    ...asked,
    operation: "execute_tool",
    billing: "stated",
    resource,
    tool: resource,
    context: { ...asked.context, tool: resource },
    costStatedPicousd: tool?.pricePicousd ?? null,
    act: {
      effectClass: tool?.effectClass ?? "effectful",
      effect: null,
      extracted: null,
      listed,
      approval: tool?.approval ?? null,
    },
  };
}

/**
 * Anything else that is asked of a server: it costs nothing here, and is decided and recorded like everything. A key
 * that was made for some tools asks it where its globs hold the server and the method, as `files/*` does.
 */
export function askingOfRequest(
  from: Carrier,
  { method, mayAsk }: { readonly method: string; readonly mayAsk: boolean },
  params: Members,
): ToolAsking {
  const { context, outcome, exchange, meta } = contextOf(from, params);
  const sent = forwarded(params);
  const digest = sha256Hex(canonicalJson(sent));
  const intent: Intent = {
    door: "tool",
    operation: "mcp_request",
    billing: mayAsk ? "free" : "stated",
    resource: `${from.server.name}/${method}`,
    demand: NO_DEMAND,
    stream: false,
    reachesStored: false,
    inputDigest: digest,
    contentDigest: digest,
    arguments: plainJson(sent),
    inspect: () => detect(textsOf(sent).map((text) => ({ text, isContent: true }))),
    call: () => null,
    context,
    client: readClient(exchange),
    tool: null,
    idempotency: null,
    effect: null,
    costStatedPicousd: null,
    act: mayAsk ? null : NOT_ALLOWED,
    leaseMs: null,
  };
  const told = outcome === null ? null : readCarriedOutcome(outcome, context.run);
  return { intent, outcome: told, waitMs: waitOf(exchange, meta), params: sent, shown: sent };
}

/** What is no tool has no definition. */
const NOT_ALLOWED: ActFacts = {
  effectClass: "pure",
  effect: null,
  extracted: null,
  listed: { standing: "not_allowed", definition: "" },
  approval: null,
};

type Carried = ReturnType<typeof readContext> & {
  readonly exchange: Pick<Carrier, "header">;
  readonly meta: Members;
};

/** By headers, else by what the request's `_meta` says: clients that set headers once can say more with each call. */
function contextOf(from: Carrier, params: Members): Carried {
  const { header, rawHeaders, pathRun, pathStep } = from;
  const meta = isRecord(params["_meta"]) ? params["_meta"] : {};
  const ours = Object.keys(meta)
    .filter((name) => name.startsWith(OURS))
    .map((name) => [name, name.slice(OURS.length).replaceAll("-", "_")] as const);
  refuseUnknown(new Set(ours.map(([, field]) => field)), META);
  const metadata: Record<string, string> = {};
  for (const [name, field] of ours) {
    const text = METADATA.known.includes(field) ? textMember(meta, name) : null;
    if (text !== null) metadata[field] = text;
  }
  const exchange = {
    header: (name: string) => header(name) ?? (IN_META.has(name) ? metaHeader(meta, name) : null),
    rawHeaders,
  };
  return { ...readContext({ exchange, pathRun, pathStep, metadata }), exchange, meta };
}

const OURS = "tollgate/";

/** Headers that a request's `_meta` may carry, by the protocol's name or by ours. */
const IN_META: ReadonlySet<string> = new Set(["traceparent", "baggage", "idempotency-key"]);

function metaHeader(meta: Members, name: string): string | null {
  if (name === "idempotency-key") return textMember(meta, "tollgate/idempotency_key");
  return textMember(meta, name);
}

function textMember(meta: Members, name: string): string | null {
  const value = meta[name];
  if (value === undefined || name === WAIT) return null;
  if (typeof value === "string") return value;
  throw new InputError("invalid_value", `_meta.${name}`, `\`_meta["${name}"]\` is a string.`);
}

const WAIT = "tollgate/wait";

function waitOf(exchange: Carried["exchange"], meta: Members): number {
  const seconds = meta[WAIT];
  if (seconds === undefined) return readWaitMs(exchange) ?? 0;
  const most = PREFER_WAIT_MS_MAX / 1_000;
  if (
    typeof seconds === "number" &&
    Number.isSafeInteger(seconds) &&
    seconds >= 0 &&
    seconds <= most
  ) {
    return seconds * 1_000;
  }
  const message = `\`_meta["${WAIT}"]\` is a whole number of seconds, at most ${most}.`;
  throw new InputError("invalid_value", `_meta.${WAIT}`, message);
}

/** What of the params a server is sent: not what is for us, nor what is of the client's own connection. */
function forwarded(params: Members): Members {
  const { _meta: meta, ...rest } = params;
  if (!isRecord(meta)) return rest;
  const theirs = Object.entries(meta).filter(([name]) => !isOwn(name));
  return theirs.length === 0 ? rest : { ...rest, _meta: Object.fromEntries(theirs) };
}

/** The member of a request's `_meta` that says from which level on its server is to log. */
export const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

function isOwn(name: string): boolean {
  return (
    name.startsWith(OURS) ||
    name === "progressToken" ||
    // Of the client's own connection, but for what it wants logged of this.
    (name.startsWith("io.modelcontextprotocol/") && name !== LOG_LEVEL)
  );
}

/** What a person is asked about: the call as it was asked for, and the definition that was approved for it. */
function shownCall(name: string, args: Members, { definition }: ToolListed): Uint8Array | null {
  const bytes = new TextEncoder().encode(
    canonicalJson({ kind: "tool", name, arguments: args, definition }),
  );
  return bytes.byteLength > APPROVAL_CALL_BYTES_MAX ? null : bytes;
}
