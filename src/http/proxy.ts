/**
 * The model door. HTTP in, HTTP out: it reads what is asked, has the gate decide, has the gate
 * dispatch, and phrases the answer. It decides nothing.
 */
import type { Caller } from "../core/caller.ts";
import { InputError } from "../core/errors.ts";
import type { Demand, IdempotencyAsked, Intent } from "../core/intent.ts";
import { MODEL_KEY_KEPT_MS, RESOURCE_CHARS_MAX } from "../core/limits.ts";
import type { Asked, Phrased, Route } from "../dialects/dialect.ts";
import { splitRunPrefix } from "../dialects/openai/path.ts";
import { phrase } from "../dialects/openai/phrase.ts";
import { findRoute } from "../dialects/openai/routes.ts";
import { reachesStored } from "../dialects/openai/stored.ts";
import type { Refusal } from "../core/verdict.ts";
import type { Permit } from "../gate/admit.ts";
import { captureReply } from "../gate/capture.ts";
import type { Gateway } from "../gate/gateway.ts";
import { upstreamHeaders } from "../gate/headers.ts";
import type { Charge } from "../core/charge.ts";
import type { Ending } from "../gate/ending.ts";
import { assert } from "../lib/assert.ts";
import { sha256Hex } from "../lib/hash.ts";
import { answerHeaders, headerText } from "./answer-headers.ts";
import { readClient, readContext, readIdempotency, readWaitMs } from "./context.ts";
import { phraseDryRun } from "./dry-run.ts";
import { editsFor } from "./edits.ts";
import { phraseFailure, phraseUnavailable } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { identifyCaller } from "./identify.ts";
import { sendRepeat } from "./repeat.ts";
import {
  readRequestBody,
  type BodyReaders,
  type LargeBodies,
  type RequestBody,
} from "./request-body.ts";

export type ModelDoor = (
  gateway: Gateway,
  exchange: Exchange,
  requestId: string,
) => Promise<Response>;

/** Upstreams and models that were seen not to know `stream_options`; more than these are asked again. */
const REMEMBERED_MAX = 1_000;

export type ModelDoorParts = {
  readonly monotonicMs: () => number;
  readonly largeBodies: LargeBodies;
};

export function createModelDoor({ monotonicMs, largeBodies }: ModelDoorParts): ModelDoor {
  const usageUnknown = new Set<string>();
  return async (gateway, exchange, requestId) => {
    const startedMs = monotonicMs();
    const aging = gateway.fresh();
    if (aging !== null) await aging;
    const caller = identifyCaller(gateway, exchange.header);
    // Before its body is read: turning calls away must cost little, or those let in pay for it.
    if (gateway.turnsAway(caller.tenantId)) {
      return send(exchange, phraseUnavailable(null), requestId);
    }
    const asking = await readAsking(exchange, {
      largeBodies,
      owner: caller.tenantId,
      searches: gateway.authority.searches(caller.tenantId),
    });
    gateway.confirm(caller);
    refuseRenamedForm(gateway, asking);
    if (asking.intent.context.dryRun) {
      return send(exchange, phraseDryRun(await gateway.admitDry(caller, asking.intent)), requestId);
    }
    const turn = {
      gateway,
      exchange,
      caller,
      asking,
      requestId,
      startedMs,
      monotonicMs,
      usageUnknown,
      isSecond: false,
      waitUntilMs: monotonicMs() + readWaitMs(exchange),
    };
    const first = await answer(turn);
    if (first !== "again") return first;
    const second = await answer({ ...turn, isSecond: true });
    assert(second !== "again", "a turn without the injection is not asked to do without it");
    return second;
  };
}

type Asking = {
  readonly intent: Intent;
  readonly route: Route;
  readonly query: string;
  readonly asked: Asked | null;
  readonly body: RequestBody;
};

type Turn = {
  readonly gateway: Gateway;
  readonly exchange: Exchange;
  readonly caller: Caller;
  readonly asking: Asking;
  readonly requestId: string;
  readonly startedMs: number;
  readonly monotonicMs: () => number;
  readonly usageUnknown: Set<string>;
  /** Without the usage injection, which the first turn's upstream did not understand. */
  readonly isSecond: boolean;
  /** Until when its client waits for the answer to the same request, by the monotonic clock. */
  readonly waitUntilMs: number;
};

