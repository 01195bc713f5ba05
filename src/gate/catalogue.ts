/**
 * What the servers of a tenant list, and how each tool stands with it: whether its definition is the one that was
 * approved. A call is judged by a list that is at most LIST_AGE_MS_MAX old; so a definition that changes is
 * quarantined within that time, whatever notices its server sends or does not.
 *
 * Every definition that is seen is recorded before anything is judged by it.
 */
import type { Caller } from "../core/caller.ts";
import type { ToolListed } from "../core/intent.ts";
import {
  DEFINITIONS_DAY_MAX,
  LIST_AGE_MS_MAX,
  LIST_RENEWED_MS,
  SERVER_CONNECTIONS_MAX,
} from "../core/limits-tools.ts";
import { definitionOf } from "../core/tool-definition.ts";
import type { Members } from "../dialects/mcp.ts";
import { isRecord } from "../lib/json.ts";
import { countNewDefinitions, recordCatalogue, type ListedTool } from "../store/tool-catalogue.ts";
import type { Authority } from "./authority.ts";
import { listTools, type AskParts, type Place } from "./ask-server.ts";
import type { Ports } from "./ports.ts";
import type { Unreached } from "./servers.ts";

/** A tool as it is listed now. */
export type CataloguedTool = ListedTool & {
  /** All that its server says of it, with exact numbers. */
  readonly definition: Members;
};

/** By name without the server, in the order of the server. */
export type Catalogued = {
  readonly kind: "catalogued";
  readonly tools: ReadonlyMap<string, CataloguedTool>;
  /** When it was asked for, by the monotonic clock. */
  readonly atMs: number;
};

export type Catalogue = {
  readonly tools: (place: Place) => Promise<Catalogued | Unreached>;
  /** The same, asked for now. */
  readonly discover: (place: Place) => Promise<Catalogued | Unreached>;
};

type Kept = {
  listing: Promise<Catalogued | Unreached> | null;
  known: Catalogued | null;
  /** What this process has recorded last. */
  recorded: string | null;
};

export type CatalogueParts = AskParts & Pick<Ports, "db" | "log" | "runAfter">;

export function createCatalogue(parts: CatalogueParts): Catalogue {
  const kept = new Map<string, Kept>();
  const keptOf = ({ tenantId, server }: Place): Kept => {
    const key = `${server.name} ${tenantId}`;
    const known = kept.get(key);
    if (known !== undefined) return known;
    // The oldest first: a list that is asked for again is made again.
    const [oldest] = kept.size < SERVER_CONNECTIONS_MAX ? [] : kept.keys();
    if (oldest !== undefined) kept.delete(oldest);
    const made: Kept = { listing: null, known: null, recorded: null };
    kept.set(key, made);
    return made;
  };
  const renew = (place: Place, of: Kept): Promise<Catalogued | Unreached> => {
    of.listing ??= read(parts, place, of).finally(() => {
      of.listing = null;
    });
    return of.listing;
  };
  return {
    tools: async (place) => {
      const of = keptOf(place);
      const ageMs = of.known === null ? null : parts.monotonicMs() - of.known.atMs;
      if (of.known === null || ageMs === null || ageMs > LIST_AGE_MS_MAX) {
        return await renew(place, of);
      }
      if (ageMs > LIST_RENEWED_MS) {
        parts.runAfter("list tools", async () => {
          await renew(place, of);
        });
      }
      return of.known;
    },
    discover: async (place) => {
      const of = keptOf(place);
      // One under way may have asked before what is to be seen.
      await Promise.allSettled([of.listing]);
      return await renew(place, of);
    },
  };
}

async function read(
  parts: CatalogueParts,
  place: Place,
  of: Kept,
): Promise<Catalogued | Unreached> {
  const atMs = parts.monotonicMs();
  const { tenantId, server } = place;
  const tools = new Map<string, CataloguedTool>();
  const list = await listTools(parts, place);
  if (list.kind === "unreached") return list;
  const flaws: string[] = [];
  for (const listed of list.tools) {
    const defined = definitionOf(listed);
    const isTwice = defined.kind === "listed" && tools.has(defined.tool);
    if (defined.kind === "flawed" || isTwice || !isRecord(listed)) {
      flaws.push(defined.kind === "flawed" ? defined.why : `${defined.tool} is listed twice.`);
      continue;
    }
    const { tool, sha256, content } = defined;
    tools.set(tool, { tool, sha256, content, definition: listed });
  }
  const [why] = flaws;
  // Once for all of a list: it is renewed every few seconds, and a thousand lines each time would be the server's to write.
  if (why !== undefined) {
    const about = { server: server.name, tenantId, tools: flaws.length, why };
    parts.log.warn(about, "tools are left off their server's list");
  }
  const recorded = JSON.stringify([...tools.values()].map(({ tool, sha256 }) => [tool, sha256]));
  if (recorded !== of.recorded) {
    const seen = await countNewDefinitions(parts.db.admin, { tenantId, server: server.name });
    if (seen >= DEFINITIONS_DAY_MAX) {
      // What is not recorded is not judged by: who changes so much is not called.
      const message = `The MCP server \`${server.name}\` has told ${seen} definitions of tools within 24 hours, and another one is not taken.`;
      return { kind: "unreached", message };
    }
    await recordCatalogue(parts.db.admin, { tenantId, server: server.name }, [...tools.values()]);
    of.recorded = recorded;
  }
  of.known = { kind: "catalogued", tools, atMs };
  return of.known;
}

type ListedBy = { readonly server: Place["server"]; readonly listed: ListedTool };

/** How a listed tool stands with a caller. */
export function standingOf(
  authority: Pick<Authority, "tool" | "mayCall">,
  { tenantId, keyId }: Pick<Caller, "tenantId" | "keyId">,
  { server, listed }: ListedBy,
): ToolListed {
  const mayCall = authority.mayCall(keyId, `${server.name}/${listed.tool}`);
  const standing = mayCall ? stateOf(authority, tenantId, { server, listed }) : "not_allowed";
  return { standing, definition: listed.sha256 };
}

/** How a listed tool stands, whichever key asks. */
export function stateOf(
  authority: Pick<Authority, "tool">,
  tenantId: string,
  { server, listed }: ListedBy,
): "callable" | "observed" | "undeclared" | "quarantined" {
  const approved = authority.tool(tenantId, `${server.name}/${listed.tool}`)?.definition ?? null;
  if (approved === null) return server.observesUndeclared ? "observed" : "undeclared";
  return approved === listed.sha256 ? "callable" : "quarantined";
}
