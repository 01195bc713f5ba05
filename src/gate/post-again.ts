/**
 * Posts a batch, and posts it again when its answer got lost: a connection that breaks says nothing of
 * what it carried, and after a reset the commit was durable in ten of ten.
 *
 * The second time it is first asked what was recorded. Whatever was, stands: an attempt is decided once.
 * The rest is posted: either nothing of the batch was committed, or what is missing was to be asked again
 * and recorded nothing. If the first posting is still running at the server, the second waits for its
 * locks and then meets its rows; then it is asked once more what was recorded.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { assert } from "../lib/assert.ts";
import { isConnectionLost } from "../store/connection-lost.ts";
import type { Sql } from "../store/database.ts";
import { isRecordedAlready } from "../store/errors.ts";
import { post, type Ask, type Posted } from "../store/posting.ts";
import { recordedOf } from "../store/recorded.ts";
import type { Fence } from "./fence.ts";
import { Unavailable } from "./unavailable.ts";

export type PostingParts = {
  readonly sql: Sql;
  readonly replicaId: string;
  readonly fence: Fence;
  readonly monotonicMs: () => number;
  /** After this long nothing is tried any more: the permits would have lapsed. */
  readonly msMax: number;
};

/** A lost connection is made anew in a few milliseconds; a server that restarts takes a second. */
const AGAIN_MS_FIRST = 20;
const AGAIN_MS_MAX = 500;

/** Throws what the database answers, or Unavailable when it does not. */
export async function postSurely(
  parts: PostingParts,
  asks: readonly Ask[],
): Promise<readonly Posted[]> {
  const endMs = parts.monotonicMs() + parts.msMax;
  let isRepeat = false;
  for (let waitMs = AGAIN_MS_FIRST; ; waitMs = Math.min(2 * waitMs, AGAIN_MS_MAX)) {
    const askedAtMs = parts.monotonicMs();
    try {
      const posted = await (isRepeat ? postRest(parts, asks) : postOnce(parts, asks));
      parts.fence.answered(askedAtMs);
      return posted;
    } catch (error) {
      const isAmbiguous = isConnectionLost(error) || (isRepeat && isRecordedAlready(error));
      if (!isAmbiguous || parts.monotonicMs() + waitMs > endMs) throw error;
      isRepeat = true;
    }
    await sleep(waitMs);
  }
}

function postOnce({ sql, replicaId }: PostingParts, asks: readonly Ask[]): Promise<Posted[]> {
  return post(sql, replicaId, asks);
}

async function postRest(parts: PostingParts, asks: readonly Ask[]): Promise<readonly Posted[]> {
  const recorded = await recordedOf(parts.sql, asks);
  for (const { posted, isHeld } of recorded.values()) {
    if (posted.outcome === "allow" && !isHeld) {
      throw new Unavailable("an ask was given up before its answer came");
    }
  }
  const missing = asks.filter((_, i) => !recorded.has(i));
  const rest = missing.length === 0 ? [] : await postOnce(parts, missing);
  let next = 0;
  return asks.map((_, i) => {
    const known = recorded.get(i)?.posted ?? rest[next++];
    assert(known !== undefined, "what was not recorded was posted");
    return known;
  });
}
