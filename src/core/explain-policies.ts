/** What policies, detectors and people had to do with a decision, in sentences. */
import type { PolicyResult, Risk } from "./policy-judge.ts";

export type ExplainedPolicies = {
  /** The bundle that was active at that moment. */
  readonly version: string;
  readonly results: readonly Pick<
    PolicyResult,
    "id" | "name" | "version" | "result" | "effect" | "mode" | "why"
  >[];
  readonly risk: Risk;
  readonly findings: readonly { readonly kind: string; readonly count: number }[];
  readonly isSearchComplete: boolean;
  /** The tool whose answer, which is not trusted, its run has read; null: none, or nobody looked. */
  readonly taintedBy: string | null;
  readonly rerouted: { readonly model: string; readonly policy: string } | null;
  readonly outputTokensMax: number | null;
  readonly redact: readonly string[];
};

export type ExplainedApproval = {
  readonly id: string;
  readonly state: string;
  /** The keys that approved. */
  readonly approvers: readonly string[];
};

/** Null policies: the tenant had none in force. */
export function policySentences(
  policies: ExplainedPolicies | null,
  approval: ExplainedApproval | null,
): readonly string[] {
  if (policies === null) return approvalSentences(approval);
  const { results } = policies;
  const own = results.filter(({ mode }) => mode === "enforce");
  const shadow = results.filter(({ mode }) => mode === "shadow");
  return [
    `${results.length} ${results.length === 1 ? "policy was" : "policies were"} in force, in version ${policies.version}.`,
    ...own.flatMap(resultSentences),
    ...listed("Evaluated and not matched", of(own, "not_matched")),
    ...listed("Not about such a call", of(own, "not_applicable")),
    ...shadow.flatMap(shadowSentences),
    ...listed("In shadow, not matched", of(shadow, "not_matched")),
    ...obligationSentences(policies),
    ...findingSentences(policies),
    ...taintSentences(policies),
    ...riskSentences(policies.risk),
    ...approvalSentences(approval),
  ];
}

const EFFECTS = {
  block: "it blocks",
  require_approval: "it asks for approval",
  allow: "it allows, on its terms",
} as const;

const WOULD = {
  block: "it would have blocked",
  require_approval: "it would have asked for approval",
  allow: "it would have allowed, on its terms",
} as const;

type Result = ExplainedPolicies["results"][number];

function resultSentences(result: Result): readonly string[] {
  if (result.result === "matched") {
    return [`Policy ${nameOf(result)} matched, and ${EFFECTS[result.effect]}: ${said(result.why)}`];
  }
  if (result.result !== "error") return [];
  return [`Policy ${nameOf(result)} could not be evaluated: ${said(result.why)}`];
}

function shadowSentences(result: Result): readonly string[] {
  if (result.result === "matched") {
    return [
      `In shadow, policy ${nameOf(result)} matched; enforced, ${WOULD[result.effect]}: ${said(result.why)}`,
    ];
  }
  if (result.result !== "error") return [];
  return [`In shadow, policy ${nameOf(result)} could not be evaluated: ${said(result.why)}`];
}

/** The version of the policy alone is what proves which text it was, whatever became of the bundle. */
function nameOf({ id, name, version }: Result): string {
  return name === id ? `${id} (${version})` : `${id} “${name}” (${version})`;
}

function said(why: string | null): string {
  if (why === null) return "no reason was recorded.";
  return /[.!?…]$/.test(why) ? why : `${why}.`;
}

function of(results: readonly Result[], kind: Result["result"]): readonly Result[] {
  return results.filter(({ result }) => result === kind);
}

function listed(what: string, results: readonly Result[]): readonly string[] {
  return results.length === 0 ? [] : [`${what}: ${results.map(({ id }) => id).join(", ")}.`];
}

function obligationSentences({
  rerouted,
  outputTokensMax,
  redact,
}: ExplainedPolicies): readonly string[] {
  return [
    ...(rerouted === null
      ? []
      : [
          `Policy ${rerouted.policy} had it go to ${rerouted.model} instead of the model that it asked for.`,
        ]),
    ...(outputTokensMax === null
      ? []
      : [`Policies allowed it at most ${outputTokensMax} output tokens.`]),
    ...(redact.length === 0
      ? []
      : [
          `Policies had what is found of ${redact.join(", ")} replaced in the texts that are sent.`,
        ]),
  ];
}

function findingSentences({ findings, isSearchComplete }: ExplainedPolicies): readonly string[] {
  const found = findings.map(({ kind, count }) => `${kind} (${count})`).join(", ");
  const partly = isSearchComplete ? [] : ["Not all of its texts could be searched."];
  return found === "" ? partly : [`The detectors found ${found}.`, ...partly];
}

function taintSentences({ taintedBy }: ExplainedPolicies): readonly string[] {
  if (taintedBy === null) return [];
  return [`The run has read what \`${taintedBy}\` answered, which is not trusted.`];
}

function riskSentences({ score, inputs }: Risk): readonly string[] {
  if (inputs.length === 0) return [];
  const sum = inputs.map(({ of: what, weight }) => `${what} ${weight}`).join(", ");
  return [`Its risk score was ${score} of 100: ${sum}.`];
}

function approvalSentences(approval: ExplainedApproval | null): readonly string[] {
  if (approval === null) return [];
  const { id, state, approvers } = approval;
  const by =
    approvers.length === 0 ? "nobody has approved it" : `approved by ${approvers.join(", ")}`;
  return [`Approval ${id} is ${state}: ${by}.`];
}
