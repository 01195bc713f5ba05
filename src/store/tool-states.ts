/** Tools as operators look for them: what is declared beside what servers list, also where only one of the two is. */
import type { ToolsOf, ToolState } from "../core/tool.ts";
import type { Page, Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";
import { toolColumns, toolRecordFrom, type ToolRecord, type ToolRow } from "./tools.ts";

export type StandingTool = {
  readonly name: string;
  readonly state: ToolState;
  /** Null: nobody declared it. */
  readonly declared: ToolRecord | null;
  /** As its server lists it now; null: no server does. */
  readonly listed: { readonly sha256: string; readonly since: Date } | null;
};

type Row = Omit<ToolRow, "name"> & {
  readonly name: string | null;
  readonly called: string;
  readonly state: ToolState;
  readonly sha256: string | null;
  readonly since: Date | null;
};

/** By name, at most so many. */
export async function listStandingTools(
  sql: Queryable,
  of: ToolsOf,
  page: Page & { readonly state: ToolState | null },
): Promise<readonly StandingTool[]> {
  const rows = await sql<Row[]>`
    select * from (${standing(sql, of)}) s
    where true
      ${page.after === null ? sql`` : sql`and called collate "C" > ${page.after}`}
      ${page.state === null ? sql`` : sql`and state = ${page.state}`}
    order by called collate "C"
    limit ${page.rows}`;
  return rows.map(standingFrom);
}

export async function findStandingTool(
  sql: Queryable,
  of: ToolsOf,
  name: string,
): Promise<StandingTool | null> {
  const [row] = await sql<Row[]>`
    select * from (${standing(sql, of)}) s where called collate "C" = ${name}`;
  return row === undefined ? null : standingFrom(row);
}

function standing(sql: Queryable, { tenantId, servers }: ToolsOf) {
  const names = arrayLiteral(servers.map(({ name }) => name));
  const observing = arrayLiteral(
    servers.filter((server) => server.observesUndeclared).map(({ name }) => name),
  );
  return sql`
    select ${toolColumns(sql)}, coalesce(name, listed_name) as called, sha256, since,
           case when sha256 is null and definition_sha256 is null then 'own'
                when sha256 is null then 'not_listed'
                when definition_sha256 is null and server = any (${observing}::text::text[]) then 'observed'
                when definition_sha256 is null then 'undeclared'
                when sha256 = definition_sha256 then 'callable'
                else 'quarantined' end as state
    from (select * from tools where tenant_id = ${tenantId} and removed_at is null) t
    full join (
      select server, server || '/' || tool as listed_name, sha256, since from tool_catalogue
      where tenant_id = ${tenantId} and gone_at is null and server = any (${names}::text::text[])
    ) l on l.listed_name = t.name`;
}

function standingFrom(row: Row): StandingTool {
  const { name, called, state, sha256, since } = row;
  return {
    name: called,
    state,
    declared: name === null ? null : toolRecordFrom({ ...row, name }),
    listed: sha256 === null || since === null ? null : { sha256, since },
  };
}
