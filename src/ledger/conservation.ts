/**
 * Proves of a tenant that nothing was lost and nothing counted twice: what outcomes cost and what is not
 * attributed, and the sums that reports read, are what was settled and adjusted, on each day; what meters committed is
 * what was settled, and what they have reserved is what is held, to the pico-dollar.
 */
import { dollars, usdOf } from "../core/money.ts";
import {
  type ConservationRow,
  type DayRow,
  type MetersRow,
  readConservation,
} from "../store/conservation.ts";
import type { Database } from "../store/database.ts";
import { countOf } from "./amounts.ts";
import { rollUpInTime } from "./roll-up.ts";
import { summed } from "./summed.ts";

export type ConservationView = {
  readonly tenant: string;
  readonly as_of: string;
  readonly holds: boolean;
  readonly settled_usd: string;
  /** What operators credited and debited beside it. */
  readonly adjusted_usd: string;
  /** Settled or adjusted since, and in no roll-up yet. */
  readonly behind_usd: string;
  /** Each is what was settled and adjusted, or differs. */
  readonly lines: readonly {
    readonly name: string;
    readonly usd: string;
    readonly difference_usd: string;
  }[];
  readonly meters: number;
  readonly meters_differing: number;
  /** A sentence for each thing that differs. */
  readonly sentences: readonly string[];
};

const TOO_LARGE = {
  param: "tenant",
  message:
    "This ledger takes longer to add up than one statement may: ask again while the database is less busy.",
};

export async function conservationOf(db: Database, tenantId: string): Promise<ConservationView> {
  await rollUpInTime(db);
  const { sums, days, meters } = await summed(readConservation(db.admin, tenantId), TOO_LARGE);
  const lines = linesOf(sums);
  const sentences = [
    ...lines.flatMap((line) => sentenceOf(line, sums.stale)),
    ...days.map(daySentence),
    ...meterSentences(meters),
  ];
  return {
    tenant: tenantId,
    as_of: sums.asOf.toISOString(),
    holds: sentences.length === 0,
    settled_usd: usdOf(sums.settled),
    adjusted_usd: usdOf(sums.adjusted),
    behind_usd: usdOf(sums.behind),
    lines: lines.map(({ name, sum, difference }) => ({
      name,
      usd: usdOf(sum),
      difference_usd: usdOf(difference),
    })),
    meters: countOf(meters.meters),
    meters_differing: countOf(meters.differing),
    sentences,
  };
}

const OUTCOMES = "outcomes and unattributed";
const OUTCOME_DAYS = "outcome days and unattributed";
const START_DAYS = "outcome days by their start and unattributed";

type Line = { readonly name: string; readonly sum: bigint; readonly difference: bigint };

function linesOf(sums: ConservationRow): readonly Line[] {
  const posted = BigInt(sums.settled) + BigInt(sums.adjusted);
  const line = (name: string, sum: bigint): Line => ({ name, sum, difference: sum - posted });
  return [
    line(OUTCOMES, BigInt(sums.outcomes) + BigInt(sums.unattributed)),
    line("cost cells", BigInt(sums.costCells)),
    line("run cells", BigInt(sums.runCells)),
    line("runs", BigInt(sums.runCosts)),
    line("cost days", BigInt(sums.costDays)),
    line("run days", BigInt(sums.runDays)),
    line(OUTCOME_DAYS, BigInt(sums.outcomeDays) + BigInt(sums.unattributedDays)),
    line(START_DAYS, BigInt(sums.startDays) + BigInt(sums.unattributedDays)),
  ];
}

function sentenceOf({ name, sum, difference }: Line, stale: number): readonly string[] {
  if (difference === 0n) return [];
  if (stale > 0 && (name === OUTCOME_DAYS || name === START_DAYS)) return [];
  if (stale > 0 && name === OUTCOMES) {
    return [
      `What ${stale} outcomes cost is being told anew, so that their sum cannot be compared yet: ask again in a minute.`,
    ];
  }
  return [
    `The sum of ${name} is ${dollars(sum)}, which differs from what was settled and adjusted by ${dollars(difference)}.`,
  ];
}

function daySentence({ day, posted, costCells, costDays }: DayRow): string {
  const [settled, cells, sum] = [posted, costCells, costDays].map((amount) =>
    dollars(BigInt(amount)),
  );
  return `On ${day} (UTC) ${settled} was settled and adjusted; its cost cells are ${cells}, its cost day is ${sum}.`;
}

function meterSentences({ first, differing }: MetersRow): readonly string[] {
  const named = first.flatMap(({ meter, limit, unit, committed, settled, reserved, held }) => {
    const said = (amount: string) =>
      unit === "usd" ? dollars(BigInt(amount)) : `${amount} tokens`;
    const of = `Meter ${meter} of limit ${limit} has`;
    return [
      ...(committed === settled
        ? []
        : [`${of} committed ${said(committed)}; its settlements are ${said(settled)}.`]),
      ...(reserved === held
        ? []
        : [`${of} reserved ${said(reserved)}; its open reservations are ${said(held)}.`]),
    ];
  });
  const more = countOf(differing) - first.length;
  return more > 0 ? [...named, `${more} more meters differ.`] : named;
}
