/** Tool calls that a model asks for, and which attempts carried them out. */

/** One tool call as a model asked for it. */
export type Proposal = {
  /** What the provider calls it; null where it gave no id. */
  readonly id: string | null;
  readonly name: string;
  /** Of the arguments in their canonical form, as a tool call's input digest is; null where they were no JSON object, or not whole. */
  readonly argumentsSha256: string | null;
};

/** What happened in a run, in the order of its decisions. */
export type RunCall =
  | { readonly kind: "proposal"; readonly attemptId: string; readonly proposal: Proposal }
  | {
      readonly kind: "tool";
      readonly attemptId: string;
      /** `{server}/{tool}`, or the tool alone. */
      readonly resource: string;
      readonly inputDigest: string;
      readonly isAdmitted: boolean;
      /** The attempt that it tries again, or null. */
      readonly retryOf: string | null;
    };

/** `attempt` carried it out, or tried or was refused to; the last of several, null: none. */
export type MatchedProposal = Proposal & { readonly attempt: string | null };
export type ProposedBy = { readonly attempt: string; readonly call: string | null };

export type Matched = {
  /** By the attempt of the model, in the order of its answer. */
  readonly proposals: ReadonlyMap<string, readonly MatchedProposal[]>;
  /** By the attempt of the tool. */
  readonly proposedBy: ReadonlyMap<string, ProposedBy>;
};

type Open = { readonly by: string; readonly proposal: Proposal; attempt: string | null };

/**
 * Finds for each tool call the proposal that it carries out: one that stands before it, with the same arguments and
 * its name, which no attempt has taken yet; the first of several. Who tries again carries out the same proposal:
 * so a proposal is told with its last attempt, and one that was refused leaves it to the next.
 */
export function matchProposals(calls: readonly RunCall[]): Matched {
  const proposals = new Map<string, Open[]>();
  const proposedBy = new Map<string, ProposedBy>();
  const open = new Map<string, Set<Open>>();
  const taken = new Map<string, Open>();
  for (const call of calls) {
    if (call.kind === "proposal") {
      const { attemptId: by, proposal } = call;
      const told: Open = { by, proposal, attempt: null };
      entry(proposals, by, () => []).push(told);
      const digest = proposal.argumentsSha256;
      if (digest !== null) entry(open, digest, () => new Set<Open>()).add(told);
      continue;
    }
    const candidates = open.get(call.inputDigest);
    const chosen = candidates === undefined ? null : choose(candidates, call.resource);
    const found = chosen ?? taken.get(call.retryOf ?? "");
    if (found?.proposal.argumentsSha256 !== call.inputDigest) continue;
    found.attempt = call.attemptId;
    taken.set(call.attemptId, found);
    proposedBy.set(call.attemptId, { attempt: found.by, call: found.proposal.id });
    if (call.isAdmitted) candidates?.delete(found);
  }
  return {
    proposals: new Map(
      Array.from(proposals, ([by, told]) => [
        by,
        told.map(({ proposal, attempt }) => ({ ...proposal, attempt })),
      ]),
    ),
    proposedBy,
  };
}

/** The tool's very name goes before one that only ends with it, what nobody tried before what was refused. */
function choose(candidates: ReadonlySet<Open>, resource: string): Open | null {
  let best: Open | null = null;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const likeness = likenessOf(candidate.proposal.name, resource);
    if (likeness === null) continue;
    const rank = likeness + (candidate.attempt === null ? 0 : 2);
    if (rank >= bestRank) continue;
    best = candidate;
    bestRank = rank;
  }
  return best;
}

/**
 * 0 where a model's name for a tool is the resource, or its part behind the last `/`; 1 where it ends with that part
 * behind `_`, as agents name the tools of MCP servers (`mcp__files__read_file`); null where it is another tool's.
 */
function likenessOf(name: string, resource: string): 0 | 1 | null {
  const tool = resource.slice(resource.lastIndexOf("/") + 1);
  if (name === resource || name === tool) return 0;
  return tool !== "" && name.endsWith(`_${tool}`) ? 1 : null;
}

function entry<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
