import type { AttemptStatus } from "./attempt.ts";
import type { Caller } from "./caller.ts";
import type { Findings } from "./detect.ts";
import type { CompiledBundle } from "./policy-bundle.ts";
import type { Price } from "./price.ts";
import type { ModelRoute } from "./route.ts";

/** All that a judgement may look at besides the intent. Time is one of the facts. */
export type Facts = {
  readonly now: Date;
  readonly caller: Caller;
  /** Where the model is served; null for a pass-through, which has no model. */
  readonly route: ModelRoute | null;
  /** The price that holds now, or null when none is known. */
  readonly price: Price | null;
  /** How long the upstream has for its answer, in ms, where the price is by the hour; else null. */
  readonly timeoutMs: number | null;
  /** Other tenants use the same account at this upstream, and nobody allowed them to see each other's objects. */
  readonly sharesAccount: boolean;
  /** Output tokens to which a clamping limit has already lowered this ask, or null. */
  readonly clampedTo: number | null;
  /** The tenant's active policies; null where it has none. */
  readonly bundle: CompiledBundle | null;
  readonly keyLabels: Readonly<Record<string, string>>;
  /** What the detectors found; null where nobody searched. */
  readonly findings: Findings | null;
  /** What went before; null where nobody looked. */
  readonly history: History | null;
  /** The model that a policy has this call go to instead of the one asked for: `route` is its route. */
  readonly rerouted: { readonly model: string; readonly policy: string } | null;
};

/** The prior attempts of a run and of a step: looked at only where the active bundle reads them. */
export type History = {
  readonly runAgeSeconds: number;
  /** Attempts of the run that were allowed before this ask. */
  readonly runAttempts: number;
  /** What they cost and hold. */
  readonly runSpendPicousd: bigint;
  /** The number of this attempt within its step, from 1. */
  readonly attempt: number;
  /** How the attempt before it stands; empty for a first one. */
  readonly priorStatus: "" | AttemptStatus;
  /**
   * The first tool of the run behind the tool door whose answer is not trusted and may have been read: it succeeded or
   * failed. Of this run alone, not of those above it; null for none.
   */
  readonly taintedBy: string | null;
};
