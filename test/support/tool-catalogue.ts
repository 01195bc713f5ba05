/** What a server lists, recorded as the tool door records it. */
import { definitionOf } from "../../src/core/tool-definition.ts";
import type { Queryable } from "../../src/store/events.ts";
import { recordCatalogue } from "../../src/store/tool-catalogue.ts";

export type Listed = Readonly<Record<string, unknown>> & { readonly name: string };

/** Records all that a server lists now; answers the hashes of the definitions, in that order. */
export async function listTools(
  sql: Queryable,
  of: { readonly tenantId: string; readonly server: string },
  tools: readonly Listed[],
): Promise<readonly string[]> {
  const definitions = tools.map((tool) => {
    const definition = definitionOf(tool);
    if (definition.kind === "flawed") throw new Error(definition.why);
    return definition;
  });
  await recordCatalogue(sql, of, definitions);
  return definitions.map(({ sha256 }) => sha256);
}
