/**
 * The judgement: a ladder of early returns over facts. The order of the rungs is the precedence of
 * reasons, and part of the API. It is pure: the same facts give the same verdict, today and in a
 * replay. What must not race (meters, the state of a run) is arbitrated by the posting afterwards,
 * which comes later in the precedence for that reason.
 */
import { assert } from "../lib/assert.ts";
import { boundOf, demandAt } from "./bound.ts";
import type { Facts } from "./facts.ts";
import type { Intent } from "./intent.ts";
import { dollars, picousd, type Picousd } from "./money.ts";
import { type Approval, type Judged, judgePolicies, type Obligations } from "./policy-judge.ts";
import { redactionOf, whyNotRedacted } from "./redact.ts";
import { whyNotAgain, whyNotCallable, withDeclared } from "./tool-judge.ts";
import type { Reason } from "./verdict.ts";

/** What is asked of the meters. `costPicousd` is null where no price is known and the tenant tolerates it. */
export type Estimate = {
  readonly costPicousd: Picousd | null;
  readonly tokens: number;
  readonly basis: "free" | "bound" | "unpriced" | "unbounded";
  /** Output tokens per choice to send upstream so that the bound is real; null leaves the body alone. */
  readonly outputTokensMax: number | null;
  /** What it was lowered to, by a limit or a policy; null where it is what the client or the model says. */
  readonly clampedTo: number | null;
};

/** `policies` is null for a tenant without policies. */
export type Verdict =
  | {
      readonly kind: "block";
      readonly reason: Reason;
      readonly message: string;
      readonly param: string | null;
      readonly policies: Judged | null;
    }
  | {
      readonly kind: "ask";
      readonly estimate: Estimate;
      /** What people must approve before it may pass, once every meter has room; null: nothing. */
      readonly approval: Approval | null;
      /** What policies have replaced in its texts, where any of it was found; else empty. */
      readonly redact: readonly string[];
      readonly policies: Judged | null;
    }
  /** A policy has it go to another model: to be looked up, and judged again with that one's route and price. */
  | {
      readonly kind: "reroute";
      readonly model: string;
      readonly policy: string;
      readonly policies: Judged;
    };

/** What a call could cost, or why that is a reason to refuse it; both where its own maximum is exceeded. */
type Priced = {
  readonly estimate: Estimate | null;
  readonly refusal: Refused | null;
};

type Refused = {
  readonly reason: Reason;
  readonly message: string;
  readonly param: string | null;
};

const FREE: Estimate = {
  costPicousd: picousd(0n),
  tokens: 0,
  basis: "free",
  outputTokensMax: null,
  clampedTo: null,
};

/** Tolerated: passes without a figure, and is counted as unpriced. */
const UNPRICED: Estimate = { ...FREE, costPicousd: null, basis: "unpriced" };

export function decide(facts: Facts, intent: Intent): Verdict {
  const asked = priceOf(facts, intent, facts.clampedTo);
  const policies =
    facts.bundle === null
      ? null
      : judgePolicies(facts.bundle, { facts, intent, estimate: asked.estimate });
  const refuse = (because: Refused): Verdict => ({ kind: "block", ...because, policies });
  if (!facts.caller.scopes.includes("invoke")) {
    const message = "This key may not pass the gate: it lacks the scope `invoke`.";
    return refuse({ reason: "scope_missing", message, param: null });
  }
  if (policies === null) {
    if (asked.refusal !== null) return refuse(asked.refusal);
    const declared = withDeclared(null, intent);
    if (declared.kind === "refused") return refuse(declared.refusal);
    return passed(asked, { approval: declared.approval, redact: [], policies });
  }
  const { outcome } = policies;
  if (outcome.kind === "block") {
    const { reason, message } = outcome;
    return refuse({ reason, message, param: null });
  }
  const { rerouted } = facts;
  if (rerouted !== null && facts.route === null) {
    const message = `Policy \`${rerouted.policy}\` has this go to \`${rerouted.model}\`, which no upstream serves, so it goes nowhere.`;
    return refuse({ reason: "evaluator_unavailable", message, param: null });
  }
  const { approval, obligations } = outcome;
  const unredacted = whyNotRedacted(facts, intent, obligations);
  if (unredacted !== null) {
    return refuse({ reason: "policy_denied", message: unredacted, param: null });
  }
  const { model } = obligations;
  if (model !== null && rerouted === null && facts.route !== null) {
    if (isRewritable(intent)) return { kind: "reroute", ...model, policies };
    const message = `Policy \`${model.policy}\` has this go to \`${model.model}\`, and a call for ${intent.operation} is not rewritten: name that model.`;
    return refuse({ reason: "policy_denied", message, param: "model" });
  }
  // What is obliged is priced before it is refused: with a lower maximum a call may have a bound.
  const obliged = priceOf(facts, intent, clampFor(facts, intent, obligations));
  if (obliged.refusal !== null) return refuse(obliged.refusal);
  const redact = redactionOf(obligations.redact?.names ?? [], facts.findings);
  const declared = withDeclared(approval, intent);
  if (declared.kind === "refused") return refuse(declared.refusal);
  return passed(obliged, { approval: declared.approval, redact, policies });
}

