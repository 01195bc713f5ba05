/**
 * Results of OpenAI's usage and cost APIs (https://platform.openai.com/docs/api-reference/usage). Buckets are in
 * Unix seconds; `input_tokens` includes the cached ones; amounts are JSON numbers of dollars, and some
 * answers write them as strings.
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

/** Beyond it a date has no four-digit year. */
const SECONDS_MAX = 253_402_300_800;

export function spanOfOpenAi({ members }: Bucket, file: string): Span {
  return { startMs: secondsOf("start_time"), endMs: secondsOf("end_time") };

  function secondsOf(name: string): number {
    const value = members[name];
    if (typeof value === "number" && value >= 0 && value < SECONDS_MAX) return value * 1_000;
    throw wrongMember(file, name, "a time in Unix seconds");
  }
}

export function readOpenAiResult(kind: Kind, members: Members, file: string): ResultLine {
  return kind === "usage" ? readUsage(members, file) : readCost(members, file);
}

function readUsage(members: Members, file: string): ResultLine {
  return {
    model: modelOf(members, "model", file),
    isModel: true,
    tier: tierOf(members),
    figures: {
      requests: unitsOf(members, "num_model_requests", file),
      input: unitsOf(members, "input_tokens", file),
      cached: unitsOf(members, "input_cached_tokens", file),
      output: unitsOf(members, "output_tokens", file),
      cost: 0n,
    },
  };
}

function tierOf({ batch, service_tier: tier }: Members): string | null {
  if (batch === true) return "batch";
  return typeof tier !== "string" || tier === "default" || tier === "" ? null : tier;
}

/**
 * The line item tells tier, model and part in one: `gpt-4o-2024-08-06, cached input`,
 * `priority | gpt-5, output, long context`, `gpt-image-1 text, input`; or it is no model's:
 * `web search tool calls`.
 */
const LINE_ITEM =
  /^(?:(?<tier>[a-z]+) \| )?(?<model>[^\s,]+)(?: [a-z]+)?, (?:cached |cache )?(?:input|output|writes)(?:, [a-z ]+)?$/;

function readCost(members: Members, file: string): ResultLine {
  const amount = isRecord(members["amount"]) ? members["amount"] : {};
  refuseCurrency(amount["currency"], file);
  const decimal = decimalOf(amount["value"], "amount.value", file);
  const item = modelOf(members, "line_item", file);
  const { model, tier } = LINE_ITEM.exec(item)?.groups ?? {};
  const cost = picousdOfInvoice(decimal, { unit: "usd", param: file });
  return {
    model: model ?? item,
    isModel: model !== undefined,
    tier: tier ?? null,
    figures: { ...NO_FIGURES, cost },
  };
}
