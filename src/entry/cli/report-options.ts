/** The options of reports, with what each means; the same where a report is asked for and where it is scheduled. */
import { Option, type Command } from "commander";

import {
  COHORTS,
  type GroupingKind,
  OUTCOME_GROUPINGS,
  OUTCOME_STATUSES,
  PERIOD_NAMES,
  REPORTED_BASES,
  REPORTED_ENDINGS,
  RUN_SORTS,
  SPEND_GROUPINGS,
} from "../../core/report.ts";

export type OptionTexts = Readonly<Record<string, string>>;

export const PAYER: OptionTexts = {
  "of-key": "of one key, by its id (--key is the one to ask with)",
  customer: "of one customer",
  workflow: "of one workflow",
  label: "with a label, as team=search",
  type: "of one outcome type",
};
export const RESOURCE: OptionTexts = {
  model: "of one model",
  upstream: "of one upstream",
  tool: "of one tool",
  ending: "with one ending",
  basis: "whose cost is known so",
};
export const PERIOD: OptionTexts = {
  from: "the first day, or moment; this month's if absent",
  to: "the day after the last",
  period: "in place of both",
  "fiscal-year-start": "the month in which those quarters and years begin, 1 to 12 (default: 1)",
  "time-zone": "in which days begin, as Europe/Berlin (default: UTC)",
  closing: "in place of a period: a closing, and its copies",
};

const groupBy = (kinds: readonly GroupingKind[]): OptionTexts => {
  const names = kinds.map((kind) => (kind === "label" ? "label:<name>" : kind)).join(", ");
  return {
    "group-by": `by what rows are told apart, up to four with commas between: ${names}`,
  };
};
export const OUTCOMES_GROUP_BY = groupBy(OUTCOME_GROUPINGS);
export const SPEND_GROUP_BY = groupBy(SPEND_GROUPINGS);

/** Closed lists: shells offer them, and another word is refused before anything is asked. */
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  period: PERIOD_NAMES,
  ending: REPORTED_ENDINGS,
  basis: REPORTED_BASES,
  cohort: COHORTS,
  status: OUTCOME_STATUSES,
  sort: RUN_SORTS,
};

export function addOptions(command: Command, options: OptionTexts): void {
  for (const [name, help] of Object.entries(options)) {
    const option = new Option(`--${name} <${name}>`, help);
    const choices = CHOICES[name];
    command.addOption(choices === undefined ? option : option.choices(choices));
  }
}
