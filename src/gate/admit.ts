/**
 * The one path of admission: look, judge, post.
 *
 * A permit exists only after the posting has committed the decision and the reservations of the whole
 * path, all or none. Only this file can make one (the symbol below is not exported), and `dispatch`
 * takes nothing else; so nothing reaches an upstream undecided.
 *
 * An ask that lacks room only because of reservations in flight waits, briefly, for one to settle. An
 * ask at a clamping limit comes back with less output. Both look again at newer facts: an ask that was
 * not admitted has reserved and recorded nothing, so looking again is free of consequences.
 */
import type { Caller } from "../core/caller.ts";
import { demandAt } from "../core/bound.ts";
import { clamp, clampsHeldUp } from "../core/clamp.ts";
import { decide, type Estimate } from "../core/decide.ts";
import type { Facts, History } from "../core/facts.ts";
import type { Intent } from "../core/intent.ts";
import {
  CONTENTION_LOOK_MS,
  CONTENTION_WAIT_MS_MAX,
  RELOOKS_MAX,
  RESERVATION_MARGIN_MS,
  TOOL_KEY_KEPT_MS,
} from "../core/limits.ts";
import type { Price } from "../core/price.ts";
import { shortVersion } from "../core/policy.ts";
import { needsHistory } from "../core/policy-bundle.ts";
import { decisionRecord, type Final } from "../core/record.ts";
import {
  approvalMessage,
  attemptsMessage,
  duplicateMessage,
  meterAtFault,
  meterMessage,
  runMessage,
} from "../core/refusal.ts";
import type { RetryFacts } from "../core/retry.ts";
import { looksAtPrior } from "../core/tool-judge.ts";
import type { MeterFigures, Refusal } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import type { HistoryOf } from "../store/history.ts";
import type { Ask, Posted } from "../store/posting.ts";
import type { McpServer, Upstream } from "./authority.ts";
import type { Contention } from "./contention.ts";
import { askApproval } from "./ask-approval.ts";
import { lookElsewhere, lookFor, type Look, type LookParts } from "./look.ts";
import type { Seal } from "./sealing.ts";

const permitted: unique symbol = Symbol("permitted");

/** The right to send one attempt, once, to whom it names. */
type PermitTo<To extends Addressee> = {
  readonly [permitted]: true;
  readonly attemptId: string;
  readonly decisionId: string;
  readonly tenantId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly attempt: number;
  /** What makes it an attempt of its step; null for what is no step. */
  readonly stepDigest: string | null;
  readonly retry: RetryFacts | null;
  /** Its tenant spends only what is bounded: what may have run holds its money. */
  readonly isStrict: boolean;
  readonly intent: Intent;
  readonly estimate: Estimate;
  /** How long its answer is kept for those who ask again, in ms, or null. */
  readonly answerKeptMs: number | null;
  /** Of the policies that judged it, as much as finds it; `none` where its tenant has none. */
  readonly policyVersion: string;
  readonly meters: readonly MeterFigures[];
  /** When its posting was asked for, by the monotonic clock. */
  readonly askedAtMs: number;
  readonly upstream: To["upstream"];
  readonly server: To["server"];
  /** The model to name upstream, or null for a pass-through. */
  readonly model: string | null;
  readonly price: Price | null;
  /** What another model costs there: the one that answers need not be the one asked. */
  readonly priceOf: (model: string) => Price | null;
  /** Output tokens to which a limit or a policy lowered the request, or null. */
  readonly clampedTo: number | null;
  /** What policies have replaced in its texts; empty for most. */
  readonly redact: readonly string[];
  /** People have approved it: nothing goes beside what they were shown. */
  readonly isApproved: boolean;
};

type Addressee = { readonly upstream: Upstream | null; readonly server: McpServer | null };

/** The right to dispatch one attempt to an upstream. */
export type Permit = PermitTo<{ readonly upstream: Upstream; readonly server: null }>;

/** The right to ask an MCP server once: it names no model and has no price by tokens. */
export type ToolPermit = PermitTo<{ readonly upstream: null; readonly server: McpServer }>;

/** What a caller is granted that acts itself: it reports how the attempt ended, or its lease runs out. */
export type Grant = {
  readonly attemptId: string;
  readonly decisionId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly attempt: number;
  readonly retry: RetryFacts | null;
  readonly estimate: Estimate;
  readonly meters: readonly MeterFigures[];
  readonly decidedAt: Date;
  readonly leaseMs: number;
};

export type Admission =
  | { readonly kind: "admitted"; readonly permit: Permit }
  | { readonly kind: "tool_admitted"; readonly permit: ToolPermit }
  | { readonly kind: "granted"; readonly grant: Grant }
  | {
      readonly kind: "refused";
      readonly refusal: Refusal;
      readonly runId: string;
      readonly attempt: number;
      readonly decidedAt: Date;
      readonly policyVersion: string;
      /** Every meter on the path, as it was. */
      readonly meters: readonly MeterFigures[];
    }
  /** The client left before anything was decided. */
  | { readonly kind: "gone" };

