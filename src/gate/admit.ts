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
import { outputTokensFor } from "../core/bound.ts";
import type { Caller } from "../core/caller.ts";
import { decide, type Estimate } from "../core/decide.ts";
import { NOT_SEARCHED } from "../core/detect.ts";
import { InputError } from "../core/errors.ts";
import type { Facts } from "../core/facts.ts";
import type { Intent } from "../core/intent.ts";
import {
  CLAMP_TOKENS_MIN,
  CONTENTION_LOOK_MS,
  CONTENTION_WAIT_MS_MAX,
  RELOOKS_MAX,
  RESERVATION_MARGIN_MS,
} from "../core/limits.ts";
import { picousd } from "../core/money.ts";
import { findPrice, undated, type Price } from "../core/price.ts";
import { shortVersion } from "../core/policy.ts";
import { needsFindings } from "../core/policy-bundle.ts";
import { decisionRecord, type Final } from "../core/record.ts";
import { meterAtFault, meterMessage } from "../core/refusal.ts";
import type { ModelRoute } from "../core/route.ts";
import type { MeterFigures, Refusal } from "../core/verdict.ts";
import { assert } from "../lib/assert.ts";
import type { Ask, Posted } from "../store/posting.ts";
import type { Authority, Upstream } from "./authority.ts";
import type { Contention } from "./contention.ts";

const permitted: unique symbol = Symbol("permitted");

/** The right to dispatch one attempt, once. */
export type Permit = {
  readonly [permitted]: true;
  readonly attemptId: string;
  readonly decisionId: string;
  readonly tenantId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly attempt: number;
  /** Its tenant spends only what is bounded: what may have run holds its money. */
  readonly isStrict: boolean;
  readonly intent: Intent;
  readonly upstream: Upstream;
  /** The model to name upstream, or null for a pass-through. */
  readonly model: string | null;
  readonly price: Price | null;
  readonly estimate: Estimate;
  /** Output tokens to which a limit or a policy lowered the request, or null. */
  readonly clampedTo: number | null;
  /** Of the policies that judged it, as much as finds it; `none` where its tenant has none. */
  readonly policyVersion: string;
  readonly meters: readonly MeterFigures[];
  /** When its posting was asked for, by the monotonic clock. */
  readonly askedAtMs: number;
};

export type Admission =
  | { readonly kind: "admitted"; readonly permit: Permit }
  | {
      readonly kind: "refused";
      readonly refusal: Refusal;
      readonly runId: string;
      readonly attempt: number;
      readonly decidedAt: Date;
      readonly policyVersion: string;
    }
  /** The client left before anything was decided. */
  | { readonly kind: "gone" };

export type AdmitParts = {
  readonly authority: Authority;
  readonly postings: { readonly submit: (ask: Ask) => Promise<Posted> };
  readonly contention: Contention;
  readonly now: () => Date;
  readonly monotonicMs: () => number;
  readonly newId: () => string;
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
    const facts: Facts = { ...look.facts, now: parts.now(), clampedTo };
    const verdict = decide(facts, intent);
    if (verdict.kind === "reroute") {
      // Once at most: a call that was rerouted is judged by where it goes now.
      look = lookElsewhere(parts, look, intent, verdict);
      continue;
    }
    const turn: Turn = { look, intent, facts, verdict };
    const askedAtMs = parts.monotonicMs();
    const posted = await parts.postings.submit(askFor(turn, isFinal));
    if (posted.outcome === "allow") {
      return { kind: "admitted", permit: permitFor(turn, posted, askedAtMs) };
    }
    if (posted.outcome === "block") {
      const { attempt, decidedAt } = posted;
      const refusal = refusalFor(turn, posted);
      const policyVersion = policyVersionOf(turn.verdict);
      return { kind: "refused", refusal, runId: look.runId, attempt, decidedAt, policyVersion };
    }
    const waitedMs = parts.monotonicMs() - startedMs;
    const isContended =
      posted.reason === "budget_contended" || posted.reason === "concurrency_exceeded";
    const lower = relooks >= RELOOKS_MAX ? null : clamp(intent, facts, posted.meters);
    // A clamped call holds all the room there is until it settles: the next one waits for that, too.
    const mayClear = isContended || (lower === null && clampsHeldUp(posted.meters));
    if (mayClear && waitedMs < CONTENTION_WAIT_MS_MAX) {
      await parts.contention.wait(caller.tenantId, CONTENTION_LOOK_MS);
      continue;
    }
    relooks += 1;
    if (lower === null) isFinal = true;
    else clampedTo = lower;
  }
}

