/**
 * What any gateway writes that decides before it spends: a row that has committed before the first byte goes
 * upstream, and one for what came of it. Nothing is judged and nothing counted: group commit, two tables, each with
 * its key and no other index.
 */
import postgres from "postgres";
import { createBatcher } from "../../src/gate/batch.ts";
import { arrayLiteral } from "../../src/store/literal.ts";

/** Of a decision here, and of a settlement: less than Tollgate's own, so that it is a floor. */
const DECISION_BYTES = 1_024;
const SETTLEMENT_BYTES = 256;

/** As Tollgate gathers its settlements. */
const GATHER_MS = 20;
const BATCH_ROWS_MAX = 256;

export const createDurableTables = async (url: string): Promise<void> => {
  const sql = postgres(url, { max: 1 });
  for (const table of ["decided", "settled"]) {
    await sql.unsafe(`
      create table ${table} (call_id text primary key, at timestamptz not null, cost numeric not null,
                             record json not null)`);
  }
  await sql.end();
};

/** How many calls were decided and settled. */
export const countDurableRows = async (
  url: string,
): Promise<{ readonly decided: number; readonly settled: number }> => {
  const sql = postgres(url, { max: 1 });
  const [row] = await sql<{ decided: number; settled: number }[]>`
    select (select count(*)::int from decided) as decided, (select count(*)::int from settled) as settled`;
  await sql.end();
  if (row === undefined) throw new Error("a count answered no row");
  return row;
};

export type DurableRows = {
  /** Resolves when the call's decision has committed. */
  readonly decide: (callId: string) => Promise<void>;
  readonly settle: (callId: string) => Promise<void>;
};

export const openDurableRows = (url: string): DurableRows => {
  const sql = postgres(url, { max: 3 });
  const writer = (table: string, bytes: number, inFlightMax: number, gatherMs: number) => {
    const statement = `
      insert into ${table} (call_id, at, cost, record)
      select call_id, now(), 1, record::json
      from unnest($1::text[], string_to_array($2, E'\\n')) as u(call_id, record)`;
    const record = JSON.stringify({ why: "x".repeat(bytes - '{"why":""}'.length) });
    const batcher = createBatcher<string, true>({
      commit: async (ids) => {
        const parameters = [arrayLiteral(ids), ids.map(() => record).join("\n")];
        await sql.unsafe(statement, parameters, { prepare: true });
        return ids.map(() => true);
      },
      itemsMax: BATCH_ROWS_MAX,
      inFlightMax,
      waitingMax: Number.POSITIVE_INFINITY,
      waitMsMax: Number.POSITIVE_INFINITY,
      standingMs: Number.POSITIVE_INFINITY,
      crowdedMs: Number.POSITIVE_INFINITY,
      gatherMs,
      companyMin: 1,
      companyMs: 0,
      tenantOf: () => "",
      isContentError: () => false,
      monotonicMs: () => performance.now(),
    });
    return async (callId: string): Promise<void> => {
      await batcher.submit(callId);
    };
  };
  return {
    decide: writer("decided", DECISION_BYTES, 2, 0),
    settle: writer("settled", SETTLEMENT_BYTES, 1, GATHER_MS),
  };
};