/** What nothing is known of: a pass-through. */
const NO_DEMAND: Demand = {
  inputBytes: 0,
  images: 0,
  audioInput: false,
  audioOutput: false,
  outputTokensMax: null,
  choices: 1,
  fixed: {},
  producesTokens: false,
  unbounded: [],
};

async function readAsking(exchange: Exchange, readers: BodyReaders): Promise<Asking> {
  const at = exchange.url.indexOf("?");
  const whole = at < 0 ? exchange.url : exchange.url.slice(0, at);
  const { path, run, step } = splitRunPrefix(whole);
  const route = findRoute(exchange.method, path);
  if (route === null) {
    throw new InputError("unknown_url", null, `Unknown request URL: ${exchange.method} ${whole}.`);
  }
  refuseWebSocket(exchange);
  const body = await readRequestBody(exchange, route, readers);
  const { asked } = body;
  const context = readContext({
    exchange,
    pathRun: run,
    pathStep: step,
    metadata: asked?.metadata ?? {},
  });
  const resource = route.pathModel ?? asked?.model ?? `${exchange.method} ${route.path}`;
  if (resource.length > RESOURCE_CHARS_MAX || /\p{Cc}/u.test(resource)) {
    const message = `A model's name is at most ${RESOURCE_CHARS_MAX} characters, without control characters.`;
    throw new InputError("invalid_value", "model", message);
  }
  const intent: Intent = {
    door: "model",
    operation: route.operation,
    billing: route.billing,
    resource,
    demand: asked?.demand ?? NO_DEMAND,
    stream: asked?.stream ?? false,
    reachesStored: reachesStored(exchange.method, route),
    inspect: body.inspect,
    inputDigest: body.digest,
    context,
    client: readClient(exchange),
    call: () => body.small,
    tool: null,
    idempotency: idempotencyOf(exchange, route, body.digest),
    effect: null,
    costStatedPicousd: null,
    act: null,
    leaseMs: null,
  };
  return { intent, route, query: at < 0 ? "" : exchange.url.slice(at), asked, body };
}

/** Only what is metered is executed once under a key: the rest costs nothing, or its answer is not ours to keep. */
function idempotencyOf(exchange: Exchange, route: Route, digest: string): IdempotencyAsked | null {
  const asked = readIdempotency(exchange);
  if (asked === null || route.billing !== "metered") return null;
  const content = sha256Hex(JSON.stringify([route.operation, route.path, digest]));
  return { ...asked, content, keptMs: MODEL_KEY_KEPT_MS };
}

/** A form is forwarded as the bytes that came, so the model in it must be the upstream's own name. */
function refuseRenamedForm(gateway: Gateway, { intent, route }: Asking): void {
  if (route.body !== "multipart" || intent.billing !== "metered") return;
  const routed = gateway.authority.route(intent.resource);
  if (routed === null || routed.model === intent.resource) return;
  const message = `A form is not rewritten: name the model \`${routed.model}\`, as its upstream does.`;
  throw new InputError("invalid_value", "model", message);
}

function refuseWebSocket(exchange: Exchange): void {
  if (exchange.header("upgrade")?.toLowerCase() !== "websocket") return;
  throw new InputError(
    "websocket_unsupported",
    "upgrade",
    "Tollgate speaks HTTP here, not WebSocket: use the HTTP form of this request.",
  );
}

async function answer(turn: Turn): Promise<Response | "again"> {
  const { gateway, exchange, caller, asking, requestId } = turn;
  const { intent } = asking;
  const admission = await gateway.admit(caller, intent, exchange.isGone);
  if (admission.kind === "gone") return exchange.handled;
  assert(admission.kind !== "granted", "what the model door asks for is dispatched here");
  if (admission.kind === "refused") {
    const { refusal, runId, attempt, policyVersion } = admission;
    const repeat = await repeatOf(turn, refusal);
    if (repeat !== null) return repeat;
    const phrased = phrase(refusal, intent.client, admission.decidedAt);
    const facts = {
      "tollgate-verdict": "block",
      "tollgate-run": headerText(runId),
      "tollgate-attempt": String(attempt),
      "tollgate-policy-version": policyVersion,
    };
    return send(exchange, { ...phrased, headers: { ...phrased.headers, ...facts } }, requestId);
  }
  return forward(turn, admission.permit);
}

