/** What a decision's record says of policies, and the ledger of its approval, for sentences. */
import type { ExplainedApproval, ExplainedPolicies } from "../core/explain-policies.ts";
import { isList, isRecord, textOrNull } from "../lib/json.ts";
import { findApproval, listVotes } from "../store/approvals.ts";
import type { Database } from "../store/database.ts";

type Members = Readonly<Record<string, unknown>>;

/** Null where no policies were in force. */
export function policiesIn(record: Members): ExplainedPolicies | null {
  const { policy_version: version, risk, findings, rerouted, obligations } = record;
  if (typeof version !== "string") return null;
  const search = membersOf(findings);
  const { model, policy } = membersOf(rerouted);
  const { max_output_tokens: outputTokensMax, redact } = membersOf(obligations);
  const { score, inputs } = membersOf(risk);
  return {
    version,
    results: listOf(record["policies"]).flatMap(resultFrom),
    risk: {
      score: typeof score === "number" ? score : 0,
      inputs: listOf(inputs).flatMap(({ of, weight }) =>
        typeof of === "string" && typeof weight === "number" ? [{ of, weight }] : [],
      ),
    },
    findings: listOf(search["found"]).flatMap(({ kind, count }) =>
      typeof kind === "string" && typeof count === "number" ? [{ kind, count }] : [],
    ),
    // Where nobody searched there is nothing to be incomplete.
    isSearchComplete: search["complete"] !== false,
    taintedBy: textOrNull(membersOf(record["history"])["tainted_by"]),
    rerouted: typeof model === "string" && typeof policy === "string" ? { model, policy } : null,
    outputTokensMax: typeof outputTokensMax === "number" ? outputTokensMax : null,
    redact: isList(redact) ? redact.filter((name) => typeof name === "string") : [],
  };
}

export async function approvalIn(
  db: Database,
  tenantId: string,
  approvalId: string | null,
): Promise<ExplainedApproval | null> {
  if (approvalId === null) return null;
  const ref = { tenantId, approvalId };
  const [approval, votes] = await Promise.all([
    findApproval(db.admin, ref),
    listVotes(db.admin, ref),
  ]);
  if (approval === null) return null;
  const approvers = votes.filter(({ approves }) => approves).map(({ keyId }) => keyId);
  return { id: approvalId, state: approval.state, approvers };
}

const RESULTS = ["matched", "not_matched", "not_applicable", "error"] as const;
const EFFECTS = ["block", "require_approval", "allow"] as const;

function resultFrom(members: Members): ExplainedPolicies["results"] {
  const { id, name, version, why, mode } = members;
  const result = RESULTS.find((known) => known === members["result"]);
  const effect = EFFECTS.find((known) => known === members["effect"]);
  if (typeof id !== "string" || typeof version !== "string") return [];
  if (result === undefined || effect === undefined) return [];
  return [
    {
      id,
      name: typeof name === "string" ? name : id,
      version,
      result,
      effect,
      mode: mode === "shadow" ? "shadow" : "enforce",
      why: typeof why === "string" ? why : null,
    },
  ];
}

function membersOf(value: unknown): Members {
  return isRecord(value) ? value : {};
}

function listOf(value: unknown): readonly Members[] {
  return isList(value) ? value.filter(isRecord) : [];
}
