/**
 * Outcomes: what is known when one is told, and the rows that are written of it.
 *
 * Two unique indexes arbitrate what must not race: an identity begins once, and an outcome is superseded
 * once. A row that meets another's is left out and not an error: whoever wrote it looks again.
 */
import type {
  HeldOutcome,
  OutcomeFacts,
  OutcomeIdentity,
  OutcomeStatus,
  OutcomeSubject,
  ToldOutcome,
} from "../core/outcome.ts";
import { OUTCOMES_OF_A_SUBJECT_MAX } from "../core/limits-finance.ts";
import { OUTCOME_STATUSES } from "../core/outcome.ts";
import { assert } from "../lib/assert.ts";
import type { Page, Queryable } from "./events.ts";

type LookRow = {
  readonly now: Date;
  readonly isSubjectKnown: boolean;
  readonly isTypeDeclared: boolean;
  readonly begun: number;
  readonly outcomeId: string | null;
  readonly rootId: string;
  readonly supersedes: string | null;
  readonly status: string;
  readonly valuePicousd: string | null;
  readonly weight: number;
  readonly evidence: string;
  readonly occurredAt: Date;
};

/**
 * What is known of each identity, in the order in which they are asked for. An operation is known by the
 * effects that were claimed of it, by the roll-ups, and by what is not rolled up yet: in flight, settled or
 * refused since.
 *
 * The limits of one row keep the planner from joining whole tables where nobody has analysed them yet: 200
 * identities among 200 outcomes then took more than 15 s.
 */
export async function lookOutcomes(
  sql: Queryable,
  tenantId: string,
  identities: readonly OutcomeIdentity[],
): Promise<readonly OutcomeFacts[]> {
  const rows = await sql<LookRow[]>`
    with wanted as (
      select w.* from json_to_recordset(${wantedText(identities)}::text::json)
        as w(n int, kind text, subject text, type text, key text)
    ), recent as materialized (
      ${recentOperations(sql, tenantId)}
    ), subject as (
      select s.kind, s.subject, case s.kind
        when 'run' then
          exists (select from runs r where r.tenant_id = ${tenantId} and r.run_id = s.subject)
          or exists (select from decisions d where d.tenant_id = ${tenantId} and d.run_id = s.subject)
        else
          exists (select from operation_runs p where p.tenant_id = ${tenantId} and p.operation = s.subject)
          or exists (
            select from effects e where e.tenant_id = ${tenantId}
              and e.operation_type = split_part(s.subject, ':', 1)
              and e.operation_key = substr(s.subject, position(':' in s.subject) + 1))
          or exists (select from recent n where n.operation = s.subject)
        end as is_known, (
          select count(*)::int from (
            select from outcomes b
            where b.tenant_id = ${tenantId} and b.subject_kind = s.kind and b.subject = s.subject
              and b.supersedes is null
            limit ${OUTCOMES_OF_A_SUBJECT_MAX}
          ) as begun
        ) as begun
      from (select distinct kind, subject from wanted) as s
    )
    select tollgate_now() as now, s.is_known as "isSubjectKnown", s.begun,
           exists (select from outcome_types t where t.tenant_id = ${tenantId} and t.name = w.type
                     and t.removed_at is null) as "isTypeDeclared",
           h.outcome_id as "outcomeId", h.root_id as "rootId", h.supersedes, h.status,
           h.value_picousd::text as "valuePicousd", h.weight, h.evidence, h.occurred_at as "occurredAt"
    from wanted w
    join subject s on s.kind = w.kind and s.subject = w.subject
    left join lateral (
      select f.outcome_id from outcomes f
      where f.tenant_id = ${tenantId} and f.subject_kind = w.kind and f.subject = w.subject
        and f.type = w.type and f.key = w.key and f.supersedes is null
      limit 1
    ) as root on true
    left join lateral (
      select l.* from outcomes l
      where l.tenant_id = ${tenantId} and l.root_id = root.outcome_id
        and not exists (select from outcomes n where n.tenant_id = l.tenant_id and n.supersedes = l.outcome_id)
      limit 1
    ) as h on true
    order by w.n`;
  assert(rows.length === identities.length, "each identity is looked at");
  return rows.map((row) => ({
    now: row.now,
    isSubjectKnown: row.isSubjectKnown,
    isTypeDeclared: row.isTypeDeclared,
    begun: row.begun,
    held: row.outcomeId === null ? null : heldFrom({ ...row, outcomeId: row.outcomeId }),
  }));
}

/** The operations that calls named which no roll-up knows of yet. */
function recentOperations(sql: Queryable, tenantId: string) {
  return sql`
    select distinct d.record->'context'->>'operation' as operation
    from (
      select s.attempt_id from settlements s
      where s.posted_in >= (select rolled_up_to from roll_up_state) and s.tenant_id = ${tenantId}
      union all
      select r.attempt_id from decisions r
      where r.posted_in >= (select rolled_up_to from roll_up_state) and r.verdict <> 'allow'
        and r.tenant_id = ${tenantId}
      union all
      select o.attempt_id from reservations o where o.tenant_id = ${tenantId}
    ) as p
    join decisions d on d.tenant_id = ${tenantId} and d.attempt_id = p.attempt_id`;
}

function wantedText(identities: readonly OutcomeIdentity[]): string {
  return JSON.stringify(
    identities.map(({ subject: { kind, name }, type, key }, n) => {
      return { n, kind, subject: name, type, key };
    }),
  );
}

export type NewOutcome = ToldOutcome & {
  readonly outcomeId: string;
  readonly rootId: string;
  readonly recordedBy: string;
};

