/**
 * Outcomes: what became of a run or an operation, as its tenant says. Subject, type and key are an outcome's
 * identity; what is said of it later supersedes what was said before, and nothing is ever changed.
 *
 * Saying the same again is no news. Saying something else names what it corrects: so of two who correct the
 * same at once one is told of the other, and nobody overwrites what he has not seen.
 */
import type { InputCode } from "./errors.ts";
import {
  OUTCOME_AHEAD_MS_MAX,
  OUTCOME_EARLIEST_MS,
  OUTCOMES_OF_A_SUBJECT_MAX,
} from "./limits-finance.ts";
import { dollars } from "./money.ts";

export const OUTCOME_STATUSES = ["success", "failure", "partial", "reversed"] as const;
export type OutcomeStatus = (typeof OUTCOME_STATUSES)[number];

export type OutcomeSubject = {
  readonly kind: "run" | "operation";
  /** A run's id, or an operation as `type:key`. */
  readonly name: string;
};

/** `key` tells several outcomes of one type apart, a ticket of many that one run handles; else it is empty. */
export type OutcomeIdentity = {
  readonly subject: OutcomeSubject;
  readonly type: string;
  readonly key: string;
};

/** What is said of a subject. Null where nothing is said; `occurredAt` is then the time of recording. */
export type ToldOutcome = OutcomeIdentity & {
  readonly status: OutcomeStatus;
  readonly valuePicousd: bigint | null;
  readonly weight: number;
  readonly evidence: string;
  readonly occurredAt: Date | null;
  readonly supersedes: string | null;
};

/** The outcome that holds for an identity: the last of its chain. */
export type HeldOutcome = Pick<
  ToldOutcome,
  "status" | "valuePicousd" | "weight" | "evidence" | "supersedes"
> & {
  readonly outcomeId: string;
  /** The first of the chain. */
  readonly rootId: string;
  readonly occurredAt: Date;
};

/** What is known when an outcome is told. */
export type OutcomeFacts = {
  readonly now: Date;
  /** Whether anything ever passed the gate under the subject's name, or somebody created the run. */
  readonly isSubjectKnown: boolean;
  readonly isTypeDeclared: boolean;
  /** Outcomes of this subject, of any type and key, without their corrections. */
  readonly begun: number;
  readonly held: HeldOutcome | null;
};

export type JudgedOutcome =
  | { readonly kind: "first" }
  | { readonly kind: "correction"; readonly of: HeldOutcome }
  | { readonly kind: "repeated"; readonly of: HeldOutcome }
  | {
      readonly kind: "refused";
      readonly code: InputCode;
      readonly param: string;
      readonly message: string;
    };

/** What is to be done about an outcome that is told. The order of the refusals is their precedence. */
export function judgeOutcome(told: ToldOutcome, facts: OutcomeFacts): JudgedOutcome {
  const { held } = facts;
  if (!facts.isSubjectKnown) return refused("not_found", told.subject.kind, unknown(told.subject));
  if (held !== null && isSame(told, held)) return { kind: "repeated", of: held };
  if (!facts.isTypeDeclared) return refused("invalid_value", "type", undeclared(told.type));
  const untimely = told.occurredAt === null ? null : untimelyText(told.occurredAt, facts.now);
  if (untimely !== null) return refused("invalid_value", "occurred_at", untimely);
  if (held === null) {
    if (told.supersedes !== null) {
      const message = `${nameOf(told)} has no outcome yet that could be superseded: leave out 'supersedes'.`;
      return refused("conflict", "supersedes", message);
    }
    if (told.status === "reversed") return irreversible(told, "has no outcome yet");
    if (facts.begun < OUTCOMES_OF_A_SUBJECT_MAX) return { kind: "first" };
    return refused("conflict", told.subject.kind, tooMany(told.subject));
  }
  if (told.supersedes !== held.outcomeId) return contradiction(told, held);
  if (told.status === "reversed" && held.status === "failure") {
    return irreversible(told, "is a failure");
  }
  return { kind: "correction", of: held };
}

/** The order in which outcomes are written, so that two who write several never wait for each other in a ring. */
export function identityText({ subject, type, key }: OutcomeIdentity): string {
  return JSON.stringify([subject.kind, subject.name, type, key]);
}

/** Whether it says what holds already. It may name what holds, or what that one superseded. */
function isSame(told: ToldOutcome, held: HeldOutcome): boolean {
  const { supersedes, occurredAt } = told;
  if (supersedes !== null && supersedes !== held.outcomeId && supersedes !== held.supersedes) {
    return false;
  }
  if (occurredAt !== null && occurredAt.getTime() !== held.occurredAt.getTime()) return false;
  return (
    told.status === held.status &&
    told.valuePicousd === held.valuePicousd &&
    told.weight === held.weight &&
    told.evidence === held.evidence
  );
}

function untimelyText(at: Date, now: Date): string | null {
  if (at.getTime() < OUTCOME_EARLIEST_MS) {
    return `'occurred_at' is before the year 2000: ${at.toISOString()}.`;
  }
  if (at.getTime() <= now.getTime() + OUTCOME_AHEAD_MS_MAX) return null;
  return `'occurred_at' lies in the future: ${at.toISOString()}; now it is ${now.toISOString()}.`;
}

function contradiction(told: ToldOutcome, held: HeldOutcome): JudgedOutcome {
  const holds = `\`${held.outcomeId}\` holds, which says ${saying(held)}`;
  const message =
    told.supersedes === null
      ? `${nameOf(told)} has an outcome already: ${holds}. To correct it, name it in 'supersedes'.`
      : `\`${told.supersedes}\` is not what holds of ${nameOf(told)}: ${holds}. If that is to be corrected, name it in 'supersedes'.`;
  return refused("conflict", "supersedes", message);
}

function irreversible(told: ToldOutcome, why: string): JudgedOutcome {
  const message = `${nameOf(told)} ${why}, so there is nothing to reverse.`;
  return refused("conflict", "status", message);
}

function unknown({ kind, name }: OutcomeSubject): string {
  return kind === "run"
    ? `There is no run \`${name}\`: no call ever named it, and nobody created it.`
    : `There is no operation \`${name}\`: no call ever named it.`;
}

function tooMany({ kind, name }: OutcomeSubject): string {
  return (
    `The ${kind} \`${name}\` has ${OUTCOMES_OF_A_SUBJECT_MAX} outcomes, and takes no more: what handles that many ` +
    "is several runs, each with its own cost."
  );
}

function undeclared(type: string): string {
  return (
    `The outcome type \`${type}\` is not declared. Declare it first: \`npx tollgate outcome-types create ${type}\`, ` +
    "or POST /api/outcome-types with a key of the scope `admin`."
  );
}

function saying({ status, valuePicousd }: HeldOutcome): string {
  return valuePicousd === null ? status : `${status} and a value of ${dollars(valuePicousd)}`;
}

function nameOf({ subject, type, key }: ToldOutcome): string {
  const told = key === "" ? `\`${type}\`` : `\`${type}\` with the key \`${key}\``;
  return `${told} of the ${subject.kind} \`${subject.name}\``;
}

function refused(code: InputCode, param: string, message: string): JudgedOutcome {
  return { kind: "refused", code, param, message };
}
