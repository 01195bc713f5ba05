/** Tools as the API shows them: what is declared of each, what its server lists, and where that is another thing. */
import { parseExactJson } from "../lib/exact-json.ts";
import { parseJson } from "../lib/json.ts";
import { assert } from "../lib/assert.ts";
import { DEFINITIONS_SHOWN_MAX } from "../core/limits-tools.ts";
import { usdOrNull } from "../core/money.ts";
import type { EffectClass, Extractor } from "../core/operation.ts";
import {
  ANY_OUTPUT,
  membersOfOutput,
  partsOfToolName,
  type OutputMembers,
  type ToolApproval,
  type ToolsOf,
  type ToolState,
} from "../core/tool.ts";
import { differenceOf, type Difference } from "../core/tool-definition.ts";
import type { Database } from "../store/database.ts";
import type { Page } from "../store/events.ts";
import { listDefinitions, type DefinitionRow } from "../store/tool-catalogue.ts";
import { findStandingTool, listStandingTools, type StandingTool } from "../store/tool-states.ts";
import { timeOrNull } from "./amounts.ts";
import { pageOf, type Paged } from "./paged.ts";

export type ToolView = {
  readonly name: string;
  readonly tenant: string;
  readonly state: ToolState;
  /** As its server lists it now, and since when; null: no server does. */
  readonly listed: { readonly sha256: string; readonly since: string } | null;
  /** Null: nobody declared it, so it is effectful, and the rest of these members say nothing. */
  readonly effect: EffectClass | null;
  readonly price_usd: string | null;
  readonly operation: Extractor | null;
  readonly definition: string | null;
  readonly approval: ToolApproval | null;
  readonly output: OutputMembers;
  readonly trusted: boolean;
  readonly created_at: string | null;
};

export type DefinitionsView = {
  readonly name: string;
  readonly tenant: string;
  readonly state: ToolState;
  readonly approved: string | null;
  readonly current: string | null;
  /** From the approved one to the current one; null where one of them is missing. */
  readonly difference: Difference | null;
  readonly data: readonly {
    readonly sha256: string;
    readonly content: unknown;
    readonly is_current: boolean;
    readonly is_approved: boolean;
    readonly first_seen_at: string;
  }[];
  /** Older ones that are not shown. */
  readonly more: number;
};

export async function toolOf(db: Database, of: ToolsOf, name: string): Promise<ToolView | null> {
  const found = await findStandingTool(db.admin, of, name);
  return found === null ? null : toolView(of.tenantId, found);
}

/** Also those that servers list and nobody declared: they are what an operator looks for. */
export async function toolsOf(
  db: Database,
  of: ToolsOf,
  page: Page & { readonly state: ToolState | null },
): Promise<Paged<ToolView>> {
  const rows = await listStandingTools(db.admin, of, { ...page, rows: page.rows + 1 });
  return pageOf(
    rows.map((row) => toolView(of.tenantId, row)),
    page,
    (tool) => tool.name,
  );
}

/** Every definition of a tool that was seen, the newest first, the approved and the current one whatever their age. */
export async function definitionsOf(
  db: Database,
  of: ToolsOf,
  name: string,
): Promise<DefinitionsView | null> {
  const { tenantId } = of;
  const parts = partsOfToolName(name);
  const tool = await findStandingTool(db.admin, of, name);
  if (tool === null || parts === null) return null;
  const approved = tool.declared?.definition ?? null;
  const current = tool.listed?.sha256 ?? null;
  const always = [approved, current].filter((sha256) => sha256 !== null);
  const terms = { ...parts, rows: DEFINITIONS_SHOWN_MAX, always };
  const rows = await listDefinitions(db.admin, tenantId, terms);
  const [before, after] = [approved, current].map((sha256) =>
    rows.find((row) => row.sha256 === sha256),
  );
  return {
    name,
    tenant: tenantId,
    state: tool.state,
    approved,
    current,
    difference:
      before === undefined || after === undefined
        ? null
        : differenceOf(exactly(before), exactly(after)),
    data: rows.map((row) => ({
      sha256: row.sha256,
      content: contentOf(row),
      is_current: row.sha256 === current,
      is_approved: row.sha256 === approved,
      first_seen_at: row.firstSeenAt.toISOString(),
    })),
    more: (rows[0]?.total ?? 0) - rows.length,
  };
}

function contentOf({ content }: DefinitionRow): unknown {
  const parsed = parseJson(content);
  assert(parsed !== null, "a definition is JSON");
  return parsed.value;
}

/** With all digits of its numbers, so that two that differ only beyond a double's are seen to differ. */
function exactly({ content }: DefinitionRow): unknown {
  const parsed = parseExactJson(content);
  assert(parsed !== null, "a definition is JSON");
  return parsed.value;
}

function toolView(tenantId: string, { name, state, declared, listed }: StandingTool): ToolView {
  return {
    name,
    tenant: tenantId,
    state,
    listed: listed === null ? null : { sha256: listed.sha256, since: listed.since.toISOString() },
    effect: declared?.effectClass ?? null,
    price_usd: usdOrNull(declared?.pricePicousd ?? null),
    operation: declared?.extractor ?? null,
    definition: declared?.definition ?? null,
    approval: declared?.approval ?? null,
    output: membersOfOutput(declared?.output ?? ANY_OUTPUT),
    trusted: declared?.isTrusted ?? false,
    created_at: timeOrNull(declared?.createdAt ?? null),
  };
}
