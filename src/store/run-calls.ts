/** What models asked for in a run, and what was asked of tools, in the order of the decisions. */
import type { Queryable } from "./events.ts";

export type RunCallRow = {
  readonly attemptId: string;
  readonly decidedAt: Date;
  /** Of a call to a tool; null of a proposal. */
  readonly resource: string | null;
  readonly inputDigest: string | null;
  readonly isAdmitted: boolean;
  /** The attempt that it is a retry of. */
  readonly retryOf: string | null;
  /** Of a proposal, as its settlement records it. */
  readonly id: string | null;
  readonly name: string | null;
  readonly argumentsDigest: string | null;
};

/** Proposals of one answer come in its order, behind one another. */
export async function listRunCalls(
  sql: Queryable,
  tenantId: string,
  { runId, rows }: { readonly runId: string; readonly rows: number },
): Promise<readonly RunCallRow[]> {
  return await sql<RunCallRow[]>`
    select attempt_id as "attemptId", decided_at as "decidedAt", resource, digest as "inputDigest",
           admitted as "isAdmitted", prior as "retryOf", id, name, arguments as "argumentsDigest"
    from (
      select attempt_id, decided_at, 0 as place, resource, record ->> 'input_sha256' as digest,
             verdict = 'allow' as admitted, retry ->> 'prior_attempt' as prior, null as id, null as name, null as arguments
      from decisions
      where tenant_id = ${tenantId} and run_id = ${runId} and door in ('tool', 'step')
        and operation = 'execute_tool'
      union all
      select d.attempt_id, d.decided_at, call.place, null, null, true, null, call.told ->> 'id',
             call.told ->> 'name', call.told ->> 'arguments_sha256'
      from decisions d
      cross join lateral (
        select record -> 'tool_calls' as calls from settlements
        where tenant_id = d.tenant_id and attempt_id = d.attempt_id
        order by line desc limit 1
      ) as last
      cross join lateral json_array_elements(last.calls) with ordinality as call(told, place)
      where d.tenant_id = ${tenantId} and d.run_id = ${runId} and d.door = 'model'
    ) as calls
    order by decided_at, attempt_id, place
    limit ${rows}`;
}
