/**
 * Requests that are held open until a person has answered. However many wait, one query asks for all of
 * them, twice a second at most: that is soon enough for people, and it needs no notice, which a pooler in
 * between may swallow and a Worker cannot wait for.
 */
import type { ApprovalState } from "../core/approval.ts";
import { APPROVAL_LOOK_MS, APPROVAL_WAITS_MAX } from "../core/limits.ts";
import { readApprovalStates, type ApprovalRef } from "../store/approvals.ts";
import type { Ports } from "./ports.ts";

export type ApprovalWaits = {
  /**
   * Resolves with what became of it: when it is pending no more, at `untilMs` of the monotonic clock, or when
   * `isGone` says that nobody waits any longer; at once when too many wait already. Rejects with what
   * the database answered.
   */
  readonly wait: (
    approval: ApprovalRef,
    untilMs: number,
    isGone: () => boolean,
  ) => Promise<ApprovalState>;
};

type Waiter = {
  readonly approval: ApprovalRef;
  readonly untilMs: number;
  readonly isGone: () => boolean;
  readonly resolve: (state: ApprovalState) => void;
  readonly reject: (error: unknown) => void;
};

export function createApprovalWaits({
  db,
  monotonicMs,
}: Pick<Ports, "db" | "monotonicMs">): ApprovalWaits {
  const waiting = new Set<Waiter>();
  let isLooking = false;
  const look = async () => {
    isLooking = true;
    try {
      while (waiting.size > 0) await lookOnce();
    } finally {
      // In the same turn in which nobody was found waiting: whoever comes next starts it again.
      isLooking = false;
    }
  };
  const lookOnce = async () => {
    // Those that come while the question is under way are in the next one.
    const asked = [...waiting];
    const refs = asked.map(({ approval }) => approval);
    const states = await readApprovalStates(db.admin, refs);
    for (const waiter of asked) {
      const { tenantId, approvalId } = waiter.approval;
      const state = states.get(`${tenantId} ${approvalId}`) ?? "cancelled";
      if (state === "pending" && monotonicMs() < waiter.untilMs && !waiter.isGone()) continue;
      waiting.delete(waiter);
      waiter.resolve(state);
    }
    if (waiting.size > 0) await pause(pauseMs(waiting, monotonicMs()));
  };
  const failAll = (error: unknown) => {
    for (const { reject } of waiting) reject(error);
    waiting.clear();
  };
  return {
    wait: (approval, untilMs, isGone) => {
      if (waiting.size >= APPROVAL_WAITS_MAX) return Promise.resolve("pending");
      const { promise, resolve, reject } = Promise.withResolvers<ApprovalState>();
      waiting.add({ approval, untilMs, isGone, resolve, reject });
      if (!isLooking) void look().then(undefined, failAll);
      return promise;
    },
  };
}

/** Until the next look, or until the first of them has waited long enough. */
function pauseMs(waiting: ReadonlySet<Waiter>, nowMs: number): number {
  let ms = APPROVAL_LOOK_MS;
  for (const { untilMs } of waiting) ms = Math.min(ms, Math.max(1, untilMs - nowMs));
  return ms;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms);
  });
}
