/**
 * Results of Anthropic's usage report of messages and of its cost report. Buckets are in RFC 3339; the input is told in
 * disjoint classes (uncached, read from the cache, written to it); amounts are decimal strings in cents.
 * (https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages,
 * https://platform.claude.com/docs/en/api/admin/cost_report)
 */
import { NO_FIGURES } from "../../core/invoice.ts";
import { picousdOfInvoice } from "../../core/money.ts";
import { isRecord } from "../../lib/json.ts";
import type { Bucket, Kind } from "./looks.ts";
import {
  decimalOf,
  modelOf,
  refuseCurrency,
  unitsOf,
  wrongMember,
  type Members,
  type ResultLine,
  type Span,
} from "./result.ts";

export function spanOfAnthropic({ members }: Bucket, file: string): Span {
  return { startMs: timeOf("starting_at"), endMs: timeOf("ending_at") };

  function timeOf(name: string): number {
    const value = members[name];
    const isTime =
      typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(value);
    const ms = isTime ? Date.parse(value) : NaN;
    if (Number.isNaN(ms)) throw wrongMember(file, name, "a time such as 2026-11-01T00:00:00Z");
    return ms;
  }
}

export function readAnthropicResult(kind: Kind, members: Members, file: string): ResultLine {
  return kind === "usage" ? readUsage(members, file) : readCost(members, file);
}

function readUsage(members: Members, file: string): ResultLine {
  const written = isRecord(members["cache_creation"]) ? members["cache_creation"] : {};
  const cached = unitsOf(members, "cache_read_input_tokens", file);
  return {
    model: modelOf(members, "model", file),
    isModel: true,
    tier: tierOf(members),
    figures: {
      ...NO_FIGURES,
      input:
        unitsOf(members, "uncached_input_tokens", file) +
        cached +
        unitsOf(written, "ephemeral_5m_input_tokens", file) +
        unitsOf(written, "ephemeral_1h_input_tokens", file),
      cached,
      output: unitsOf(members, "output_tokens", file),
    },
  };
}

/** What is not paid by the token (web search, code execution) has no model, and its description as its name. */
function readCost(members: Members, file: string): ResultLine {
  refuseCurrency(members["currency"], file);
  const decimal = decimalOf(members["amount"], "amount", file);
  const description = modelOf(members, "description", file);
  const { model } = members;
  const cost = picousdOfInvoice(decimal, { unit: "cent", param: file });
  return {
    model: typeof model === "string" ? model : description,
    isModel: typeof model === "string",
    tier: tierOf(members),
    figures: { ...NO_FIGURES, cost },
  };
}

function tierOf({ service_tier: tier }: Members): string | null {
  return typeof tier !== "string" || tier === "standard" ? null : tier;
}
