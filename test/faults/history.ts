/**
 * What one played scenario leaves behind: the clients' observations, the upstream's journal, the
 * database, and what was done to all of them meanwhile. The checker reads nothing else.
 * Moments `…Ms` are of the one monotonic clock of the process that plays; money is pico-dollars.
 */

/** What the truth upstream does with a call; a call's plan chooses. */
export const MODES = [
  "usual",
  "most",
  "fails",
  "stalls",
  "keeps-on",
  "tells-nothing",
  "tells-zero",
  "garbles",
  "resets",
  "slow-head",
  "waits",
] as const;
export type Mode = (typeof MODES)[number];

/** One call as planned: everything about it that a seed decides. */
export type Call = {
  /** Its name, once in all histories: the client's `Tollgate-Customer`, the body's `user`, and in the answer. */
  readonly tag: string;
  readonly tenant: string;
  readonly keyId: string;
  readonly key: string;
  readonly model: string;
  readonly mode: Mode;
  readonly stream: boolean;
  readonly outputTokensMax: number;
  /** Bytes of the prompt beside the tag. */
  readonly promptBytes: number;
  /** A run and step that several calls share, or a run of its own. */
  readonly run: string | null;
  readonly step: string | null;
  /** The client leaves when it has read so many bytes; null reads to the end. */
  readonly leavesAtByte: number | null;
};

export type Observation = {
  readonly tag: string;
  readonly tenant: string;
  readonly keyId: string;
  readonly mode: Mode;
  readonly stream: boolean;
  /** What the client spoke to: a slot of the fleet, and which process stood there. */
  readonly slot: number;
  readonly incarnation: number;
  readonly sentMs: number;
  readonly endedMs: number;
  /** How the client saw it end: whole, broken off, by its own leaving, never reached, or not in its time. */
  readonly end: "whole" | "cut" | "left" | "unreached" | "late";
  readonly status: number | null;
  readonly decisionId: string | null;
  /** `error.code` of an answer that says no. */
  readonly code: string | null;
  /** The tag that stood in the answer. */
  readonly echo: string | null;
  /** Words of the answer that reached the client; each is one token of output. */
  readonly words: number;
  /** Of the call after the end of all faults, which must be served. */
  readonly isProbe: boolean;
  /** The call that was refused and is asked again by this one. */
  readonly again: string | null;
};

export type Accepted = {
  readonly tag: string;
  readonly mode: Mode;
  readonly stream: boolean;
  /** Which connection of the upstream, and whose credential came on it. */
  readonly connection: number;
  readonly credential: string;
  readonly acceptedMs: number;
  endedMs: number;
  /** What its own connection to the database said when the request had arrived, before the first byte back. */
  decision: "allow" | "none" | "unreadable";
  billed: bigint;
  /** It wrote its whole answer with the usage that it billed. */
  toldUsage: boolean;
};

export type FaultKind =
  | "kill"
  | "pause"
  | "replace"
  | "crash-database"
  | "freeze-database"
  | "exhaust-connections"
  | "lock-meter"
  | "jump-clock"
  | "database-link"
  | "client-link"
  | "upstream-link"
  | "revoke-key"
  | "change-limits"
  /** Nobody's doing: the machine gave no answer in time, see `pulse.ts`. */
  | "stall";

export type Fault = {
  readonly kind: FaultKind;
  readonly detail: string;
  readonly slot: number | null;
  readonly incarnation: number | null;
  readonly tenant: string | null;
  readonly keyId: string | null;
  readonly fromMs: number;
  /** When everything was as before again: the database answers, the replica runs. */
  readonly toMs: number;
};

/** How a process ended that was told to (`replace`), or that nobody told and nobody killed. */
export type Exit = {
  readonly slot: number;
  readonly incarnation: number;
  readonly isTold: boolean;
  /** 0 when it ended in order; null when a signal ended it. */
  readonly code: number | null;
  /** The end of what it wrote to standard error. */
  readonly says: string;
};

/** An attempt to start on settings under which promises cannot be kept. */
export type Boot = { readonly setting: string; readonly started: boolean; readonly says: string };

export type Decision = {
  readonly tenant: string;
  readonly attemptId: string;
  readonly tag: string | null;
  readonly verdict: string;
  readonly reason: string | null;
  readonly judgedAlone: boolean;
  readonly decidedAt: Date;
  readonly estimate: bigint | null;
  readonly priceVersion: string | null;
  readonly meters: readonly Figures[];
};

/** A meter as a decision found it. */
export type Figures = {
  readonly limitId: string;
  readonly subject: string;
  readonly unit: string;
  readonly enforced: boolean;
  /** Its limit is the part of a larger one that one run may take. */
  readonly isShare: boolean;
  readonly limit: bigint;
  readonly committed: bigint;
  readonly reserved: bigint;
  readonly asked: bigint;
};

export type Settled = {
  readonly attemptId: string;
  readonly line: number;
  readonly ending: string;
  readonly basis: string;
  readonly cost: bigint;
  readonly overage: bigint;
  readonly tokens: bigint;
  readonly priceVersion: string | null;
  readonly meterIds: readonly bigint[];
  readonly units: readonly string[];
};

export type Reservation = {
  readonly attemptId: string;
  readonly state: string;
  readonly meterIds: readonly bigint[];
  readonly amounts: readonly bigint[];
};

export type MeterRow = {
  readonly meterId: bigint;
  readonly tenant: string;
  readonly limitId: string;
  readonly subject: string;
  readonly windowStart: Date;
  readonly committed: bigint;
  readonly reserved: bigint;
};

export type LimitRow = {
  readonly limitId: string;
  readonly tenant: string;
  readonly unit: string;
  readonly window: string;
  readonly amount: bigint;
  readonly enforced: boolean;
};

export type Ledger = {
  readonly decisions: readonly Decision[];
  readonly settlements: readonly Settled[];
  readonly reservations: readonly Reservation[];
  readonly meters: readonly MeterRow[];
  readonly limits: readonly LimitRow[];
};

export type History = {
  readonly seed: number;
  readonly observations: readonly Observation[];
  readonly journal: readonly Accepted[];
  readonly ledger: Ledger;
  readonly faults: readonly Fault[];
  readonly exits: readonly Exit[];
  readonly boots: readonly Boot[];
  /** Limits whose amount was changed while calls ran, and every amount that they had. */
  readonly amounts: ReadonlyMap<string, readonly bigint[]>;
  /** Tenants whose budget is three times what they truly need: of their work nearly all must pass. */
  readonly honestTenants: readonly string[];
};
