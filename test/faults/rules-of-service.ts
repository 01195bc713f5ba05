/** A2, A3, S3 and X2 of the promises: who is served meanwhile, and by whom never. */
import type { Rule } from "./checker.ts";
import type { FaultKind } from "./history.ts";
import { faultsWithin, wasStarved } from "./joined.ts";

const REVOKED_MS_MAX = 2_000;
/** What would be the cause of a 503 beside a lock, for as long as a replica may need to be itself again. */
const OTHER_TROUBLE: readonly FaultKind[] = [
  "crash-database",
  "freeze-database",
  "exhaust-connections",
  "database-link",
  "kill",
  "pause",
  "replace",
];
const TROUBLE_LASTS_MS = 5_000;

/**
 * A2: while one tenant's meter rows are held, every other tenant is served, and does not wait for the end
 * of it. A call is left out that ran while the machine itself stood still: that sheds calls with or without a
 * lock, and commits of nobody's, on rows that nobody locks, are the witness of it.
 */
const othersAreServed: Rule = ({ history, cases }) => {
  const violations: string[] = [];
  let examined = 0;
  for (const lock of history.faults.filter(({ kind }) => kind === "lock-meter")) {
    const span = { fromMs: lock.fromMs, toMs: lock.toMs };
    const others = faultsWithin(history, OTHER_TROUBLE, { ...span, afterMs: TROUBLE_LASTS_MS });
    if (others.length > 0) continue;
    for (const { tag, observation, accepted } of cases) {
      if (observation === null || observation.tenant === lock.tenant) continue;
      if (observation.sentMs < lock.fromMs || observation.sentMs > lock.toMs) continue;
      if (wasStarved(history, observation)) continue;
      examined += 1;
      if (observation.status === 503) {
        violations.push(`${tag}: 503 while another tenant was locked`);
      }
      // Of six seconds the first quarter: whoever comes then is served before the end, or waited for it.
      const isEarly = observation.sentMs < lock.fromMs + (lock.toMs - lock.fromMs) / 4;
      // What its upstream takes then is not the gate's.
      const servedMs = accepted[0]?.acceptedMs ?? observation.endedMs;
      if (isEarly && servedMs > lock.toMs) {
        violations.push(`${tag}: waited until another tenant's lock was over`);
      }
    }
  }
  return { examined, violations };
};

/** A3: a replica that is told to end drops nothing that it took, and whoever comes meanwhile is served. */
const deploysDropNothing: Rule = ({ history, cases }) => {
  const violations: string[] = [];
  let examined = 0;
  for (const deploy of history.faults.filter(({ kind }) => kind === "replace")) {
    for (const { tag, observation, accepted } of cases) {
      if (observation === null || observation.slot !== deploy.slot) continue;
      if (observation.endedMs < deploy.fromMs || observation.sentMs > deploy.toMs) continue;
      if (isTroubled(history, observation)) continue;
      examined += 1;
      const isOfUpstream = accepted.some(({ mode }) => BREAKING.has(mode));
      if (observation.end === "unreached" || (observation.end === "cut" && !isOfUpstream)) {
        violations.push(`${tag}: ${observation.end} during a deploy`);
      }
    }
  }
  return { examined, violations };
};

/** Modes in which the upstream itself breaks an answer off. */
const BREAKING: ReadonlySet<string> = new Set(["resets", "garbles", "stalls"]);

type Span = { readonly sentMs: number; readonly endedMs: number };

/** Whether something else was done to the fleet that would break a call off as well. */
function isTroubled(history: Parameters<Rule>[0]["history"], { sentMs, endedMs }: Span): boolean {
  const kinds = [...OTHER_TROUBLE, "client-link", "upstream-link"] as const;
  const span = { fromMs: sentMs, toMs: endedMs };
  return faultsWithin(history, kinds, span).some(({ kind }) => kind !== "replace");
}

/** S3: two seconds after a key was revoked nobody admits it any more. */
const revocationHolds: Rule = ({ history, cases }) => {
  const violations: string[] = [];
  let examined = 0;
  for (const { keyId, toMs } of history.faults.filter(({ kind }) => kind === "revoke-key")) {
    for (const { tag, observation } of cases) {
      if (observation === null || observation.keyId !== keyId) continue;
      if (observation.sentMs < toMs + REVOKED_MS_MAX) continue;
      examined += 1;
      if (observation.status === 200) violations.push(`${tag}: admitted by a key revoked before`);
    }
  }
  return { examined, violations };
};

/** X2: an answer is the caller's own, and no connection carries two upstreams' credentials. */
const connectionsDoNotMix: Rule = ({ history, cases }) => {
  const violations: string[] = [];
  const credentials = new Map<number, string>();
  for (const { connection, credential, tag } of history.journal) {
    const known = credentials.get(connection) ?? credential;
    credentials.set(connection, known);
    if (known !== credential) violations.push(`${tag}: on a connection of another credential`);
  }
  for (const { tag, observation } of cases) {
    const echo = observation?.echo ?? null;
    if (echo !== null && echo !== tag) violations.push(`${tag}: was answered with ${echo}`);
  }
  return { examined: history.journal.length, violations };
};

export const SERVICE_RULES = {
  A2: othersAreServed,
  A3: deploysDropNothing,
  S3: revocationHolds,
  X2: connectionsDoNotMix,
} satisfies Record<string, Rule>;
