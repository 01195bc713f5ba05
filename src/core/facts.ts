import type { Caller } from "./caller.ts";
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
  /** Other tenants use the same account at this upstream, and nobody allowed them to see each other's objects. */
  readonly sharesAccount: boolean;
  /** Output tokens to which a clamping limit has already lowered this ask, or null. */
  readonly clampedTo: number | null;
};
