/**
 * An answer that many want and one need fetch: whoever comes while it is asked for waits for the same one,
 * and it is given out again until it is `msMax` ms old, counted from when it was asked for. With `msMax` 0
 * it is only shared while it is under way. A failure is shared by those who wait for it, and never kept.
 */
export type Keeping = { readonly msMax: number; readonly monotonicMs: () => number };

export function keepAnswer<Value>(
  ask: () => Promise<Value>,
  { msMax, monotonicMs }: Keeping,
): () => Promise<Value> {
  let last: { readonly value: Value; readonly askedAtMs: number } | null = null;
  let asking: Promise<Value> | null = null;
  const askAnew = async (): Promise<Value> => {
    const askedAtMs = monotonicMs();
    try {
      const value = await ask();
      last = { value, askedAtMs };
      return value;
    } finally {
      asking = null;
    }
  };
  return async () => {
    if (last !== null && monotonicMs() - last.askedAtMs < msMax) return last.value;
    asking ??= askAnew();
    return await asking;
  };
}