/** What an ask is judged on and does not change while it waits. */
type Look = {
  readonly id: string;
  readonly runId: string;
  readonly caller: Caller;
  readonly upstream: Upstream;
  readonly facts: Omit<Facts, "now" | "clampedTo">;
  readonly refs: Ask["refs"];
};

function lookFor(parts: AdmitParts, caller: Caller, intent: Intent): Look {
  const { authority } = parts;
  const id = parts.newId();
  const bundle = authority.bundle(caller.tenantId);
  const known = {
    caller,
    bundle,
    keyLabels: authority.keyLabels(caller.keyId),
    findings: needsFindings(bundle) ? (intent.inspect?.() ?? NOT_SEARCHED) : null,
    history: null,
    rerouted: null,
  };
  return { id, ...placeOf(parts, intent, { ...known, id, model: intent.resource }) };
}

/** The same ask at the model that a policy names. */
function lookElsewhere(
  parts: AdmitParts,
  { id, facts }: Look,
  intent: Intent,
  { model, policy }: { readonly model: string; readonly policy: string },
): Look {
  const { caller, bundle, keyLabels, findings, history } = facts;
  const rerouted = { model, policy };
  const known = { caller, bundle, keyLabels, findings, history, rerouted };
  return { id, ...placeOf(parts, intent, { ...known, id, model }) };
}

/** Where a model is served, at what price, and which limits count it. */
function placeOf(
  parts: AdmitParts,
  intent: Intent,
  {
    id,
    model,
    ...known
  }: Omit<Look["facts"], "route" | "price" | "sharesAccount"> & {
    readonly id: string;
    readonly model: string;
  },
): Omit<Look, "id"> {
  const { authority } = parts;
  const { caller } = known;
  const runId = intent.context.run ?? `run_${id}`;
  const route = intent.billing === "metered" ? authority.route(model) : null;
  if (route === null && intent.billing === "metered") throw unknownModel(model);
  const name = route?.upstream ?? authority.defaultUpstream();
  const upstream = name === null ? undefined : authority.upstream(name);
  if (upstream === undefined) throw unknownModel(model);
  const price = route === null ? null : priceOf(authority, upstream, route, parts.now());
  const models = route === null ? [] : namesOf(model, route);
  return {
    runId,
    caller,
    upstream,
    facts: {
      ...known,
      route,
      price,
      sharesAccount: !upstream.sharedObjects && authority.tenants().size > 1,
    },
    refs: authority.limitsFor({
      caller,
      runId,
      models,
      customer: intent.context.customer,
      operation: intent.context.operation,
    }),
  };
}

/** Every name by which a limit may mean this model: as asked, as routed, with its upstream, and undated. */
function namesOf(asked: string, { upstream, model }: ModelRoute): readonly string[] {
  const bare = undated(model) ?? model;
  return [...new Set([asked, model, `${upstream}/${model}`, bare, `${upstream}/${bare}`])];
}

/** A price of the upstream's own, else the list price of its provider. */
function priceOf(
  authority: Authority,
  upstream: Upstream,
  route: ModelRoute,
  at: Date,
): Price | null {
  const { prices } = authority.configuration;
  return (
    findPrice(prices, upstream.name, route.model, at) ??
    findPrice(prices, upstream.priceList, route.model, at)
  );
}

function unknownModel(model: string): InputError {
  return new InputError(
    "model_not_found",
    "model",
    `The model \`${model}\` is served by no upstream: neither an alias, nor \`upstream/model\`, nor a pattern of tollgate.yaml names it.`,
  );
}

/**
 * What is asked of people, in a sentence; null where nothing is. Such a call is not admitted: until an
 * approval can be used, asking for one is all that becomes of it.
 */
function approvalMessage(verdict: Final): string | null {
  if (verdict.kind !== "ask" || verdict.approval === null) return null;
  const { policies: asking } = verdict.approval;
  const why = asking.map(({ id, reason }) => `policy \`${id}\`: ${reason}`).join(" ");
  return `A person must approve this call first (${why})`;
}

/** One look at the facts, and what was judged of it. */
type Turn = {
  readonly look: Look;
  readonly intent: Intent;
  readonly facts: Facts;
  readonly verdict: Final;
};

