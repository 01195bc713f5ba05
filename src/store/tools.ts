/** Tools: what an operator declares of each. The gate judges by the replicas' snapshot of them. */
import { picousd } from "../core/money.ts";
import { EFFECT_CLASSES, type Extractor } from "../core/operation.ts";
import {
  ANY_OUTPUT,
  membersOfOutput,
  type Tool,
  type ToolApproval,
  type ToolOutput,
} from "../core/tool.ts";
import { assert } from "../lib/assert.ts";
import { isList, isRecord } from "../lib/json.ts";
import type { Queryable } from "./events.ts";

export type ToolRecord = Tool & { readonly createdAt: Date };

/** A row of `tools`. */
export type ToolRow = {
  readonly name: string;
  readonly effectClass: string;
  readonly pricePicousd: string | null;
  readonly extractor: unknown;
  readonly definition: string | null;
  readonly approval: unknown;
  readonly output: unknown;
  readonly isTrusted: boolean;
  readonly createdAt: Date;
};

/** Declares a tool, or declares it anew. */
export async function putTool(tx: Queryable, tenantId: string, tool: Tool): Promise<void> {
  const { name, effectClass, pricePicousd, definition, isTrusted } = tool;
  const price = pricePicousd === null ? null : pricePicousd.toString();
  await tx`
    insert into tools (tenant_id, name, effect_class, price_picousd, extractor, definition_sha256, approval, output,
                       trusted, created_at)
    values (${tenantId}, ${name}, ${effectClass}, ${price}::text::numeric, ${jsonOrNull(tool.extractor)}::text::json,
            ${definition}, ${jsonOrNull(tool.approval)}::text::json, ${jsonOrNull(membersOfOutput(tool.output))}::text::json,
            ${isTrusted}, tollgate_now())
    on conflict (tenant_id, name) do update
    set effect_class = excluded.effect_class, price_picousd = excluded.price_picousd,
        extractor = excluded.extractor, definition_sha256 = excluded.definition_sha256,
        approval = excluded.approval, output = excluded.output, trusted = excluded.trusted, removed_at = null,
        created_at = case when tools.removed_at is null then tools.created_at
                          else excluded.created_at end`;
}

function jsonOrNull(value: object | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** False when there is no such tool. The row stays, for decisions name it. */
export async function removeTool(tx: Queryable, tenantId: string, name: string): Promise<boolean> {
  const rows = await tx`
    update tools set removed_at = tollgate_now()
    where tenant_id = ${tenantId} and name = ${name} and removed_at is null
    returning name`;
  return rows.length === 1;
}

export async function findTool(
  sql: Queryable,
  tenantId: string,
  name: string,
): Promise<ToolRecord | null> {
  const [row] = await sql<ToolRow[]>`
    select ${toolColumns(sql)} from tools
    where tenant_id = ${tenantId} and name = ${name} and removed_at is null`;
  return row === undefined ? null : toolRecordFrom(row);
}

export async function countTools(sql: Queryable, tenantId: string): Promise<number> {
  const [row] = await sql<{ readonly rows: number }[]>`
    select count(*)::int as rows from tools
    where tenant_id = ${tenantId} and removed_at is null`;
  return row?.rows ?? 0;
}

/** A tool as a row of `tools` or as the snapshot's JSON tells it. */
export function toolFrom(row: {
  readonly name: unknown;
  readonly effectClass: unknown;
  readonly pricePicousd: string | null;
  readonly extractor: unknown;
  readonly definition: unknown;
  readonly approval: unknown;
  readonly output: unknown;
  readonly isTrusted: unknown;
}): Tool {
  const effectClass = EFFECT_CLASSES.find((known) => known === row.effectClass);
  assert(effectClass !== undefined, "a tool's effect class is known");
  return {
    name: String(row.name),
    effectClass,
    pricePicousd: row.pricePicousd === null ? null : picousd(BigInt(row.pricePicousd)),
    extractor: extractorFrom(row.extractor),
    definition: typeof row.definition === "string" ? row.definition : null,
    approval: approvalFrom(row.approval),
    output: outputFrom(row.output),
    isTrusted: row.isTrusted === true,
  };
}

function approvalFrom(value: unknown): ToolApproval | null {
  if (!isRecord(value)) return null;
  const { quorum, role } = value;
  assert(typeof quorum === "number", "an approval has a quorum");
  return { quorum, role: typeof role === "string" ? role : null };
}

function outputFrom(value: unknown): ToolOutput {
  if (!isRecord(value)) return ANY_OUTPUT;
  const most = (name: string) => {
    const limit = value[name];
    return typeof limit === "number" ? limit : null;
  };
  const names = (name: string) => {
    const list = value[name];
    return isList(list) ? list.map(String) : [];
  };
  return {
    bytesMax: most("bytes_max"),
    rowsMax: most("rows_max"),
    block: names("block"),
    redact: names("redact"),
  };
}

function extractorFrom(value: unknown): Extractor | null {
  if (value === null) return null;
  assert(isRecord(value) && isList(value["pointers"]), "an extractor has pointers");
  return {
    type: String(value["type"]),
    pointers: value["pointers"].map(String),
    mode: value["mode"] === "enforce" ? "enforce" : "observe",
  };
}

export function toolRecordFrom(row: ToolRow): ToolRecord {
  return { ...toolFrom(row), createdAt: row.createdAt };
}

export function toolColumns(sql: Queryable) {
  return sql`
    name, effect_class as "effectClass", price_picousd as "pricePicousd", extractor,
    definition_sha256 as definition, approval, output, trusted as "isTrusted", created_at as "createdAt"`;
}
