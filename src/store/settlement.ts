/**
 * Settles a batch: reservations become settlements (`tollgate_settle` in `drizzle/0010_settling.sql`).
 *
 * Idempotent and order-independent: an attempt is settled by the first settlement that reaches the
 * database, corrected once if that one was presumed, and every other repeat changes nothing.
 */
import { assert } from "../lib/assert.ts";
import type { AttemptRef } from "./attempts.ts";
import type { Sql } from "./database.ts";
import type { Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

export const ENDINGS = ["succeeded", "failed", "aborted", "released", "unknown"] as const;
export type EndingKind = (typeof ENDINGS)[number];

/** computed: usage × price · estimated: usage was not told · presumed: charged in full · unpriced · none: nothing ran. */
export type Basis = "computed" | "estimated" | "presumed" | "unpriced" | "none";

export type Settlement = {
  readonly tenantId: string;
  readonly attemptId: string;
  readonly ending: EndingKind;
  readonly basis: Basis;
  /** Null only when `unpriced`. */
  readonly costPicousd: bigint | null;
  readonly tokens: number;
  /** 1, or 0 when the request never reached the upstream. */
  readonly requests: number;
  readonly priceVersion: string | null;
  /** Usage by class, one line of JSON. */
  readonly usage: string;
  /** All other facts of the ending, one line of JSON. */
  readonly record: string;
};

export type Settled = {
  readonly outcome: "settled" | "corrected" | "repeated" | "missing";
  readonly overagePicousd: bigint;
};

const STATEMENT = `select * from tollgate_settle(${Array.from({ length: 10 }, (_, i) => `$${i + 1}`).join(", ")})`;

export async function settle(sql: Queryable, batch: readonly Settlement[]): Promise<Settled[]> {
  const column = (read: (each: Settlement) => string | number | bigint | null) =>
    arrayLiteral(batch.map(read));
  const rows = await sql.unsafe(
    STATEMENT,
    [
      column((each) => each.tenantId),
      column((each) => each.attemptId),
      column((each) => each.ending),
      column((each) => each.basis),
      column((each) => each.costPicousd),
      column((each) => each.tokens),
      column((each) => each.requests),
      column((each) => each.priceVersion),
      batch.map((each) => each.usage).join("\n"),
      batch.map((each) => each.record).join("\n"),
    ],
    { prepare: true },
  );
  assert(rows.length === batch.length, "the settling answers every settlement once");
  const settled: Settled[] = [];
  for (const row of rows) {
    const { outcome } = row;
    assert(
      outcome === "settled" ||
        outcome === "corrected" ||
        outcome === "repeated" ||
        outcome === "missing",
      "a known outcome",
    );
    settled[Number(row["ask"]) - 1] = { outcome, overagePicousd: BigInt(String(row["overage"])) };
  }
  return settled;
}

const MARK_STATEMENT = `
  with lost as (
    select r.tenant_id, r.attempt_id
    from reservations r
    where (r.tenant_id, r.attempt_id) in (select * from unnest($1::text::text[], $2::text::text[]))
      and r.state = 'open'
    order by r.tenant_id, r.attempt_id
    for update
  ), marked as (
    update reservations r set state = 'unknown', unknown_at = tollgate_now()
    from lost where r.tenant_id = lost.tenant_id and r.attempt_id = lost.attempt_id
    returning 1
  )
  select count(*)::int as marked from marked`;

/**
 * Marks attempts whose outcome their owner cannot tell: the money they hold stays held. Answers how many
 * it marked; what is unknown or has ended already is left as it is, so a repeat is harmless.
 */
export async function markUnknown(sql: Sql, attempts: readonly AttemptRef[]): Promise<number> {
  const rows = await sql.unsafe(
    MARK_STATEMENT,
    [
      arrayLiteral(attempts.map((each) => each.tenantId)),
      arrayLiteral(attempts.map((each) => each.attemptId)),
    ],
    { prepare: true },
  );
  return Number(rows[0]?.["marked"]);
}

/** Records that the clients of these attempts have left; what has ended meanwhile is left as it is. */
export async function markLeft(sql: Sql, attempts: readonly AttemptRef[]): Promise<void> {
  await sql.unsafe(
    `update reservations r set left_at = tollgate_now()
     from (
       select r.tenant_id, r.attempt_id from reservations r
       where (r.tenant_id, r.attempt_id) in (select * from unnest($1::text::text[], $2::text::text[]))
         and r.state = 'open' and r.left_at is null
       order by r.tenant_id, r.attempt_id
       for update
     ) as l
     where r.tenant_id = l.tenant_id and r.attempt_id = l.attempt_id`,
    [
      arrayLiteral(attempts.map((each) => each.tenantId)),
      arrayLiteral(attempts.map((each) => each.attemptId)),
    ],
    { prepare: true },
  );
}

/** Gives back the room in flight of unknown attempts of any tenant. Answers how many gave back. */
export async function giveBack(sql: Sql, most: number): Promise<number> {
  const rows = await sql.unsafe("select tollgate_give_back($1) as given", [most], {
    prepare: true,
  });
  return Number(rows[0]?.["given"]);
}

/** Marks reservations that nobody will settle, of any tenant: the sweep's own query. Answers how many. */
export async function expire(sql: Sql, leaseMs: number, most: number): Promise<number> {
  const rows = await sql`
    select tollgate_expire(${leaseMs} * interval '1 millisecond', ${most}) as expired`;
  return Number(rows[0]?.["expired"]);
}

export type Presumable = {
  readonly tenantId: string;
  readonly attemptId: string;
  readonly costPicousd: bigint | null;
  readonly tokens: number;
  readonly priceVersion: string | null;
};

/**
 * Attempts, of any tenant, that have been unknown for longer than the grace: to be charged in full. Takes
 * no lock: whoever reads the same rows at the same time settles them again, which changes nothing.
 */
export async function presumable(sql: Sql, graceMs: number, most: number): Promise<Presumable[]> {
  const rows = await sql`
    select r.tenant_id, r.attempt_id, r.cost_picousd, r.tokens, d.price_version
    from reservations r
    join decisions d on d.tenant_id = r.tenant_id and d.attempt_id = r.attempt_id
    where r.state = 'unknown' and r.unknown_at < tollgate_now() - ${graceMs} * interval '1 millisecond'
    order by r.tenant_id, r.attempt_id limit ${most}`;
  return rows.map((row) => ({
    tenantId: String(row["tenant_id"]),
    attemptId: String(row["attempt_id"]),
    costPicousd: row["cost_picousd"] === null ? null : BigInt(String(row["cost_picousd"])),
    tokens: Number(row["tokens"]),
    priceVersion: row["price_version"] === null ? null : String(row["price_version"]),
  }));
}

/** Reservations by state, across tenants: a metric of the installation. */
export async function countReservations(sql: Sql): Promise<{ open: number; unknown: number }> {
  const [row] = await sql`
    select count(*) filter (where state = 'open')::int as open,
           count(*) filter (where state = 'unknown')::int as unknown
    from reservations`;
  return { open: Number(row?.["open"]), unknown: Number(row?.["unknown"]) };
}
