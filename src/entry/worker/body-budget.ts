/**
 * The memory of all request bodies of one isolate. Cloudflare ends invocations without running another
 * line of theirs, so what they hold is known by a reference that does not keep it: where the invocation
 * is gone, so is its share. Without that an isolate would fill up, and then refuse every body.
 */
import type { BodyBudget } from "../body-node.ts";
import { PACE } from "../body-pace.ts";

type Taken = { bytes: number };

export function createIsolateBudget(heldBytesMax: number): BodyBudget {
  const shares = new Set<WeakRef<Taken>>();
  const held = () => {
    let bytes = 0;
    for (const share of shares) {
      const taken = share.deref();
      if (taken === undefined) shares.delete(share);
      else bytes += taken.bytes;
    }
    return bytes;
  };
  const fits = (bytes: number) => held() + bytes <= heldBytesMax;
  return {
    pace: PACE,
    held,
    share: () => {
      const taken: Taken = { bytes: 0 };
      const own = new WeakRef(taken);
      let hasEnded = false;
      shares.add(own);
      return {
        fits,
        take: (bytes) => {
          if (hasEnded || !fits(bytes)) return false;
          taken.bytes += bytes;
          return true;
        },
        end: () => {
          hasEnded = true;
          taken.bytes = 0;
          shares.delete(own);
        },
      };
    },
  };
}
