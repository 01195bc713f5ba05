/**
 * The attempts of this process from their dispatch to the end of their settlement, the counting of tokens in
 * between included; and those of them whose clients have left. Until a leaving is written, and where it is
 * written to nobody, only this process knows of it: so it says it itself with the next ask of the same step.
 */
import type { Permit } from "./admit.ts";
import type { Settler } from "./settle.ts";

export type AttemptUnderWay = Pick<Permit, "tenantId" | "attemptId" | "stepDigest">;

export type UnderWay = {
  readonly begin: (attempt: AttemptUnderWay) => void;
  readonly end: (attempt: AttemptUnderWay) => void;
  readonly leave: (attempt: AttemptUnderWay) => void;
  /** Its client has its answer, and it is a failure: the same content again is a retry, settled or not. */
  readonly fail: (attempt: AttemptUnderWay) => void;
  /** The attempt of this step that failed for its client last, while it is not settled. */
  readonly leftOf: (tenantId: string, stepDigest: string) => string | null;
  /** Resolves when nothing is under way. */
  readonly idle: () => Promise<void>;
};

export function createUnderWay(
  settler: Settler,
  runAfter: (name: string, work: () => Promise<void>) => void,
): UnderWay {
  const attempts = new Set<string>();
  const left = new Map<string, string>();
  let waiters: (() => void)[] = [];
  return {
    begin: ({ attemptId }) => {
      attempts.add(attemptId);
    },
    end: ({ tenantId, attemptId, stepDigest }) => {
      const step = `${tenantId} ${stepDigest}`;
      if (left.get(step) === attemptId) left.delete(step);
      attempts.delete(attemptId);
      if (attempts.size > 0) return;
      for (const wake of waiters) wake();
      waiters = [];
    },
    leave: ({ tenantId, attemptId, stepDigest }) => {
      if (stepDigest === null) return;
      left.set(`${tenantId} ${stepDigest}`, attemptId);
      runAfter("left", () => settler.left({ tenantId, attemptId }));
    },
    fail: ({ tenantId, attemptId, stepDigest }) => {
      if (stepDigest !== null) left.set(`${tenantId} ${stepDigest}`, attemptId);
    },
    leftOf: (tenantId, stepDigest) => left.get(`${tenantId} ${stepDigest}`) ?? null,
    idle: async () => {
      if (attempts.size > 0) await new Promise<void>((wake) => waiters.push(wake));
    },
  };
}
