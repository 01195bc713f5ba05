/**
 * What posting and settling must do, as plain arithmetic over maps: the other half of the differential
 * test. Written from the contract and not from the SQL, and so simple that it can be read as the rule.
 */
import type { Ask } from "../../src/store/posting.ts";
import type { Settlement } from "../../src/store/settlement.ts";

export type ModelLimit = {
  readonly limitId: string;
  readonly scope: "tenant" | "key" | "run" | "model" | "each_run" | "each_customer";
  readonly scopeId: string;
  readonly unit: "usd" | "tokens" | "requests" | "in_flight";
  readonly window: "none" | "minute" | "day";
  amount: bigint;
  readonly mode: "enforce" | "shadow";
  readonly onExceed: "refuse" | "clamp";
};

type Meter = { committed: bigint; reserved: bigint };
type Held = { readonly meter: Meter; readonly unit: ModelLimit["unit"]; amount: bigint };

export type ModelReservation = {
  state: "open" | "unknown";
  readonly held: readonly Held[];
  readonly costPicousd: bigint | null;
  readonly tokens: number;
};

export type ModelLine = {
  readonly ending: string;
  readonly basis: string;
  readonly costPicousd: bigint | null;
  readonly tokens: number;
  readonly overage: bigint;
};

type Ended = { readonly lines: ModelLine[]; readonly reservation: ModelReservation };

export type ModelAnswer = {
  readonly outcome: "allow" | "block" | "again";
  readonly reason: string | null;
  readonly attempt: number;
  /** `limit committed reserved asked`, in the order of precedence. */
  readonly path: readonly string[];
};

export type Model = {
  readonly limits: ModelLimit[];
  readonly runs: Map<
    string,
    { state: "open" | "stopping" | "closed"; ancestors: readonly string[] }
  >;
  /** By `limit subject window`. */
  readonly meters: Map<string, Meter>;
  readonly reservations: Map<string, ModelReservation>;
  readonly ended: Map<string, Ended>;
  /** Allowed so far, by `run step`. */
  readonly attempts: Map<string, number>;
  readonly decided: Map<string, { verdict: string; reason: string | null }>;
  nowMs: number;
};

export function createModel(limits: ModelLimit[], nowMs: number): Model {
  return {
    limits,
    runs: new Map(),
    meters: new Map(),
    reservations: new Map(),
    ended: new Map(),
    attempts: new Map(),
    decided: new Map(),
    nowMs,
  };
}

/** The precedence of meters: a run's money, other money, counts and rates, what is in flight. */
function rankOf({ unit, scope }: ModelLimit): number {
  if (unit === "usd") return scope === "run" || scope === "each_run" ? 1 : 2;
  return unit === "in_flight" ? 4 : 3;
}

type Step = { readonly limit: ModelLimit; readonly subject: string };

