/**
 * The judgement: a ladder of early returns over facts. The order of the rungs is the precedence of
 * reasons, and part of the API. It is pure: the same facts give the same verdict, today and in a
 * replay. What must not race (meters, the state of a run) is arbitrated by the posting afterwards,
 * which comes later in the precedence for that reason.
 */
import { boundOf } from "./bound.ts";
import type { Facts } from "./facts.ts";
import type { Intent } from "./intent.ts";
import { picousd, usdFromPicousd, type Picousd } from "./money.ts";
import type { Reason } from "./verdict.ts";

/** What is asked of the meters. `costPicousd` is null where no price is known and the tenant tolerates it. */
export type Estimate = {
  readonly costPicousd: Picousd | null;
  readonly tokens: number;
  readonly basis: "free" | "bound" | "unpriced" | "unbounded";
  /** Output tokens per choice to send upstream so that the bound is real; null leaves the body alone. */
  readonly outputTokensMax: number | null;
};

export type Verdict =
  | {
      readonly kind: "block";
      readonly reason: Reason;
      readonly message: string;
      readonly param: string | null;
    }
  | { readonly kind: "ask"; readonly estimate: Estimate };

const FREE: Estimate = {
  costPicousd: picousd(0n),
  tokens: 0,
  basis: "free",
  outputTokensMax: null,
};

/** Tolerated: passes without a figure, and is counted as unpriced. */
const UNPRICED: Estimate = { ...FREE, costPicousd: null, basis: "unpriced" };

export function decide(facts: Facts, intent: Intent): Verdict {
  if (!facts.caller.scopes.includes("invoke")) {
    return block("scope_missing", "This key may not call models: it lacks the scope `invoke`.");
  }
  const verdict = decideByBilling(facts, intent);
  const isBounded = verdict.kind === "block" || verdict.estimate.costPicousd !== null;
  if (intent.context.costPicousdMax === null || isBounded) return verdict;
  // Whatever the tenant tolerates, this call named the most that it may cost.
  const message = `The cost of this call has no upper bound, and it names one itself: ${MAX_COST}.`;
  return block("cost_unbounded", message, MAX_COST);
}

const MAX_COST = "Tollgate-Max-Cost";

function decideByBilling(facts: Facts, intent: Intent): Verdict {
  switch (intent.billing) {
    case "free":
      return intent.reachesStored && facts.sharesAccount
        ? block("route_not_allowed", sharedObjects(intent))
        : { kind: "ask", estimate: FREE };
    case "unknown":
      return facts.caller.mode === "tolerant"
        ? { kind: "ask", estimate: UNPRICED }
        : block("route_not_allowed", unknownRoute(intent));
    case "deferred":
      return facts.caller.mode === "tolerant"
        ? { kind: "ask", estimate: { ...UNPRICED, basis: "unbounded" } }
        : block("cost_unbounded", deferredCost(intent));
    case "metered":
      return decideMetered(facts, intent);
    case "stated":
      return decideStated(facts, intent);
  }
}

function decideMetered(facts: Facts, intent: Intent): Verdict {
  const { demand } = intent;
  // The model's own maximum holds when the client named none; it is sent, so that the bound is real.
  const absent = demand.producesTokens && demand.outputTokensMax === null;
  const injected = absent ? (facts.price?.outputTokensMax ?? null) : null;
  const outputTokensMax = facts.clampedTo ?? injected;
  const bound = boundOf(demand, facts.price, outputTokensMax);
  switch (bound.kind) {
    case "unpriced":
      if (facts.caller.mode === "strict") {
        return block("price_unknown", unknownPrice(facts, intent), "model");
      }
      return {
        kind: "ask",
        estimate: { costPicousd: null, tokens: bound.tokens, basis: "unpriced", outputTokensMax },
      };
    case "unbounded":
      if (facts.caller.mode === "strict") {
        // Without a price nothing else is worth saying: it is what the caller has to mend first.
        if (facts.price === null)
          return block("price_unknown", unknownPrice(facts, intent), "model");
        return block("cost_unbounded", unboundedCost(bound.because), paramOf(bound.because));
      }
      return {
        kind: "ask",
        estimate: { costPicousd: null, tokens: 0, basis: "unbounded", outputTokensMax },
      };
    case "bounded": {
      const costMax = intent.context.costPicousdMax;
      if (costMax !== null && bound.usd > costMax) {
        return block("max_cost_exceeded", overMaxCost(bound.usd, picousd(costMax)), MAX_COST);
      }
      return {
        kind: "ask",
        estimate: { costPicousd: bound.usd, tokens: bound.tokens, basis: "bound", outputTokensMax },
      };
    }
  }
}

/** A tool or a step: what it costs at most is declared by its operator, or said by its caller. */
function decideStated(facts: Facts, intent: Intent): Verdict {
  const { costStatedPicousd: cost } = intent;
  if (cost === null) {
    return facts.caller.mode === "tolerant"
      ? { kind: "ask", estimate: UNPRICED }
      : block("price_unknown", unstatedCost(intent), "estimate_usd");
  }
  const costMax = intent.context.costPicousdMax;
  if (costMax !== null && cost > costMax) {
    const message = overMaxCost(picousd(cost), picousd(costMax));
    return block("max_cost_exceeded", message, MAX_COST);
  }
  const estimate = { costPicousd: picousd(cost), tokens: 0, outputTokensMax: null };
  return { kind: "ask", estimate: { ...estimate, basis: cost === 0n ? "free" : "bound" } };
}

function unstatedCost(intent: Intent): string {
  return (
    `Nobody says what \`${intent.resource}\` may cost, and this tenant spends only what is priced. Send ` +
    "`estimate_usd` (0 for what costs nothing), declare a price for the tool, or set the tenant's mode to `tolerant`."
  );
}

function block(reason: Reason, message: string, param: string | null = null): Verdict {
  return { kind: "block", reason, message, param };
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
  const output = because.includes("output_tokens")
    ? " Set a maximum of output tokens in the request, or `output_tokens_max` of the model under `prices:` in tollgate.yaml."
    : "";
  return (
    `The cost of this request has no upper bound (${because.join(", ")}), and this tenant spends only ` +
    `what is bounded.${output} To let such requests pass, set the tenant's mode to \`tolerant\`.`
  );
}

function paramOf(because: readonly string[]): string | null {
  const [first] = because;
  if (first === undefined) return null;
  if (first.startsWith("hosted_tool:")) return "tools";
  if (first.startsWith("service_tier:")) return "service_tier";
  return first === "background" ? "background" : null;
}

function overMaxCost(cost: Picousd, costMax: Picousd): string {
  return (
    `This call could cost $${usdFromPicousd(cost)}, more than its own Tollgate-Max-Cost of ` +
    `$${usdFromPicousd(costMax)}. ` +
    "Lower its maximum output tokens, shorten its input, or raise the header."
  );
}
