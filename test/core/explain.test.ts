import { expect, test } from "vitest";
import { explain, type Explained } from "../../src/core/explain.ts";
import { REASONS, type MeterFigures } from "../../src/core/verdict.ts";

const METER: MeterFigures = {
  limitId: "lim_1",
  scope: "run",
  subject: "nightly",
  unit: "usd",
  window: "none",
  mode: "enforce",
  onExceed: "refuse",
  isShare: false,
  limit: 1_000_000_000_000n,
  committed: 400_000_000_000n,
  reserved: 100_000_000_000n,
  asked: 250_000_000_000n,
  resetsAt: null,
};

const ADMITTED: Explained = {
  decisionId: "dec_1",
  keyId: "key_1",
  run: "nightly",
  step: null,
  attempt: 1,
  retry: null,
  door: "model",
  operation: "chat",
  resource: "fast",
  upstream: "openai",
  model: "gpt-5-mini",
  decidedAt: new Date("2026-11-22T10:00:00Z"),
  estimatePicousd: 250_000_000_000n,
  estimateBasis: "bound",
  clampedTo: null,
  priceVersion: "abc",
  reason: null,
  message: null,
  meters: [METER],
  policies: null,
  approval: null,
  status: "admitted",
  basis: null,
  corrected: false,
  costPicousd: null,
  overagePicousd: 0n,
  heldPicousd: 250_000_000_000n,
  tokens: null,
  milliseconds: null,
  settledAt: null,
  unknownAt: null,
};

const SETTLED = { settledAt: new Date("2026-11-22T10:00:05Z"), heldPicousd: null, tokens: 20n };

const CASES: readonly (readonly [string, Partial<Explained>, string])[] = [
  [
    "the part of a daily limit that its run may take",
    { meters: [{ ...METER, scope: "tenant", subject: "run:nightly" }] },
    "for the share of run nightly) had",
  ],
  [
    "what the time of a machine cost",
    {
      ...SETTLED,
      status: "succeeded",
      basis: "computed",
      costPicousd: 1_730n,
      milliseconds: 2_500,
    },
    "cost $0.00000000173 for 2500 ms and 20 tokens (its time, paid by the hour).",
  ],
  [
    "that what its time cost was corrected",
    { ...SETTLED, status: "succeeded", costPicousd: 1_730n, milliseconds: 2_500, corrected: true },
    "20 tokens (its time, paid by the hour, corrected by later evidence).",
  ],
  [
    "what was asked",
    {},
    "key key_1 asked for chat on fast (served by openai as gpt-5-mini) in run nightly.",
  ],
  ["the step", { step: "plan", attempt: 3 }, "in run nightly, step plan, attempt 3."],
  [
    "what it could cost",
    {},
    "It was admitted: it could cost at most $0.25 at price abc, and that was reserved.",
  ],
  ["a free call", { estimateBasis: "free", estimatePicousd: null }, "such a call costs nothing"],
  ["an unbounded call", { estimatePicousd: null }, "no bound of its cost was known"],
  ["a clamp", { clampedTo: 50 }, "lowered to 50 tokens"],
  [
    "a meter with room",
    {},
    "Limit lim_1 ($1.00 for run nightly) had $0.40 settled and $0.10 reserved: room for the $0.25 asked.",
  ],
  [
    "a meter without",
    { reason: "run_budget_exceeded", meters: [{ ...METER, asked: 600_000_000_000n }] },
    "$0.50 left where $0.60 was asked.",
  ],
  [
    "a shadow limit",
    { meters: [{ ...METER, mode: "shadow", asked: 600_000_000_000n }] },
    "it is a shadow limit and only watches.",
  ],
  [
    "what the caller was told",
    { reason: "price_unknown", message: "No price." },
    "The caller was told: No price.",
  ],
  ["what is in flight", {}, "It has not ended yet, and holds $0.25."],
  [
    "what is unknown",
    { status: "unknown", unknownAt: new Date("2026-11-22T11:00:00Z") },
    "Nobody knows how it ended since 2026-11-22T11:00:00.000Z: it keeps $0.25",
  ],
  [
    "what was presumed",
    { ...SETTLED, status: "unknown", basis: "presumed", costPicousd: 1n },
    "it was presumed on 2026-11-22T10:00:05.000Z and cost $0.000000000001 for 20 tokens (presumed in full).",
  ],
  [
    "success",
    { ...SETTLED, status: "succeeded", basis: "computed", costPicousd: 10_000_000_000n },
    "It succeeded on 2026-11-22T10:00:05.000Z and cost $0.01 for 20 tokens (computed from the usage the upstream told).",
  ],
  [
    "success of a tool",
    {
      ...SETTLED,
      status: "succeeded",
      upstream: "pay",
      model: null,
      basis: "computed",
      costPicousd: 10_000_000_000n,
    },
    "(the declared price of one call).",
  ],
  [
    "a correction",
    { ...SETTLED, status: "succeeded", basis: "computed", corrected: true, costPicousd: 1n },
    "corrected by later evidence",
  ],
  [
    "failure",
    { ...SETTLED, status: "failed", basis: "none", costPicousd: 0n },
    "The upstream failed on 2026-11-22T10:00:05.000Z; it cost $0.00",
  ],
  [
    "a cut",
    { ...SETTLED, status: "aborted", basis: "estimated", costPicousd: 1n },
    "It was cut off",
  ],
  ["a release", { status: "released" }, "never reached the upstream"],
  [
    "an unknown price",
    { ...SETTLED, status: "succeeded", basis: "unpriced" },
    "its cost is unknown",
  ],
  [
    "an overage",
    { ...SETTLED, status: "succeeded", basis: "computed", costPicousd: 2n, overagePicousd: 1n },
    "$0.000000000001 above its reservation, which should not happen: please report it.",
  ],
  [
    "an overage that its caller reported",
    {
      ...SETTLED,
      door: "step",
      status: "succeeded",
      basis: "computed",
      costPicousd: 2n,
      overagePicousd: 1n,
    },
    "$0.000000000001 above its reservation, as its caller reported it.",
  ],
];

test.each(CASES)("an explanation tells %s", (_, change, sentence) => {
  expect(explain({ ...ADMITTED, ...change }).join("\n")).toContain(sentence);
});

test("every reason has words of its own", () => {
  const told = REASONS.map((reason) =>
    explain({ ...ADMITTED, reason, status: "blocked" })[1]?.replace(reason, ""),
  );
  expect(new Set(told).size).toBe(REASONS.length);
});

test("a blocked call tells no ending, and of each meter that it was not drawn on", () => {
  const sentences = explain({ ...ADMITTED, reason: "run_stopped", status: "blocked" });
  expect(sentences).toHaveLength(3);
  expect(sentences[2]).toContain("but was not drawn on");
});