/** Named limits from the snapshot, and those of the run and the runs above it. */
function pathOf(model: Model, ask: Ask): readonly Step[] {
  const named = ask.refs.map((ref) => ({
    limit: model.limits.find(({ limitId }) => limitId === ref.limitId)!,
    subject: ref.subject,
  }));
  const run = ask.runNamed ? model.runs.get(ask.runId) : undefined;
  const lineage = run === undefined ? [] : [...run.ancestors, ask.runId];
  const ofRuns = model.limits
    .filter(({ scope, scopeId }) => scope === "run" && lineage.includes(scopeId))
    .map((limit) => ({ limit, subject: limit.scopeId }));
  return [...named, ...ofRuns].toSorted(
    (a, b) =>
      rankOf(a.limit) - rankOf(b.limit) ||
      compare(a.limit.limitId, b.limit.limitId) ||
      compare(a.subject, b.subject),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function windowStart(window: ModelLimit["window"], nowMs: number): number {
  if (window === "none") return 0;
  const lengthMs = window === "minute" ? 60_000 : 86_400_000;
  return Math.floor(nowMs / lengthMs) * lengthMs;
}

/** Only an ask that may be admitted makes the meters that it meets. */
function meterOf(model: Model, { limit, subject }: Step, isRefused: boolean): Meter {
  const name = `${limit.limitId} ${subject} ${windowStart(limit.window, model.nowMs)}`;
  const meter = model.meters.get(name) ?? { committed: 0n, reserved: 0n };
  if (!isRefused) model.meters.set(name, meter);
  return meter;
}

function askedOf(ask: Ask, unit: ModelLimit["unit"]): bigint {
  if (unit === "usd") return ask.costPicousd ?? 0n;
  return unit === "tokens" ? BigInt(ask.tokens) : 1n;
}

export function postModel(model: Model, asks: readonly Ask[]): ModelAnswer[] {
  for (const ask of asks) {
    if (ask.runNamed && ask.judgedReason === null && !model.runs.has(ask.runId)) {
      model.runs.set(ask.runId, { state: "open", ancestors: [] });
    }
  }
  return asks.map((ask) => postOne(model, ask));
}

function postOne(model: Model, ask: Ask): ModelAnswer {
  const refusal = refusalBefore(model, ask);
  const steps = pathOf(model, ask).map((step) => ({
    ...step,
    meter: meterOf(model, step, refusal !== null),
    asked: askedOf(ask, step.limit.unit),
  }));
  const path = steps.map(
    ({ limit, meter, asked }) => `${limit.limitId} ${meter.committed} ${meter.reserved} ${asked}`,
  );
  const step = ask.stepId === null ? null : `${ask.runId} ${ask.stepId}`;
  const attempt = 1 + (step === null ? 0 : (model.attempts.get(step) ?? 0));
  const verdict = refusal === null ? judge(ask, steps) : block(refusal);
  if (verdict.outcome === "allow") {
    for (const { meter, asked } of steps) meter.reserved += asked;
    if (step !== null) model.attempts.set(step, attempt);
    model.reservations.set(ask.attemptId, {
      state: "open",
      held: steps.map(({ meter, limit, asked }) => ({ meter, unit: limit.unit, amount: asked })),
      costPicousd: ask.costPicousd,
      tokens: ask.tokens,
    });
  }
  if (verdict.outcome !== "again") {
    model.decided.set(ask.attemptId, { verdict: verdict.outcome, reason: verdict.reason });
  }
  return { ...verdict, attempt, path };
}

type Found = Step & { readonly meter: Meter; readonly asked: bigint };

/** What refuses an ask whatever its meters say: a stopped run before the judgement. */
function refusalBefore(model: Model, ask: Ask): string | null {
  const run = ask.runNamed ? model.runs.get(ask.runId) : undefined;
  const lineage = run === undefined ? [] : [run, ...run.ancestors.map((id) => model.runs.get(id)!)];
  if (lineage.some(({ state }) => state === "closed")) return "run_closed";
  if (lineage.some(({ state }) => state === "stopping")) return "run_stopped";
  return ask.judgedReason;
}

function judge(ask: Ask, steps: readonly Found[]): Pick<ModelAnswer, "outcome" | "reason"> {
  const enforced = steps.filter(({ limit }) => limit.mode === "enforce");
  const short = enforced.filter(
    ({ limit, meter, asked }) => meter.committed + meter.reserved + asked > limit.amount,
  );
  // No waiting helps where even the money already spent leaves no room.
  const exhausted = short.find(({ limit, meter, asked }) => meter.committed + asked > limit.amount);
  if (exhausted !== undefined) {
    const { limit } = exhausted;
    const mayClamp = limit.onExceed === "clamp" && !ask.final;
    return { outcome: mayClamp ? "again" : "block", reason: exhaustion(limit) };
  }
  const contended = short.find(({ limit }) => limit.unit === "in_flight") ?? short[0];
  if (contended === undefined) return { outcome: "allow", reason: null };
  const isFlight = contended.limit.unit === "in_flight";
  return {
    outcome: ask.final ? "block" : "again",
    reason: isFlight ? "concurrency_exceeded" : "budget_contended",
  };
}

function block(reason: string): Pick<ModelAnswer, "outcome" | "reason"> {
  return { outcome: "block", reason };
}

function exhaustion(limit: ModelLimit): string {
  if (limit.unit === "in_flight") return "concurrency_exceeded";
  if (limit.unit !== "usd") return "quota_exceeded";
  return rankOf(limit) === 1 ? "run_budget_exceeded" : "budget_exceeded";
}

/** What is unknown is the money: the room in flight of unknown attempts goes back, nothing else. */
export function giveBackModel(model: Model): void {
  for (const { state, held } of model.reservations.values()) {
    if (state !== "unknown") continue;
    for (const each of held) {
      if (each.unit !== "in_flight") continue;
      each.meter.reserved -= each.amount;
      each.amount = 0n;
    }
  }
}

export type SettleAnswer = { readonly outcome: string; readonly overage: bigint };

export function settleModel(model: Model, batch: readonly Settlement[]): SettleAnswer[] {
  return batch.map((settlement) => settleOne(model, settlement));
}

function settleOne(model: Model, settlement: Settlement): SettleAnswer {
  const { attemptId, ending, basis, costPicousd: cost, tokens } = settlement;
  const open = model.reservations.get(attemptId);
  if (open !== undefined) {
    model.reservations.delete(attemptId);
    const overage = over(cost, open.costPicousd);
    const line = { ending, basis, costPicousd: cost, tokens, overage };
    model.ended.set(attemptId, { lines: [line], reservation: open });
    for (const { meter, unit, amount } of open.held) {
      meter.reserved -= amount;
      meter.committed += used(unit, cost ?? 0n, tokens, settlement.requests);
    }
    return { outcome: "settled", overage };
  }
  const ended = model.ended.get(attemptId);
  if (ended === undefined) return { outcome: "missing", overage: 0n };
  const [first] = ended.lines;
  const wasPresumed = first!.basis === "presumed" || first!.ending === "unknown";
  const isEvidence = basis !== "presumed" && ending !== "unknown";
  if (ended.lines.length > 1 || !wasPresumed || !isEvidence) {
    return { outcome: "repeated", overage: 0n };
  }
  const overage = over(cost, ended.reservation.costPicousd);
  const more = cost === null ? null : cost - (first!.costPicousd ?? 0n);
  const moreTokens = tokens - first!.tokens;
  ended.lines.push({ ending, basis, costPicousd: more, tokens: moreTokens, overage });
  for (const { meter, unit } of ended.reservation.held) {
    meter.committed += used(unit, more ?? 0n, moreTokens, settlement.requests - 1);
  }
  return { outcome: "corrected", overage };
}

function over(cost: bigint | null, reserved: bigint | null): bigint {
  return cost === null || reserved === null || cost <= reserved ? 0n : cost - reserved;
}

function used(unit: ModelLimit["unit"], cost: bigint, tokens: number, requests: number): bigint {
  if (unit === "usd") return cost;
  if (unit === "tokens") return BigInt(tokens);
  return unit === "requests" ? BigInt(requests) : 0n;
}
