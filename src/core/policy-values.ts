/** How the facts of policies get their values, as CEL takes them. */
import { isList, isRecord } from "../lib/json.ts";
import type { Estimate } from "./decide.ts";
import type { Facts } from "./facts.ts";
import type { Intent } from "./intent.ts";
import { JSON_DEPTH_MAX } from "./limits.ts";
import {
  ARGUMENT_CHARS_MAX,
  ARGUMENT_NODES_MAX,
  FACT_CHARS_MAX,
  FACT_ITEMS_MAX,
} from "./limits-policy.ts";

/** What must be looked at before a fact has a value; `nothing` is known of every call. */
export type FactSource = "nothing" | "history" | "detectors" | "arguments";

/** A value as CEL takes it. */
export type FactValue =
  | string
  | bigint
  | number
  | boolean
  | Date
  | null
  | readonly FactValue[]
  | ReadonlyMap<string, FactValue>;

/** All that one evaluation may look at. The estimate is the call's as it was asked, before obligations. */
export type Seen = {
  readonly facts: Facts;
  readonly intent: Intent;
  readonly estimate: Estimate | null;
};

/** The largest int of CEL: what is not known to be less counts as that. */
export const INT_MAX = 2n ** 63n - 1n;

export function outputTokensMax({ facts, intent }: Seen): bigint {
  const { demand } = intent;
  if (!demand.producesTokens) return 0n;
  const most = facts.clampedTo ?? demand.outputTokensMax ?? facts.price?.outputTokensMax ?? null;
  return most === null ? INT_MAX : BigInt(most);
}

export function tokensMax({ estimate, intent }: Seen): bigint {
  if (intent.billing === "free" || intent.billing === "stated") return 0n;
  const isBounded = estimate !== null && estimate.basis !== "unbounded";
  return isBounded && intent.billing === "metered" ? BigInt(estimate.tokens) : INT_MAX;
}

export function atMost(amount: bigint | null): bigint {
  return amount === null || amount > INT_MAX ? INT_MAX : amount;
}

export function wholeOrNull(count: number | undefined): bigint | null {
  return count === undefined ? null : BigInt(count);
}

export function argumentsOf(intent: Intent): FactValue {
  const { arguments: given } = intent;
  return given === undefined || given === null ? null : valueOf(given);
}

/** Whether a fact of this source has a value now. */
export function wasLookedAt(source: FactSource, { facts, intent }: Seen): boolean {
  switch (source) {
    case "nothing":
      return true;
    case "history":
      return facts.history !== null;
    case "detectors":
      return facts.findings !== null;
    case "arguments":
      return (
        intent.door === "model" || (intent.arguments !== undefined && isJudgeable(intent.arguments))
      );
  }
}

/** JSON as CEL takes it: whole numbers are ints, objects are maps. */
function valueOf(json: unknown): FactValue {
  if (json === null || typeof json === "string" || typeof json === "boolean") return json;
  if (typeof json === "number") return Number.isSafeInteger(json) ? BigInt(json) : json;
  if (isList(json)) return json.map(valueOf);
  if (!isRecord(json)) return null;
  return new Map(Object.entries(json).map(([name, value]) => [name, valueOf(value)]));
}

/**
 * Whether expressions may look at arguments. Cutting what is too long would be worse than refusing it: a
 * rule would then be evaded by what stands behind the cut.
 */
function isJudgeable(json: unknown): boolean {
  const stack: { readonly value: unknown; readonly depth: number }[] = [{ value: json, depth: 0 }];
  let chars = 0;
  for (let nodes = 0; ; nodes += 1) {
    const top = stack.pop();
    if (top === undefined) return chars <= ARGUMENT_CHARS_MAX;
    if (nodes >= ARGUMENT_NODES_MAX || top.depth > JSON_DEPTH_MAX) return false;
    const { value, depth } = top;
    if (typeof value === "string") chars += value.length;
    if (typeof value === "string" && value.length > FACT_CHARS_MAX) return false;
    if (typeof value !== "object" || value === null) continue;
    const inner = isList(value) ? value : Object.values(value);
    if (isRecord(value)) for (const name of Object.keys(value)) chars += name.length;
    if (inner.length > FACT_ITEMS_MAX || chars > ARGUMENT_CHARS_MAX) return false;
    for (const each of inner) stack.push({ value: each, depth: depth + 1 });
  }
}