export type AdmitParts = LookParts & {
  /** What went before an ask; throws Unavailable where the database does not tell it in time. */
  readonly history: (of: HistoryOf) => Promise<History>;
  readonly seal: Seal;
  readonly postings: { readonly submit: (ask: Ask) => Promise<Posted> };
  readonly contention: Contention;
  readonly monotonicMs: () => number;
};

/** Throws InputError for a model that nobody serves, and Unavailable when the gate cannot decide. */
export async function admit(
  parts: AdmitParts,
  caller: Caller,
  intent: Intent,
  isGone: () => boolean,
): Promise<Admission> {
  let look = lookFor(parts, caller, intent);
  const startedMs = parts.monotonicMs();
  let clampedTo: number | null = null;
  let isFinal = false;
  // Ends: each turn either answers, waits within CONTENTION_WAIT_MS_MAX, or uses up a relook.
  for (let relooks = 0; ;) {
    if (isGone()) return { kind: "gone" };
    const looksBack = needsHistory(look.facts.bundle, intent) || looksAtPrior(intent);
    const history = looksBack ? await historyOf(parts, look, intent) : null;
    const facts: Facts = { ...look.facts, now: parts.now(), clampedTo, history };
    const verdict = decide(facts, intent);
    if (verdict.kind === "reroute") {
      // Once at most: a call that was rerouted is judged by where it goes now.
      look = lookElsewhere(parts, look, intent, verdict);
      continue;
    }
    const turn: Turn = { look, intent, facts, verdict };
    const askedAtMs = parts.monotonicMs();
    const posted = await parts.postings.submit(askFor(parts, turn, isFinal));
    if (posted.outcome === "allow") {
      return admitted(turn, posted, askedAtMs);
    }
    if (posted.outcome !== "again") {
      const { attempt, decidedAt, meters } = posted;
      const refusal = refusalFor(turn, posted);
      const policyVersion = policyVersionOf(turn.verdict);
      const { runId } = look;
      const when = { attempt, decidedAt, meters, policyVersion };
      return { kind: "refused", refusal, runId, ...when };
    }
    const waitedMs = parts.monotonicMs() - startedMs;
    const isContended =
      posted.reason === "budget_contended" || posted.reason === "concurrency_exceeded";
    const demand = demandAt(intent.demand, facts);
    const lower = relooks >= RELOOKS_MAX ? null : clamp(demand, facts.price, posted.meters);
    // A clamped call holds all the room there is until it settles: the next one waits for that, too.
    const mayClear = isContended || (lower === null && clampsHeldUp(posted.meters));
    if (mayClear && waitedMs < CONTENTION_WAIT_MS_MAX) {
      await parts.contention.wait(caller.tenantId, CONTENTION_LOOK_MS);
      continue;
    }
    relooks += 1;
    // Judged as another attempt than it is: what went before is looked at anew.
    if (posted.reason === null && relooks <= RELOOKS_MAX) continue;
    if (lower === null) isFinal = true;
    else clampedTo = lower;
  }
}

/** One look at the facts, and what was judged of it. */
type Turn = {
  readonly look: Look;
  readonly intent: Intent;
  readonly facts: Facts;
  readonly verdict: Final;
};

function admitted(turn: Turn, posted: Posted, askedAtMs: number): Admission {
  const { upstream, server } = turn.look;
  if (upstream !== null) {
    const to = { upstream, server: null };
    return { kind: "admitted", permit: permitFor(turn, to, { posted, askedAtMs }) };
  }
  if (server === null) return { kind: "granted", grant: grantFor(turn, posted) };
  const to = { upstream, server };
  return { kind: "tool_admitted", permit: permitFor(turn, to, { posted, askedAtMs }) };
}

function historyOf({ history }: AdmitParts, look: Look, intent: Intent): Promise<History> {
  return history({
    tenantId: look.caller.tenantId,
    runId: look.runId,
    stepDigest: look.step?.stepDigest ?? null,
    isStepNamed:
      (intent.context.step !== null && intent.context.run !== null) || intent.idempotency !== null,
    left: look.extra?.left ?? null,
    sdkRetries: look.extra?.sdkRetries ?? 0,
  });
}

/** What it claims beside its meters, or null for most. */
function extraFor(parts: AdmitParts, { look, intent, facts, verdict }: Turn): Ask["extra"] {
  const terms = verdict.kind === "ask" ? verdict.approval : null;
  if (terms === null && facts.history === null) return look.extra;
  const approval = terms === null ? null : askApproval(parts, look.caller, intent, terms);
  return { ...NO_EXTRA, ...look.extra, expects: facts.history?.attempt ?? null, approval };
}

const NO_EXTRA: NonNullable<Ask["extra"]> = {
  sdkRetries: 0,
  left: null,
  expects: null,
  idempotency: null,
  effect: null,
  approval: null,
};

