/**
 * A reply that remembers what was answered, for those who ask again. It goes on when its client leaves, so
 * that the rest of the answer is there for the client's retry.
 */
import { ANSWER_STORED_BYTES_MAX } from "../core/limits.ts";
import type { Reply } from "./ports.ts";

/** An answer as it was given: headers are name, value, name, value. */
export type Captured = {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
};

export type Capture = {
  readonly reply: Reply;
  /** Null when nothing was answered whole, or more than is kept. */
  readonly captured: () => Captured | null;
};

export function captureReply(reply: Reply): Capture {
  let status: number | null = null;
  let headers: readonly string[] = [];
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let isWhole = false;
  const keep = (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    if (bytes <= ANSWER_STORED_BYTES_MAX) parts.push(Uint8Array.from(chunk));
    else parts = [];
  };
  return {
    captured: () => {
      if (status === null || !isWhole || bytes > ANSWER_STORED_BYTES_MAX) return null;
      return { status, headers, body: Buffer.concat(parts, bytes) };
    },
    reply: {
      ...reply,
      head: (code, given, isStream) => {
        status = code;
        headers = [...given];
        if (!reply.isGone()) reply.head(code, given, isStream);
      },
      write: (chunk) => {
        keep(chunk);
        return reply.isGone() || reply.write(chunk);
      },
      end: (last) => {
        if (last !== undefined) keep(last);
        isWhole = true;
        if (!reply.isGone()) reply.end(last);
      },
      destroy: () => {
        parts = [];
        reply.destroy();
      },
      // For the dispatcher it never is: what comes is for the next one who asks.
      isGone: () => false,
    },
  };
}
