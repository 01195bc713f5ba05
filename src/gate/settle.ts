/**
 * Every permit ends here, exactly once: as a settlement, or marked unknown with its money held.
 *
 * Nobody waits for a settlement, so they are gathered. One that cannot be written (the database is
 * away) is tried again until it can; if this process dies first, its lease runs out and the sweep marks
 * the reservation unknown. So an ending may be late or presumed, but never lost and never applied twice.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { charge, NOTHING, presumed, type Charge } from "../core/charge.ts";
import { SETTLE_GATHER_MS, SETTLEMENTS_WAITING_MAX } from "../core/limits.ts";
import { findPrice, type Price } from "../core/price.ts";
import { mayReason } from "../core/reasoning.ts";
import type { Usage } from "../core/usage.ts";
import { encodingFor, type Countable } from "../dialects/openai/tokens.ts";
import { unreachable } from "../lib/assert.ts";
import { isContentError } from "../store/errors.ts";
import {
  markUnknown,
  settle,
  type Presumable,
  type Settled,
  type Settlement,
} from "../store/settlement.ts";
import type { Permit } from "./admit.ts";
import type { Authority } from "./authority.ts";
import { createBatcher } from "./batch.ts";
import type { Contention } from "./contention.ts";
import type { Ending } from "./ending.ts";
import type { Ports } from "./ports.ts";
import type { Trust } from "./trust.ts";

export type Settler = {
  /** Ends a permit. Resolves when its settlement has committed; nobody need wait for that. */
  readonly end: (permit: Permit, ending: Ending, charge: Charge) => Promise<void>;
  /** Charges unknown outcomes in full, after their grace. */
  readonly presume: (attempts: readonly Presumable[]) => Promise<void>;
  readonly waiting: () => number;
  readonly drained: () => Promise<void>;
};

const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 2_000;

export function createSettler(ports: Ports, contention: Contention, trust: Trust): Settler {
  const batcher = createBatcher<Settlement, Settled>({
    commit: (batch) => commitWhenPossible(ports, batch),
    itemsMax: 512,
    inFlightMax: 1,
    waitingMax: SETTLEMENTS_WAITING_MAX,
    waitMsMax: Number.POSITIVE_INFINITY,
    gatherMs: SETTLE_GATHER_MS,
    tenantOf: (settlement) => settlement.tenantId,
    isContentError,
    monotonicMs: ports.monotonicMs,
  });
  const write = async (settlement: Settlement) => {
    const settled = await batcher.submit(settlement);
    trust.settled(settlement.basis, settled);
    if (settled.overagePicousd > 0n) {
      const { attemptId, tenantId } = settlement;
      const overage = String(settled.overagePicousd);
      ports.log.error(
        { attemptId, tenantId, overage },
        "an attempt cost more than it had reserved",
      );
    }
    contention.settled(settlement.tenantId);
  };
  return {
    end: async (permit, ending, charged) => {
      if (ending.kind !== "unknown") return write(settlementFor(permit, ending, charged));
      trust.unknown(1);
      await markUnknown(ports.db.admin, permit.tenantId, permit.attemptId);
    },
    presume: async (attempts) => {
      await Promise.all(attempts.map((attempt) => write(presumption(attempt))));
    },
    waiting: batcher.waiting,
    drained: batcher.drained,
  };
}

/** Repeats until the database takes the batch or refuses its content; a repeat of what committed is harmless. */
async function commitWhenPossible(
  ports: Ports,
  batch: readonly Settlement[],
): Promise<readonly Settled[]> {
  for (let waitMs = RETRY_MS_FIRST; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
    try {
      return await settle(ports.db.gate, batch);
    } catch (error) {
      if (isContentError(error) || ports.isClosing()) throw error;
      ports.log.warn({ error, settlements: batch.length }, "settling failed, trying again");
      await sleep(waitMs);
    }
  }
}

/** What the ending costs. Counting tokens may take a worker, hence the promise. */
export async function chargeFor(
  { ports, authority }: { readonly ports: Ports; readonly authority: Authority },
  permit: Permit,
  ending: Ending,
  countable: () => Countable,
): Promise<Charge> {
  const { estimate } = permit;
  switch (ending.kind) {
    case "released":
      return NOTHING;
    case "unknown":
      return presumed(estimate, {}, permit.price);
    case "failed":
      // An answer that says no: nothing was generated, unless it tells usage all the same.
      if (ending.reading.usage === null && (ending.status ?? 0) >= 400) return NOTHING;
      break;
    case "succeeded":
    case "aborted":
      break;
    default:
      return unreachable(ending);
  }
  const { reading } = ending;
  const price = priceOfAnswer(authority, permit, reading.model, ports.now());
  const needsCount =
    reading.usage === null && estimate.basis !== "free" && !hidesTokens(permit, ending);
  const counted = needsCount ? await countBoth(ports, permit, ending.text(), countable()) : null;
  return charge(estimate, {
    usage: reading.usage,
    serviceTier: reading.serviceTier,
    price,
    counted,
  });
}

/** Tokens of both sides by our own count: of what was asked, and of what was delivered. */
async function countBoth(
  ports: Ports,
  permit: Permit,
  text: string,
  { texts, overhead }: Countable,
): Promise<Usage> {
  const encoding = encodingFor(permit.model ?? "");
  const [input, output] = await Promise.all([
    ports.countTokens(texts, encoding),
    ports.countTokens([text], encoding),
  ]);
  return { input: input.tokens + overhead, output: output.tokens };
}

/** Reasoning that was cut off is billed and was never delivered: counting what came would be too little. */
function hidesTokens(permit: Permit, ending: Ending): boolean {
  return ending.kind === "aborted" && mayReason(permit.model ?? "");
}

/** The dated model that answered chooses the price; one without a price falls back to the model asked. */
function priceOfAnswer(
  authority: Authority,
  permit: Permit,
  model: string | null,
  at: Date,
): Price | null {
  if (model === null || model === permit.model || permit.price === null) return permit.price;
  const { prices } = authority.configuration;
  return findPrice(prices, permit.price.upstream, model, at) ?? permit.price;
}

function settlementFor(permit: Permit, ending: Ending, charged: Charge): Settlement {
  const reading = "reading" in ending ? ending.reading : null;
  return {
    tenantId: permit.tenantId,
    attemptId: permit.attemptId,
    ending: ending.kind,
    basis: charged.basis,
    costPicousd: charged.costPicousd,
    tokens: charged.tokens,
    requests: ending.kind === "released" ? 0 : 1,
    priceVersion: charged.priceVersion,
    usage: JSON.stringify(charged.usage),
    record: JSON.stringify({
      status: ending.status,
      error: ending.error,
      model: reading?.model ?? null,
      service_tier: reading?.serviceTier ?? null,
      response_id: reading?.responseId ?? null,
      upstream_request_id: ending.upstreamRequestId,
      provider_cost_picousd: reading?.providerCostPicousd?.toString() ?? null,
      duration_ms: Math.round(ending.durationMs),
      first_byte_ms: ending.firstByteMs === null ? null : Math.round(ending.firstByteMs),
    }),
  };
}

function presumption(attempt: Presumable): Settlement {
  return {
    tenantId: attempt.tenantId,
    attemptId: attempt.attemptId,
    ending: "unknown",
    basis: attempt.costPicousd === null ? "unpriced" : "presumed",
    costPicousd: attempt.costPicousd,
    tokens: attempt.tokens,
    requests: 1,
    priceVersion: attempt.priceVersion,
    usage: "{}",
    record: JSON.stringify({ status: null, error: "its outcome stayed unknown past the grace" }),
  };
}
