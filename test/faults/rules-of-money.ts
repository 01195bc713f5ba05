/** M1 to M11 of the promises: what was spent, held and given back. */
import type { Rule } from "./checker.ts";
import type { Decision, LimitRow, MeterRow } from "./history.ts";
import { isPresumed, sum, told, type Case, type Joined } from "./joined.ts";

/** Of honest work at three times its need at least so many of a hundred calls are admitted. */
const ADMITTED_PERCENT_MIN = 95;

/** M1: what the upstream bills under a budget, in one window of it, never exceeds it. */
const neverOverspends: Rule = ({ history, cases }) => {
  const limits = new Map(history.ledger.limits.map((limit) => [limit.limitId, limit]));
  const spent = new Map<string, { billed: bigint; amount: bigint }>();
  const violations: string[] = [];
  for (const { decision, billed } of cases) {
    if (decision?.verdict !== "allow") continue;
    for (const { limitId, subject, unit, enforced } of decision.meters) {
      const limit = limits.get(limitId);
      if (limit === undefined || unit !== "usd" || !enforced) continue;
      const start = windowStart(limit.window, decision.decidedAt).toISOString();
      const meter = `${limitId} ${subject} ${start}`;
      const so = spent.get(meter) ?? { billed: 0n, amount: most(history.amounts, limit) };
      so.billed += billed;
      spent.set(meter, so);
    }
  }
  for (const [meter, { billed, amount }] of spent) {
    if (billed > amount) violations.push(`${meter}: ${billed} billed on a budget of ${amount}`);
  }
  for (const meter of history.ledger.meters) {
    const limit = limits.get(meter.limitId);
    if (limit === undefined || !limit.enforced || limit.unit !== "usd") continue;
    const stands = meter.committed + meter.reserved;
    const amount = most(history.amounts, limit);
    if (stands > amount) violations.push(`meter ${meter.meterId} stands at ${stands} of ${amount}`);
  }
  return { examined: spent.size, violations };
};

function most(amounts: ReadonlyMap<string, readonly bigint[]>, limit: LimitRow): bigint {
  const known = [limit.amount, ...(amounts.get(limit.limitId) ?? [])];
  return known.reduce((a, b) => (a > b ? a : b));
}

/** When the window of that kind began that holds the moment, in UTC. */
function windowStart(window: string, at: Date): Date {
  if (window === "none") return new Date(0);
  if (window === "day") return new Date(Math.floor(at.getTime() / 86_400_000) * 86_400_000);
  throw new Error(`no scenario has a window of one ${window}`);
}

/** M2: at the end each attempt is charged what the upstream billed, or presumed at no less. */
const settledIsTrue: Rule = (joined) => {
  const { cases } = joined;
  const violations: string[] = [];
  let examined = 0;
  for (const each of cases) {
    if (each.decision?.verdict !== "allow") continue;
    examined += 1;
    const { tag, billed, charged } = each;
    const is = `${charged} charged, ${billed} billed; ${told(each)}`;
    if (isPresumed(each)) {
      // Known too little of: never below the truth.
      if (charged < billed) violations.push(`${tag}: ${is}, by presumption`);
    } else if (charged !== billed) violations.push(`${tag}: ${is}`);
  }
  return { examined, violations: [...violations, ...metersAgainstLines(joined.history.ledger)] };
};

/** Every meter holds what its reservations hold and has committed what was settled on it. */
function metersAgainstLines({ meters, settlements, reservations, limits }: Ledger): string[] {
  const units = new Map(limits.map(({ limitId, unit }) => [limitId, unit]));
  const committed = new Map<bigint, bigint>();
  const reserved = new Map<bigint, bigint>();
  const add = (to: Map<bigint, bigint>, id: bigint, amount: bigint): void => {
    to.set(id, (to.get(id) ?? 0n) + amount);
  };
  for (const { meterIds, units: counted, cost, tokens } of settlements) {
    for (const [i, id] of meterIds.entries()) {
      if (counted[i] === "usd") add(committed, id, cost);
      if (counted[i] === "tokens") add(committed, id, tokens);
    }
  }
  for (const { meterIds, amounts } of reservations) {
    for (const [i, id] of meterIds.entries()) add(reserved, id, amounts[i] ?? 0n);
  }
  return meters.flatMap((meter) => {
    const unit = units.get(meter.limitId);
    const found: string[] = [];
    const settled = committed.get(meter.meterId) ?? 0n;
    const held = reserved.get(meter.meterId) ?? 0n;
    const counts = unit === "usd" || unit === "tokens";
    if (counts && meter.committed !== settled) {
      found.push(`meter ${meter.meterId} has committed ${meter.committed}, settled are ${settled}`);
    }
    if (meter.reserved !== held) {
      found.push(`meter ${meter.meterId} reserves ${meter.reserved}, held are ${held}`);
    }
    return found;
  });
}

