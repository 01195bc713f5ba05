import type {
  Accepted,
  Decision,
  Fault,
  FaultKind,
  History,
  Observation,
  Settled,
} from "./history.ts";

/** All that is known of one call, by its tag. */
export type Case = {
  readonly tag: string;
  readonly observation: Observation | null;
  readonly accepted: readonly Accepted[];
  readonly decision: Decision | null;
  readonly lines: readonly Settled[];
  readonly isHeld: boolean;
  /** What the upstream bills for it, and what the ledger charges in all its lines. */
  readonly billed: bigint;
  readonly charged: bigint;
};

/** How a client may class what it saw. `indeterminate`: it cannot know whether the upstream ran. */
export type Class = "ok" | "failed" | "indeterminate";

export type Joined = {
  readonly history: History;
  readonly cases: readonly Case[];
  /** Decisions that name no call. */
  readonly strays: readonly Decision[];
};

export function join(history: History): Joined {
  const { observations, journal, ledger } = history;
  const accepted = Map.groupBy(journal, ({ tag }) => tag);
  const lines = Map.groupBy(ledger.settlements, ({ attemptId }) => attemptId);
  const held = new Set(ledger.reservations.map(({ attemptId }) => attemptId));
  const seen = new Map(observations.map((each) => [each.tag, each]));
  const decided = new Map<string, Decision>();
  const strays: Decision[] = [];
  for (const decision of ledger.decisions) {
    const { tag } = decision;
    if (tag === null || decided.has(tag)) strays.push(decision);
    else decided.set(tag, decision);
  }
  const tags = new Set([...seen.keys(), ...accepted.keys(), ...decided.keys()]);
  const cases = [...tags].map((tag): Case => {
    const decision = decided.get(tag) ?? null;
    const own = decision === null ? [] : (lines.get(decision.attemptId) ?? []);
    const entries = accepted.get(tag) ?? [];
    return {
      tag,
      observation: seen.get(tag) ?? null,
      accepted: entries,
      decision,
      lines: own,
      isHeld: decision !== null && held.has(decision.attemptId),
      billed: sum(entries.map(({ billed }) => billed)),
      charged: sum(own.map(({ cost }) => cost)),
    };
  });
  return { history, cases, strays };
}

export function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}

/**
 * `ok`: a whole answer, or a no that was decided. `failed`: surely not run. The rest is `indeterminate`:
 * broken off, left, late, an upstream's own failure, or an outcome that the gate itself calls unknown.
 */
export function classOf({ end, status, code }: Observation): Class {
  if (end === "unreached") return "failed";
  if (end !== "whole" || status === null) return "indeterminate";
  if (status === 503 || code === "upstream_unreachable") return "failed";
  return status >= 500 ? "indeterminate" : "ok";
}

/** What each witness says of a call, in a line: of a violation that comes once in many runs there is nothing else. */
export function told({ observation, accepted, decision, lines, isHeld }: Case): string {
  const span = (fromMs: number, toMs: number) => `${Math.round(fromMs)} to ${Math.round(toMs)} ms`;
  const client =
    observation === null
      ? "no client"
      : `its client, at replica ${observation.slot}: ${observation.end}, ` +
        `${observation.status ?? "no status"}, ${span(observation.sentMs, observation.endedMs)}`;
  const journal = accepted.map(
    ({ mode, stream, acceptedMs, endedMs, billed, toldUsage }) =>
      `${mode}${stream ? ", streamed" : ""}, billed ${billed}, ` +
      `${toldUsage ? "told" : "not told"}, ${span(acceptedMs, endedMs)}`,
  );
  const settled = lines.map(
    ({ line, ending, basis, cost, tokens }) =>
      `line ${line} ${ending}, ${basis}, ${cost} for ${tokens} tokens`,
  );
  return [
    client,
    `upstream: ${journal.join(" / ") || "nothing"}`,
    `ledger: ${decision?.estimate ?? "nothing"} reserved${isHeld ? " and held" : ""}` +
      settled.map((line) => `, ${line}`).join(""),
  ].join("; ");
}

/** Charged for want of evidence, and never corrected by any. */
export function isPresumed({ lines }: Case): boolean {
  const last = lines.at(-1);
  return last !== undefined && (last.basis === "presumed" || last.ending === "unknown");
}

/** Queues that formed while the machine stood still have emptied so long after it. */
const AFTER_STALL_MS = 1_000;

/** Whether the machine gave nobody an answer in time while that call ran: see `pulse.ts`. */
export function wasStarved(
  history: History,
  { sentMs, endedMs }: Pick<Observation, "sentMs" | "endedMs">,
): boolean {
  const span = { fromMs: sentMs, toMs: endedMs, afterMs: AFTER_STALL_MS };
  return faultsWithin(history, ["stall"], span).length > 0;
}

/** Faults of these kinds that touch a span of time, each widened by so much at its end. */
export function faultsWithin(
  { faults }: History,
  kinds: readonly FaultKind[],
  span: { readonly fromMs: number; readonly toMs: number; readonly afterMs?: number },
): readonly Fault[] {
  const { fromMs, toMs, afterMs = 0 } = span;
  return faults.filter(
    (fault) => kinds.includes(fault.kind) && fault.fromMs <= toMs && fault.toMs + afterMs >= fromMs,
  );
}
