/**
 * All policies of a bundle over one call. Each is evaluated, whatever another said, because the record
 * holds them all. Of what they ask the strictest counts: block, then approval, then obligations.
 */
import { DETECTOR_RISKS, FINDING_NAMES } from "./detect.ts";
import {
  POLICY_QUOTE_CHARS_MAX,
  POLICY_REASON_CHARS_MAX,
  RISK_MAX,
  TAINT_RISK,
} from "./limits-policy.ts";
import { type ApprovalTerms, type Policy, QUOTE } from "./policy.ts";
import {
  appliesTo,
  type CompiledBundle,
  type CompiledPolicy,
  isRedacting,
} from "./policy-bundle.ts";
import type { Roots } from "./policy-cel.ts";
import { type Fact, factText } from "./policy-facts.ts";
import { type FactSource, type Seen, wasLookedAt } from "./policy-values.ts";

export type PolicyResult = {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly result: "matched" | "not_matched" | "not_applicable" | "error";
  readonly effect: Policy["effect"]["kind"];
  readonly mode: Policy["mode"];
  /** Why it matched, or could not be evaluated; null where there is nothing to say. */
  readonly why: string | null;
  /** What it could not be evaluated for want of; null for any other result. */
  readonly unseen: Exclude<FactSource, "nothing"> | null;
};

/** A policy that asks for approval, and the reason that the approver is shown. */
export type AskingPolicy = {
  readonly id: string;
  readonly version: string;
  readonly reason: string;
};

/** What people must answer before the call may pass: the strictest of what the policies ask. */
export type Approval = ApprovalTerms & { readonly policies: readonly AskingPolicy[] };

/** What a call that passes must keep to. */
export type Obligations = {
  readonly outputTokensMax: number | null;
  readonly model: { readonly model: string; readonly policy: string } | null;
  /** Of FINDING_NAMES, in that order, and the first policy that has any of it replaced. */
  readonly redact: { readonly names: readonly string[]; readonly policy: string } | null;
};

export type Risk = {
  readonly score: number;
  /** A policy, a kind of finding or the tool that taints the run, and its weight. */
  readonly inputs: readonly { readonly of: string; readonly weight: number }[];
};

/** One outcome of the enforcing policies; or, of all, what it would be if the shadow ones enforced, too. */
export type Outcome =
  | {
      readonly kind: "block";
      readonly reason: "policy_denied" | "evaluator_unavailable";
      readonly policy: string | null;
      readonly message: string;
    }
  | {
      readonly kind: "pass";
      readonly approval: Approval | null;
      readonly obligations: Obligations;
    };

export type Judged = {
  readonly version: string;
  readonly results: readonly PolicyResult[];
  readonly outcome: Outcome;
  /** What shadow policies would have added; null where they would have changed nothing. */
  readonly shadow: "block" | "require_approval" | "obligations" | null;
  readonly risk: Risk;
};

export function judgePolicies(bundle: CompiledBundle, seen: Seen): Judged {
  const { version, unreadable } = bundle;
  if (unreadable !== null) {
    const message = `The policies of this tenant (${version}) cannot be read: ${unreadable}.`;
    const outcome = {
      kind: "block",
      reason: "evaluator_unavailable",
      policy: null,
      message,
    } as const;
    return { version, results: [], outcome, shadow: null, risk: { score: 0, inputs: [] } };
  }
  const roots = bundle.roots(seen);
  const judged = bundle.policies.map((compiled) => ({
    compiled,
    result: resultOf(compiled, { bundle, roots, seen }),
  }));
  const enforced = judged.filter(({ compiled }) => compiled.policy.mode === "enforce");
  const outcome = outcomeOf(enforced);
  return {
    version,
    results: judged.map(({ result }) => result),
    outcome,
    shadow: shadowOf(outcome, outcomeOf(judged)),
    risk: riskOf(enforced, seen),
  };
}

type Evaluating = { readonly bundle: CompiledBundle; readonly roots: Roots; readonly seen: Seen };
type One = { readonly compiled: CompiledPolicy; readonly result: PolicyResult };

function resultOf(compiled: CompiledPolicy, { bundle, roots, seen }: Evaluating): PolicyResult {
  const { policy, version, compilation } = compiled;
  const { id, name, mode, effect } = policy;
  const base = { id, name, version, effect: effect.kind, mode, why: null, unseen: null };
  if (!appliesTo(policy, seen)) return { ...base, result: "not_applicable" };
  if (compilation.kind === "broken") {
    const why = compilation.problems[0]?.message ?? "its expression does not compile";
    return { ...base, result: "error", why };
  }
  for (const source of compiled.needs) {
    if (source === "nothing" || wasLookedAt(source, seen)) continue;
    return { ...base, result: "error", why: UNSEEN[source], unseen: source };
  }
  const evaluated = compilation.expression.evaluate(roots);
  if (evaluated.kind === "failed") return { ...base, result: "error", why: evaluated.why };
  if (!evaluated.value) return { ...base, result: "not_matched" };
  if (isRedacting(effect) && !wasLookedAt("detectors", seen)) {
    return { ...base, result: "error", why: UNSEEN.detectors, unseen: "detectors" };
  }
  return { ...base, result: "matched", why: reasonOf(policy, bundle.facts, seen) };
}

const UNSEEN = {
  history: "the prior attempts that it reads were not looked at",
  detectors: "the texts that it asks about were not searched",
  arguments: "the arguments are too large to be judged, or were not kept",
} as const;