type Ledger = Joined["history"]["ledger"];

/** M3: whoever is told to end loses no settlement; whoever is killed loses no decision and no reservation. */
const nothingIsLost: Rule = ({ history, cases }) => {
  const told = history.exits.filter(({ isTold }) => isTold);
  const violations = told
    .filter(({ code }) => code !== 0)
    .map(({ slot, code, says }) => `replica ${slot}, told to end, ended with ${code}: ${says}`);
  let examined = told.length;
  for (const each of cases) {
    const { tag, observation, decision, lines, isHeld } = each;
    const decisionId = observation?.decisionId ?? null;
    if (decisionId !== null) {
      examined += 1;
      const id = decision?.attemptId.replace("att_", "dec_");
      if (id !== decisionId) violations.push(`${tag}: its decision is gone`);
    }
    if (decision?.verdict === "allow" && lines.length === 0 && !isHeld) {
      violations.push(`${tag}: its reservation is gone`);
    }
    if (isEvidenceLost(history, each)) {
      violations.push(`${tag}: answered whole by a process that lived, and yet presumed`);
    }
  }
  return { examined, violations };
};

/** Whether an attempt is presumed though its client has the whole answer, by a process that nobody killed. */
function isEvidenceLost({ faults }: Joined["history"], each: Case): boolean {
  const { observation, accepted } = each;
  if (observation?.end !== "whole" || observation.status !== 200 || !isPresumed(each)) return false;
  if (!accepted.some(({ toldUsage }) => toldUsage)) return false;
  const { slot, incarnation } = observation;
  return !faults.some(
    (fault) => fault.kind === "kill" && fault.slot === slot && fault.incarnation === incarnation,
  );
}

/** M4: every ending gives back what it held, and what has room is admitted again. */
const everyEndingReleases: Rule = ({ history, cases }) => {
  const { reservations, meters } = history.ledger;
  const violations = [
    ...reservations.map(({ attemptId, state }) => `${attemptId} is still ${state}`),
    ...meters
      .filter(({ reserved }) => reserved !== 0n)
      .map(({ meterId, reserved }) => `meter ${meterId} still reserves ${reserved}`),
  ];
  const probes = cases.filter(({ observation }) => observation?.isProbe === true);
  for (const { tag, observation } of probes) {
    if (observation?.status !== 200) violations.push(`${tag}: refused with ${observation?.status}`);
  }
  return { examined: cases.length, violations };
};

/** M5: what was spent stays charged, however late anyone learns of it. */
const timeFreesNothing: Rule = ({ cases }) => {
  const spent = cases.filter(({ billed, decision }) => billed > 0n && decision !== null);
  const violations = spent
    .filter(({ lines }) => lines.length > 0 && lines.every(({ ending }) => ending === "released"))
    .map(({ tag, billed }) => `${tag}: given back, though ${billed} was billed`);
  const gone = spent
    .filter(({ lines, isHeld }) => lines.length === 0 && !isHeld)
    .map(({ tag }) => `${tag}: its money is neither held nor charged`);
  return { examined: spent.length, violations: [...violations, ...gone] };
};

/** M6: an attempt ends once, and is corrected once at most, after a presumption only. */
const settlesOnce: Rule = ({ history }) => {
  const byAttempt = Map.groupBy(history.ledger.settlements, ({ attemptId }) => attemptId);
  const violations: string[] = [];
  for (const [attemptId, lines] of byAttempt) {
    const first = lines.filter(({ line }) => line === 0);
    const corrections = lines.filter(({ line }) => line !== 0);
    if (first.length !== 1 || corrections.length > 1) {
      violations.push(`${attemptId}: ${first.length} endings, ${corrections.length} corrections`);
    }
    const wasPresumed = first.some(
      ({ basis, ending }) => basis === "presumed" || ending === "unknown",
    );
    if (corrections.length > 0 && !wasPresumed) {
      violations.push(`${attemptId}: corrected, though it was no presumption`);
    }
  }
  return { examined: byAttempt.size, violations };
};

/** M7: what is settled late counts in the window that reserved it. */
const landsWhereReserved: Rule = ({ history, cases }) => {
  const meters = new Map(history.ledger.meters.map((meter) => [meter.meterId, meter]));
  const windows = new Map(history.ledger.limits.map(({ limitId, window }) => [limitId, window]));
  const violations: string[] = [];
  let examined = 0;
  for (const { tag, decision, lines } of cases) {
    if (decision === null) continue;
    for (const id of lines.flatMap(({ meterIds }) => meterIds)) {
      examined += 1;
      const meter = meters.get(id);
      if (meter === undefined || !isOwnWindow(meter, decision, windows)) {
        violations.push(`${tag}: settled on meter ${id}, which is not of its window`);
      }
    }
  }
  return { examined, violations };
};

