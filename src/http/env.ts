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
  /** The schema version that the database has; throws when it cannot be reached. */
  readonly schemaVersion: () => Promise<number>;
  /** False once the process was told to end: it finishes what it has and takes nothing new. */
  readonly isReady: () => boolean;
};
