/** What is said of an outcome, whichever way it comes: one schema for bodies, headers and rows of a file. */
import { z } from "@hono/zod-openapi";

import { InputError } from "../core/errors.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "../core/limits.ts";
import { OUTCOME_WEIGHT_MAX } from "../core/limits-finance.ts";
import { costFromUsd } from "../core/money.ts";
import { OUTCOME_STATUSES, type OutcomeSubject, type ToldOutcome } from "../core/outcome.ts";
import { OutcomeTypeName, Paragraph } from "./outcome-types.ts";
import { AmountText, Id, Moment, Name } from "./schemas.ts";

export const OutcomeStatuses = z.enum(OUTCOME_STATUSES);

export const outcomeMembers = {
  type: OutcomeTypeName,
  status: OutcomeStatuses,
  key: Name.max(CONTEXT_FIELD_BYTES_MAX).nullish().openapi({
    description: "Tells several outcomes of one type apart, as the number of a ticket.",
    example: "ticket-4711",
  }),
  value_usd: AmountText.nullish().openapi({
    description: "What this one is worth; what its type declares if absent.",
  }),
  weight: z.number().int().min(0).max(OUTCOME_WEIGHT_MAX).nullish().openapi({
    description: "Its part of the cost of a run that it shares with other outcomes. Default: 1.",
  }),
  evidence: Paragraph.nullish(),
  occurred_at: Moment.nullish().openapi({ description: "Now if absent. Late is fine." }),
  supersedes: Id.nullish().openapi({
    description: "The outcome that this one corrects: the one that holds.",
  }),
};

export const OutcomeMembers = z.strictObject(outcomeMembers);
export type OutcomeMembers = z.output<typeof OutcomeMembers>;

/** Throws InputError for an amount that is none. */
export function toldOf(subject: OutcomeSubject, said: OutcomeMembers): ToldOutcome {
  const { type, status, value_usd: value, occurred_at: at } = said;
  return {
    subject,
    type,
    status,
    key: said.key ?? "",
    valuePicousd: typeof value === "string" ? costFromUsd(value, "value_usd") : null,
    weight: said.weight ?? 1,
    evidence: said.evidence ?? "",
    occurredAt: typeof at === "string" ? new Date(at) : null,
    supersedes: said.supersedes ?? null,
  };
}

/** A weight where only texts are carried; what is none stays what it is, for the schema to refuse. */
export function weightFrom(text: string): number | string {
  return /^\d{1,9}$/.test(text) ? Number(text) : text;
}

/** What a reader makes of something, or the mistake in it: where one mistake must not end the rest. */
export type Read<Value> =
  | { readonly kind: "read"; readonly value: Value }
  | { readonly kind: "flawed"; readonly error: InputError };

export function readOrFlaw<Value>(read: () => Value): Read<Value> {
  try {
    return { kind: "read", value: read() };
  } catch (error) {
    if (error instanceof InputError) return { kind: "flawed", error };
    throw error;
  }
}
