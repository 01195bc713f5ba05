/** What is written of an attempt's ending, by what is known of it. */
import { NOTHING, type Charge } from "../core/charge.ts";
import { ifAny } from "../lib/json.ts";
import { proposalsOf, type Proposed } from "../dialects/proposed.ts";
import type { Presumable, Settlement } from "../store/settlement.ts";
import type { Permit } from "./admit.ts";
import type { Ending } from "./ending.ts";

/** Of a permit: what its ending costs, and all that is recorded of it. */
export function settlementFor(
  permit: Pick<Permit, "tenantId" | "attemptId">,
  ending: Ending,
  charged: Charge,
): Settlement {
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
      status: ifAny(ending.status),
      error: ifAny(ending.error),
      model: reading?.model ?? undefined,
      service_tier: reading?.serviceTier ?? undefined,
      response_id: reading?.responseId ?? undefined,
      upstream_request_id: ifAny(ending.upstreamRequestId),
      client_left: ending.clientLeft || undefined,
      sent_sha256: ending.sentSha256,
      provider_cost_usd: reading?.providerCostUsd ?? undefined,
      duration_ms: Math.round(ending.durationMs),
      first_byte_ms: ending.firstByteMs === null ? undefined : Math.round(ending.firstByteMs),
      ...ending.details,
      ...toolCalls(reading?.proposed ?? null),
    }),
  };
}

/** What the model asks to be done, without what it writes into its arguments: that is content. */
function toolCalls(proposed: Proposed | null): object {
  if (proposed === null) return {};
  const { calls, hasMore } = proposed;
  if (calls.length === 0 && !hasMore) return {};
  return {
    tool_calls: proposalsOf(proposed).map(({ id, name, argumentsSha256 }) => ({
      id,
      name,
      arguments_sha256: argumentsSha256,
    })),
    ...(hasMore ? { tool_calls_more: true } : {}),
  };
}

/** Of an outcome that stayed unknown: all that was reserved, or nothing known where no price was. */
export function presumption(attempt: Presumable): Settlement {
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
    record: JSON.stringify({ error: "its outcome stayed unknown past the grace" }),
  };
}

/** Of an ask whose posting may have committed unseen: it was not dispatched, so it costs nothing. */
export function unposted(tenantId: string, attemptId: string): Settlement {
  return {
    tenantId,
    attemptId,
    ending: "released",
    basis: NOTHING.basis,
    costPicousd: NOTHING.costPicousd,
    tokens: NOTHING.tokens,
    requests: 0,
    priceVersion: NOTHING.priceVersion,
    usage: "{}",
    record: JSON.stringify({ error: "the gate did not learn of its own decision" }),
  };
}
