/** The two doors joined: which attempt carried out what a model asked for, and who asked for what a tool was given. */
import { RUN_CALLS_MAX } from "../core/limits.ts";
import {
  matchProposals,
  type MatchedProposal,
  type ProposedBy,
  type RunCall,
} from "../core/proposal.ts";
import type { Database } from "../store/database.ts";
import { listRunCalls, type RunCallRow } from "../store/run-calls.ts";

export type ProposalView = {
  readonly id: string | null;
  readonly name: string;
  readonly arguments_sha256: string | null;
  /** The last attempt that carried it out, or tried or was refused to; null: none. */
  readonly attempt: string | null;
};

export type CallsView = {
  /** Null where its run has more calls than are matched, and this attempt stands behind those. */
  readonly proposals: readonly ProposalView[] | null;
  /** The proposal that this attempt carries out; null: none. */
  readonly proposed_by: ProposedBy | null;
};

/** What is told of one attempt of the run. */
export type CallsOf = (attempt: {
  readonly attemptId: string;
  readonly decidedAt: Date;
}) => CallsView;

/** Matched from the beginning of the run, whatever page of it is looked at. */
export async function callsIn(db: Database, tenantId: string, runId: string): Promise<CallsOf> {
  const rows = await listRunCalls(db.admin, tenantId, { runId, rows: RUN_CALLS_MAX + 1 });
  // The attempt in which the limit stands may be told in part.
  const cut = rows.length > RUN_CALLS_MAX ? rows.at(-1) : undefined;
  const whole = cut === undefined ? rows : rows.filter((row) => row.attemptId !== cut.attemptId);
  const { proposals, proposedBy } = matchProposals(whole.map(callOf));
  return ({ attemptId, decidedAt }) => {
    const told = proposals.get(attemptId) ?? [];
    const by = proposedBy.get(attemptId) ?? null;
    const isBehind = cut !== undefined && told.length === 0 && decidedAt >= cut.decidedAt;
    return { proposals: isBehind ? null : told.map(proposalView), proposed_by: by };
  };
}

/** The same in sentences. */
export function callSentences({ proposals, proposed_by: by }: CallsView): readonly string[] {
  if (proposals === null) {
    return [
      `Its run has more than ${RUN_CALLS_MAX} proposals and tool calls: this one is not matched.`,
    ];
  }
  const asked = proposals.map(({ id, name, attempt }) => {
    const became = attempt === null ? "no attempt took that up" : `${attempt} took that up`;
    return `Its model asked for the tool ${name}${id === null ? "" : ` (${id})`}; ${became}.`;
  });
  if (by === null) return asked;
  const call = by.call === null ? "" : ` (${by.call})`;
  return [...asked, `A model had asked for it${call}, in ${by.attempt}.`];
}

function callOf(row: RunCallRow): RunCall {
  const { attemptId, resource, isAdmitted } = row;
  if (resource !== null) {
    const { inputDigest, retryOf } = row;
    return {
      kind: "tool",
      attemptId,
      resource,
      inputDigest: inputDigest ?? "",
      isAdmitted,
      retryOf,
    };
  }
  const { id, name, argumentsDigest: argumentsSha256 } = row;
  return { kind: "proposal", attemptId, proposal: { id, name: name ?? "", argumentsSha256 } };
}

function proposalView({ id, name, argumentsSha256, attempt }: MatchedProposal): ProposalView {
  return { id, name, arguments_sha256: argumentsSha256, attempt };
}
