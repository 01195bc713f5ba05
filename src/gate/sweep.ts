/**
 * Closes what nobody closed. Time never releases money: a reservation past its deadline, or of a
 * replica without a lease, turns unknown and keeps what it holds; after the grace it is charged in
 * full. Evidence that comes later corrects that, once. Any number of replicas may sweep at the same
 * time: rows are taken with SKIP LOCKED, and a settlement is unique.
 */
import { LEASE_MS, SWEEP_ROWS_MAX, UNKNOWN_GRACE_MS } from "../core/limits.ts";
import { expire, presumable } from "../store/settlement.ts";
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
  let presumed = 0;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const attempts = await presumable(ports.db.admin, UNKNOWN_GRACE_MS, SWEEP_ROWS_MAX);
    await settler.presume(attempts);
    presumed += attempts.length;
    if (attempts.length < SWEEP_ROWS_MAX) break;
  }
  if (unknown + presumed > 0) ports.log.warn({ unknown, presumed }, "swept reservations");
  return { unknown, presumed };
}