function isOwnWindow(
  meter: MeterRow,
  { decidedAt }: Decision,
  windows: ReadonlyMap<string, string>,
): boolean {
  const window = windows.get(meter.limitId);
  return (
    window !== undefined && windowStart(window, decidedAt).getTime() === meter.windowStart.getTime()
  );
}

/** M8: a budget of nothing reaches no upstream. */
const nothingEscapes: Rule = ({ history, cases }) => {
  const broke = new Set(
    history.ledger.limits
      .filter(({ amount, enforced }) => enforced && amount === 0n)
      .map(({ tenant }) => tenant),
  );
  const own = cases.filter(
    ({ observation }) => observation !== null && broke.has(observation.tenant),
  );
  const violations = own
    .filter(({ accepted }) => accepted.length > 0)
    .map(({ tag }) => `${tag}: reached the upstream on a budget of 0`);
  return { examined: own.length, violations };
};

/** M9: no bill is above its reservation. */
const boundIsSound: Rule = ({ history, cases }) => {
  const billed = cases.filter(({ accepted, decision }) => accepted.length > 0 && decision !== null);
  const violations = billed
    .filter(({ billed: bill, decision }) => bill > (decision?.estimate ?? 0n))
    .map(
      ({ tag, billed: bill, decision }) => `${tag}: ${bill} billed, ${decision?.estimate} reserved`,
    );
  const overages = history.ledger.settlements
    .filter(({ overage }) => overage !== 0n)
    .map(({ attemptId, overage }) => `${attemptId}: settled with an overage of ${overage}`);
  return { examined: billed.length, violations: [...violations, ...overages] };
};

/**
 * M10: a client that leaves is charged what its upstream billed. Every tenant here is strict: its streams
 * are read to their end, and what then has no usage is presumed, at no less.
 */
const leavingIsCharged: Rule = (joined) => {
  const left = joined.cases.filter((each) => each.accepted.length > 0 && isLeft(each));
  const violations = left
    .filter(
      (each) => each.charged < each.billed || (each.charged > each.billed && !isPresumed(each)),
    )
    .map(({ tag, charged, billed }) => `${tag}: left; ${charged} charged, ${billed} billed`);
  return { examined: left.length, violations };
};

/** What upstreams bill of calls that their clients left, and nobody is charged: each is a violation of M10. */
export function leftUncharged({ cases }: Joined): LeftUncharged {
  const left = cases.filter((each) => each.accepted.length > 0 && isLeft(each));
  const short = left.filter(({ charged, billed }) => charged < billed);
  return {
    left: left.length,
    uncharged: short.length,
    picousd: sum(short.map(({ billed, charged }) => billed - charged)),
  };
}

export type LeftUncharged = {
  /** Calls that their clients left after they were dispatched, and those of them that were charged too little. */
  readonly left: number;
  readonly uncharged: number;
  readonly picousd: bigint;
};

function isLeft({ observation, lines }: Case): boolean {
  return observation?.end === "left" || lines.some(({ ending }) => ending === "aborted");
}

/**
 * M11: reservations do not starve honest work. What was admitted may fail upstream, as anything may; what
 * was refused for want of room, and was asked again once others had ended, counts by its second answer.
 */
const honestWorkPasses: Rule = ({ history, cases }) => {
  const repeated = new Set(history.observations.map(({ again }) => again));
  const honest = cases.filter(
    ({ tag, observation }) =>
      observation !== null &&
      history.honestTenants.includes(observation.tenant) &&
      !repeated.has(tag),
  );
  const refused = honest.filter(({ decision }) => decision?.verdict !== "allow");
  const admitted = honest.length - refused.length;
  const isEnough = admitted * 100 >= honest.length * ADMITTED_PERCENT_MIN;
  const statuses = Map.groupBy(refused, ({ observation }) => observation?.status ?? "none");
  const by = [...statuses].map(([status, calls]) => `${calls.length} × ${status}`).join(", ");
  const violations = isEnough ? [] : [`of ${honest.length} honest calls were refused: ${by}`];
  return { examined: honest.length, violations };
};

export const MONEY_RULES = {
  M1: neverOverspends,
  M2: settledIsTrue,
  M3: nothingIsLost,
  M4: everyEndingReleases,
  M5: timeFreesNothing,
  M6: settlesOnce,
  M7: landsWhereReserved,
  M8: nothingEscapes,
  M9: boundIsSound,
  M10: leavingIsCharged,
  M11: honestWorkPasses,
} satisfies Record<string, Rule>;
