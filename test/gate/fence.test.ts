import { describe, expect, test } from "vitest";
import { FENCE_MS_MAX, PERMIT_MS_MAX } from "../../src/core/limits.ts";
import { createFence } from "../../src/gate/fence.ts";

/** What happened, in order, each at its millisecond; then whether a permit may be dispatched. */
type Row = {
  readonly name: string;
  readonly answered: readonly { readonly askedAtMs: number; readonly atMs: number }[];
  readonly permitAskedAtMs: number;
  readonly atMs: number;
  readonly refusal: RegExp | null;
};

const ROWS: readonly Row[] = [
  {
    name: "a permit just posted is dispatched",
    answered: [{ askedAtMs: 1_000, atMs: 1_005 }],
    permitAskedAtMs: 1_000,
    atMs: 1_006,
    refusal: null,
  },
  {
    name: "a permit that waited to the end of its time is dispatched while the database answers",
    answered: [{ askedAtMs: PERMIT_MS_MAX, atMs: PERMIT_MS_MAX }],
    permitAskedAtMs: 0,
    atMs: PERMIT_MS_MAX,
    refusal: null,
  },
  {
    name: "a permit older than that is not, however well the database answers",
    answered: [{ askedAtMs: PERMIT_MS_MAX, atMs: PERMIT_MS_MAX }],
    permitAskedAtMs: 0,
    atMs: PERMIT_MS_MAX + 1,
    refusal: /^the permit lapsed: it was 5001 ms old$/,
  },
  {
    name: "a young permit is dispatched until the database has been silent for too long",
    answered: [{ askedAtMs: 100, atMs: 110 }],
    permitAskedAtMs: 100,
    atMs: 100 + FENCE_MS_MAX,
    refusal: null,
  },
  {
    name: "a young permit is not dispatched by a replica that its database does not answer",
    answered: [{ askedAtMs: 100, atMs: 110 }],
    permitAskedAtMs: 100,
    atMs: 101 + FENCE_MS_MAX,
    refusal: /^the database has not answered for 3000 ms$/,
  },
  {
    name: "an answer that lay unread while the process was stopped proves nothing about now",
    answered: [
      { askedAtMs: 100, atMs: 110 },
      { askedAtMs: 1_000, atMs: 4_500 },
    ],
    permitAskedAtMs: 1_000,
    atMs: 4_501,
    refusal: /^the database has not answered/,
  },
  {
    name: "answers that come out of order do not make it older",
    answered: [
      { askedAtMs: 4_000, atMs: 4_010 },
      { askedAtMs: 200, atMs: 4_020 },
    ],
    permitAskedAtMs: 3_000,
    atMs: 6_999,
    refusal: null,
  },
];

function check({ answered, permitAskedAtMs, atMs, refusal }: Row): void {
  let nowMs = 0;
  const fence = createFence(() => nowMs);
  for (const each of answered) {
    nowMs = each.atMs;
    fence.answered(each.askedAtMs);
  }
  nowMs = atMs;
  const found = fence.refusal(permitAskedAtMs);
  if (refusal === null) expect(found).toBe(null);
  else expect(found).toMatch(refusal);
}

describe("the fence:", () => {
  test.each(ROWS)("$name", check);
});
