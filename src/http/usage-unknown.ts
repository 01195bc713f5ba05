/**
 * Where usage is not asked for in a client's stead: upstreams and models that were seen not to know `stream_options`.
 * By tenant, for a request can bring its upstream to refuse the option, and nobody's requests end the measuring of
 * others; and for a time, for upstreams learn it.
 */
import type { Permit } from "../gate/admit.ts";

const REMEMBERED_MS = 3_600_000;

/** More than these are asked again. */
const REMEMBERED_MAX = 1_000;

export type UsageUnknown = {
  readonly has: (permit: Permit) => boolean;
  readonly add: (permit: Permit) => void;
};

export function createUsageUnknown(monotonicMs: () => number): UsageUnknown {
  const untilMs = new Map<string, number>();
  const forgetOld = () => {
    for (const [place, until] of untilMs) if (until <= monotonicMs()) untilMs.delete(place);
  };
  return {
    has: (permit) => {
      if (untilMs.size === 0) return false;
      return (untilMs.get(placeOf(permit)) ?? 0) > monotonicMs();
    },
    add: (permit) => {
      if (untilMs.size >= REMEMBERED_MAX) forgetOld();
      if (untilMs.size < REMEMBERED_MAX) {
        untilMs.set(placeOf(permit), monotonicMs() + REMEMBERED_MS);
      }
    },
  };
}

function placeOf({ tenantId, upstream, model }: Permit): string {
  return `${tenantId} ${upstream.name}/${model}`;
}
