/**
 * The classes of usage, disjoint: no unit is counted in two of them, so a cost is a plain sum.
 * `input` is uncached input text; `output` excludes `reasoning`; audio and image tokens are out of both.
 * `seconds` (audio, rounded up), `characters` (speech input), `images` and `requests` are not tokens.
 */
export const USAGE_CLASSES = [
  "input",
  "cache_read",
  "cache_write_5m",
  "cache_write_1h",
  "output",
  "reasoning",
  "audio_input",
  "audio_output",
  "image_input",
  "image_output",
  "images",
  "seconds",
  "characters",
  "requests",
] as const;

export type UsageClass = (typeof USAGE_CLASSES)[number];

/**
 * Whole units by class; an absent class is zero. Values are safe, non-negative integers. `milliseconds` are
 * the gate's own measure, of calls that are paid by the time they take; no rate per unit prices them.
 */
export type Usage = Readonly<Partial<Record<UsageClass | "milliseconds", number>>>;
