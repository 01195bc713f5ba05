/** What MCP servers list of tools, for whom: every definition that was ever seen, and the ones that stand now. */
import type { Queryable } from "./events.ts";
import { arrayLiteral } from "./literal.ts";

/** A tool as its server lists it. */
export type ListedTool = {
  /** Without its server. */
  readonly tool: string;
  /** Of `content`, hex. */
  readonly sha256: string;
  /** The canonical JSON of all that the server told of it. */
  readonly content: string;
};

export type DefinitionRow = ListedTool & {
  readonly server: string;
  readonly firstSeenAt: Date;
  /** It is what the server lists now. */
  readonly isCurrent: boolean;
  /** Definitions of the tool in all. */
  readonly total: number;
};

/** How many definitions of a server were first seen within 24 hours. */
export async function countNewDefinitions(
  sql: Queryable,
  { tenantId, server }: { readonly tenantId: string; readonly server: string },
): Promise<number> {
  const [row] = await sql<{ readonly count: number }[]>`
    select count(*)::int as count from tool_definitions
    where tenant_id = ${tenantId} and server = ${server} and first_seen_at > tollgate_now() - interval '24 hours'`;
  return row?.count ?? 0;
}

/** Records what a server lists now, whole: what it lists no more is gone. One statement; the same again changes nothing. */
export async function recordCatalogue(
  sql: Queryable,
  { tenantId, server }: { readonly tenantId: string; readonly server: string },
  listed: readonly ListedTool[],
): Promise<void> {
  const column = (of: (tool: ListedTool) => string) => arrayLiteral(listed.map(of));
  await sql`
    with listed as (
      select u.tool, u.sha256, u.content
      from unnest(${column(({ tool }) => tool)}::text::text[], ${column(({ sha256 }) => sha256)}::text::text[],
                  ${column(({ content }) => content)}::text::text[]) as u(tool, sha256, content)
    ), defined as (
      insert into tool_definitions (tenant_id, server, tool, sha256, content)
      select ${tenantId}, ${server}, l.tool, l.sha256, l.content from listed l
      on conflict do nothing
    ), current as (
      insert into tool_catalogue as c (tenant_id, server, tool, sha256)
      select ${tenantId}, ${server}, l.tool, l.sha256 from listed l
      on conflict (tenant_id, server, tool) do update
      set sha256 = excluded.sha256, since = excluded.since, gone_at = null
      where c.sha256 <> excluded.sha256 or c.gone_at is not null
    )
    update tool_catalogue c set gone_at = tollgate_now()
    where c.tenant_id = ${tenantId} and c.server = ${server} and c.gone_at is null
      and not exists (select from listed l where l.tool = c.tool)`;
}

/**
 * Definitions of one tool that were ever seen, the newest first: so many, and these whatever their age. `total` of
 * the tool, in each row.
 */
export async function listDefinitions(
  sql: Queryable,
  tenantId: string,
  of: {
    readonly server: string;
    readonly tool: string;
    readonly rows: number;
    readonly always: readonly string[];
  },
): Promise<readonly DefinitionRow[]> {
  return await sql<DefinitionRow[]>`
    select * from (
      select d.server, d.tool, d.sha256, d.content, d.first_seen_at as "firstSeenAt",
             c.sha256 is not null as "isCurrent", (count(*) over ())::int as total,
             row_number() over (order by d.first_seen_at desc, d.sha256) as place
      from tool_definitions d
      left join tool_catalogue c
        on c.tenant_id = d.tenant_id and c.server = d.server and c.tool = d.tool and c.sha256 = d.sha256
           and c.gone_at is null
      where d.tenant_id = ${tenantId} and d.server = ${of.server} and d.tool = ${of.tool}
    ) d
    where place <= ${of.rows} or "isCurrent" or sha256 = any (${arrayLiteral(of.always)}::text::text[])
    order by place`;
}
