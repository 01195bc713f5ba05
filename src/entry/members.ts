/** The processes that a supervisor has: what each last told, and how they are spoken to. */
import type { Worker } from "node:cluster";

import type { Figures } from "../http/env.ts";
import { keepAnswer } from "../lib/kept.ts";
import {
  addFigures,
  NO_FIGURES,
  ofEnded,
  reportFrom,
  type Order,
  type Report,
} from "./supervision.ts";

export type Member = {
  readonly worker: Worker;
  state: "starting" | "serving" | "retiring" | "ended";
  /** Another one has taken its place: its end is no loss. */
  isRetired: boolean;
  /** By the monotonic clock; when it was started, until it is ready. */
  readyAtMs: number;
  /** What it told last. */
  figures: Figures;
  readonly order: (order: Order) => void;
  /** Answers how to stop hearing. */
  readonly onReport: (listener: (report: Report) => void) => () => void;
};

/**
 * How long the counters of a round are given out again, in ms: whoever scrapes needs no key, and a round
 * asks every process. They are kept here and not in the processes, where the older answer of one would
 * let a counter fall that another one has told.
 */
const FIGURES_KEPT_MS = 500;

export type Members = {
  readonly add: (worker: Worker) => Member;
  readonly has: (member: Member) => boolean;
  readonly all: () => readonly Member[];
  readonly serving: () => readonly Member[];
  readonly retiring: () => readonly Member[];
  /** Of every process, and of those that have ended; at least one. Asked for by one round at a time. */
  readonly figures: () => Promise<readonly Figures[]>;
};

/** `figuresMsMax`: how long processes have to tell their counters. */
export function createMembers(figuresMsMax: number): Members {
  const all = new Set<Member>();
  let ended = NO_FIGURES;
  let rounds = 0;
  const of = (state: Member["state"]) => [...all].filter((member) => member.state === state);
  return {
    add: (worker) => {
      const member = createMember(worker);
      all.add(member);
      // What it has counted goes on counting. Its last words may be read after its end.
      const forget = () => {
        if (all.delete(member)) ended = addFigures(ended, ofEnded(member.figures));
      };
      worker.once("exit", () => {
        member.state = "ended";
        if (worker.isConnected()) worker.once("disconnect", forget);
        else forget();
      });
      return member;
    },
    has: (member) => all.has(member) && member.state !== "ended",
    all: () => [...all].filter(({ state }) => state !== "ended"),
    serving: () => of("serving"),
    retiring: () => of("retiring"),
    figures: keepAnswer(
      async () => {
        rounds += 1;
        const round = rounds;
        const asked = [...all].filter(({ state }) => state === "serving" || state === "retiring");
        await Promise.all(asked.map((member) => toldBy(member, round, figuresMsMax)));
        return [ended, ...[...all].map(({ figures }) => figures)];
      },
      { msMax: FIGURES_KEPT_MS, monotonicMs: () => performance.now() },
    ),
  };
}

/** Resolves when the process has told its counters in this round, or has ended, or is late. */
function toldBy(member: Member, round: number, msMax: number): Promise<void> {
  return new Promise((done) => {
    const { worker } = member;
    const finish = () => {
      clearTimeout(late);
      stopHearing();
      worker.off("exit", finish);
      done();
    };
    const stopHearing = member.onReport((report) => {
      if (report.kind === "own_figures" && report.round === round) finish();
    });
    const late = setTimeout(finish, msMax);
    worker.once("exit", finish);
    member.order({ kind: "tell_figures", round });
  });
}

function createMember(worker: Worker): Member {
  const listeners = new Set<(report: Report) => void>();
  const member: Member = {
    worker,
    state: "starting",
    isRetired: false,
    readyAtMs: performance.now(),
    figures: NO_FIGURES,
    order: (order) => {
      // One that has just ended is told nothing; that it ended is heard by itself.
      if (worker.isConnected()) worker.send(order, () => undefined);
    },
    onReport: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  // The channel has one listener for life, so that each message is read once.
  worker.on("message", (message: unknown) => {
    const report = reportFrom(message);
    if (report !== null) for (const listener of listeners) listener(report);
  });
  member.onReport((report) => {
    if (report.kind === "own_figures") member.figures = report.figures;
  });
  return member;
}