function askFor({ look, intent, facts, verdict }: Turn, isFinal: boolean): Ask {
  const { caller, upstream } = look;
  return {
    attemptId: `att_${look.id}`,
    tenantId: caller.tenantId,
    keyId: caller.keyId,
    runId: look.runId,
    runNamed: intent.context.run !== null,
    stepId: intent.context.step,
    door: intent.door,
    operation: intent.operation,
    resource: intent.resource,
    upstream: upstream.name,
    model: look.facts.route?.model ?? null,
    judgedReason: judgedReason(verdict),
    costPicousd: verdict.kind === "ask" ? verdict.estimate.costPicousd : null,
    tokens: verdict.kind === "ask" ? verdict.estimate.tokens : 0,
    priceVersion: look.facts.price?.version ?? null,
    final: isFinal || judgedReason(verdict) !== null,
    deadlineMs: upstream.timeoutMs + RESERVATION_MARGIN_MS,
    record: decisionRecord(facts, intent, verdict),
    refs: look.refs,
  };
}

function judgedReason(verdict: Final): Ask["judgedReason"] {
  if (verdict.kind === "block") return verdict.reason;
  return verdict.approval === null ? null : "approval_required";
}

function permitFor(
  { look, intent, facts, verdict }: Turn,
  posted: Posted,
  askedAtMs: number,
): Permit {
  assert(verdict.kind === "ask", "only what was judged askable is allowed");
  const { estimate } = verdict;
  return {
    [permitted]: true,
    attemptId: `att_${look.id}`,
    decisionId: `dec_${look.id}`,
    tenantId: look.caller.tenantId,
    runId: look.runId,
    stepId: intent.context.step,
    attempt: posted.attempt,
    isStrict: look.caller.mode === "strict",
    intent,
    upstream: look.upstream,
    model: facts.route?.model ?? null,
    price: facts.price,
    estimate,
    clampedTo: estimate.clampedTo,
    policyVersion: policyVersionOf(verdict),
    meters: posted.meters,
    askedAtMs,
  };
}

function policyVersionOf({ policies }: Final): string {
  return policies === null ? "none" : shortVersion(policies.version);
}

function refusalFor({ look, verdict }: Turn, { reason, meters }: Posted): Refusal {
  assert(reason !== null, "a block has a reason");
  const decisionId = `dec_${look.id}`;
  // A stopped run comes before what was judged, and has a sentence of its own.
  if (reason === "run_stopped" || reason === "run_closed") {
    return { reason, message: runMessage(look.runId), meter: null, param: null, decisionId };
  }
  if (verdict.kind === "block") {
    const { message, param } = verdict;
    return { reason, message, meter: null, param, decisionId };
  }
  const held = approvalMessage(verdict);
  if (held !== null) return { reason, message: held, meter: null, param: null, decisionId };
  const meter = meterAtFault(reason, meters);
  assert(meter !== null, "a limit that refuses is on the path");
  return { reason, message: meterMessage(reason, meter), meter, param: null, decisionId };
}

function runMessage(runId: string): string {
  return `The run \`${runId}\`, or a run above it, was stopped: it admits no further calls. Use a new run.`;
}

/** Whether a clamping limit lacks room only because of what others hold, and may have some when they settle. */
function clampsHeldUp(meters: readonly MeterFigures[]): boolean {
  return meters.some(
    (meter) =>
      meter.onExceed === "clamp" &&
      meter.mode === "enforce" &&
      meter.reserved > 0n &&
      meter.committed < meter.limit,
  );
}

/** The output tokens that every clamping limit on the path affords, or null when that is no answer. */
function clamp(intent: Intent, facts: Facts, meters: readonly MeterFigures[]): number | null {
  let lowest: number | null = null;
  for (const meter of meters) {
    if (meter.onExceed !== "clamp" || meter.mode !== "enforce") continue;
    if (meter.unit !== "usd" && meter.unit !== "tokens") continue;
    const left = meter.limit - meter.committed - meter.reserved;
    if (left >= meter.asked) continue;
    const room =
      meter.unit === "usd"
        ? { kind: "usd" as const, amount: picousd(left) }
        : { kind: "tokens" as const, amount: left };
    const affordable = outputTokensFor(intent.demand, facts.price, room);
    lowest = lowest === null ? affordable : Math.min(lowest, affordable);
  }
  return lowest !== null && lowest >= CLAMP_TOKENS_MIN ? lowest : null;
}
