import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "../../src/store/database.ts";
import type { Fleet } from "./fleet.ts";
import { persist } from "./persistence.ts";

/** What is waited for, and how long at most where it never comes. */
type Played = {
  readonly fleet: Fleet;
  readonly sql: Sql;
  readonly options: { readonly patienceMs?: number };
};

const QUIET_LOOKS = 4;
const LOOK_EVERY_MS = 250;
/** Longer than a posting that failed may still be running at the database (16 s), to be released then. */
const PATIENCE_MS = 30_000;

/** Until no living replica has anything to write: its metrics say so, and nothing changes any more. */
export async function untilWritten({ fleet, sql, options }: Played): Promise<void> {
  const looksMax = (options.patienceMs ?? PATIENCE_MS) / LOOK_EVERY_MS;
  let quiet = 0;
  let before = "";
  for (let look = 0; look < looksMax && quiet < QUIET_LOOKS; look += 1) {
    const waiting = await Promise.all(
      fleet.slots.map(({ door }) => persist(() => waitingOn(door.port, fleet.adminKey))),
    );
    const [row] = await persist(() => sql`select count(*)::text as now from reservations`);
    const now = String(row?.["now"]);
    quiet = now === before && waiting.every((count) => count === 0) ? quiet + 1 : 0;
    before = now;
    await sleep(LOOK_EVERY_MS);
  }
}

async function waitingOn(port: number, adminKey: string): Promise<number> {
  const headers = { authorization: `Bearer ${adminKey}` };
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
  // It still looks for its database: then it may have something to write, too.
  if (answer.status === 503) return 1;
  const figures = [...(await answer.text()).matchAll(WAITING)].map(([, count]) => Number(count));
  if (figures.length < 3) throw new Error("the metrics do not say what waits");
  return figures.reduce((sum, count) => sum + count, 0);
}

const WAITING = /^tollgate_(?:exchanges|asks_waiting|settlements_waiting)(?:\{[^}]*\})? (\d+)$/gmu;

/** Until the sweep of some replica has come by. What never ends is for the checker to say. */
export async function untilNothingIsHeld({ sql, options }: Played): Promise<void> {
  const looksMax = (options.patienceMs ?? PATIENCE_MS) / LOOK_EVERY_MS;
  for (let look = 0; look < looksMax; look += 1) {
    const [row] = await persist(() => sql`select count(*)::int as count from reservations`);
    if (row?.["count"] === 0) return;
    await sleep(LOOK_EVERY_MS);
  }
}
