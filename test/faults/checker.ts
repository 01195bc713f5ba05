/**
 * Decides, from what a scenario left behind, whether each promise held. A pure function: three
 * witnesses (clients, upstream, database) are joined by the name of each call, and every promise is a
 * rule over them. A rule also says how much it looked at: one that looked at nothing proves nothing.
 */
import type { History } from "./history.ts";
import { classOf, join, type Class, type Joined } from "./joined.ts";
import { DECISION_RULES } from "./rules-of-decisions.ts";
import { leftUncharged, MONEY_RULES, type LeftUncharged } from "./rules-of-money.ts";
import { SERVICE_RULES } from "./rules-of-service.ts";

/** What a rule found: how many things it decided on, and a sentence for each that breaks the promise. */
export type Finding = { readonly examined: number; readonly violations: readonly string[] };

export type Rule = (joined: Joined) => Finding;

const RULES = { ...MONEY_RULES, ...DECISION_RULES, ...SERVICE_RULES } satisfies Record<
  string,
  Rule
>;

export type PromiseName = keyof typeof RULES;

export type Report = {
  readonly seed: number;
  readonly findings: Readonly<Record<PromiseName, Finding>>;
  readonly classes: Readonly<Record<Class, number>>;
  readonly leftUncharged: LeftUncharged;
};

export function check(history: History): Report {
  const joined = join(history);
  const found = Object.entries(RULES).map(([name, rule]) => [name, rule(joined)] as const);
  const classes = { ok: 0, failed: 0, indeterminate: 0 };
  for (const observation of history.observations) classes[classOf(observation)] += 1;
  return {
    seed: history.seed,
    findings: Object.fromEntries(found) as Record<PromiseName, Finding>,
    classes,
    leftUncharged: leftUncharged(joined),
  };
}

export const PROMISES = Object.keys(RULES) as readonly PromiseName[];

/** Every violation as a line: the promise, then what breaks it. */
export function violations({ findings }: Report): string[] {
  return PROMISES.flatMap((name) => findings[name].violations.map((says) => `${name}: ${says}`));
}
