/** D1 to D6 of the promises: what was decided, and what is known of it afterwards. */
import type { Rule } from "./checker.ts";
import type { Decision, FaultKind } from "./history.ts";
import { classOf, faultsWithin, isPresumed, wasStarved, type Case } from "./joined.ts";

/** What takes the database away, from one replica or from all. */
const DATABASE_FAULTS: readonly FaultKind[] = [
  "crash-database",
  "freeze-database",
  "exhaust-connections",
  "lock-meter",
  "database-link",
];
const RECOVERY_MS_MAX = 5_000;

/** D1: before the upstream saw a byte there was a decision, and no crash took it away. */
const decidedBefore: Rule = ({ cases }) => {
  const violations: string[] = [];
  let examined = 0;
  for (const { tag, accepted, decision } of cases) {
    for (const entry of accepted) {
      examined += 1;
      if (entry.decision === "none") violations.push(`${tag}: dispatched before it was decided`);
    }
    if (accepted.length > 1) violations.push(`${tag}: dispatched ${accepted.length} times`);
    if (accepted.length > 0 && decision?.verdict !== "allow") {
      violations.push(`${tag}: dispatched, and no decision allows it`);
    }
  }
  return { examined, violations };
};

/** D2: every answer of the gate has its decision, and every decision has somebody who asked. */
const everyAnswerIsDecided: Rule = ({ cases, strays }) => {
  const violations = strays.map(
    ({ attemptId, tag }) => `${attemptId}: a decision for no call (${tag})`,
  );
  let examined = 0;
  for (const { tag, observation, decision } of cases) {
    if (observation === null) {
      violations.push(`${tag}: decided or dispatched, and nobody asked`);
      continue;
    }
    const { status, end } = observation;
    if (end !== "whole" || status === null) continue;
    const expected = { 200: "allow", 402: "block", 403: "block", 429: "block" }[status];
    if (expected === undefined) continue;
    examined += 1;
    if (decision?.verdict !== expected) {
      violations.push(`${tag}: answered ${status}, decided ${decision?.verdict ?? "nothing"}`);
    }
    if (observation.decisionId === null) violations.push(`${tag}: ${status} without a decision id`);
  }
  return { examined, violations };
};

/** D3: judged again by the figures that it kept, a decision comes out the same. */
const isReproducible: Rule = ({ history }) => {
  const judged = history.ledger.decisions.filter(({ judgedAlone }) => !judgedAlone);
  const violations = judged
    .filter((decision) => rejudge(decision) !== decision.verdict)
    .map(
      ({ attemptId, verdict }) => `${attemptId}: recorded as ${verdict}, its figures say otherwise`,
    );
  return { examined: judged.length, violations };
};

function rejudge({ meters, reason }: Decision): string {
  // What a stopped run refuses, no figure tells.
  if (reason === "run_stopped" || reason === "run_closed") return "block";
  const isFull = meters.some(
    ({ enforced, committed, reserved, asked, limit }) =>
      enforced && committed + reserved + asked > limit,
  );
  return isFull ? "block" : "allow";
}

/** D4: one request is judged and charged by one state of what holds: one estimate, one price, known limits. */
const seesOneState: Rule = ({ history, cases }) => {
  const amounts = new Map(history.ledger.limits.map(({ limitId, amount }) => [limitId, [amount]]));
  for (const [limitId, all] of history.amounts) amounts.get(limitId)?.push(...all);
  const violations: string[] = [];
  let examined = 0;
  for (const each of cases) {
    const { tag, decision, lines } = each;
    if (decision === null) continue;
    examined += 1;
    for (const { limitId, unit, asked, limit, isShare } of decision.meters) {
      if (unit === "usd" && asked !== decision.estimate) {
        violations.push(`${tag}: asks ${asked} of ${limitId}, and ${decision.estimate} elsewhere`);
      }
      // A run's share is a part of its limit, a fifth where nobody said otherwise.
      const known = (amounts.get(limitId) ?? []).map((amount) =>
        isShare ? (amount + 4n) / 5n : amount,
      );
      if (!known.includes(limit)) {
        violations.push(`${tag}: judged by ${limit}, which ${limitId} never was`);
      }
    }
    const priced = lines.filter(({ priceVersion }) => priceVersion !== null);
    if (priced.some(({ priceVersion }) => priceVersion !== decision.priceVersion)) {
      violations.push(`${tag}: decided at one price, charged at another`);
    }
  }
  return { examined, violations };
};

/**
 * D5: trouble with the database is 503 and nothing else, nothing passes meanwhile, and five seconds
 * after it is over the same processes serve again.
 */
const troubleIsUnavailable: Rule = ({ history, cases }) => {
  const revoked = new Set(history.faults.map(({ keyId }) => keyId));
  const violations = history.exits
    .filter(({ isTold }) => !isTold)
    .map(({ slot, code, says }) => `replica ${slot} ended by itself with ${code}: ${says}`);
  let examined = 0;
  for (const { tag, observation, accepted } of cases) {
    if (observation === null || observation.status === null) continue;
    const { status, sentMs, endedMs, mode, keyId, code } = observation;
    examined += 1;
    if (status === 401 && !revoked.has(keyId)) violations.push(`${tag}: 401 for a good key`);
    if (status === 500 && mode !== "fails") violations.push(`${tag}: 500`);
    if (status !== 503) continue;
    if (accepted.length > 0) violations.push(`${tag}: 503, and yet dispatched`);
    const span = { fromMs: sentMs, toMs: endedMs, afterMs: RECOVERY_MS_MAX };
    const why = faultsWithin(history, [...DATABASE_FAULTS, "pause", "kill", "replace"], span);
    if (why.length === 0 && !wasStarved(history, observation))
      violations.push(`${tag}: 503 (${code}) with no trouble for five seconds`);
  }
  return { examined, violations };
};

/** D6: what promises cannot be kept on is not started on. */
const refusesUnsafeSettings: Rule = ({ history }) => ({
  examined: history.boots.length,
  violations: history.boots
    .filter(({ started }) => started)
    .map(({ setting }) => `started on ${setting}`),
});

/** Each outcome that a client cannot know is known to the ledger, or held and charged as unknown. */
const unknownIsExplained: Rule = ({ cases }) => {
  const violations: string[] = [];
  let examined = 0;
  for (const each of cases) {
    const { tag, observation, accepted, charged } = each;
    if (observation === null) continue;
    const kind = classOf(observation);
    if (kind === "ok") continue;
    examined += 1;
    if (kind === "failed") {
      if (accepted.length > 0) violations.push(`${tag}: told that it failed, and it ran`);
      else if (charged > 0n && !isPresumed(each))
        violations.push(`${tag}: failed, and yet charged`);
    } else if (!isExplained(each)) violations.push(`${tag}: nobody can say how it ended`);
  }
  return { examined, violations };
};

function isExplained(each: Case): boolean {
  const { decision, accepted, lines, isHeld } = each;
  if (decision === null || decision.verdict !== "allow") return accepted.length === 0;
  // Settled by evidence, presumed, or held as unknown: M2, M5 and M10 judge the amount.
  return lines.length > 0 || isHeld;
}

export const DECISION_RULES = {
  D1: decidedBefore,
  D2: everyAnswerIsDecided,
  D3: isReproducible,
  D4: seesOneState,
  D5: troubleIsUnavailable,
  D6: refusesUnsafeSettings,
  explained: unknownIsExplained,
} satisfies Record<string, Rule>;
