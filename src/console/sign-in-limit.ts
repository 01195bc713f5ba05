/** How often one address may offer keys that are none. In memory, of this process: it slows a search down. */
import { SIGN_IN_ADDRESSES_MAX, SIGN_IN_WINDOW_MS, SIGN_INS_MAX } from "./limits.ts";

export type SignInLimit = {
  /** Milliseconds until it may try again, or null: it may now. */
  readonly wait: (address: string, now: Date) => number | null;
  readonly failed: (address: string, now: Date) => void;
};

export function createSignInLimit(): SignInLimit {
  const windows = new Map<string, { readonly endsAt: number; readonly failures: number }>();
  const current = (address: string, now: Date) => {
    const window = windows.get(address);
    return window !== undefined && window.endsAt > now.getTime() ? window : null;
  };
  return {
    wait: (address, now) => {
      const window = current(address, now);
      return window === null || window.failures < SIGN_INS_MAX
        ? null
        : window.endsAt - now.getTime();
    },
    failed: (address, now) => {
      const { endsAt, failures } = current(address, now) ?? {
        endsAt: now.getTime() + SIGN_IN_WINDOW_MS,
        failures: 0,
      };
      // Put in anew, so that the first of the map is the one that failed longest ago.
      windows.delete(address);
      windows.set(address, { endsAt, failures: failures + 1 });
      const [oldest] = windows.keys();
      if (windows.size > SIGN_IN_ADDRESSES_MAX && oldest !== undefined) windows.delete(oldest);
    },
  };
}
