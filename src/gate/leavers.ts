/**
 * Exchanges that go on although their client has left hold a connection to the upstream that the client
 * no longer pays for with one of its own: so few of them may, of all tenants and of each. One more is cut,
 * and ends as what may have run and cannot be told.
 */
import { LEAVERS_MAX, LEAVERS_OF_TENANT_MAX } from "../core/limits.ts";

export type Leavers = {
  /** What to call when the exchange has ended, or null: it may not go on. */
  readonly stay: (tenantId: string) => (() => void) | null;
};

export function createLeavers(): Leavers {
  const ofTenant = new Map<string, number>();
  let all = 0;
  return {
    stay: (tenantId) => {
      const own = ofTenant.get(tenantId) ?? 0;
      if (all >= LEAVERS_MAX || own >= LEAVERS_OF_TENANT_MAX) return null;
      all += 1;
      ofTenant.set(tenantId, own + 1);
      return () => {
        all -= 1;
        const left = (ofTenant.get(tenantId) ?? 1) - 1;
        if (left > 0) ofTenant.set(tenantId, left);
        else ofTenant.delete(tenantId);
      };
    },
  };
}
