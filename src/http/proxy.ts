/**
 * The model door. HTTP in, HTTP out: it reads what is asked, has the gate decide, has the gate
 * dispatch, and phrases the answer. It decides nothing.
 */
import type { Caller } from "../core/caller.ts";
import { WRITTEN_MS_MAX } from "../core/limits.ts";
import type { Phrased } from "../dialects/dialect.ts";
import { phrase } from "../dialects/openai/phrase.ts";
import type { Refusal } from "../core/verdict.ts";
import type { Permit } from "../gate/admit.ts";
import { captureReply } from "../gate/capture.ts";
import type { Gateway } from "../gate/gateway.ts";
import { upstreamHeaders } from "../gate/headers.ts";
import type { Charge } from "../core/charge.ts";
import type { Ending } from "../gate/ending.ts";
import { assert } from "../lib/assert.ts";
import { within } from "../lib/within.ts";
import { answerHeaders, headerText } from "./answer-headers.ts";
import { admitWaiting } from "./admit-waiting.ts";
import { tellCarried } from "./carried-outcome.ts";
import { readAsking, refuseRenamedForm, type Asking } from "./asking.ts";
import { REPEAT_MS_MIN, readWaitMs } from "./context.ts";
import { phraseDryRun } from "./dry-run.ts";
import { editsFor } from "./edits.ts";
import { phraseFailure, phraseUnavailable } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { identifyCaller } from "./identify.ts";
import { sendRepeat } from "./repeat.ts";
import type { LargeBodies } from "./request-body.ts";
import { createUsageUnknown, type UsageUnknown } from "./usage-unknown.ts";

export type ModelDoor = (
  gateway: Gateway,
  exchange: Exchange,
  requestId: string,
) => Promise<Response>;

/**
 * How long an answer that is there waits for its tokens to be counted: the thread that counts starts in less than
 * a second, and on a busy machine in many. Its settlement waits as long as that takes.
 */
const COUNTED_MS_MAX = 2_000;

export type ModelDoorParts = {
  readonly monotonicMs: () => number;
  readonly largeBodies: LargeBodies;
};

export function createModelDoor({ monotonicMs, largeBodies }: ModelDoorParts): ModelDoor {
  const usageUnknown = createUsageUnknown(monotonicMs);
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
      modelOf: (model) =>
        model === null ? null : (gateway.authority.route(model)?.model ?? model),
      isOpenAI: gateway.authority.isOpenAI(),
    });
    gateway.confirm(caller);
    refuseRenamedForm(gateway, asking);
    const { outcome, intent } = asking;
    if (outcome !== null) await tellCarried(gateway, caller, { outcome, intent });
    if (intent.context.dryRun) {
      return send(exchange, phraseDryRun(await gateway.admitDry(caller, intent)), requestId);
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
      waitMs: Math.max(
        readWaitMs(exchange) ?? 0,
        exchange.header("idempotency-key") === null ? 0 : REPEAT_MS_MIN,
      ),
    };
    const first = await answer(turn);
    if (first !== "again") return first;
    const second = await answer({ ...turn, isSecond: true });
    assert(second !== "again", "a turn without the injection is not asked to do without it");
    return second;
  };
}

type Turn = {
  readonly gateway: Gateway;
  readonly exchange: Exchange;
  readonly caller: Caller;
  readonly asking: Asking;
  readonly requestId: string;
  readonly startedMs: number;
  readonly monotonicMs: () => number;
  readonly usageUnknown: UsageUnknown;
  /** Without the usage injection, which the first turn's upstream did not understand. */
  readonly isSecond: boolean;
  /** How long its client waits for somebody else's answer to the same, or for a person's. */
  readonly waitMs: number;
};

