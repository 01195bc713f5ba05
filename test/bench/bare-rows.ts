/** The floor of an admission: a row as large as a decision, and nothing else. */
import { arrayLiteral } from "../../src/store/literal.ts";
import type { Database } from "../../src/store/database.ts";
import type { Ask } from "../../src/store/posting.ts";

export const createBareRows = async (db: Database): Promise<void> => {
  await db.admin`create table bench_rows (like decisions including defaults including indexes)`;
};

const INSERT = `
  insert into bench_rows (tenant_id, attempt_id, key_id, run_id, attempt, door, operation, resource,
                          upstream, model, verdict, decided_at, estimate_picousd, price_version, meters, record)
  select tenant, attempt_id, key, run, 1, door, operation, resource, upstream, model, 'allow', now(),
         cost, price, '[]', record::json
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
              $8::text[], $9::text[], $10::numeric[], $11::text[], string_to_array($12, E'\\n'))
    as u(tenant, attempt_id, key, run, door, operation, resource, upstream, model, cost, price, record)`;

/** The decisions' own columns and indexes, encoded as the posting's arguments are. */
export const insertBareRows = async (
  db: Database,
  asks: readonly Ask[],
): Promise<readonly boolean[]> => {
  const column = (read: (ask: Ask) => string | bigint | null): string =>
    arrayLiteral(asks.map(read));
  const result = await db.gate.unsafe(
    INSERT,
    [
      column((ask) => ask.tenantId),
      column((ask) => ask.attemptId),
      column((ask) => ask.keyId),
      column((ask) => ask.runId),
      column((ask) => ask.door),
      column((ask) => ask.operation),
      column((ask) => ask.resource),
      column((ask) => ask.upstream),
      column((ask) => ask.model),
      column((ask) => ask.costPicousd),
      column((ask) => ask.priceVersion),
      asks.map((ask) => ask.record).join("\n"),
    ],
    { prepare: true },
  );
  return asks.map((_, at) => at < result.count);
};
