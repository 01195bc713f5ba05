/** What reports are asked by: groupings, filters, periods; and the divisions that they show. */
import { InputError } from "./errors.ts";
import { GROUPINGS_MAX } from "./limits-finance.ts";
import { CONTEXT_FIELD_BYTES_MAX } from "./limits.ts";
import { usdOf } from "./money.ts";

const PLAIN_GROUPINGS = [
  "tenant",
  "key",
  "customer",
  "workflow",
  "run",
  "step",
  "model",
  "upstream",
  "tool",
  "door",
  "type",
  "ending",
  "basis",
  "reason",
  "day",
  "week",
  "month",
] as const;

type PlainGrouping = (typeof PLAIN_GROUPINGS)[number];

/** A column by which rows are told apart. `name` is what the caller wrote: `label:team`. */
export type Grouping =
  | { readonly kind: PlainGrouping; readonly name: string }
  | { readonly kind: "label"; readonly label: string; readonly name: string };

export type GroupingKind = Grouping["kind"];

export const OUTCOME_GROUPINGS: readonly GroupingKind[] = [
  "type",
  "key",
  "customer",
  "workflow",
  "label",
  "run",
  "day",
  "week",
  "month",
  "model",
  "upstream",
  "tool",
  "door",
  "step",
  "tenant",
];

export const SPEND_GROUPINGS: readonly GroupingKind[] = [
  ...OUTCOME_GROUPINGS,
  "ending",
  "basis",
  "reason",
];

/** What a row must equal to be counted; null counts all. */
export type Filters = {
  readonly key: string | null;
  readonly customer: string | null;
  readonly workflow: string | null;
  readonly label: { readonly name: string; readonly value: string } | null;
  readonly model: string | null;
  readonly upstream: string | null;
  readonly tool: string | null;
  readonly type: string | null;
  readonly status: OutcomeStatus | null;
  readonly ending: string | null;
  readonly basis: string | null;
};

export const OUTCOME_STATUSES = ["success", "failure", "partial", "reversed"] as const;
export type OutcomeStatus = (typeof OUTCOME_STATUSES)[number];

/** How what a report counts ended: attempts, calls that the gate blocked, repeats, and what was adjusted. */
export const REPORTED_ENDINGS = [
  "succeeded",
  "failed",
  "aborted",
  "released",
  "unknown",
  "blocked",
  "repeated",
  "adjusted",
] as const;

/** How its cost is known. */
export const REPORTED_BASES = [
  "computed",
  "estimated",
  "presumed",
  "unpriced",
  "none",
  "adjustment",
] as const;

/** By which of its days an outcome belongs to a period: when it occurred, or when its first run began. */
export const COHORTS = ["outcome", "run_start"] as const;
export type Cohort = (typeof COHORTS)[number];

export const RUN_SORTS = ["cost", "waste", "attempts", "started"] as const;
export type RunSort = (typeof RUN_SORTS)[number];

/** Filters as they are written: `label` is `team=search`. */
export type FilterTexts = { readonly status?: OutcomeStatus | undefined } & {
  readonly [Name in keyof Omit<Filters, "status">]?: string | undefined;
};

export function filtersOf(texts: FilterTexts): Filters {
  return {
    key: texts.key ?? null,
    customer: texts.customer ?? null,
    workflow: texts.workflow ?? null,
    label: texts.label === undefined ? null : parseLabelFilter(texts.label),
    model: texts.model ?? null,
    upstream: texts.upstream ?? null,
    tool: texts.tool ?? null,
    type: texts.type ?? null,
    status: texts.status ?? null,
    ending: texts.ending ?? null,
    basis: texts.basis ?? null,
  };
}

/** Periods that are named by where they stand: months, and quarters and years of a fiscal year. */
export const PERIOD_NAMES = [
  "this_month",
  "last_month",
  "this_quarter",
  "last_quarter",
  "this_year",
  "last_year",
] as const;
export type PeriodName = (typeof PERIOD_NAMES)[number];

