/** A request to an MCP server: admitted by the gate, asked, and what its client is told of either. */
import { InputError } from "../core/errors.ts";
import { WRITTEN_MS_MAX } from "../core/limits.ts";
import { TOOL_NAME_CHARS_MAX } from "../core/limits-tools.ts";
import type { Tool } from "../core/tool.ts";
import {
  failureResult,
  type Members,
  refusalResult,
  type Told,
  toolResultOf,
  withDecision,
  withoutOurs,
} from "../dialects/mcp.ts";
import { NOTHING } from "../core/charge.ts";
import type { Admission, ToolPermit } from "../gate/admit.ts";
import { standingOf, type Catalogued, type CataloguedTool } from "../gate/catalogue.ts";
import { neverSent } from "../gate/ending.ts";
import type { Gateway } from "../gate/gateway.ts";
import type { Called, ServerCall } from "../gate/call-server.ts";
import type { Unreached } from "../gate/servers.ts";
import { assert } from "../lib/assert.ts";
import { parseExactJson } from "../lib/exact-json.ts";
import { within } from "../lib/within.ts";
import { admitWaiting } from "./admit-waiting.ts";
import { tellCarried } from "./carried-outcome.ts";
import { REPEAT_MS_MIN } from "./context.ts";
import { phraseDryRun } from "./dry-run.ts";
import {
  askingOfRequest,
  askingOfTool,
  type Carrier,
  listingIntent,
  type ToolAsking,
} from "./tool-asking.ts";

/** An error of JSON-RPC. */
export type RpcError = {
  readonly kind: "error";
  readonly code: number;
  readonly message: string;
  readonly data: unknown;
};

/** What a client is told. */
export type Answer = { readonly kind: "result"; readonly result: Members } | RpcError;

export type CallHooks = {
  readonly gateway: Gateway;
  readonly from: Carrier;
  readonly isGone: () => boolean;
  /** Told when the client leaves before it has its answer. */
  readonly onGone: (listener: () => void) => void;
  /** From here on its client may cancel it by its id. */
  readonly begin: () => void;
  readonly end: () => void;
  readonly control: AbortController;
};

/** What the gate said of a request. */
export type Call =
  /** Answered by us: nothing is asked of the server. */
  | Answer
  | {
      readonly kind: "permitted";
      readonly permit: ToolPermit;
      readonly method: string;
      readonly params: Members;
      readonly tool: Tool | null;
      /** Whether somebody owns the permit that ends it. */
      isUsed: boolean;
    };

/** What is asked of servers for clients. The rest the official package answers, or says that it does not know it. */
const PASSED: ReadonlySet<string> = new Set([
  "tools/list",
  "tools/call",
  "resources/list",
  "resources/templates/list",
  "resources/read",
  "prompts/list",
  "prompts/get",
  "completion/complete",
]);

export function isPassed(method: string): boolean {
  return PASSED.has(method);
}

/** Throws what is answered by HTTP alone: that the gate cannot decide. */
export async function admitCall(
  hooks: CallHooks,
  { method, params }: { readonly method: string; readonly params: Members },
): Promise<Call> {
  // Before it is admitted, which may take as long as a person does: it can be cancelled meanwhile.
  hooks.begin();
  let isPermitted = false;
  try {
    if (method === "tools/list") return await listTools(hooks, params);
    const call = await admitted(hooks, method, params);
    isPermitted = call.kind === "permitted";
    return call;
  } catch (error) {
    // A mistake in the message is told in the protocol's words, and the connection goes on.
    if (!(error instanceof InputError)) throw error;
    const { code, param, message } = error;
    return rpcError(INVALID_PARAMS, message, { code, param });
  } finally {
    if (!isPermitted) hooks.end();
  }
}

function rpcError(code: number, message: string, data: unknown = null): RpcError {
  return { kind: "error", code, message, data };
}