/** The prior answer to who asks again under the same key; null where there is none to give. */
async function repeatOf(
  turn: Turn,
  { reason, retry }: Refusal,
): Promise<Response | "again" | null> {
  const { gateway, exchange, caller } = turn;
  const attemptId = retry?.priorAttempt ?? null;
  if (attemptId === null) return null;
  if (reason === "duplicate_request") {
    const kept = await gateway.answers.find(caller.tenantId, attemptId);
    return kept === null ? null : sendRepeat(exchange, kept);
  }
  const ms = turn.waitUntilMs - turn.monotonicMs();
  if (reason !== "idempotency_in_progress" || ms <= 0) return null;
  const attempt = { tenantId: caller.tenantId, attemptId };
  await gateway.answers.ended(attempt, { ms, isGone: exchange.isGone });
  return answer({ ...turn, waitUntilMs: 0 });
}

/** From here on the permit has an owner: whatever happens, it ends in `settle`. */
async function forward(turn: Turn, permit: Permit): Promise<Response | "again"> {
  const { gateway, exchange, asking, requestId } = turn;
  const { route, body } = asking;
  const memory = `${permit.upstream.name}/${permit.model}`;
  const mayInject = !turn.isSecond && !turn.usageUnknown.has(memory);
  const edits = editsFor(permit, asking, mayInject);
  const overheadMs = turn.monotonicMs() - turn.startedMs;
  let charged: Charge | Promise<Charge> | null = null;
  const chargeOnce = (ending: Ending) =>
    (charged ??= gateway.charge(permit, ending, () => body.countable(route)));
  const capture = permit.answerKeptMs === null ? null : captureReply(exchange.reply());
  const dispatched = await gateway.dispatch(
    {
      permit,
      route,
      method: exchange.method,
      path: permit.upstream.basePath + route.path + asking.query,
      headers: upstreamHeaders(exchange.rawHeaders, permit.upstream, route.body === "none"),
      body: () => body.forward(edits),
      hideUsage: edits.injectUsage === true,
      ours: {
        early: () => answerHeaders(permit, null, overheadMs),
        whole: (ending) => {
          // What is unknown was not charged yet: it is reserved.
          const charge = ending.kind === "unknown" ? null : chargeOnce(ending);
          return charge instanceof Promise
            ? charge.then((counted) => answerHeaders(permit, counted, overheadMs))
            : answerHeaders(permit, charge, overheadMs);
        },
      },
      requestId,
    },
    capture?.reply ?? exchange.reply(),
  );
  const { ending } = dispatched;
  remember(turn, memory, ending);
  const captured = ending.kind === "succeeded" ? (capture?.captured() ?? null) : null;
  gateway.settle(permit, ending, chargeOnce(ending), captured);
  switch (dispatched.kind) {
    case "answered":
      return exchange.handled;
    case "usage_not_understood":
      return "again";
    case "unanswered": {
      const phrased = phraseFailure(dispatched.failure, permit.upstream.name, requestId);
      const ours = answerHeaders(permit, null, overheadMs);
      return send(exchange, phrased, requestId, ours);
    }
  }
}

/**
 * Only after the second turn is it known that the option was at fault, and not the caller's own text:
 * one bad request must not end the measuring of everybody's usage.
 */
function remember({ isSecond, usageUnknown }: Turn, memory: string, { status }: Ending): void {
  if (!isSecond || status === null || status >= 400) return;
  if (usageUnknown.size < REMEMBERED_MAX) usageUnknown.add(memory);
}

/** Sends an answer of ours. */
export function send(
  exchange: Exchange,
  phrased: Phrased,
  requestId: string,
  ours: readonly string[] = [],
): Response {
  const bytes = new TextEncoder().encode(phrased.body);
  const headers = [...ours, "x-request-id", requestId, "content-length", String(bytes.byteLength)];
  for (const [name, value] of Object.entries(phrased.headers)) headers.push(name, value);
  const reply = exchange.reply();
  reply.head(phrased.status, headers, false);
  reply.end(bytes);
  return exchange.handled;
}