export type NamedPeriod = {
  readonly name: PeriodName;
  /** The month in which the fiscal year begins: 1 is January. */
  readonly fiscalYearStart: number;
};

/** How many months it has, and how many before the one that is now it begins. */
export const PERIOD_MONTHS: Record<
  PeriodName,
  { readonly months: number; readonly before: number }
> = {
  this_month: { months: 1, before: 0 },
  last_month: { months: 1, before: 1 },
  this_quarter: { months: 3, before: 0 },
  last_quarter: { months: 3, before: 3 },
  this_year: { months: 12, before: 0 },
  last_year: { months: 12, before: 12 },
};

/** Cells are kept by the quarter of an hour: the least difference between two time zones. */
export const QUARTER_MS = 900_000;

const LABEL_PREFIX = "label:";

/** Reads `customer,label:team,day`. Throws InputError at a name that is none, or is given twice. */
export function parseGroupings(text: string, allowed: readonly GroupingKind[]): Grouping[] {
  const names = text === "" ? [] : text.split(",").map((name) => name.trim());
  if (names.length > GROUPINGS_MAX) {
    const message = `'group_by' names at most ${GROUPINGS_MAX} columns.`;
    throw new InputError("invalid_value", "group_by", message);
  }
  const groupings = names.map((name) => groupingOf(name, allowed));
  const repeated = names.find((name, at) => names.indexOf(name) !== at);
  if (repeated !== undefined) {
    const message = `'group_by' names '${repeated}' twice.`;
    throw new InputError("invalid_value", "group_by", message);
  }
  return groupings;
}

function groupingOf(name: string, allowed: readonly GroupingKind[]): Grouping {
  if (name.startsWith(LABEL_PREFIX) && allowed.includes("label")) {
    const label = name.slice(LABEL_PREFIX.length);
    if (label !== "" && label.length <= CONTEXT_FIELD_BYTES_MAX) {
      return { kind: "label", label, name };
    }
  }
  const kind = PLAIN_GROUPINGS.find((plain) => plain === name);
  if (kind !== undefined && allowed.includes(kind)) return { kind, name };
  const known = allowed.map((other) => (other === "label" ? "label:<name>" : other)).join(", ");
  const message = `This report is not grouped by '${name}': it can be by ${known}.`;
  throw new InputError("invalid_value", "group_by", message);
}

/** Reads `team=search`: the name of a label and its value. */
export function parseLabelFilter(text: string): { readonly name: string; readonly value: string } {
  const at = text.indexOf("=");
  if (at > 0) return { name: text.slice(0, at), value: text.slice(at + 1) };
  throw new InputError("invalid_value", "label", "'label' is a name and a value: team=search.");
}

/**
 * An amount divided among a count, for display alone: rounded half up to the whole pico-dollar (away from
 * zero), so the product may differ from the amount by half a pico-dollar for each. Null among none: a cost
 * per success without a success is neither 0 nor without end.
 */
export function usdEach(amountPicousd: bigint, count: bigint): string | null {
  if (count <= 0n) return null;
  return usdOf(roundedQuotient(amountPicousd, count));
}

/** A part of a whole as a decimal of four places, rounded half up: `0.2500`. Null of nothing. */
export function shareOf(part: bigint, whole: bigint): string | null {
  if (whole <= 0n) return null;
  const digits = roundedQuotient(part * 10_000n, whole);
  const text = (digits < 0n ? -digits : digits).toString().padStart(5, "0");
  return `${digits < 0n ? "-" : ""}${text.slice(0, -4)}.${text.slice(-4)}`;
}

/** The nearest whole number; half goes away from zero. `divisor` is positive. */
export function roundedQuotient(dividend: bigint, divisor: bigint): bigint {
  const magnitude = dividend < 0n ? -dividend : dividend;
  const quotient = (2n * magnitude + divisor) / (2n * divisor);
  return dividend < 0n ? -quotient : quotient;
}