async function answer(turn: Turn): Promise<Response | "again"> {
  const { gateway, exchange, caller, asking, requestId } = turn;
  const { intent } = asking;
  const { isGone } = exchange;
  const { waitMs } = turn;
  const patience = { waitMs, isGone };
  const admission = await (waitMs === 0
    ? gateway.admit(caller, intent, isGone)
    : admitWaiting(gateway, caller, intent, patience));
  if (admission.kind === "gone") return exchange.handled;
  const isElsewhere = admission.kind === "granted" || admission.kind === "tool_admitted";
  assert(!isElsewhere, "what the model door asks for is dispatched to a model");
  if (admission.kind === "refused") {
    const { refusal, runId, attempt, policyVersion } = admission;
    const repeat = await repeatOf(turn, refusal);
    if (repeat !== null) return repeat;
    const phrased = phrase(refusal, intent.client, admission.decidedAt);
    const facts = {
      "tollgate-verdict": refusal.reason === "approval_required" ? "require_approval" : "block",
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
  { gateway, exchange, caller }: Turn,
  { reason, retry }: Refusal,
): Promise<Response | null> {
  const attemptId = retry?.priorAttempt ?? null;
  if (attemptId === null || reason !== "duplicate_request") return null;
  const kept = await gateway.answers.find(caller.tenantId, attemptId);
  return kept === null ? null : sendRepeat(exchange, kept);
}

/** From here on the permit has an owner: whatever happens, it ends in `settle`. */
async function forward(turn: Turn, permit: Permit): Promise<Response | "again"> {
  const { gateway, exchange, asking, requestId } = turn;
  const { route, body } = asking;
  const mayInject = !turn.isSecond && !turn.usageUnknown.has(permit);
  const edits = editsFor(permit, asking, mayInject);
  const overheadMs = turn.monotonicMs() - turn.startedMs;
  let charged: Charge | Promise<Charge> | null = null;
  const chargeOnce = (ending: Ending) =>
    (charged ??= gateway.charge(permit, ending, () => body.countable(route)));
  const capture = permit.answerKeptMs === null ? null : captureReply(exchange.reply());
  let settled: Promise<unknown> | null = null;
  let sentSha256: string | null = null;
  const settleOnce = (ending: Ending): Promise<unknown> => {
    const captured = ending.kind === "succeeded" ? (capture?.captured() ?? null) : null;
    const wasSent = ending.kind !== "released";
    const told = sentSha256 !== null && wasSent ? { ...ending, sentSha256 } : ending;
    return (settled ??= gateway.settle(permit, told, chargeOnce(ending), captured));
  };
  const dispatched = await gateway.dispatch(
    {
      permit,
      route,
      method: exchange.method,
      path: permit.upstream.basePath + route.path + asking.query,
      headers: upstreamHeaders(exchange.rawHeaders, permit.upstream, route.body === "none"),
      body: () =>
        body.forward(edits, (sha256) => {
          sentSha256 = sha256;
        }),
      hideUsage: edits.injectUsage === true,
      ours: {
        early: () => answerHeaders(permit, null, overheadMs),
        whole: (ending) => {
          // Who is told of a failure may ask again at once: by then every process must know that it failed.
          if (ending.kind !== "succeeded") {
            const charge = ending.kind === "unknown" ? null : chargeOnce(ending);
            return soon(settleOnce(ending)).then(async () =>
              answerHeaders(permit, await soonCounted(charge), overheadMs),
            );
          }
          const charge = chargeOnce(ending);
          return charge instanceof Promise
            ? soonCounted(charge).then((counted) => answerHeaders(permit, counted, overheadMs))
            : answerHeaders(permit, charge, overheadMs);
        },
      },
      requestId,
    },
    capture?.reply ?? exchange.reply(),
  );
  const { ending } = dispatched;
  remember(turn, permit, ending);
  const written = settleOnce(ending);
  switch (dispatched.kind) {
    case "answered":
      return exchange.handled;
    case "usage_not_understood":
      // Under an idempotency key the next turn would meet this one, still at work.
      if (permit.answerKeptMs !== null) await written;
      return "again";
    case "unanswered": {
      await soon(written);
      const isFree = permit.estimate.basis === "free";
      const { failure } = dispatched;
      const phrased = phraseFailure(failure, permit.upstream.name, requestId, { isFree });
      const ours = answerHeaders(permit, null, overheadMs);
      return send(exchange, phrased, requestId, ours);
    }
  }
}

/** Resolves when it has, however it has, or after WRITTEN_MS_MAX: an answer waits no longer for its ending. */
function soon(written: Promise<unknown>): Promise<unknown> {
  return within(WRITTEN_MS_MAX, Promise.allSettled([written]), () => null);
}

/** The cost, or null where it is not known after COUNTED_MS_MAX: then the answer says what is held for it. */
function soonCounted(charge: Charge | Promise<Charge> | null): Promise<Charge | null> {
  return within(COUNTED_MS_MAX, Promise.resolve(charge), () => null);
}

/**
 * Only after the second turn is it known that the option was at fault, and not the caller's own text:
 * one bad request must not end the measuring of everybody's usage.
 */
function remember({ isSecond, usageUnknown }: Turn, permit: Permit, { status }: Ending): void {
  if (isSecond && status !== null && status < 400) usageUnknown.add(permit);
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
