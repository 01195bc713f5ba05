/**
 * Answers that are kept for those who ask again under the same idempotency key: sealed, for a time, and
 * stored before the attempt is settled, so that whoever finds it succeeded finds its answer, too.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { WAITER_LOOK_MS, WAITERS_MAX } from "../core/limits.ts";
import { assert } from "../lib/assert.ts";
import { isList, isRecord } from "../lib/json.ts";
import { isDatabaseAway } from "../store/connection-lost.ts";
import { attemptState, findAnswer, insertAnswer } from "../store/answers.ts";
import type { Captured } from "./capture.ts";
import type { Ports } from "./ports.ts";
import type { SealedPlace } from "./sealing.ts";

export type Answers = {
  /** Throws what the database answers, after a few seconds where it is away: the answer is not kept then. */
  readonly keep: (
    attempt: { readonly tenantId: string; readonly attemptId: string; readonly keptMs: number },
    captured: Captured,
  ) => Promise<void>;
  /** The answer as it was given, byte for byte; null when it is not kept. */
  readonly find: (tenantId: string, attemptId: string) => Promise<Captured | null>;
  /**
   * Resolves when the attempt has ended, when nobody waits any more, or when the time is over; at once,
   * when as many wait already as may.
   */
  readonly ended: (
    attempt: { readonly tenantId: string; readonly attemptId: string },
    wait: { readonly ms: number; readonly isGone: () => boolean },
  ) => Promise<void>;
};

/** A lost connection is made anew in milliseconds, a server that restarts takes a second. */
const AGAIN_MS_FIRST = 50;

/** For so long an answer that somebody paid for waits for a database that is away; its settlement waits behind it. */
const KEEP_MS_MAX = 10_000;

export function createAnswers({
  db,
  seal,
  monotonicMs,
}: Pick<Ports, "db" | "seal" | "monotonicMs">): Answers {
  let waiting = 0;
  return {
    keep: async ({ tenantId, attemptId, keptMs }, captured) => {
      const sealed = seal.seal(placeOf(tenantId, attemptId), encode(captured));
      const answer = { tenantId, attemptId, keptMs, status: captured.status, sealed };
      const endMs = monotonicMs() + KEEP_MS_MAX;
      for (let waitMs = AGAIN_MS_FIRST; ; waitMs *= 2) {
        try {
          return await insertAnswer(db.gate, answer);
        } catch (error) {
          if (!isDatabaseAway(error) || monotonicMs() + waitMs > endMs) throw error;
        }
        await sleep(waitMs);
      }
    },
    find: async (tenantId, attemptId) => {
      const row = await findAnswer(db.admin, tenantId, attemptId);
      if (row === null) return null;
      const opened = seal.open(placeOf(tenantId, attemptId), row.sealed);
      // What another data key has sealed can be read by nobody: the same as if it were not kept.
      return opened === null ? null : decode(row.status, opened);
    },
    ended: async ({ tenantId, attemptId }, { ms, isGone }) => {
      if (waiting >= WAITERS_MAX) return;
      waiting += 1;
      try {
        const untilMs = monotonicMs() + ms;
        while (!isGone() && monotonicMs() < untilMs) {
          const state = await attemptState(db.admin, tenantId, attemptId);
          if (state !== "running" && state !== "left") return;
          await sleep(Math.max(1, Math.min(WAITER_LOOK_MS, untilMs - monotonicMs())));
        }
      } finally {
        waiting -= 1;
      }
    },
  };
}

function placeOf(tenantId: string, attemptId: string): SealedPlace {
  return { purpose: "answer", tenantId, rowId: attemptId };
}

/** The length of the head as 4 bytes, the head as JSON, and the body as it was. */
function encode({ headers, body }: Captured): Uint8Array {
  const head = Buffer.from(JSON.stringify(headers));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, body]);
}

function decode(status: number, bytes: Uint8Array): Captured {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bodyAt = 4 + all.readUInt32BE(0);
  const headers: unknown = JSON.parse(all.toString("utf8", 4, bodyAt));
  assert(isList(headers) && !headers.some(isRecord), "headers are a list of texts");
  return { status, headers: headers.map(String), body: all.subarray(bodyAt) };
}
