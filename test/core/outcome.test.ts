import { describe, expect, test } from "vitest";
import {
  OUTCOME_AHEAD_MS_MAX,
  OUTCOME_EARLIEST_MS,
  OUTCOMES_OF_A_SUBJECT_MAX,
} from "../../src/core/limits-finance.ts";
import {
  judgeOutcome,
  type HeldOutcome,
  type OutcomeFacts,
  type ToldOutcome,
} from "../../src/core/outcome.ts";

const NOW = new Date("2030-01-01T00:00:00Z");

const TOLD: ToldOutcome = {
  subject: { kind: "run", name: "r" },
  type: "ticket_resolved",
  key: "",
  status: "success",
  valuePicousd: null,
  weight: 1,
  evidence: "",
  occurredAt: null,
  supersedes: null,
};

const HELD: HeldOutcome = {
  outcomeId: "out_2",
  rootId: "out_1",
  supersedes: "out_1",
  status: "partial",
  valuePicousd: 1_000_000_000_000n,
  weight: 1,
  evidence: "",
  occurredAt: NOW,
};

const FACTS: OutcomeFacts = {
  now: NOW,
  isSubjectKnown: true,
  isTypeDeclared: true,
  begun: 0,
  held: null,
};

const judge = (told: Partial<ToldOutcome>, facts: Partial<OutcomeFacts> = {}): unknown => {
  const judged = judgeOutcome({ ...TOLD, ...told }, { ...FACTS, ...facts });
  return judged.kind === "refused" ? judged.param : judged.kind;
};

describe("an outcome is refused", () => {
  /** Each row is broken in one more way than the next: the first reason is the one that is told. */
  const PRECEDENCE: readonly (readonly [string, Partial<ToldOutcome>, Partial<OutcomeFacts>])[] = [
    ["run", {}, { isSubjectKnown: false }],
    ["type", {}, { isTypeDeclared: false }],
    ["occurred_at", { occurredAt: new Date(NOW.getTime() + OUTCOME_AHEAD_MS_MAX + 1) }, {}],
    ["supersedes", { supersedes: "out_9" }, {}],
    ["status", { status: "reversed" }, {}],
  ];

  test.each(PRECEDENCE.map(([param], at) => [param, at] as const))("for its %s", (param, at) => {
    const broken = PRECEDENCE.slice(at);
    const told = Object.assign({}, ...broken.map(([, each]) => each));
    const facts = Object.assign({}, ...broken.map(([, , each]) => each));
    expect(judge(told, facts)).toBe(param);
  });

  test("in words that say what holds and what to do", () => {
    const message = (told: Partial<ToldOutcome>, held: HeldOutcome | null) => {
      const judged = judgeOutcome({ ...TOLD, ...told }, { ...FACTS, held });
      return judged.kind === "refused" ? judged.message : judged.kind;
    };
    expect(message({ key: "T-1" }, HELD)).toBe(
      "`ticket_resolved` with the key `T-1` of the run `r` has an outcome already: `out_2` holds, which says " +
        "partial and a value of $1.00. To correct it, name it in 'supersedes'.",
    );
    expect(message({ supersedes: "out_1" }, HELD)).toBe(
      "`out_1` is not what holds of `ticket_resolved` of the run `r`: `out_2` holds, which says partial and a " +
        "value of $1.00. If that is to be corrected, name it in 'supersedes'.",
    );
    expect(message({ status: "reversed" }, null)).toBe(
      "`ticket_resolved` of the run `r` has no outcome yet, so there is nothing to reverse.",
    );
  });
});

test("an outcome is one too many where its subject has as many as may be, and a correction is not", () => {
  const begun = OUTCOMES_OF_A_SUBJECT_MAX;
  expect(judge({}, { begun: begun - 1 })).toBe("first");
  expect(judge({}, { begun })).toBe("run");
  expect(judge({ supersedes: "out_2" }, { begun, held: HELD })).toBe("correction");
});

test.each([
  ["first where nothing holds", {}, null, "first"],
  ["a correction where it names what holds", { supersedes: "out_2" }, HELD, "correction"],
  [
    "a reversal of what counted in part",
    { status: "reversed", supersedes: "out_2" },
    HELD,
    "correction",
  ],
  [
    "no reversal of a failure",
    { status: "reversed", supersedes: "out_2" },
    { ...HELD, status: "failure" },
    "status",
  ],
  ["refused where it names what was superseded", { supersedes: "out_1" }, HELD, "supersedes"],
] as const)("an outcome is %s", (_, told, held, judged) => {
  expect(judge(told, { held })).toBe(judged);
});

describe("what holds is repeated", () => {
  const same = { status: HELD.status, valuePicousd: HELD.valuePicousd };

  test.each([
    ["naming nothing", {}],
    ["naming what it superseded", { supersedes: "out_1" }],
    ["naming itself", { supersedes: "out_2" }],
    ["with its time", { occurredAt: NOW }],
  ])("%s", (_, told) => {
    expect(judge({ ...same, ...told }, { held: HELD, isTypeDeclared: false })).toBe("repeated");
  });

  test.each([
    ["another status", { status: "success" }],
    ["no value", { valuePicousd: null }],
    ["another weight", { weight: 2 }],
    ["other evidence", { evidence: "e" }],
    ["another time", { occurredAt: new Date(OUTCOME_EARLIEST_MS) }],
    ["another outcome", { supersedes: "out_0" }],
  ] as const)("but not with %s", (_, told) => {
    expect(judge({ ...same, ...told }, { held: HELD })).toBe("supersedes");
  });
});

test.each([
  [0, "first"],
  [-1, "occurred_at"],
])("an outcome %s ms after the earliest time is judged %s", (ms, judged) => {
  expect(judge({ occurredAt: new Date(OUTCOME_EARLIEST_MS + ms) })).toBe(judged);
});
