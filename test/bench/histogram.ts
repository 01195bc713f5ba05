/** A log-linear histogram of microseconds: relative error below 1 %, no allocation when it counts. */

export type Histogram = Uint32Array;

const SUB_BITS = 7;
const LINEAR_MAX = 2 ** (SUB_BITS + 1);
/** 2^31 µs is over half an hour; longer waits count as that. */
const VALUE_MAX = 2 ** 31 - 1;
const SLOTS = (31 - SUB_BITS) * 2 ** SUB_BITS + LINEAR_MAX;

export const newHistogram = (): Histogram => new Uint32Array(SLOTS);

const slotOf = (value: number): number => {
  if (value < LINEAR_MAX) return value;
  const shift = 31 - Math.clz32(value) - SUB_BITS;
  return shift * 2 ** SUB_BITS + (value >>> shift);
};

const valueOf = (slot: number): number => {
  if (slot < LINEAR_MAX) return slot;
  const shift = Math.floor(slot / 2 ** SUB_BITS) - 1;
  const mantissa = slot - shift * 2 ** SUB_BITS;
  return (mantissa + 0.5) * 2 ** shift;
};

export const count = (histogram: Histogram, micros: number): void => {
  const slot = slotOf(Math.min(VALUE_MAX, Math.max(0, Math.round(micros))));
  histogram[slot] = (histogram[slot] ?? 0) + 1;
};

/** The value below which this share (0 to 1) of the counted ones lies; null when none was counted. */
export const quantile = (histogram: Histogram, share: number): number | null => {
  const total = histogram.reduce((sum, each) => sum + each, 0);
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(total * share));
  let seen = 0;
  const slot = histogram.findIndex((each) => {
    seen += each;
    return seen >= rank;
  });
  return valueOf(slot);
};
