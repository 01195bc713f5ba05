/** What one outcome costs: all that its runs cost, whatever came of their attempts, by its successes. */
import { InputError } from "../core/errors.ts";
import { OUTCOMES_APART_MAX, REPORT_ROWS_MAX } from "../core/limits-finance.ts";
import { usdOf, usdOrNull } from "../core/money.ts";
import { type Cohort, shareOf, usdEach } from "../core/report.ts";
import { assert } from "../lib/assert.ts";
import type { Database } from "../store/database.ts";
import { type OutcomesAsked, takesApart } from "../store/reports-outcome-items.ts";
import {
  countOutcomes,
  type OutcomesRow,
  sumOutcomes,
  sumUnattributed,
} from "../store/reports-outcomes.ts";
import { reading } from "../store/reports-terms.ts";
import { countOf } from "./amounts.ts";
import { type ReportState, readStates } from "./report-reconciliation.ts";
import { groupsOf, headOf, inOrder, type Groups } from "./report-head.ts";
import type { ReportHead, ReportTerms, Resolved } from "./reports.ts";
import { summed } from "./summed.ts";

export type OutcomesTerms = ReportTerms & { readonly tenantId: string; readonly cohort: Cohort };

export type OutcomesSums = {
  /** By what became of them; a correction replaces what was said before. */
  readonly outcomes: {
    readonly success: number;
    readonly failure: number;
    readonly partial: number;
    readonly reversed: number;
  };
  /** Null where nothing succeeded. Divided for display, and rounded half up to the pico-dollar. */
  readonly cost_per_success_usd: string | null;
  /** Of the cost of one outcome: an amount that occurred, never one between two. */
  readonly cost_p50_usd: string | null;
  readonly cost_p95_usd: string | null;
  readonly cost_usd: string;
  /** Of outcomes that failed or were taken back. */
  readonly cost_of_failures_usd: string;
  /** Of attempts that did not succeed, whatever became of the outcome. */
  readonly failed_usd: string;
  readonly waste_usd: string;
  readonly attempts: number;
  readonly blocked: number;
  readonly retries: number;
  readonly tokens: number;
  /** The part of the cost that was estimated or presumed: `0.1250`. */
  readonly estimated_share: string | null;
  readonly unpriced: number;
  /** Outcomes with an attempt that has not ended. */
  readonly open: number;
  /** It cost at least that: something has no price, or has not ended. */
  readonly is_floor: boolean;
  /** Null where they were not read: group by model, upstream, tool or step. */
  readonly price_versions: readonly string[] | null;
  /** Whether its days agree with the providers' invoices; null where that cannot be known. */
  readonly reconciliation_state: ReportState;
  /** Of its successes, as declared; null where none is. */
  readonly value_usd: string | null;
  /** Its successes whose value is declared. */
  readonly valued: number;
  /** Value less cost. */
  readonly margin_usd: string | null;
};

export type OutcomesLine = OutcomesSums & { readonly groups: Groups };

export type OutcomesReport = ReportHead & {
  readonly cohort: Cohort;
  readonly rows: readonly OutcomesLine[];
  readonly rows_left_off: number;
  readonly left_off: OutcomesSums | null;
  readonly total: OutcomesSums;
  /** Runs that began in the period and that no outcome bears. */
  readonly runs_without_outcome: number;
  /** What those runs cost. */
  readonly unattributed_usd: string;
  readonly unattributed_unpriced: number;
};

const TYPE = { kind: "type", name: "type" } as const;

export async function outcomesReport(
  db: Database,
  terms: OutcomesTerms,
  resolved: Resolved,
): Promise<OutcomesReport> {
  const { tenantId, cohort } = terms;
  const rest = resolved.groupings.filter(({ kind }) => kind !== "type");
  const asked = { ...resolved, tenantId, cohort, groupings: rest, rows: REPORT_ROWS_MAX };
  if (takesApart(rest)) await refuseMany(db, asked);
  const groupings = [TYPE, ...rest];
  const [rows, without, stateOf] = await summed(
    reading(db.admin, (tx) =>
      Promise.all([
        sumOutcomes(tx, asked),
        sumUnattributed(tx, asked),
        readStates(tx, { ...asked, groupings }),
      ]),
    ),
  );
  const total = rows.find(({ line }) => line === "total");
  const leftOff = rows.find(({ line }) => line === "left_off");
  assert(total !== undefined && leftOff !== undefined, "a sum over nothing is a row as well");
  const listed = rows.filter(({ line }) => line === "row");
  return {
    ...headOf({ ...resolved, groupings }, total.asOf),
    cohort,
    rows: inOrder(groupings, listed).map((row) => ({
      groups: groupsOf(groupings, row.groups),
      ...sumsOf(row, stateOf(row.groups)),
    })),
    rows_left_off: countOf(leftOff.rows),
    left_off: leftOff.rows === "0" ? null : sumsOf(leftOff, stateOf([])),
    total: sumsOf(total, stateOf([])),
    runs_without_outcome: countOf(without.runs),
    unattributed_usd: usdOf(without.cost),
    unattributed_unpriced: countOf(without.unpriced),
  };
}

/** Closings copy outcomes whole: what each model had of them is read from cells that go on. */
async function refuseMany(db: Database, asked: OutcomesAsked): Promise<void> {
  if (asked.closingId !== "") {
    const message =
      "Of a closed period, outcomes are not taken apart by model, upstream, tool or step: its closing copied them whole.";
    throw new InputError("invalid_value", "group_by", message);
  }
  const most = OUTCOMES_APART_MAX + 1;
  if ((await countOutcomes(db.admin, asked, most)) < most) return;
  const message =
    `This period has more than ${OUTCOMES_APART_MAX} outcomes, too many to take apart: ` +
    "ask for a shorter one, or for spend by model and type.";
  throw new InputError("invalid_value", "from", message);
}

function sumsOf(row: OutcomesRow, state: ReportState): OutcomesSums {
  const cost = BigInt(row.cost);
  const [unpriced, open] = [countOf(row.unpriced), countOf(row.open)];
  return {
    outcomes: {
      success: countOf(row.success),
      failure: countOf(row.failure),
      partial: countOf(row.partial),
      reversed: countOf(row.reversed),
    },
    cost_per_success_usd: usdEach(cost, BigInt(row.success)),
    cost_p50_usd: usdOrNull(row.p50),
    cost_p95_usd: usdOrNull(row.p95),
    cost_usd: usdOf(cost),
    cost_of_failures_usd: usdOf(row.failures),
    failed_usd: usdOf(row.failed),
    waste_usd: usdOf(row.wasted),
    attempts: countOf(row.attempts),
    blocked: countOf(row.blocked),
    retries: countOf(row.retries),
    tokens: countOf(row.tokens),
    estimated_share: shareOf(BigInt(row.estimated), cost),
    unpriced,
    open,
    is_floor: unpriced > 0 || open > 0,
    price_versions: row.priceVersions,
    reconciliation_state: state,
    value_usd: usdOrNull(row.value),
    valued: countOf(row.valued),
    margin_usd: row.value === null ? null : usdOf(BigInt(row.value) - cost),
  };
}
