import { decide, type Verdict } from "../../src/core/decide.ts";
import type { Facts } from "../../src/core/facts.ts";
import type { Demand, Intent } from "../../src/core/intent.ts";
import { compileBundle, type CompiledBundle } from "../../src/core/policy-bundle.ts";
import { readBundle } from "../../src/core/policy-source.ts";
import { priceOf } from "./prices.ts";

/** A call that costs at most 2,000 × 10 + 100 × 100 pico-dollars, and the facts around it. */
const DEMAND: Demand = {
  inputBytes: 2_000,
  images: 0,
  audioInput: false,
  audioOutput: false,
  outputTokensMax: 100,
  choices: 1,
  fixed: {},
  producesTokens: true,
  serviceTier: null,
  unbounded: [],
};

export type IntentTerms = Partial<Omit<Intent, "demand">> & { readonly demand?: Partial<Demand> };

export function intentOf(more: IntentTerms = {}): Intent {
  const { demand, ...rest } = more;
  return {
    door: "model",
    operation: "chat",
    billing: "metered",
    resource: "m",
    demand: { ...DEMAND, ...demand },
    stream: false,
    reachesStored: false,
    inputDigest: "00",
    contentDigest: "00",
    call: () => null,
    tool: null,
    idempotency: null,
    effect: null,
    costStatedPicousd: null,
    act: null,
    leaseMs: null,
    context: {
      run: "r",
      step: null,
      parentStep: null,
      operation: null,
      tool: null,
      customer: null,
      labels: { team: "red" },
      costPicousdMax: null,
      dryRun: false,
      traceId: null,
    },
    client: { userAgent: "test", sdk: null, sdkRetryCount: 0, isCodex: false },
    ...rest,
  };
}

export function factsOf(more: Partial<Facts> = {}): Facts {
  return {
    now: new Date("2026-11-25T13:30:00Z"),
    caller: { tenantId: "ten_a", keyId: "key_a", scopes: ["invoke"], mode: "strict" },
    route: { upstream: "up", model: "m" },
    price: priceOf({ upstream: "up", model: "m", outputTokensMax: 1_000 }),
    timeoutMs: null,
    sharesAccount: false,
    clampedTo: null,
    bundle: null,
    keyLabels: {},
    findings: null,
    history: null,
    rerouted: null,
    ...more,
  };
}

/** A bundle of policies given as YAML; throws what is wrong with it. */
export function bundleOf(source: string): CompiledBundle {
  const reading = readBundle(source);
  if (reading.kind === "broken") throw new Error(JSON.stringify(reading.problems, null, 1));
  return compileBundle(reading.version, reading.bundle);
}

/** One policy with this expression: the other members as YAML in flow form. */
export function policy(id: string, when: string, more = "effect: block"): string {
  return `  - { id: ${id}, when: ${JSON.stringify(when)}, ${more} }\n`;
}

export function policies(...each: readonly string[]): string {
  return `policies:\n${each.join("")}`;
}

/** What is decided of a call under policies. */
export function judge(
  source: string,
  facts: Partial<Facts> = {},
  intent: IntentTerms = {},
): Verdict {
  return decide(factsOf({ bundle: bundleOf(source), ...facts }), intentOf(intent));
}
