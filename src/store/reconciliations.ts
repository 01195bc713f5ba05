/** What the ledger says against an invoice: the roll-ups by UTC day and model, and what was reconciled before. */
import type { Figure } from "../core/invoice.ts";
import type { Page, Queryable } from "./events.ts";
import { leastAttemptId, SLACK_MS } from "./usage.ts";

/** Null: of all tenants, for they share the account that an upstream's key belongs to. */
export type Whose = string | null;

/** `tokens`: all of them, where nobody told which they were the most that they can have been. */
export type PostedFigures = Readonly<Record<Figure | "tokens", string>>;

export type PostedRow = {
  readonly day: string;
  readonly model: string;
  readonly basis: string;
  readonly hasSucceeded: boolean;
  /** Added, and taken back by corrections, as digits. */
  readonly added: PostedFigures;
  readonly back: PostedFigures;
};

export type Asked = {
  readonly whose: Whose;
  readonly upstream: string;
  /** Of UTC, the last one excluded. */
  readonly from: string;
  readonly to: string;
  readonly rows: number;
};

/** Attempts that were never sent are not in it: no provider knows of them. */
export async function sumPosted(
  sql: Queryable,
  { whose, upstream, from, to, rows }: Asked,
): Promise<readonly PostedRow[]> {
  // Across tenants where none is named: the installation's own key asks so.
  return await sql<PostedRow[]>`
    with cells as (
      select c.tenant_id, c.dimension_id, date_trunc('day', c.bucket, 'UTC') as day,
             ${sums(sql, sql`greatest`)} as added, ${sums(sql, sql`least`)} as back
      from (
        select t.tenant_id from tenants t
        where ${whose === null ? sql`true` : sql`t.tenant_id = ${whose}`}
      ) as owner
      cross join lateral (
        select c.* from cost_cells c
        where c.tenant_id = owner.tenant_id and c.bucket >= ${`${from}T00:00:00Z`}::text::timestamptz
          and c.bucket < ${`${to}T00:00:00Z`}::text::timestamptz offset 0
      ) as c
      group by 1, 2, 3
    )
    select to_char(c.day at time zone 'UTC', 'YYYY-MM-DD') as day, d.model, d.basis,
           d.ending = 'succeeded' as "hasSucceeded",
           ${added(sql, sql`c.added`)} as added, ${added(sql, sql`c.back`)} as back
    from cells c
    cross join lateral (
      select d.model, d.basis, d.ending from cost_dimensions d
      where d.tenant_id = c.tenant_id and d.dimension_id = c.dimension_id and d.upstream = ${upstream}
        and d.model <> '' and d.ending not in ('blocked', 'released', 'adjusted') offset 0
    ) as d
    group by 1, 2, 3, 4
    order by 1, 2, 3, 4
    limit ${rows}`;
}

/** The cells' figures in the order of `FIGURES`, and all tokens. */
function sums(sql: Queryable, part: ReturnType<Queryable>) {
  return sql`array[
    sum(${part}(c.attempts, 0)), sum(${part}(c.input_tokens, 0)), sum(${part}(c.cached_tokens, 0)),
    sum(${part}(c.output_tokens, 0)), sum(${part}(c.cost_picousd, 0)),
    sum(${part}(c.tokens, 0))]`;
}

function added(sql: Queryable, figures: ReturnType<Queryable>) {
  return sql`json_build_object(
    'requests', sum(${figures}[1])::text, 'input', sum(${figures}[2])::text, 'cached', sum(${figures}[3])::text,
    'output', sum(${figures}[4])::text, 'cost', sum(${figures}[5])::text, 'tokens', sum(${figures}[6])::text)`;
}

export type CrossingRow = {
  readonly model: string;
  readonly figures: Readonly<Record<Figure, string>>;
};

/** What was decided in the time before a midnight and settled behind it, by model. */
export async function sumCrossing(
  sql: Queryable,
  { whose, upstream }: Pick<Asked, "whose" | "upstream">,
  { midnight, beforeMs }: { readonly midnight: Date; readonly beforeMs: number },
): Promise<readonly CrossingRow[]> {
  const from = leastAttemptId(midnight.getTime() - beforeMs - SLACK_MS);
  const to = leastAttemptId(midnight.getTime() + SLACK_MS);
  const at = midnight.toISOString();
  // Across tenants where none is named: the installation's own key asks so.
  return await sql<CrossingRow[]>`
    select d.model, json_build_object(
             'requests', count(*)::text,
             'input', coalesce(sum(${units(sql, INPUT)}), 0)::text,
             'cached', coalesce(sum(coalesce(u.cache_read, 0)), 0)::text,
             'output', coalesce(sum(${units(sql, OUTPUT)}), 0)::text,
             'cost', coalesce(sum(s.cost_picousd), 0)::text) as figures
    from (
      select t.tenant_id from tenants t
      where ${whose === null ? sql`true` : sql`t.tenant_id = ${whose}`}
    ) as owner
    cross join lateral (
      select d.tenant_id, d.attempt_id, d.model from decisions d
      where d.tenant_id = owner.tenant_id and d.attempt_id >= ${from} and d.attempt_id < ${to}
        and d.decided_at >= ${at}::text::timestamptz - ${beforeMs}::int * interval '1 ms'
        and d.decided_at < ${at}::text::timestamptz
        and d.upstream = ${upstream} and d.model <> '' and d.verdict = 'allow' offset 0
    ) as d
    cross join lateral (
      select s.usage, s.cost_picousd from settlements s
      where s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id and s.line = 0
        and s.settled_at >= ${at}::text::timestamptz and s.ending <> 'released' offset 0
    ) as s
    cross join lateral json_to_record(s.usage)
      as u(input bigint, cache_read bigint, cache_write_5m bigint, cache_write_1h bigint, audio_input bigint,
           image_input bigint, output bigint, reasoning bigint, audio_output bigint, image_output bigint)
    group by d.model`;
}