/** The policy's own words, with the facts that it quotes; one line, whatever stands in a fact. */
function reasonOf({ reason }: Policy, facts: readonly Fact[], seen: Seen): string {
  const text = reason.replaceAll(QUOTE, (whole, path: string) => {
    const quoted = facts.find((fact) => fact.path === path);
    return quoted === undefined ? whole : clip(factText(quoted, seen), POLICY_QUOTE_CHARS_MAX);
  });
  return clip(text, POLICY_REASON_CHARS_MAX);
}

function clip(text: string, charsMax: number): string {
  const line = text.replaceAll(/\p{C}+/gu, " ").toWellFormed();
  return line.length <= charsMax ? line : `${line.slice(0, charsMax - 1)}…`.toWellFormed();
}

function outcomeOf(judged: readonly One[]): Outcome {
  const blocking = judged.find(
    ({ compiled, result }) =>
      result.result === "matched" && compiled.policy.effect.kind === "block",
  );
  if (blocking !== undefined) {
    const { id } = blocking.compiled.policy;
    const message = `Policy \`${id}\` blocks this: ${blocking.result.why}`;
    return { kind: "block", reason: "policy_denied", policy: id, message };
  }
  const failed = judged.find(
    ({ compiled, result }) => result.result === "error" && compiled.policy.onError === "block",
  );
  if (failed !== undefined) {
    const { id } = failed.compiled.policy;
    const message = `Policy \`${id}\` could not be evaluated (${failed.result.why}), so nothing passes it.`;
    return { kind: "block", reason: "evaluator_unavailable", policy: id, message };
  }
  const matched = judged.filter(({ result }) => result.result === "matched");
  const roles = rolesOf(matched);
  if (roles.length > 1) {
    const message = `Policies ask for approval by different roles (${roles.join(", ")}), which no one approval gives.`;
    return { kind: "block", reason: "policy_denied", policy: null, message };
  }
  return { kind: "pass", approval: approvalOf(matched), obligations: obligationsOf(matched) };
}

function rolesOf(matched: readonly One[]): readonly string[] {
  const roles = matched.flatMap(({ compiled: { policy } }) =>
    policy.effect.kind === "require_approval" && policy.effect.role !== null
      ? [policy.effect.role]
      : [],
  );
  return [...new Set(roles)];
}

/** Of several the largest quorum and the shortest time count, and the one role that any of them names. */
function approvalOf(matched: readonly One[]): Approval | null {
  const asking = matched.flatMap(({ compiled: { policy, version }, result }) =>
    policy.effect.kind === "require_approval"
      ? [{ terms: policy.effect, id: policy.id, version, reason: result.why ?? policy.reason }]
      : [],
  );
  if (asking.length === 0) return null;
  return {
    quorum: Math.max(...asking.map(({ terms }) => terms.quorum)),
    role: rolesOf(matched)[0] ?? null,
    expiresInMs: Math.min(...asking.map(({ terms }) => terms.expiresInMs)),
    policies: asking.map(({ id, version, reason }) => ({ id, version, reason })),
  };
}

/** The lowest maximum, the first model that is named, and all that any of them has replaced. */
function obligationsOf(matched: readonly One[]): Obligations {
  let outputTokensMax: number | null = null;
  let model: Obligations["model"] = null;
  for (const { compiled } of matched) {
    const { effect, id } = compiled.policy;
    if (effect.kind !== "allow") continue;
    if (effect.outputTokensMax !== null) {
      outputTokensMax = Math.min(outputTokensMax ?? effect.outputTokensMax, effect.outputTokensMax);
    }
    if (model === null && effect.model !== null) model = { model: effect.model, policy: id };
  }
  return { outputTokensMax, model, redact: redactOf(matched) };
}

function redactOf(matched: readonly One[]): Obligations["redact"] {
  const asking = matched.flatMap(({ compiled: { policy } }) =>
    policy.effect.kind === "allow" && policy.effect.redact.length > 0
      ? [{ id: policy.id, names: policy.effect.redact }]
      : [],
  );
  const [first] = asking;
  if (first === undefined) return null;
  const names = FINDING_NAMES.filter((name) => asking.some((each) => each.names.includes(name)));
  return { names, policy: first.id };
}

function shadowOf(enforced: Outcome, all: Outcome): Judged["shadow"] {
  if (all.kind === "block") return enforced.kind === "block" ? null : "block";
  if (enforced.kind === "block") return null;
  if (!isSameApproval(all.approval, enforced.approval)) return "require_approval";
  const [own, more] = [enforced.obligations, all.obligations];
  const isSame =
    own.outputTokensMax === more.outputTokensMax &&
    own.model?.model === more.model?.model &&
    own.redact?.names.length === more.redact?.names.length;
  return isSame ? null : "obligations";
}

/** Whether people are asked on the same terms, whichever policies ask. */
function isSameApproval(a: Approval | null, b: Approval | null): boolean {
  if (a === null || b === null) return a === b;
  return a.quorum === b.quorum && a.role === b.role && a.expiresInMs === b.expiresInMs;
}

/** Bounded, so that a sum of many small things is not more than one that is certain. */
function riskOf(enforced: readonly One[], { facts }: Seen): Risk {
  const policies = enforced.flatMap(({ compiled: { policy }, result }) =>
    result.result === "matched" && policy.risk > 0
      ? [{ of: `policy:${policy.id}`, weight: policy.risk }]
      : [],
  );
  const findings = (facts.findings?.found ?? []).map(({ kind, group }) => ({
    of: `detector:${kind}`,
    weight: DETECTOR_RISKS[group],
  }));
  const taintedBy = facts.history?.taintedBy ?? null;
  const taint = taintedBy === null ? [] : [{ of: `taint:${taintedBy}`, weight: TAINT_RISK }];
  const inputs = [...policies, ...findings, ...taint];
  const sum = inputs.reduce((total, { weight }) => total + weight, 0);
  return { score: Math.min(RISK_MAX, sum), inputs };
}
