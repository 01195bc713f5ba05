import type { Administrator, Caller } from "../core/caller.ts";
import type { Administration } from "../gate/administration.ts";
import type { Gateway } from "../gate/gateway.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Exchange } from "./exchange.ts";

/** What the app is bound to: one for life on Node, one per request where a runtime forbids sharing. */
export type Env = {
  Bindings: {
    gateway: Gateway;
    ledger: Ledger;
    administration: Administration;
    health: Health;
    /** This request's own: the raw exchange of the hot path. */
    exchange: Exchange;
  };
  Variables: { caller: Caller | Administrator; requestId: string };
};

/** What a probe may ask of the process. */
export type Health = {
  /** Told to end: it finishes what it has and takes nothing new. Never kept, for it is not asked of anybody. */
  readonly isClosing: () => boolean;
  /** Throws when the database cannot be reached. */
  readonly readiness: () => Promise<Readiness>;
  /** The counters of every process that serves this address: a scrape meets any of them. */
  readonly figures: () => Promise<Figures>;
};

/** Whether calls should be sent here. */
export type Readiness =
  | { readonly kind: "ready"; readonly schemaVersion: number }
  /** Why it would answer 503 now, in a sentence. */
  | { readonly kind: "not_ready"; readonly why: string };

export type Figures = ReturnType<Gateway["trust"]>;
