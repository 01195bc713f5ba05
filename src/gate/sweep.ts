/**
 * Closes what nobody closed. Time never releases money: a reservation past its deadline, or of a
 * replica without a lease, turns unknown and keeps the money it holds; after the grace it is charged in
 * full. Its room in flight is given back at once: nobody flies it any more. Evidence that comes later
 * corrects the charge, once.
 *
 * Any number of replicas may sweep at the same time. Marking and giving back skip rows that another one
 * has locked. What is past its grace is only read, for no lock can last until its settlement: two
 * replicas may charge the same attempt, and the later one changes nothing, for a settlement is unique.
 *
 * It may wait for a meter that somebody has locked, so it stays off the connections that keep this
 * replica honest: a sweep that comes late costs nobody anything.
 */
import {
  APPROVAL_CALL_KEPT_MS,
  HELD_KEY_LOOK_MS,
  LEASE_MS,
  SWEEP_ROWS_MAX,
  UNKNOWN_GRACE_MS,
} from "../core/limits.ts";
import { removeExpiredAnswers, removeExpiredKeys } from "../store/answers.ts";
import { emptyCalls } from "../store/approvals.ts";
import { expire, giveBack, presumable } from "../store/settlement.ts";
import type { Ports } from "./ports.ts";
import type { Settler } from "./settle.ts";
import type { Trust } from "./trust.ts";

export type Swept = { readonly unknown: number; readonly presumed: number };

/** Statements of one sweep, each of SWEEP_ROWS_MAX rows: the next sweep goes on where this one stopped. */
const ROUNDS_MAX = 20;

export async function sweep(ports: Ports, settler: Settler, trust: Trust): Promise<Swept> {
  const { admin } = ports.db;
  const unknown = await exhaust(() => expire(admin, LEASE_MS, SWEEP_ROWS_MAX));
  trust.unknown(unknown);
  await exhaust(() => giveBack(admin, SWEEP_ROWS_MAX));
  const presumed = await exhaust(async () => {
    const attempts = await presumable(admin, UNKNOWN_GRACE_MS, SWEEP_ROWS_MAX);
    await settler.presume(attempts);
    return attempts.length;
  });
  await exhaust(() => removeExpiredAnswers(admin, SWEEP_ROWS_MAX));
  const keys = { keptMs: HELD_KEY_LOOK_MS, most: SWEEP_ROWS_MAX };
  await exhaust(() => removeExpiredKeys(admin, keys));
  await exhaust(() => emptyCalls(admin, APPROVAL_CALL_KEPT_MS, SWEEP_ROWS_MAX));
  if (unknown + presumed > 0) ports.log.warn({ unknown, presumed }, "swept reservations");
  return { unknown, presumed };
}

/** Repeats a statement until it finds fewer rows than it may take. Answers how many they were. */
async function exhaust(statement: () => Promise<number>): Promise<number> {
  let rows = 0;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const found = await statement();
    rows += found;
    if (found < SWEEP_ROWS_MAX) break;
  }
  return rows;
}
