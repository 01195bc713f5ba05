/**
 * What was decided of asks whose answer got lost on its way: attempt ids are unique and made here, so
 * the decision itself is the record of a batch, and asking for it again changes nothing.
 */
import { assert } from "../lib/assert.ts";
import { textOrNull } from "../lib/json.ts";
import { REASONS } from "../core/verdict.ts";
import type { Sql } from "./database.ts";
import { arrayLiteral } from "./literal.ts";
import { metersFrom, type Ask, type Posted } from "./posting.ts";
import { retryFrom } from "../core/retry.ts";

const STATEMENT = `
  select u.ord::int as ask, d.verdict, d.reason, d.attempt, d.decided_at, d.meters::text as meters, d.retry,
         d.approval_id,
         r.attempt_id is not null as held
  from unnest($1::text::text[], $2::text::text[]) with ordinality as u(tenant_id, attempt_id, ord)
  join decisions d on d.tenant_id = u.tenant_id and d.attempt_id = u.attempt_id
  left join reservations r
    on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id and r.state = 'open'`;

export type Recorded = {
  readonly posted: Posted;
  /** Allowed, and nobody has given it up meanwhile. */
  readonly isHeld: boolean;
};

/** By the place of the ask; one that is absent has not been recorded. */
export async function recordedOf(
  sql: Sql,
  asks: readonly Ask[],
): Promise<ReadonlyMap<number, Recorded>> {
  const tenants = arrayLiteral(asks.map(({ tenantId }) => tenantId));
  const attempts = arrayLiteral(asks.map(({ attemptId }) => attemptId));
  const rows = await sql.unsafe(STATEMENT, [tenants, attempts], { prepare: true });
  return new Map(rows.map((row) => [Number(row["ask"]) - 1, recordedFrom(row)]));
}

function recordedFrom(row: Readonly<Record<string, unknown>>): Recorded {
  const { verdict, reason, decided_at: decidedAt, held } = row;
  assert(
    verdict === "allow" || verdict === "block" || verdict === "require_approval",
    "a decision's verdict is known",
  );
  assert(decidedAt instanceof Date, "a decision says when");
  const posted: Posted = {
    outcome: verdict,
    reason: REASONS.find((known) => known === reason) ?? null,
    attempt: Number(row["attempt"]),
    decidedAt,
    meters: metersFrom(String(row["meters"])),
    retry: retryFrom(row["retry"]),
    approvalId: textOrNull(row["approval_id"]),
  };
  return { posted, isHeld: held === true };
}
