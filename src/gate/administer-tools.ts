import { InputError } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { TOOLS_MAX } from "../core/limits.ts";
import { costFromUsd, usdOrNull } from "../core/money.ts";
import { flawOfExtractor, type EffectClass, type Extractor } from "../core/operation.ts";
import { ANY_OUTPUT, type Tool } from "../core/tool.ts";
import { changeRegister, insertEvent, type Queryable } from "../store/events.ts";
import { countTools, findTool, putTool as put, removeTool as remove } from "../store/tools.ts";
import { type Actor, type AdministrationPorts, nameOf, notFound, requireScope } from "./acts.ts";

export type ToolTerms = {
  readonly tenantId: string;
  readonly name: string;
  readonly effectClass: EffectClass;
  /** As it was written; null declares none. */
  readonly priceUsd: string | null;
  readonly extractor: Extractor | null;
};

/** Declares a tool whole: what is not said is not kept. Saying the same again changes nothing. */
export async function putTool(
  ports: AdministrationPorts,
  actor: Actor,
  terms: ToolTerms,
): Promise<void> {
  requireScope(actor, terms.tenantId, ["admin"]);
  const tool = toolOf(terms);
  await changeRegister(ports.db, async (tx) => {
    const before = await findTool(tx, terms.tenantId, terms.name);
    const after = shown(tool);
    if (before !== null && JSON.stringify(shown(before)) === JSON.stringify(after)) return;
    if (before === null) await refuseTooMany(tx, terms.tenantId);
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
  await ports.refresh();
}

export async function removeTool(
  ports: AdministrationPorts,
  actor: Actor,
  tool: { readonly tenantId: string; readonly name: string },
): Promise<void> {
  requireScope(actor, tool.tenantId, ["admin"]);
  await changeRegister(ports.db, async (tx) => {
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
  await ports.refresh();
}

function toolOf({ name, effectClass, priceUsd, extractor }: ToolTerms): Tool {
  const price = priceUsd === null ? null : costFromUsd(priceUsd, "price_usd");
  const flaw = extractor === null ? null : flawOfExtractor(extractor);
  if (flaw !== null) {
    throw new InputError("invalid_value", "operation", `Invalid 'operation': ${flaw}.`);
  }
  return {
    name,
    effectClass,
    pricePicousd: price,
    extractor,
    definition: null,
    approval: null,
    output: ANY_OUTPUT,
    isTrusted: false,
  };
}

/** As the API shows it, and as the event keeps it. */
function shown({ effectClass, pricePicousd, extractor }: Tool): object {
  return {
    effect: effectClass,
    price_usd: usdOrNull(pricePicousd),
    operation: extractor,
  };
}

async function refuseTooMany(tx: Queryable, tenantId: string): Promise<void> {
  if ((await countTools(tx, tenantId)) < TOOLS_MAX) return;
  const message = `A tenant declares at most ${TOOLS_MAX} tools: remove one first.`;
  throw new InputError("conflict", null, message);
}
