/** Decisions with the ending of their attempt: reservation and settlement beside the record. */
import type { Page, Queryable } from "./events.ts";

export type DecisionRow = {
  readonly attemptId: string;
  readonly keyId: string;
  readonly runId: string;
  readonly stepId: string | null;
  readonly attempt: number;
  /** Whether its step is one at all: it may be derived from the content. */
  readonly isStep: boolean;
  /** As `tollgate_post` wrote it: read with `retryFrom`. */
  readonly retry: unknown;
  readonly door: string;
  readonly operation: string;
  readonly resource: string;
  readonly upstream: string | null;
  readonly model: string | null;
  readonly verdict: "allow" | "block" | "require_approval";
  readonly reason: string | null;
  readonly decidedAt: Date;
  readonly estimatePicousd: string | null;
  readonly priceVersion: string | null;
  /** What the reservation still holds; null when there is none, or no price was known. */
  readonly reservation: "open" | "unknown" | null;
  readonly heldPicousd: string | null;
  readonly deadlineAt: Date | null;
  readonly unknownAt: Date | null;
  /** The last line of the settlement says how the attempt ended; null while it has not. */
  readonly ending: string | null;
  readonly basis: string | null;
  readonly usage: Readonly<Record<string, number>> | null;
  readonly settledPriceVersion: string | null;
  readonly settledAt: Date | null;
  readonly corrected: boolean;
  /** Sums over the lines; the cost is null when no price was known. */
  readonly costPicousd: string | null;
  readonly overagePicousd: string | null;
  readonly tokens: string | null;
  /** What the provider says that it cost; a decimal of dollars, to any digit. */
  readonly providerCostUsd: string | null;
};

/** What only one decision at a time is asked for: both documents may be long. */
export type DecisionDetail = DecisionRow & {
  /** As `tollgate_post` wrote it: read with `metersFrom`. */
  readonly meters: string;
  readonly record: unknown;
  readonly endingRecord: unknown;
  /** Σ of its adjustments, which no settlement holds; decimal digits, null: there are none. */
  readonly adjustedPicousd: string | null;
  readonly approvalId: string | null;
};

/** One run's attempts in the order of their decisions; `after` is the last attempt of the page before. */
export async function listRunAttempts(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly run: string },
): Promise<readonly DecisionRow[]> {
  return await sql<DecisionRow[]>`
    select ${columns(sql)} from decisions d ${ending(sql)}
    where d.tenant_id = ${tenantId} and d.run_id = ${page.run}
      ${
        page.after === null
          ? sql``
          : sql`and (d.decided_at, d.attempt_id) > (
              select decided_at, attempt_id from decisions
              where tenant_id = ${tenantId} and attempt_id = ${page.after})`
      }
    order by d.decided_at, d.attempt_id
    limit ${page.rows}`;
}

/** The same attempts, each with all that is recorded of it. */
export async function listRunDetails(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly run: string },
): Promise<readonly DecisionDetail[]> {
  return await sql<DecisionDetail[]>`
    select ${columns(sql)}, d.meters::text as meters, d.record, s.record as "endingRecord",
           d.approval_id as "approvalId", ${adjusted(sql)}
    from decisions d ${ending(sql)}
    where d.tenant_id = ${tenantId} and d.run_id = ${page.run}
      ${page.after === null ? sql`` : sql`and d.attempt_id > ${page.after}`}
    order by d.attempt_id
    limit ${page.rows}`;
}

/** Newest first, of one run or of all. */
export async function listDecisions(
  sql: Queryable,
  tenantId: string,
  page: Page & { readonly run: string | null; readonly verdict: DecisionRow["verdict"] | null },
): Promise<readonly DecisionRow[]> {
  return await sql<DecisionRow[]>`
    select ${columns(sql)} from decisions d ${ending(sql)}
    where d.tenant_id = ${tenantId}
      ${page.run === null ? sql`` : sql`and d.run_id = ${page.run}`}
      ${page.verdict === null ? sql`` : sql`and d.verdict = ${page.verdict}`}
      ${page.after === null ? sql`` : sql`and d.attempt_id < ${page.after}`}
    order by d.attempt_id desc
    limit ${page.rows}`;
}

export async function findDecision(
  sql: Queryable,
  tenantId: string,
  attemptId: string,
): Promise<DecisionDetail | null> {
  const [row] = await sql<DecisionDetail[]>`
    select ${columns(sql)}, d.meters::text as meters, d.record, s.record as "endingRecord",
           d.approval_id as "approvalId", ${adjusted(sql)}
    from decisions d ${ending(sql)}
    where d.tenant_id = ${tenantId} and d.attempt_id = ${attemptId}`;
  return row ?? null;
}

function adjusted(sql: Queryable) {
  return sql`
    (select sum(a.amount_picousd)::text from adjustments a
     where a.tenant_id = d.tenant_id and a.run_id = d.run_id and a.attempt_id = d.attempt_id)
    as "adjustedPicousd"`;
}

function columns(sql: Queryable) {
  return sql`
    d.attempt_id as "attemptId", d.key_id as "keyId", d.run_id as "runId", d.step_id as "stepId",
    d.attempt, d.step_digest is not null as "isStep", d.retry, d.door, d.operation, d.resource, d.upstream, d.model, d.verdict, d.reason,
    d.decided_at as "decidedAt", d.estimate_picousd as "estimatePicousd",
    d.price_version as "priceVersion", r.state as reservation, r.cost_picousd as "heldPicousd",
    r.deadline_at as "deadlineAt", r.unknown_at as "unknownAt", s.ending, s.basis, s.usage,
    s.price_version as "settledPriceVersion", s.settled_at as "settledAt",
    coalesce(s.line = 1, false) as corrected, sums.cost as "costPicousd",
    sums.overage as "overagePicousd", sums.tokens::text as tokens,
    s.record ->> 'provider_cost_usd' as "providerCostUsd"`;
}

/** The last line of a settlement, the sums over its lines, and the reservation that holds until then. */
function ending(sql: Queryable) {
  return sql`
    left join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
    left join lateral (
      select line, settlements.ending, basis, usage, price_version, settled_at, record
      from settlements
      where tenant_id = d.tenant_id and attempt_id = d.attempt_id
      order by line desc limit 1
    ) as s on true
    left join lateral (
      select sum(cost_picousd)::text as cost, max(overage_picousd)::text as overage,
             sum(tokens) as tokens
      from settlements where tenant_id = d.tenant_id and attempt_id = d.attempt_id
    ) as sums on true`;
}
