/** What a supervisor and the processes that it supervises say to each other. */
import { z } from "zod";

import type { Figures } from "../http/env.ts";

const figures = z.object({
  admitted: z.number(),
  refused: z.record(z.string(), z.number()),
  unavailable: z.number(),
  unknown: z.number(),
  settledByBasis: z.record(z.string(), z.number()),
  overages: z.number(),
  exchanges: z.number(),
  asksWaiting: z.number(),
  settlementsWaiting: z.number(),
});

const order = z.discriminatedUnion("kind", [
  /** Finish what is under way within the ordinary time, and end. */
  z.object({ kind: z.literal("end") }),
  /** Another process has taken over: finish what is under way in peace, and end. */
  z.object({ kind: z.literal("retire") }),
  z.object({ kind: z.literal("tell_figures"), round: z.number() }),
  /** The answer to `ask_figures`: those of all processes together. */
  z.object({ kind: z.literal("all_figures"), question: z.number(), figures }),
]);

const report = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("ready"),
    url: z.string(),
    tenantKey: z.string().nullable(),
    hasLimits: z.boolean(),
  }),
  /** It could not start; `isExpected`: the message says to an operator what to mend. */
  z.object({
    kind: z.literal("failed"),
    message: z.string(),
    code: z.string().nullable(),
    isExpected: z.boolean(),
  }),
  z.object({ kind: z.literal("ask_figures"), question: z.number() }),
  /** `round` -1: unasked, the last ones before its end. */
  z.object({ kind: z.literal("own_figures"), round: z.number(), figures }),
]);

/** To a supervised process. */
export type Order = z.infer<typeof order>;
/** From one. */
export type Report = z.infer<typeof report>;

/** Null for what is not ours: the runtime talks over the same channel. */
export function orderFrom(message: unknown): Order | null {
  return order.safeParse(message).data ?? null;
}

export function reportFrom(message: unknown): Report | null {
  return report.safeParse(message).data ?? null;
}

export const NO_FIGURES: Figures = {
  admitted: 0,
  refused: {},
  unavailable: 0,
  unknown: 0,
  settledByBasis: {},
  overages: 0,
  exchanges: 0,
  asksWaiting: 0,
  settlementsWaiting: 0,
};

export function addFigures(a: Figures, b: Figures): Figures {
  return {
    admitted: a.admitted + b.admitted,
    refused: addCounts(a.refused, b.refused),
    unavailable: a.unavailable + b.unavailable,
    unknown: a.unknown + b.unknown,
    settledByBasis: addCounts(a.settledByBasis, b.settledByBasis),
    overages: a.overages + b.overages,
    exchanges: a.exchanges + b.exchanges,
    asksWaiting: a.asksWaiting + b.asksWaiting,
    settlementsWaiting: a.settlementsWaiting + b.settlementsWaiting,
  };
}

/** What a process has counted goes on counting when it has ended; what was under way in it is not any more. */
export function ofEnded(last: Figures): Figures {
  return { ...last, exchanges: 0, asksWaiting: 0, settlementsWaiting: 0 };
}

type Counts = Readonly<Record<string, number>>;

function addCounts(a: Counts, b: Counts): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
