import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { TOOLS_MAX } from "../core/limits.ts";
import { costFromUsd, usdOrNull } from "../core/money.ts";
import { flawOfExtractor, type EffectClass, type Extractor } from "../core/operation.ts";
import {
  membersOfOutput,
  partsOfToolName,
  type Tool,
  type ToolApproval,
  type ToolOutput,
} from "../core/tool.ts";
import { insertEvent, type Queryable } from "../store/events.ts";
import { listDefinitions } from "../store/tool-catalogue.ts";
import { countTools, findTool, putTool as put, removeTool as remove } from "../store/tools.ts";
import {
  type Actor,
  type AdministrationPorts,
  nameOf,
  notFound,
  requireScope,
  changeAndRefresh,
} from "./acts.ts";

export type ToolTerms = {
  readonly tenantId: string;
  readonly name: string;
  readonly effectClass: EffectClass;
  /** As it was written; null declares none. */
  readonly priceUsd: string | null;
  readonly extractor: Extractor | null;
  /** SHA-256 of the definition that may be called behind the tool door, hex; null: none may. */
  readonly definition: string | null;
  readonly approval: ToolApproval | null;
  readonly output: ToolOutput;
  readonly isTrusted: boolean;
};

/** Declares a tool whole: what is not said is not kept. Saying the same again changes nothing. */
export async function putTool(
  ports: AdministrationPorts,
  actor: Actor,
  terms: ToolTerms,
): Promise<void> {
  requireScope(actor, terms.tenantId, ["admin"]);
  const tool = toolOf(terms);
  await changeAndRefresh(ports, async (tx) => {
    const before = await findTool(tx, terms.tenantId, terms.name);
    const after = shown(tool);
    if (before !== null && JSON.stringify(shown(before)) === JSON.stringify(after)) return;
    if (before === null) await refuseTooMany(tx, terms.tenantId);
    await refuseUnseen(tx, terms.tenantId, tool);
    await put(tx, terms.tenantId, tool);
    await insertEvent(tx, {
      tenantId: terms.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: before === null ? "tool.declared" : "tool.changed",
      actor: nameOf(actor),
      subject: terms.name,
      body: { before: before === null ? null : shown(before), after },
    });
  });
}

export async function removeTool(
  ports: AdministrationPorts,
  actor: Actor,
  tool: { readonly tenantId: string; readonly name: string },
): Promise<void> {
  requireScope(actor, tool.tenantId, ["admin"]);
  await changeAndRefresh(ports, async (tx) => {
    const before = await findTool(tx, tool.tenantId, tool.name);
    if (before === null) throw notFound("tool", "tool");
    await remove(tx, tool.tenantId, tool.name);
    await insertEvent(tx, {
      tenantId: tool.tenantId,
      eventId: withPrefix("event", ports.newId()),
      kind: "tool.removed",
      actor: nameOf(actor),
      subject: tool.name,
      body: { before: shown(before) },
    });
  });
}

function toolOf(terms: ToolTerms): Tool {
  const { name, effectClass, priceUsd, extractor, definition, approval, output, isTrusted } = terms;
  const price = priceUsd === null ? null : costFromUsd(priceUsd, "price_usd");
  const flaw = extractor === null ? null : flawOfExtractor(extractor);
  if (flaw !== null) {
    throw new InputError("invalid_value", "operation", `Invalid 'operation': ${flaw}.`);
  }
  const both = output.block.find((finding) => output.redact.includes(finding));
  if (both !== undefined) {
    const message = `\`${both}\` either keeps a result from passing or is replaced in it: name it in \`block\` or in \`redact\`.`;
    throw new InputError("invalid_value", "output", message);
  }
  const rest = { name, effectClass, extractor, definition, approval, output, isTrusted };
  return { ...rest, pricePicousd: price };
}

/** As the API shows it, and as the event keeps it. */
function shown(tool: Tool): object {
  return {
    effect: tool.effectClass,
    price_usd: usdOrNull(tool.pricePicousd),
    operation: tool.extractor,
    definition: tool.definition,
    approval: tool.approval,
    output: membersOfOutput(tool.output),
    trusted: tool.isTrusted,
  };
}

/** What nobody has seen cannot have been looked at before it was approved. */
async function refuseUnseen(tx: Queryable, tenantId: string, tool: Tool): Promise<void> {
  const { name, definition } = tool;
  if (definition === null) return;
  const parts = partsOfToolName(name);
  if (parts === null) {
    const message = `Only a tool of a server has a definition, and \`${name}\` names none: write it as \`server/tool\`.`;
    throw new InputError("invalid_value", "definition", message);
  }
  const seen = await listDefinitions(tx, tenantId, {
    ...parts,
    rows: SEEN_TOLD,
    always: [definition],
  });
  if (seen.some(({ sha256 }) => sha256 === definition)) return;
  const list = seen.map(({ sha256, isCurrent }) => (isCurrent ? `${sha256} (now)` : sha256));
  const message =
    list.length === 0
      ? `No definition of \`${name}\` was seen yet: \`npx tollgate tools discover ${parts.server}\` asks its server.`
      : `\`${name}\` was never listed with this definition. Seen were, the newest first: ${list.join(", ")}.`;
  throw new InputError("conflict", "definition", message);
}

/** Definitions that a refusal names: who looks for another one asks for the list. */
const SEEN_TOLD = 3;

async function refuseTooMany(tx: Queryable, tenantId: string): Promise<void> {
  if ((await countTools(tx, tenantId)) < TOOLS_MAX) return;
  const message = `A tenant declares at most ${TOOLS_MAX} tools: remove one first.`;
  throw new InputError("conflict", null, message);
}
