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
import { LEASE_MS, SWEEP_ROWS_MAX, UNKNOWN_GRACE_MS } from "../core/limits.ts";
import { removeExpiredAnswers, removeExpiredKeys } from "../store/answers.ts";
import { expire, giveBack, presumable } from "../store/settlement.ts";
import type { Ports } from "./ports.ts";
import type { Settler } from "./settle.ts";
import type { Trust } from "./trust.ts";

export type Swept = { readonly unknown: number; readonly presumed: number };

/** Statements of one sweep, each of SWEEP_ROWS_MAX rows: the next sweep goes on where this one stopped. */
const ROUNDS_MAX = 20;

export async function sweep(ports: Ports, settler: Settler, trust: Trust): Promise<Swept> {
  let unknown = 0;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const expired = await expire(ports.db.admin, LEASE_MS, SWEEP_ROWS_MAX);
    unknown += expired;
    if (expired < SWEEP_ROWS_MAX) break;
  }
  trust.unknown(unknown);
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    if ((await giveBack(ports.db.admin, SWEEP_ROWS_MAX)) < SWEEP_ROWS_MAX) break;
  }
  let presumed = 0;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const attempts = await presumable(ports.db.admin, UNKNOWN_GRACE_MS, SWEEP_ROWS_MAX);
    await settler.presume(attempts);
    presumed += attempts.length;
    if (attempts.length < SWEEP_ROWS_MAX) break;
  }
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    if ((await removeExpiredAnswers(ports.db.admin, SWEEP_ROWS_MAX)) < SWEEP_ROWS_MAX) break;
  }
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    if ((await removeExpiredKeys(ports.db.admin, SWEEP_ROWS_MAX)) < SWEEP_ROWS_MAX) break;
  }
  if (unknown + presumed > 0) ports.log.warn({ unknown, presumed }, "swept reservations");
  return { unknown, presumed };
}
