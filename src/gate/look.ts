/** What an ask is judged on: from the snapshot in memory, which asks nobody. */
import type { Caller } from "../core/caller.ts";
import { NOT_SEARCHED } from "../core/detect.ts";
import { InputError } from "../core/errors.ts";
import type { Facts } from "../core/facts.ts";
import type { Intent } from "../core/intent.ts";
import { needsFindings } from "../core/policy-bundle.ts";
import { judgePolicies } from "../core/policy-judge.ts";
import { priceFor } from "../core/imported-prices.ts";
import { undated, type Price } from "../core/price.ts";
import type { ModelRoute } from "../core/route.ts";
import { identifyStep, type StepIdentity } from "../core/step.ts";
import { hmacSha256Hex } from "../lib/hash.ts";
import type { Ask } from "../store/posting.ts";
import type { Authority, McpServer, Upstream } from "./authority.ts";
import { noServer } from "./servers.ts";

export type LookParts = {
  readonly authority: Authority;
  /** The last attempt of a step whose client this process has seen leave, while that is not written yet. */
  readonly leftOf: (tenantId: string, stepDigest: string) => string | null;
  readonly now: () => Date;
  readonly newId: () => string;
};

/** What an ask is judged on and does not change while it waits. */
export type Look = {
  readonly id: string;
  readonly runId: string;
  readonly caller: Caller;
  /** Null where the caller acts itself. */
  readonly upstream: Upstream | null;
  /** The MCP server that it is for; null at the other doors. */
  readonly server: McpServer | null;
  readonly facts: Omit<Facts, "now" | "clampedTo">;
  /** What another model costs there, by the prices that this ask is judged by. */
  readonly priceOf: (model: string) => Price | null;
  readonly refs: Ask["refs"];
  readonly step: StepIdentity | null;
  readonly retryResource: string;
  readonly extra: Ask["extra"];
};

export function lookFor(parts: LookParts, caller: Caller, intent: Intent): Look {
  const { authority } = parts;
  const bundle = authority.bundle(caller.tenantId);
  return lookAt(parts, intent, {
    id: parts.newId(),
    model: intent.resource,
    caller,
    bundle,
    keyLabels: authority.keyLabels(caller.keyId),
    // Searched only where a policy reads what is found: everybody else pays nothing for it.
    findings: needsFindings(bundle) ? (intent.inspect?.() ?? NOT_SEARCHED) : null,
    history: null,
    rerouted: null,
  });
}

/**
 * Whether policies block whatever such a call has in it: by what is known of its caller, its time and its resource alone.
 * What they would have to read of it is not looked at, and blocks nothing here.
 */
export function isBlockedOutright(parts: LookParts, caller: Caller, intent: Intent): boolean {
  const { bundle, ...known } = lookFor(parts, caller, intent).facts;
  if (bundle === null) return false;
  const facts = { ...known, bundle, now: parts.now(), clampedTo: null };
  const { outcome } = judgePolicies(bundle, { facts, intent, estimate: null });
  return outcome.kind === "block" && outcome.reason === "policy_denied";
}

/** The same ask at the model that a policy names: with that one's upstream, price and limits. */
export function lookElsewhere(
  parts: LookParts,
  look: Look,
  intent: Intent,
  { model, policy }: { readonly model: string; readonly policy: string },
): Look {
  const { id, facts } = look;
  const { caller, bundle, keyLabels, findings, history } = facts;
  // The mistake is the policy's and not the caller's: the call is judged, refused and recorded.
  if (parts.authority.route(model) === null) {
    return {
      ...look,
      facts: { ...facts, route: null, price: null, timeoutMs: null, rerouted: { model, policy } },
    };
  }
  const known = { id, model, caller, bundle, keyLabels, findings, history };
  return lookAt(parts, intent, { ...known, rerouted: { model, policy } });
}

/** What does not depend on where the model is served. */
type Known = Omit<Look["facts"], "route" | "price" | "timeoutMs" | "sharesAccount"> & {
  readonly id: string;
  readonly model: string;
};