function askFor(parts: AdmitParts, turn: Turn, isFinal: boolean): Ask {
  const { look, intent, facts, verdict } = turn;
  const judgedReason = verdict.kind === "block" ? verdict.reason : null;
  const { caller, upstream, server } = look;
  const sentTo = upstream ?? server;
  return {
    attemptId: `att_${look.id}`,
    tenantId: caller.tenantId,
    keyId: caller.keyId,
    runId: look.runId,
    runNamed: intent.context.run !== null,
    stepId: intent.context.step,
    stepDigest: look.step?.stepDigest ?? null,
    contentDigest: look.step?.contentDigest ?? null,
    retryResource: look.retryResource,
    door: intent.door,
    operation: intent.operation,
    resource: intent.resource,
    upstream: sentTo?.name ?? null,
    model: look.facts.route?.model ?? null,
    judgedReason,
    costPicousd: verdict.kind === "ask" ? verdict.estimate.costPicousd : null,
    tokens: verdict.kind === "ask" ? verdict.estimate.tokens : 0,
    priceVersion: look.facts.price?.version ?? null,
    final: isFinal || judgedReason !== null,
    deadlineMs: sentTo === null ? leaseOf(intent) : sentTo.timeoutMs + RESERVATION_MARGIN_MS,
    record: decisionRecord(facts, intent, verdict),
    refs: look.refs,
    extra: extraFor(parts, turn),
  };
}

function leaseOf({ leaseMs }: Intent): number {
  assert(leaseMs !== null, "who acts itself has a lease");
  return leaseMs;
}

function grantFor({ look, intent, verdict }: Turn, posted: Posted): Grant {
  assert(verdict.kind === "ask", "only what was judged askable is allowed");
  return {
    attemptId: `att_${look.id}`,
    decisionId: `dec_${look.id}`,
    runId: look.runId,
    stepId: intent.context.step,
    attempt: posted.attempt,
    retry: posted.retry,
    estimate: verdict.estimate,
    meters: posted.meters,
    decidedAt: posted.decidedAt,
    leaseMs: leaseOf(intent),
  };
}

function permitFor<To extends Addressee>(
  { look, intent, facts, verdict }: Turn,
  { upstream, server }: To,
  { posted, askedAtMs }: { readonly posted: Posted; readonly askedAtMs: number },
): PermitTo<To> {
  assert(verdict.kind === "ask", "only what was judged askable is allowed");
  const { estimate } = verdict;
  return {
    attemptId: `att_${look.id}`,
    decisionId: `dec_${look.id}`,
    tenantId: look.caller.tenantId,
    runId: look.runId,
    stepId: intent.context.step,
    attempt: posted.attempt,
    stepDigest: look.step?.stepDigest ?? null,
    retry: posted.retry,
    isStrict: look.caller.mode === "strict",
    intent,
    estimate,
    answerKeptMs: answerKeptMsOf(intent),
    policyVersion: policyVersionOf(verdict),
    meters: posted.meters,
    askedAtMs,
    upstream,
    server,
    model: facts.route?.model ?? null,
    price: facts.price,
    priceOf: look.priceOf,
    clampedTo: estimate.clampedTo,
    redact: verdict.redact,
    isApproved: verdict.approval !== null,
    // Last: what stands behind a computed name is set one by one, which took six times as long.
    [permitted]: true,
  };
}

/** An answer is kept where somebody may ask again for the same: under its key, or for its effect. */
function answerKeptMsOf({ idempotency, effect }: Intent): number | null {
  return idempotency?.keptMs ?? (effect === null ? null : TOOL_KEY_KEPT_MS);
}

function policyVersionOf({ policies }: Final): string {
  return policies === null ? "none" : shortVersion(policies.version);
}

function refusalFor({ look, intent, verdict }: Turn, posted: Posted): Refusal {
  const { reason, meters, retry } = posted;
  assert(reason !== null, "a block has a reason");
  const base = { reason, decisionId: `dec_${look.id}`, retry, approvalId: posted.approvalId };
  // A stopped run, and a duplicate, come before what was judged, and have sentences of their own.
  if (reason === "run_stopped" || reason === "run_closed") {
    return { ...base, message: runMessage(look.runId), meter: null, param: null };
  }
  const duplicate = duplicateMessage(reason, intent, retry);
  if (duplicate !== null) return { ...base, message: duplicate, meter: null, param: null };
  if (verdict.kind === "block") {
    return { ...base, message: verdict.message, meter: null, param: verdict.param };
  }
  if (reason === "retry_budget_exceeded" && typeof retry?.attemptsMax === "number") {
    const message = attemptsMessage(posted.attempt, retry.attemptsMax);
    return { ...base, message, meter: null, param: null };
  }
  const approval = verdict.kind === "ask" ? verdict.approval : null;
  const held = approvalMessage(reason, approval, posted.approvalId);
  if (held !== null) return { ...base, message: held, meter: null, param: null };
  const meter = meterAtFault(reason, meters);
  assert(meter !== null, "a limit that refuses is on the path");
  return { ...base, message: meterMessage(reason, meter, intent), meter, param: null };
}