/** The classes of usage that each side of a call is made of, as the roll-ups add them up. */
const INPUT = [
  "input",
  "cache_read",
  "cache_write_5m",
  "cache_write_1h",
  "audio_input",
  "image_input",
];
const OUTPUT = ["output", "reasoning", "audio_output", "image_output"];

function units(sql: Queryable, classes: readonly string[]) {
  return sql.unsafe(classes.map((name) => `coalesce(u.${name}, 0)`).join(" + "));
}

export type ReconciliationRow = {
  readonly reconciliationId: string;
  readonly upstream: string;
  readonly provider: string;
  readonly from: string;
  readonly to: string;
  readonly state: "reconciled" | "differs";
  readonly summary: unknown;
  readonly recordedBy: string;
  readonly recordedAt: Date;
};

export async function insertReconciliation(
  tx: Queryable,
  row: Omit<ReconciliationRow, "recordedAt" | "summary"> & {
    readonly whose: Whose;
    readonly summary: object;
  },
): Promise<void> {
  await tx`
    insert into reconciliations (tenant_id, reconciliation_id, upstream, provider, from_day, to_day, state, summary,
                                 recorded_by)
    values (${row.whose ?? ""}, ${row.reconciliationId}, ${row.upstream}, ${row.provider}, ${row.from}::text::date,
            ${row.to}::text::date, ${row.state}, ${JSON.stringify(row.summary)}::text::json, ${row.recordedBy})`;
}

/** Newest first; those of the whole installation where no tenant is named. */
export async function listReconciliations(
  sql: Queryable,
  whose: Whose,
  page: Page,
): Promise<readonly ReconciliationRow[]> {
  return await sql<ReconciliationRow[]>`
    select ${columns(sql)} from reconciliations
    where tenant_id = ${whose ?? ""}
      ${page.after === null ? sql`` : sql`and reconciliation_id < ${page.after}`}
    order by reconciliation_id desc
    limit ${page.rows}`;
}

export type ComparedDays = Pick<ReconciliationRow, "upstream" | "from" | "to" | "state"> & {
  /** Null: it did not say which of its days have a line that is not explained. */
  readonly daysNotExplained: readonly string[] | null;
};

/**
 * Newest first: those of the tenant and of the whole installation that tell of any of these days. `before`: those
 * that were recorded by then, which stay the same ever after; null: all.
 */
export async function reconciliationsWithin(
  sql: Queryable,
  whose: Whose,
  period: {
    readonly from: string;
    readonly to: string;
    readonly before: Date | null;
    readonly rows: number;
  },
): Promise<readonly ComparedDays[]> {
  const { before } = period;
  return await sql<ComparedDays[]>`
    select upstream, from_day::text as "from", to_day::text as "to", state,
           summary->'days_not_explained' as "daysNotExplained"
    from reconciliations
    where tenant_id in (${whose ?? ""}, '') and from_day < ${period.to}::text::date
      and to_day > ${period.from}::text::date
      ${before === null ? sql`` : sql`and recorded_at < ${before.toISOString()}::text::timestamptz`}
    order by reconciliation_id desc
    limit ${period.rows}`;
}

export type UsedDay = { readonly day: string; readonly upstream: string };

/** On which days of UTC models of which upstreams were used: what a provider's invoice can tell of. */
export async function listUsedDays(
  sql: Queryable,
  tenantId: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<readonly UsedDay[]> {
  return await sql<UsedDay[]>`
    select distinct to_char(c.utc_day at time zone 'UTC', 'YYYY-MM-DD') as day, d.upstream
    from (
      select c.utc_day, c.dimension_id from cost_days c
      where c.tenant_id = ${tenantId} and c.utc_day >= ${`${from}T00:00:00Z`}::text::timestamptz
        and c.utc_day < ${`${to}T00:00:00Z`}::text::timestamptz offset 0
    ) as c
    join cost_dimensions d on d.tenant_id = ${tenantId} and d.dimension_id = c.dimension_id
    where d.model <> '' and d.ending not in ('blocked', 'released', 'adjusted')`;
}

function columns(sql: Queryable) {
  return sql`
    reconciliation_id as "reconciliationId", upstream, provider, from_day::text as "from", to_day::text as "to",
    state, summary, recorded_by as "recordedBy", recorded_at as "recordedAt"`;
}