function lookAt(parts: LookParts, intent: Intent, { id, model, ...known }: Known): Look {
  const { authority } = parts;
  const { caller } = known;
  const runId = intent.context.run ?? `run_${id}`;
  const route = intent.billing === "metered" ? authority.route(model) : null;
  const isModels = intent.door === "model";
  const upstream = isModels ? upstreamFor(authority, intent, { model, route }) : null;
  const priceOf = pricing(parts, caller, upstream);
  const price = route === null ? null : priceOf(route.model);
  const models = route === null ? [] : namesOf(model, route);
  const retryResource = intent.tool ?? `model:${route?.model ?? intent.resource}`;
  const { step, extra } = identityOf(parts, caller, intent, runId);
  return {
    id,
    runId,
    caller,
    upstream,
    server: intent.door === "tool" ? serverFor(authority, caller, intent) : null,
    facts: {
      ...known,
      route,
      price,
      timeoutMs: price === null || price.hourly === null ? null : (upstream?.timeoutMs ?? null),
      sharesAccount: upstream !== null && !upstream.sharedObjects && authority.tenants().size > 1,
    },
    refs: authority.limitsFor({
      caller,
      runId,
      isRunNamed: intent.context.run !== null,
      models,
      customer: intent.context.customer,
      operation: intent.context.operation,
      retryResource,
    }),
    priceOf,
    step,
    retryResource,
    extra,
  };
}

function upstreamFor(
  authority: Authority,
  { billing }: Intent,
  { model, route }: { readonly model: string; readonly route: ModelRoute | null },
): Upstream {
  if (route === null && billing === "metered") throw unknownModel(model);
  const name = route?.upstream ?? authority.defaultUpstream();
  const upstream = name === null ? undefined : authority.upstream(name);
  if (upstream === undefined) throw unknownModel(model);
  return upstream;
}

/** By the name that stands before the first slash of what is asked for. */
function serverFor(authority: Authority, { tenantId }: Caller, { resource }: Intent): McpServer {
  const name = resource.slice(0, Math.max(0, resource.indexOf("/")));
  const server = authority.server(tenantId, name);
  if (server === null) throw noServer(name);
  return server;
}

/** Which step it is an attempt of, and what it claims. What costs nothing here is no step of anything. */
function identityOf(
  { authority, leftOf }: LookParts,
  caller: Caller,
  intent: Intent,
  runId: string,
): { readonly step: StepIdentity | null; readonly extra: Ask["extra"] } {
  const { context, idempotency, effect, client } = intent;
  const idempotencyDigest =
    idempotency === null
      ? null
      : hmacSha256Hex(authority.configuration.pepper, `${caller.tenantId} ${idempotency.key}`);
  const isStep = intent.billing === "metered" || intent.billing === "stated";
  const isNamed = context.step !== null || idempotencyDigest !== null;
  const step =
    isStep || isNamed
      ? identifyStep({
          keyId: caller.keyId,
          runId,
          isRunNamed: context.run !== null,
          step: context.step,
          idempotencyDigest,
          door: intent.door,
          operation: intent.operation,
          resource: resourceOf(authority, intent),
          inputDigest: intent.contentDigest,
        })
      : null;
  const left = step === null ? null : leftOf(caller.tenantId, step.stepDigest);
  const sdkRetries = isStep ? client.sdkRetryCount : 0;
  if (sdkRetries === 0 && left === null && idempotencyDigest === null && effect === null) {
    return { step, extra: null };
  }
  const claim =
    idempotency === null || idempotencyDigest === null
      ? null
      : { ...idempotency, digest: idempotencyDigest };
  return {
    step,
    extra: { sdkRetries, left, expects: null, idempotency: claim, effect, approval: null },
  };
}

/**
 * A model by where it is served, whatever its caller calls it. As asked, and not where a policy has it go: a policy that
 * sends further attempts elsewhere would make each the first of another step.
 */
function resourceOf({ route }: Authority, { billing, resource }: Intent): string {
  const routed = billing === "metered" ? route(resource) : null;
  return routed === null ? resource : `${routed.upstream}/${routed.model}`;
}

/** Every name by which a limit may mean this model: as asked, as routed, with its upstream, and undated. */
function namesOf(asked: string, { upstream, model }: ModelRoute): readonly string[] {
  const bare = undated(model) ?? model;
  return [...new Set([asked, model, `${upstream}/${model}`, bare, `${upstream}/${bare}`])];
}

/** The prices as they are now, for as long as the call takes: its settlement goes by what it reserved by. */
function pricing(
  { authority, now }: LookParts,
  { tenantId }: Caller,
  upstream: Upstream | null,
): Look["priceOf"] {
  if (upstream === null) return () => null;
  const prices = authority.prices();
  const where = { tenantId, upstream: upstream.name, list: upstream.priceList, at: now() };
  return (model) => priceFor(prices, { ...where, model });
}

function unknownModel(model: string): InputError {
  // A request that names none goes by its method and path, which nobody would look for among models.
  if (model.startsWith("POST /")) {
    const message = `You must provide a 'model' parameter: nothing says here which model answers ${model} without one.`;
    return new InputError("missing_required_parameter", "model", message);
  }
  return new InputError(
    "model_not_found",
    "model",
    `The model \`${model}\` is served by no upstream: neither an alias, nor \`upstream/model\`, nor a pattern of tollgate.yaml names it.`,
  );
}
