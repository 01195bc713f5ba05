/**
 * What an operator declares of a tool. What the tool's own server says of it (its annotations) decides nothing:
 * who may be lying is not asked.
 */
import type { EffectClass, Extractor } from "./operation.ts";

export type Tool = {
  /** As its caller names it; behind the tool door `server/tool`. */
  readonly name: string;
  readonly effectClass: EffectClass;
  /** Of one call; null: none is declared. */
  readonly pricePicousd: bigint | null;
  readonly extractor: Extractor | null;
  /**
   * SHA-256, hex, of the definition that may be called behind the tool door: see `tool-definition.ts`. Null where none
   * may, or where the tool is run by its callers.
   */
  readonly definition: string | null;
  /** Whether people approve each call, and how many of which role; null: nobody need. */
  readonly approval: ToolApproval | null;
  readonly output: ToolOutput;
  /** What it answers comes from where nobody else writes: it does not taint its run. */
  readonly isTrusted: boolean;
};

export type ToolApproval = {
  /** Votes that it takes. */
  readonly quorum: number;
  /** The label `role` of keys that may answer; null: any that may approve. */
  readonly role: string | null;
};

/** What of a result passes to the caller. */
export type ToolOutput = {
  /** Bytes of the result as JSON; null: as many as any tool's. */
  readonly bytesMax: number | null;
  /** Items of the longest list in it; null: as many as it has. */
  readonly rowsMax: number | null;
  /** Findings that keep a result from passing, by `FINDING_NAMES`. */
  readonly block: readonly string[];
  /** Findings that are replaced in it. */
  readonly redact: readonly string[];
};

export const ANY_OUTPUT: ToolOutput = { bytesMax: null, rowsMax: null, block: [], redact: [] };

/** As the API shows it, and as it is stored. */
export type OutputMembers = {
  readonly bytes_max: number | null;
  readonly rows_max: number | null;
  readonly block: readonly string[];
  readonly redact: readonly string[];
};

export function membersOfOutput({ bytesMax, rowsMax, block, redact }: ToolOutput): OutputMembers {
  return { bytes_max: bytesMax, rows_max: rowsMax, block, redact };
}

/**
 * How a tool stands, as operators see it. `callable`: its server lists it as it was approved · `observed`: it is listed,
 * no definition of it was approved, and its server's such tools may be called all the same · `undeclared`: they may not ·
 * `quarantined`: its server lists it as something else than was approved · `not_listed`: its server lists it no more, or
 * the configuration has no such server for its tenant · `own`: callers run it themselves.
 */
export const TOOL_STATES = [
  "callable",
  "observed",
  "undeclared",
  "quarantined",
  "not_listed",
  "own",
] as const;
export type ToolState = (typeof TOOL_STATES)[number];

/** Whose tools: what was seen of any other server than the tenant's counts as listed no more. */
export type ToolsOf = {
  readonly tenantId: string;
  readonly servers: readonly { readonly name: string; readonly observesUndeclared: boolean }[];
};

/** A name behind the tool door, `server/tool`, in its parts; null for what callers run themselves. */
export function partsOfToolName(
  name: string,
): { readonly server: string; readonly tool: string } | null {
  const slash = name.indexOf("/");
  if (slash <= 0 || slash === name.length - 1) return null;
  return { server: name.slice(0, slash), tool: name.slice(slash + 1) };
}