type Terms = Pick<Extract<Verdict, { kind: "ask" }>, "approval" | "redact" | "policies">;

function passed({ estimate }: Priced, terms: Terms): Verdict {
  assert(estimate !== null, "what is not refused has an estimate");
  return { kind: "ask", estimate, ...terms };
}

/** Forms are forwarded as they came; a picture or a voice is asked of the model that was named. */
function isRewritable({ operation }: Intent): boolean {
  return (
    operation === "chat" ||
    operation === "responses" ||
    operation === "text_completion" ||
    operation === "embeddings"
  );
}

/** The lowest of what limits and policies leave; a maximum that the client's own is below changes nothing. */
function clampFor(
  facts: Facts,
  { demand }: Intent,
  { outputTokensMax }: Obligations,
): number | null {
  const { clampedTo, price } = facts;
  if (outputTokensMax === null || !demand.producesTokens) return clampedTo;
  const asked = demand.outputTokensMax ?? price?.outputTokensMax ?? null;
  const own = asked !== null && asked <= outputTokensMax ? null : outputTokensMax;
  if (own === null || clampedTo === null) return clampedTo ?? own;
  return Math.min(own, clampedTo);
}

function priceOf(facts: Facts, intent: Intent, clampedTo: number | null): Priced {
  const priced = priceByBilling(facts, intent, clampedTo);
  const isBounded = priced.refusal !== null || priced.estimate?.costPicousd !== null;
  if (intent.context.costPicousdMax === null || isBounded) return priced;
  // Whatever the tenant tolerates, this call named the most that it may cost.
  const message = `The cost of this call has no upper bound, and it names one itself: ${MAX_COST}.`;
  return { ...priced, refusal: { reason: "cost_unbounded", message, param: MAX_COST } };
}

const MAX_COST = "Tollgate-Max-Cost";

function priceByBilling(facts: Facts, intent: Intent, clampedTo: number | null): Priced {
  switch (intent.billing) {
    case "free":
      return intent.reachesStored && facts.sharesAccount
        ? refused("route_not_allowed", sharedObjects(intent))
        : { estimate: FREE, refusal: null };
    case "unknown":
      return facts.caller.mode === "tolerant"
        ? { estimate: UNPRICED, refusal: null }
        : refused("route_not_allowed", unknownRoute(intent));
    case "deferred":
      if (intent.reachesStored && facts.sharesAccount) {
        return refused("route_not_allowed", sharedObjects(intent));
      }
      return facts.caller.mode === "tolerant"
        ? { estimate: { ...UNPRICED, basis: "unbounded" }, refusal: null }
        : refused("cost_unbounded", deferredCost(intent));
    case "metered":
      return priceMetered(facts, intent, clampedTo);
    case "stated":
      return priceStated(facts, intent);
  }
}

function priceMetered(facts: Facts, intent: Intent, clampedTo: number | null): Priced {
  const { demand } = intent;
  // The model's own maximum holds when the client named none; it is sent, so that the bound is real.
  const absent = demand.producesTokens && demand.outputTokensMax === null;
  const injected = absent ? (facts.price?.outputTokensMax ?? null) : null;
  const outputTokensMax = clampedTo ?? injected;
  const bound = boundOf(demandAt(demand, facts), facts.price, outputTokensMax);
  const sent = { outputTokensMax, clampedTo };
  switch (bound.kind) {
    case "unpriced": {
      const { tokens } = bound;
      const estimate: Estimate = { costPicousd: null, tokens, basis: "unpriced", ...sent };
      if (facts.caller.mode === "tolerant") return { estimate, refusal: null };
      return { ...refused("price_unknown", unknownPrice(facts, intent), "model"), estimate };
    }
    case "unbounded": {
      if (facts.caller.mode === "tolerant") {
        const estimate: Estimate = { costPicousd: null, tokens: 0, basis: "unbounded", ...sent };
        return { estimate, refusal: null };
      }
      // Without a price nothing else is worth saying: it is what the caller has to mend first.
      if (facts.price === null)
        return refused("price_unknown", unknownPrice(facts, intent), "model");
      return refused("cost_unbounded", unboundedCost(bound.because), paramOf(bound.because));
    }
    case "bounded": {
      const { usd, tokens } = bound;
      const estimate: Estimate = { costPicousd: usd, tokens, basis: "bound", ...sent };
      const costMax = intent.context.costPicousdMax;
      if (costMax === null || usd <= costMax) return { estimate, refusal: null };
      const instead = "Lower its maximum output tokens, shorten its input";
      const message = overMaxCost(usd, costMax, instead);
      return { ...refused("max_cost_exceeded", message, MAX_COST), estimate };
    }
  }
}

