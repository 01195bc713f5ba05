/**
 * Recording outcomes: look at what holds, judge, write. Each outcome is a row of the ledger that says who
 * told it and when, so there is no event beside it.
 *
 * Nothing is locked in between. A row that somebody else's came before is not written, and is judged again
 * by what holds then: so it is a repeat, or refused and told of the other.
 */
import type { Caller } from "../core/caller.ts";
import { InputError, type InputCode } from "../core/errors.ts";
import { withPrefix } from "../core/ids.ts";
import { POST_MS_MAX } from "../core/limits.ts";
import {
  identityText,
  judgeOutcome,
  type HeldOutcome,
  type OutcomeFacts,
  type ToldOutcome,
} from "../core/outcome.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { insertOutcomes, lookOutcomes, type NewOutcome } from "../store/outcomes.ts";
import { nameOf, requireScope, type Actor } from "./acts.ts";
import { withDeadline } from "./deadline.ts";
import type { Ports } from "./ports.ts";

/** What became of one that was told. `recorded`: it is written, or would be where nothing is to be. */
export type RecordedOutcome =
  | { readonly kind: "recorded" | "repeated"; readonly outcomeId: string }
  | {
      readonly kind: "refused";
      readonly code: InputCode;
      readonly param: string;
      readonly message: string;
    };

export type Outcomes = {
  /** Throws InputError where it is refused. */
  readonly record: (
    actor: Actor,
    tenantId: string,
    told: ToldOutcome,
  ) => Promise<{ readonly outcomeId: string; readonly repeated: boolean }>;
  /** Of each what became of it, in their order. `dry`: nothing is written. */
  readonly recordAll: (
    actor: Actor,
    tenantId: string,
    batch: { readonly told: readonly ToldOutcome[]; readonly dry: boolean },
  ) => Promise<readonly RecordedOutcome[]>;
  /**
   * What a call says of its own run before it is admitted. The call itself makes the run known. Resolves when
   * it is recorded or refused.
   */
  readonly carried: (
    caller: Caller,
    told: ToldOutcome,
    terms: { readonly dry: boolean },
  ) => Promise<RecordedOutcome>;
};

export function createOutcomes(ports: Pick<Ports, "db" | "newId">): Outcomes {
  const one = async (batch: Batch): Promise<RecordedOutcome> => {
    const [done] = await recordBatch(ports, batch);
    assert(done !== undefined, "one was told");
    return done;
  };
  return {
    record: async (actor, tenantId, told) => {
      requireScope(actor, tenantId, SCOPES);
      const terms = { isSubjectKnown: false, dry: false };
      const done = await one({ tenantId, by: nameOf(actor), told: [told], ...terms });
      if (done.kind === "refused") throw new InputError(done.code, done.param, done.message);
      return { outcomeId: done.outcomeId, repeated: done.kind === "repeated" };
    },
    recordAll: async (actor, tenantId, { told, dry }) => {
      requireScope(actor, tenantId, SCOPES);
      const terms = { isSubjectKnown: false, dry };
      return await recordBatch(ports, { tenantId, by: nameOf(actor), told, ...terms });
    },
    carried: async (caller, told, { dry }) => {
      const { tenantId } = caller;
      requireScope(caller, tenantId, SCOPES);
      const terms = { isSubjectKnown: true, dry };
      const work = one({ tenantId, by: nameOf(caller), told: [told], ...terms });
      return await withDeadline(work, POST_MS_MAX);
    },
  };
}

const SCOPES = ["invoke", "admin"] as const;

type Batch = {
  readonly tenantId: string;
  readonly by: string;
  readonly told: readonly ToldOutcome[];
  /** Whatever the look says: something else makes it known. */
  readonly isSubjectKnown: boolean;
  readonly dry: boolean;
};

/** Who lost a race sees in the second turn who won it. A third is for what was corrected between two of them. */
const TURNS_MAX = 3;

async function recordBatch(
  ports: Pick<Ports, "db" | "newId">,
  batch: Batch,
): Promise<readonly RecordedOutcome[]> {
  const { tenantId, told, dry } = batch;
  const sql = ports.db.admin;
  const done = new Map<number, RecordedOutcome>();
  let pending: readonly number[] = told.map((_, at) => at);
  for (let turn = 0; turn < TURNS_MAX && pending.length > 0; turn += 1) {
    const asked = pending.flatMap((at) => told[at] ?? []);
    const facts = await lookOutcomes(sql, tenantId, asked);
    const { results, rows } = judgeAll(ports, batch, { asked, facts });
    const written = dry || rows.length === 0 ? null : await insertOutcomes(sql, tenantId, rows);
    // Whatever was judged beside a row that is not there is judged again: it may have been told of it.
    const lost = new Set(
      rows
        .filter(({ outcomeId }) => written?.has(outcomeId) === false)
        .map((row) => identityText(row)),
    );
    for (const [n, at] of pending.entries()) {
      const [result, one] = [results[n], asked[n]];
      assert(result !== undefined && one !== undefined, "each is judged");
      if (!lost.has(identityText(one))) done.set(at, result);
    }
    pending = pending.filter((at) => !done.has(at));
  }
  return told.map((_, at) => done.get(at) ?? CONTESTED);
}

const CONTESTED: RecordedOutcome = {
  kind: "refused",
  code: "conflict",
  param: "supersedes",
  message: "Others correct this outcome at the same time: look what holds now, and tell it again.",
};

/** In their order: what comes later is judged by what came before it in the same batch, too. */
function judgeAll(
  { newId }: Pick<Ports, "newId">,
  { by, isSubjectKnown }: Batch,
  { asked, facts }: Looked,
): { readonly results: readonly RecordedOutcome[]; readonly rows: readonly NewOutcome[] } {
  const planned = new Map<string, HeldOutcome>();
  const begun = new Map<string, number>();
  const rows: NewOutcome[] = [];
  const results = asked.map((told, n): RecordedOutcome => {
    const known = facts[n];
    assert(known !== undefined, "each is looked at");
    const identity = identityText(told);
    const held = planned.get(identity) ?? known.held;
    const judged = judgeOutcome(told, {
      ...known,
      held,
      begun: known.begun + (begun.get(told.subject.name) ?? 0),
      isSubjectKnown: isSubjectKnown || known.isSubjectKnown,
    });
    switch (judged.kind) {
      case "refused":
        return judged;
      case "repeated":
        return { kind: "repeated", outcomeId: judged.of.outcomeId };
      case "first":
      case "correction": {
        const outcomeId = withPrefix("outcome", newId());
        const rootId = judged.kind === "first" ? outcomeId : judged.of.rootId;
        const occurredAt = told.occurredAt ?? known.now;
        rows.push({ ...told, outcomeId, rootId, recordedBy: by });
        // A run and an operation of one name are counted together, which no batch will notice.
        if (judged.kind === "first") {
          begun.set(told.subject.name, (begun.get(told.subject.name) ?? 0) + 1);
        }
        planned.set(identity, { ...told, outcomeId, rootId, occurredAt });
        return { kind: "recorded", outcomeId };
      }
      default:
        return unreachable(judged);
    }
  });
  return { results, rows: inOrder(rows) };
}

type Looked = { readonly asked: readonly ToldOutcome[]; readonly facts: readonly OutcomeFacts[] };

/** Two batches that wait for each other's rows wait in one direction. */
function inOrder(rows: readonly NewOutcome[]): readonly NewOutcome[] {
  const named = rows.map((row) => [identityText(row), row] as const);
  return named.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row);
}
