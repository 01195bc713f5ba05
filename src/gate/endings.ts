/** The attempts of this process from their dispatch to the end of their settlement, the counting of tokens included. */
import type { Charge } from "../core/charge.ts";
import type { Permit } from "./admit.ts";
import type { Answers } from "./answers.ts";
import type { Captured } from "./capture.ts";
import type { Ending } from "./ending.ts";
import type { Ports } from "./ports.ts";
import type { Settler } from "./settle.ts";

export type Endings = {
  readonly begin: (attemptId: string) => void;
  /** Ends a permit; the writing goes on after the answer. `captured`: its answer, to be kept. */
  readonly end: (
    permit: Permit,
    ending: Ending,
    charged: Charge | Promise<Charge>,
    captured?: Captured | null,
  ) => void;
  /** Resolves when every attempt that began has ended. */
  readonly over: () => Promise<void>;
};

export type EndingParts = {
  readonly ports: Pick<Ports, "runAfter">;
  readonly settler: Pick<Settler, "end">;
  readonly answers: Answers;
  /** By its step, the attempt whose client left last. */
  readonly left: Map<string, string>;
};

export function createEndings(parts: EndingParts): Endings {
  const { ports, settler, left } = parts;
  const begun = new Set<string>();
  const waiters: (() => void)[] = [];
  // It holds no more than two ids while it waits: the permit and the answer of each call that was not settled
  // yet were most of what a collection of the young generation had to copy.
  const finish = async (attemptId: string, step: string, written: Promise<unknown>) => {
    try {
      await written;
    } finally {
      if (left.get(step) === attemptId) left.delete(step);
      begun.delete(attemptId);
      if (begun.size === 0) for (const wake of waiters.splice(0)) wake();
    }
  };
  return {
    begin: (attemptId) => {
      begun.add(attemptId);
    },
    end: (permit, ending, charged, captured = null) => {
      const { attemptId } = permit;
      const step = `${permit.tenantId} ${permit.stepDigest}`;
      const written =
        captured === null && !(charged instanceof Promise)
          ? settler.end(permit, ending, charged)
          : keepAndSettle(parts, { permit, ending, charged, captured });
      ports.runAfter("settle", () => finish(attemptId, step, written));
    },
    over: async () => {
      if (begun.size > 0) await new Promise<void>((wake) => waiters.push(wake));
    },
  };
}

type Ended = {
  readonly permit: Permit;
  readonly ending: Ending;
  readonly charged: Charge | Promise<Charge>;
  readonly captured: Captured | null;
};

/**
 * The answer first: who finds the attempt succeeded finds it, too. Whatever becomes of it, the attempt is
 * settled.
 */
async function keepAndSettle({ answers, settler }: EndingParts, ended: Ended): Promise<void> {
  const { permit, ending, charged, captured } = ended;
  const kept = await Promise.allSettled([keepAnswer(answers, permit, captured)]);
  await settler.end(permit, ending, await charged);
  for (const each of kept) if (each.status === "rejected") throw each.reason;
}

async function keepAnswer(
  answers: Answers,
  permit: Permit,
  captured: Captured | null,
): Promise<void> {
  const { answerKeptMs: keptMs } = permit;
  if (captured !== null && keptMs !== null) await answers.keep({ ...permit, keptMs }, captured);
}
