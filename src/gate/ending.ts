import type { Reading } from "../dialects/dialect.ts";

/** How an attempt ended, as its dispatcher saw it. Every attempt has exactly one. */
export type Ending = {
  readonly durationMs: number;
  /** Until the first byte of the answer, or null when none came. */
  readonly firstByteMs: number | null;
  /** The upstream's status, or null when it gave none. */
  readonly status: number | null;
  readonly error: string | null;
  readonly upstreamRequestId: string | null;
} & (
  | {
      readonly kind: "succeeded" | "failed" | "aborted";
      readonly reading: Reading;
      readonly text: () => string;
    }
  /** No byte of the request reached the upstream: nothing ran, nothing is owed. */
  | { readonly kind: "released" }
  /** It may have run and nobody can say: its money stays held. */
  | { readonly kind: "unknown" }
);