async function admitted(hooks: CallHooks, method: string, params: Members): Promise<Call> {
  const { gateway, from, control } = hooks;
  const { caller } = from;
  const look = async () =>
    method === "tools/call" ? await toolAsked(hooks, params) : askedOf(hooks, method, params);
  const first = await look();
  if (first.kind === "error") return first;
  const { intent, outcome, waitMs } = first.asking;
  if (outcome !== null) await tellCarried(gateway, caller, { outcome, intent });
  if (intent.context.dryRun) {
    return { kind: "result", result: dryRunResult(await gateway.admitDry(caller, intent)) };
  }
  const isGone = () => hooks.isGone() || control.signal.aborted;
  // While it waited its definition, its declaration and what its key may call can have become others.
  const looks: (Asked | RpcError)[] = [first];
  const renewed = async () => {
    const now = await look();
    looks.push(now);
    return now.kind === "error" ? null : now.asking.intent;
  };
  const mayRepeat = intent.idempotency !== null || intent.effect !== null;
  const patience = {
    waitMs: Math.max(waitMs, mayRepeat ? REPEAT_MS_MIN : 0),
    isGone,
    renewed,
  };
  const admission = await admitWaiting(gateway, caller, intent, patience);
  const asked = looks.at(-1) ?? first;
  if (asked.kind === "error") return asked;
  switch (admission.kind) {
    case "tool_admitted": {
      const { permit } = admission;
      const { asking, tool } = asked;
      const sent = permit.isApproved ? asking.shown : asking.params;
      return { kind: "permitted", permit, method, params: sent, tool, isUsed: false };
    }
    case "refused":
      return await refused(hooks, asked.asking, admission);
    case "gone":
      return rpcError(INTERNAL, "The client left.");
    case "admitted":
    case "granted":
      assert(false, "what the tool door asks for goes to a server");
  }
}

const INVALID_PARAMS = -32_602;
const INTERNAL = -32_603;

/** A refusal of a tool is a tool's error, which models read; of anything else one of the protocol. */
async function refused(
  hooks: CallHooks,
  { intent }: ToolAsking,
  { refusal, runId }: Extract<Admission, { kind: "refused" }>,
): Promise<Call> {
  const attemptId = refusal.retry?.priorAttempt ?? null;
  const told: Told = { decisionId: refusal.decisionId, attemptId, runId };
  const prior = await priorResult(hooks, refusal.reason, attemptId);
  if (prior !== null) return { kind: "result", result: withDecision(prior, told, true) };
  const result = refusalResult(refusal, told);
  if (intent.operation === "execute_tool") return { kind: "result", result };
  const data = { reason: refusal.reason, decision: refusal.decisionId };
  return rpcError(REFUSED, refusal.message, data);
}

/** Of the range that implementations define. */
const REFUSED = -32_001;
const SERVER_AWAY = -32_000;

/** What the same call gave, where only these two reasons say that its content is the same; null where it is not kept. */
async function priorResult(
  { gateway, from }: CallHooks,
  reason: string,
  attemptId: string | null,
): Promise<Members | null> {
  const isSame = reason === "duplicate_request" || reason === "effect_applied";
  if (!isSame || attemptId === null) return null;
  const name = { tenantId: from.caller.tenantId, attemptId };
  const prior = await gateway.steps.prior(name, { asks: true, tells: "same" });
  if (prior === null || prior.result.kind !== "kept") return null;
  const read = parseExactJson(prior.result.json);
  return read === null ? null : toolResultOf(read.value, prior.result.json);
}

function dryRunResult(admission: Admission): Members {
  const { body } = phraseDryRun(admission);
  return { content: [{ type: "text", text: body }], _meta: { "tollgate/dry_run": true } };
}

type Asked = {
  readonly kind: "asked";
  readonly asking: ToolAsking;
  /** As it is declared; null: nobody did, or it is no tool. */
  readonly tool: Tool | null;
};

function askedOf({ gateway, from }: CallHooks, method: string, params: Members): Asked {
  const { caller, server } = from;
  const mayAsk = gateway.authority.mayCall(caller.keyId, `${server.name}/${method}`);
  return { kind: "asked", asking: askingOfRequest(from, { method, mayAsk }, params), tool: null };
}

