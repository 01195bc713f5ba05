import { setTimeout as sleep } from "node:timers/promises";
import type { Sql } from "../../src/store/database.ts";
import type { Fault } from "./history.ts";

const EVERY_MS = 100;
/** Commits take a few milliseconds; asks that stand for half a second are shed, so less than that must show. */
const STALL_MS_MIN = 300;

export type Pulse = {
  /** The stretches in which the machine, its disk or its database gave nobody an answer in time. */
  readonly stop: () => Promise<readonly Fault[]>;
};

/**
 * Commits to a table that nobody else has, ten times a second, behind no proxy and no gate. Where that
 * takes long, the machine, its disk or the server itself stood still: no lock makes it long.
 */
export async function startPulse(
  connect: () => Sql,
  options: { readonly waitsForDisk: boolean },
): Promise<Pulse> {
  let sql = connect();
  const stalls: Fault[] = [];
  const stopping = new AbortController();
  await sql`create table if not exists faults_pulse (beats bigint not null)`;
  await sql`insert into faults_pulse values (0)`;
  const beat = async (): Promise<void> => {
    try {
      await sql.begin(async (tx) => {
        // Whoever commits flushes what others left to be flushed later.
        if (!options.waitsForDisk) await tx`set local synchronous_commit = off`;
        await tx`update faults_pulse set beats = beats + 1`;
      });
    } catch {
      // The database is away, and may have taken the connection with it. How long is seen below.
      void sql.end({ timeout: 0 }).catch(() => undefined);
      sql = connect();
    }
  };
  const beats = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const fromMs = performance.now();
      await beat();
      await sleep(EVERY_MS);
      const toMs = performance.now();
      if (toMs - fromMs - EVERY_MS >= STALL_MS_MIN) stalls.push(stall(fromMs, toMs));
    }
  };
  const beating = beats();
  return {
    stop: async () => {
      stopping.abort();
      await beating;
      await sql.end({ timeout: 1 });
      return stalls;
    },
  };
}

function stall(fromMs: number, toMs: number): Fault {
  const detail = `a commit beside all this took ${Math.round(toMs - fromMs - EVERY_MS)} ms`;
  const nobody = { slot: null, incarnation: null, tenant: null, keyId: null };
  return { kind: "stall", detail, ...nobody, fromMs, toMs };
}
