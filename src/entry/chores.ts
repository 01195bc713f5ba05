/** What a process does again and again, beside serving. */
import { LEASE_MS } from "../core/limits.ts";
import { ROLL_UP_MS, SCHEDULED_MS } from "../core/limits-finance.ts";
import { REFRESH_MS } from "../gate/authority.ts";
import type { Deliverer } from "../gate/deliver.ts";
import type { Gateway } from "../gate/gateway.ts";
import type { Ports } from "../gate/ports.ts";
import { tellBudgetsTurn } from "../ledger/budget-alerts.ts";
import { rollUpTurn, tellStaleTurn } from "../ledger/roll-up.ts";
import { tellReportsTurn } from "../ledger/scheduled-reports.ts";
import { inTime } from "../store/answered.ts";
import { renewLease } from "../store/installation.ts";
import { analyzeGrown } from "../store/statistics.ts";
import { every, type Repeated } from "./every.ts";

/** How long a message may lie in the outbox before somebody looks: people are told in seconds. */
const DELIVER_MS = 1_000;

/** What is kept for days need not go to the minute. */
const FORGET_MS = 60_000;

/** How often somebody looks whether tables of the embedded database have grown. */
const ANALYZE_MS = 60_000;

export function chores(
  gateway: Gateway,
  deliverer: Deliverer,
  { db, log, newId }: Pick<Ports, "db" | "log" | "newId">,
): readonly Repeated[] {
  const failed = (name: string) => (error: unknown) => log.warn({ error, name }, "a chore failed");
  return [
    every(REFRESH_MS, () => gateway.authority.refresh(), failed("refresh")),
    // One that is not answered must be over at the next turn: it is renewed then, before it ends.
    every(
      LEASE_MS / 3,
      () => inTime(renewLease(db.control, gateway.replicaId), LEASE_MS / 5),
      failed("lease"),
    ),
    every(
      LEASE_MS / 3,
      async () => {
        await gateway.sweep();
      },
      failed("sweep"),
    ),
    every(
      DELIVER_MS,
      async () => {
        await deliverer.turn();
      },
      failed("deliver"),
    ),
    every(FORGET_MS, deliverer.forget, failed("forget")),
    every(
      ROLL_UP_MS,
      async () => {
        await rollUpTurn(db);
        await tellBudgetsTurn(db, newId);
        await tellStaleTurn(db);
      },
      failed("roll up"),
    ),
    every(
      SCHEDULED_MS,
      async () => {
        await tellReportsTurn(db, newId);
      },
      failed("scheduled reports"),
    ),
    ...(db.address.kind === "socket"
      ? [
          every(
            ANALYZE_MS,
            async () => {
              await analyzeGrown(db.admin);
            },
            failed("statistics"),
          ),
        ]
      : []),
  ];
}