/** A tool or a step: what it costs at most is declared by its operator, or said by its caller. */
function priceStated(facts: Facts, intent: Intent): Priced {
  const why = whyNotCallable(intent) ?? whyNotAgain(facts.history, intent);
  if (why !== null) return { estimate: null, refusal: why };
  const { costStatedPicousd: cost } = intent;
  if (cost === null) {
    if (facts.caller.mode === "tolerant") return { estimate: UNPRICED, refusal: null };
    return refused("price_unknown", unstatedCost(intent), "estimate_usd");
  }
  const costPicousd = picousd(cost);
  const estimate: Estimate =
    cost === 0n ? FREE : { ...FREE, costPicousd, tokens: 0, basis: "bound" };
  const costMax = intent.context.costPicousdMax;
  if (costMax === null || cost <= costMax) return { estimate, refusal: null };
  const message = overMaxCost(cost, costMax, "Ask with a lower `estimate_usd`");
  return { ...refused("max_cost_exceeded", message, MAX_COST), estimate };
}

function unstatedCost(intent: Intent): string {
  return (
    `Nobody says what \`${intent.resource}\` may cost, and this tenant spends only what is priced. ` +
    (intent.door === "step"
      ? "Send `estimate_usd` (0 for what costs nothing), declare"
      : "Declare") +
    " a price for the tool (0 for what costs nothing), or set the tenant's mode to `tolerant`."
  );
}

function refused(reason: Reason, message: string, param: string | null = null): Priced {
  return { estimate: null, refusal: { reason, message, param } };
}

function sharedObjects(intent: Intent): string {
  return (
    `${intent.resource} reaches objects stored at the upstream, in an account that several tenants share, ` +
    "so it could reach another tenant's. To allow that, set `shared_objects: true` for the upstream in " +
    "tollgate.yaml; to keep tenants apart, give each its own upstream account."
  );
}

function unknownRoute(intent: Intent): string {
  return (
    `Tollgate does not know what ${intent.resource} costs, so this tenant refuses it. ` +
    "To let unknown routes pass unpriced, set the tenant's mode to `tolerant`."
  );
}

function deferredCost(intent: Intent): string {
  return (
    `${intent.resource} starts work whose cost appears elsewhere and cannot be bounded here, so this ` +
    "tenant refuses it. To let it pass unpriced, set the tenant's mode to `tolerant`."
  );
}

function unknownPrice(facts: Facts, intent: Intent): string {
  const where = facts.route === null ? "" : ` at upstream \`${facts.route.upstream}\``;
  return (
    `No complete price is known for \`${intent.resource}\`${where}, and this tenant spends only what is ` +
    "priced. Add the model under `prices:` in tollgate.yaml, or set the tenant's mode to `tolerant`."
  );
}

function unboundedCost(because: readonly string[]): string {
  const advice = because.map((name) => INSTEAD[name] ?? "");
  // Beside another cause (a recording, a hosted tool) it would be set for nothing: the call is refused all the same.
  const output = because.every((name) => name === "output_tokens")
    ? " Set a maximum of output tokens in the request, or `output_tokens_max` in the price of the model: where it " +
      "was imported, in the file for `tollgate prices import`, else under `prices:` in tollgate.yaml."
    : "";
  return (
    `The cost of this request has no upper bound (${because.join(", ")}), and this tenant spends only ` +
    `what is bounded.${advice.join("")}${output} To let such requests pass, set the tenant's mode to \`tolerant\`.`
  );
}

/** What to send in place of what is unbounded, where the same can be had another way. */
const INSTEAD: Readonly<Record<string, string>> = {
  stored_context:
    " Send the input in full in place of what is stored elsewhere, which nobody here can count.",
  background: " Ask without `background`.",
  prediction: " Leave out `prediction`: what is not taken from it is billed as well.",
};

function paramOf(because: readonly string[]): string | null {
  const [first] = because;
  if (first === undefined) return null;
  if (first.startsWith("hosted_tool:")) return "tools";
  if (first.startsWith("service_tier:")) return "service_tier";
  return first === "background" || first === "deferred" || first === "prediction" ? first : null;
}

function overMaxCost(cost: bigint, costMax: bigint, instead: string): string {
  return (
    `This call could cost ${dollars(cost)}, more than its own Tollgate-Max-Cost of ` +
    `${dollars(costMax)}. ${instead}, or raise the header.`
  );
}