/** Writes them, and answers the ids of those that met no other. Given in one order by everybody. */
export async function insertOutcomes(
  sql: Queryable,
  tenantId: string,
  outcomes: readonly NewOutcome[],
): Promise<ReadonlySet<string>> {
  const given = outcomes.map((outcome) => ({
    id: outcome.outcomeId,
    root: outcome.rootId,
    supersedes: outcome.supersedes,
    type: outcome.type,
    kind: outcome.subject.kind,
    subject: outcome.subject.name,
    key: outcome.key,
    status: outcome.status,
    value: outcome.valuePicousd === null ? null : outcome.valuePicousd.toString(),
    weight: outcome.weight,
    evidence: outcome.evidence,
    at: outcome.occurredAt?.toISOString() ?? null,
    by: outcome.recordedBy,
  }));
  const rows = await sql<{ readonly outcomeId: string }[]>`
    insert into outcomes (tenant_id, outcome_id, root_id, supersedes, type, subject_kind, subject, key, status,
                          value_picousd, weight, evidence, occurred_at, recorded_by)
    select ${tenantId}, g.id, g.root, g.supersedes, g.type, g.kind, g.subject, g.key, g.status, g.value, g.weight,
           g.evidence, coalesce(g.at, tollgate_now()), g.by
    from json_to_recordset(${JSON.stringify(given)}::text::json)
      as g(id text, root text, supersedes text, type text, kind text, subject text, key text, status text,
           value numeric, weight smallint, evidence text, at timestamptz, by text)
    on conflict do nothing
    returning outcome_id as "outcomeId"`;
  return new Set(rows.map(({ outcomeId }) => outcomeId));
}

export type OutcomeRecord = HeldOutcome & {
  readonly subject: OutcomeSubject;
  readonly type: string;
  readonly key: string;
  readonly supersededBy: string | null;
  readonly recordedAt: Date;
  readonly recordedBy: string;
};

/** Null: whatever it is. From the first moment to before the second, by when they occurred. */
export type OutcomeFilter = {
  readonly subject: OutcomeSubject | null;
  readonly type: string | null;
  readonly status: OutcomeStatus | null;
  readonly from: Date | null;
  readonly to: Date | null;
};

type Row = LookRow & {
  readonly outcomeId: string;
  readonly subjectKind: "run" | "operation";
  readonly subject: string;
  readonly type: string;
  readonly key: string;
  readonly supersededBy: string | null;
  readonly recordedAt: Date;
  readonly recordedBy: string;
};

export async function findOutcome(
  sql: Queryable,
  tenantId: string,
  outcomeId: string,
): Promise<OutcomeRecord | null> {
  const [row] = await sql<Row[]>`
    select ${columns(sql)} from outcomes o
    where o.tenant_id = ${tenantId} and o.outcome_id = ${outcomeId}`;
  return row === undefined ? null : recordFrom(row);
}

/** Newest first, those that were superseded among them. */
export async function listOutcomes(
  sql: Queryable,
  tenantId: string,
  { subject, type, status, from, to, after, rows: limit }: OutcomeFilter & Page,
): Promise<readonly OutcomeRecord[]> {
  const rows = await sql<Row[]>`
    select ${columns(sql)} from outcomes o
    where o.tenant_id = ${tenantId}
      ${
        subject === null
          ? sql``
          : sql`and o.root_id in (
              select f.outcome_id from outcomes f
              where f.tenant_id = ${tenantId} and f.subject_kind = ${subject.kind}
                and f.subject = ${subject.name} and f.supersedes is null)`
      }
      ${type === null ? sql`` : sql`and o.type = ${type}`}
      ${status === null ? sql`` : sql`and o.status = ${status}`}
      ${from === null ? sql`` : sql`and o.occurred_at >= ${from.toISOString()}::text::timestamptz`}
      ${to === null ? sql`` : sql`and o.occurred_at < ${to.toISOString()}::text::timestamptz`}
      ${after === null ? sql`` : sql`and o.outcome_id < ${after}`}
    order by o.outcome_id desc
    limit ${limit}`;
  return rows.map(recordFrom);
}

function columns(sql: Queryable) {
  return sql`
    o.outcome_id as "outcomeId", o.root_id as "rootId", o.supersedes, o.type, o.subject_kind as "subjectKind",
    o.subject, o.key, o.status, o.value_picousd::text as "valuePicousd", o.weight, o.evidence,
    o.occurred_at as "occurredAt", o.recorded_at as "recordedAt", o.recorded_by as "recordedBy",
    (select n.outcome_id from outcomes n where n.tenant_id = o.tenant_id and n.supersedes = o.outcome_id)
      as "supersededBy"`;
}

function heldFrom(row: Omit<LookRow, "outcomeId"> & { readonly outcomeId: string }): HeldOutcome {
  const status = OUTCOME_STATUSES.find((known) => known === row.status);
  assert(status !== undefined, "an outcome's status is known");
  const { outcomeId, rootId, supersedes, valuePicousd, weight, evidence, occurredAt } = row;
  const value = valuePicousd === null ? null : BigInt(valuePicousd);
  return {
    outcomeId,
    rootId,
    supersedes,
    status,
    valuePicousd: value,
    weight,
    evidence,
    occurredAt,
  };
}

function recordFrom(row: Row): OutcomeRecord {
  const { subjectKind, subject, type, key, supersededBy, recordedAt, recordedBy } = row;
  const of = { subject: { kind: subjectKind, name: subject }, type, key };
  return { ...heldFrom(row), ...of, supersededBy, recordedAt, recordedBy };
}
