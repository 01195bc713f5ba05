import type { Picousd } from "./money.ts";
import type { UsageClass } from "./usage.ts";

/** Price per unit of each class, in pico-dollars. An absent class follows the fallbacks of `costOf`. */
export type Rates = Readonly<Partial<Record<UsageClass, Picousd>>>;

/** What one model costs at one upstream from one moment on. Immutable; a correction is a newer price. */
export type Price = {
  /** Content hash of the row: what a settlement pins. */
  readonly version: string;
  readonly upstream: string;
  readonly model: string;
  readonly from: Date;
  readonly rates: Rates;
  /** Rates that hold for the whole call once its input exceeds `aboveInputTokens`, ascending. */
  readonly tiers: readonly { readonly aboveInputTokens: number; readonly rates: Rates }[];
  readonly contextTokensMax: number | null;
  readonly outputTokensMax: number | null;
  readonly source: string;
};