async function toolAsked({ gateway, from }: CallHooks, params: Members): Promise<Asked | RpcError> {
  const { caller, server } = from;
  const { name } = params;
  if (typeof name !== "string" || name === "") {
    throw new InputError("missing_required_parameter", "name", "A call names its tool: `name`.");
  }
  const catalogued = await toolsOf(gateway, from);
  if (catalogued.kind === "unreached") return rpcError(SERVER_AWAY, catalogued.message);
  const listed = catalogued.tools.get(name);
  if (listed === undefined) {
    const shown = name.slice(0, TOOL_NAME_CHARS_MAX);
    const message = `Unknown tool: the server \`${server.name}\` lists no \`${shown}\`.`;
    return rpcError(INVALID_PARAMS, message);
  }
  const tool = gateway.authority.tool(caller.tenantId, `${server.name}/${name}`);
  const standing = standingOf(gateway.authority, caller, { server, listed });
  const asking = askingOfTool(from, params, { tool, listed: standing, name });
  return { kind: "asked", asking, tool };
}

function toolsOf(
  { servers }: Gateway,
  { caller, server }: Pick<Carrier, "caller" | "server">,
): Promise<Catalogued | Unreached> {
  assert(servers !== null, "a server of the configuration is connected to");
  return servers.catalogue.tools({ tenantId: caller.tenantId, server });
}

/** What this key may call, as its server lists it: not what is blocked whatever its arguments are. */
async function listTools(hooks: CallHooks, params: Members): Promise<Answer> {
  const catalogued = await toolsOf(hooks.gateway, hooks.from);
  if (catalogued.kind === "unreached") return rpcError(SERVER_AWAY, catalogued.message);
  const shown = [...catalogued.tools.values()].filter((tool) => isShown(hooks, params, tool));
  return { kind: "result", result: { tools: shown.map(({ definition }) => definition) } };
}

function isShown({ gateway, from }: CallHooks, params: Members, listed: CataloguedTool): boolean {
  const { authority } = gateway;
  const { caller, server } = from;
  if (!caller.scopes.includes("invoke")) return false;
  const standing = standingOf(authority, caller, { server, listed });
  if (standing.standing !== "callable" && standing.standing !== "observed") return false;
  const tool = authority.tool(caller.tenantId, `${server.name}/${listed.tool}`);
  const of = { tool, listed: standing, name: listed.tool };
  return !gateway.isBlockedOutright(caller, listingIntent(from, params, of));
}

/** Asks the server what was permitted, and answers what the client is told. */
export async function answerCall(
  { gateway, end, control, onGone }: CallHooks,
  call: Call,
  { onProgress, onLog }: Pick<ServerCall, "onProgress" | "onLog">,
): Promise<Answer> {
  if (call.kind !== "permitted") return call;
  const { permit, method, params, tool } = call;
  // One that was ended as never sent is sent by nobody, in whichever order the package does things.
  assert(!call.isUsed, "a permit is used once");
  call.isUsed = true;
  assert(gateway.servers !== null, "what is permitted has servers");
  // What may have an effect is waited for: else nobody would know whether it had.
  const isHarmless = method !== "tools/call" || tool?.effectClass === "pure";
  if (isHarmless) onGone(() => control.abort());
  try {
    const terms = { method, params, tool, onProgress, onLog, signal: control.signal };
    const { called, settled } = await gateway.servers.call(permit, terms);
    // Who is told of a failure may ask again at once: by then every process must know that it failed.
    if (called.ending.kind !== "succeeded")
      await within(WRITTEN_MS_MAX, Promise.allSettled([settled]), () => null);
    return answerOf(called, permit, method === "tools/call");
  } finally {
    end();
  }
}

function answerOf(called: Called, permit: ToolPermit, isTool: boolean): Answer {
  const { decisionId, attemptId, runId } = permit;
  const told = { decisionId, attemptId, runId };
  switch (called.kind) {
    case "result": {
      const { result } = called;
      return {
        kind: "result",
        result: isTool ? withDecision(result, told, false) : withoutOurs(result),
      };
    }
    case "error":
      return rpcError(called.code, called.message, called.data ?? null);
    case "failed": {
      const { message, reason } = called;
      if (!isTool) return rpcError(INTERNAL, message, { reason });
      return { kind: "result", result: failureResult(message, reason, told) };
    }
  }
}

/** Ends a permit that nobody took over: nothing was sent. */
export async function unused({ gateway, end }: CallHooks, call: Call): Promise<void> {
  if (call.kind !== "permitted" || call.isUsed) return;
  call.isUsed = true;
  end();
  await gateway.settle(call.permit, neverSent("the protocol refused the message"), NOTHING);
}
