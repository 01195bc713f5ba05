/** Each reason explains what it can prove, and not a pico-dollar or a token more. */
import { expect, test } from "vitest";
import { modelFamily, NO_FIGURES, type Figures, type Invoice } from "../../src/core/invoice.ts";
import { stateOfAll, statesOf } from "../../src/core/reconciliation-state.ts";
import { reconcile, type OurLine } from "../../src/core/reconcile.ts";

const CALLS: Figures = {
  requests: 10n,
  input: 1_000n,
  cached: 200n,
  output: 300n,
  cost: 5_000_000n,
};

function ours(given: Partial<OurLine> = {}): OurLine {
  return {
    day: "2030-01-01",
    model: "gpt-4o",
    figures: CALLS,
    presumed: NO_FIGURES,
    presumedBack: NO_FIGURES,
    untold: 0n,
    untoldBack: 0n,
    estimated: NO_FIGURES,
    unpriced: 0n,
    failed: 0n,
    crossedIn: NO_FIGURES,
    crossedOut: NO_FIGURES,
    ...given,
  };
}

type Theirs = Partial<Omit<Invoice["lines"][number], "figures">> & {
  readonly figures?: Partial<Figures>;
  readonly states?: Invoice["states"];
};

function invoice({ states, figures, ...line }: Theirs = {}): Invoice {
  return {
    from: "2030-01-01",
    to: "2030-01-02",
    states: states ?? ["requests", "input", "cached", "output", "cost"],
    lines: [
      {
        day: "2030-01-01",
        model: "gpt-4o-2024-08-06",
        isModel: true,
        tiers: [],
        amounts: 1,
        ...line,
        figures: { ...CALLS, ...figures },
      },
    ],
  };
}

/** The verdict and its reasons, in one line. */
function check(line: OurLine, theirs: Theirs, says: string, tolerance = 0n): void {
  const { lines, state } = reconcile([line], invoice(theirs), tolerance);
  const told = lines.map(({ verdict, reasons }) =>
    [verdict, ...reasons.map(({ code }) => code)].join(" "),
  );
  expect(`${state}: ${told.join("; ")}`).toBe(says);
}

test("what agrees in all that is stated is equal, whatever version of a model answered", () => {
  check(ours(), {}, "reconciled: equal");
  check(ours(), { states: ["cost"], figures: { requests: 0n, input: 0n } }, "reconciled: equal");
  expect(
    ["gpt-4o-2024-08-06", "claude-sonnet-4-20250514", "claude-3-5-haiku-latest"].map(modelFamily),
  ).toEqual(["gpt-4o", "claude-sonnet-4", "claude-3-5-haiku"]);
  expect(modelFamily("gpt-4-0613")).toBe("gpt-4-0613");
});

test("cached tokens are compared by themselves: the same input with less of it cached is no agreement", () => {
  check(ours(), { figures: { cached: 100n } }, "differs: unexplained model_names");
});

test("calls beside the gate are named and stay unexplained", () => {
  const figures = { requests: 11n, input: 1_100n, output: 330n, cost: 5_500_000n };
  check(ours(), { figures }, "differs: unexplained beside_the_gate model_names");
  const empty = reconcile([], invoice(), 0n);
  expect(empty.lines[0]).toMatchObject({
    verdict: "unexplained",
    unexplained: CALLS,
    reasons: [{ code: "beside_the_gate" }],
  });
});

test("what the export has nothing of is named", () => {
  const { lines } = reconcile([ours()], { ...invoice(), lines: [] }, 0n);
  expect(lines[0]?.reasons.map(({ code }) => code)).toEqual(["absent_there"]);
});

test("a presumed charge explains what it added, and no more", () => {
  const presumed = { requests: 1n, input: 400n, cached: 0n, output: 100n, cost: 2_000_000n };
  const line = ours({ presumed });
  const less = { requests: 9n, input: 600n, output: 200n, cost: 3_000_000n };
  check(line, { figures: less }, "reconciled: explained presumed");
  check(line, { figures: { ...less, output: 199n } }, "differs: unexplained presumed model_names");
  check(
    line,
    { figures: { cost: 5_100_000n } },
    "differs: unexplained beside_the_gate model_names",
  );
});

test("a correction on a later day explains that the day seems too cheap, by what it took back", () => {
  const presumedBack = { ...NO_FIGURES, requests: 1n, cost: 2_000_000n };
  check(
    ours({ presumedBack }),
    { figures: { cost: 7_000_000n } },
    "reconciled: explained presumed",
  );
  check(
    ours({ presumedBack }),
    { figures: { cost: 7_001_001n } },
    "differs: unexplained presumed beside_the_gate model_names",
  );
});

test("usage that nobody told explains tokens up to the most that there can have been, and no cost", () => {
  const line = ours({ untold: 60n });
  check(line, { figures: { input: 1_060n, output: 360n } }, "reconciled: explained untold_usage");
  const beyond = "differs: unexplained untold_usage beside_the_gate model_names";
  check(line, { figures: { input: 1_061n, output: 301n } }, beyond);
  const cost = "differs: unexplained beside_the_gate model_names";
  check(line, { figures: { cost: 6_000_000n } }, cost);
  check(
    ours({ untoldBack: 60n }),
    { figures: { input: 940n } },
    "reconciled: explained untold_usage",
  );
});

test("an estimate explains either direction, of tokens and cost but of no request", () => {
  const estimated = { requests: 1n, input: 100n, cached: 0n, output: 50n, cost: 400_000n };
  check(ours({ estimated }), { figures: { output: 350n } }, "reconciled: explained estimated");
  check(ours({ estimated }), { figures: { cost: 4_600_000n } }, "reconciled: explained estimated");
  check(ours({ estimated }), { figures: { requests: 9n } }, "differs: unexplained model_names");
});

test("calls across midnight explain just what crossed it", () => {
  const crossedIn = { ...NO_FIGURES, requests: 1n, input: 100n, cost: 300_000n };
  const line = ours({ crossedIn });
  const figures = { requests: 9n, input: 900n, cost: 4_700_000n };
  check(line, { figures }, "reconciled: explained day_boundary");
  check(
    line,
    { figures: { ...figures, input: 899n } },
    "differs: unexplained day_boundary model_names",
  );
});

test("failed attempts explain requests that are not counted, and no cost", () => {
  check(
    ours({ failed: 2n }),
    { figures: { requests: 8n } },
    "reconciled: explained failed_attempts",
  );
  check(
    ours({ failed: 2n }),
    { figures: { requests: 7n } },
    "differs: unexplained failed_attempts model_names",
  );
});

test("rounding explains a thousandth of a millionth of a dollar for each amount", () => {
  check(ours(), { figures: { cost: 5_000_999n } }, "reconciled: explained rounding");
  check(ours(), { figures: { cost: 5_002_000n }, amounts: 2 }, "reconciled: explained rounding");
  const beyond = "differs: unexplained beside_the_gate model_names";
  check(ours(), { figures: { cost: 5_001_001n } }, beyond);
});

test("unpriced calls explain cost where the usage agrees, and never usage", () => {
  const line = ours({ unpriced: 3n });
  check(line, { figures: { cost: 9_000_000n } }, "reconciled: explained unpriced");
  const more = { requests: 11n, cost: 9_000_000n };
  check(line, { figures: more }, "differs: unexplained beside_the_gate model_names");
  const costOnly = { states: ["cost"], figures: { cost: 9_000_000n } } as const;
  check(line, costOnly, "differs: unexplained beside_the_gate model_names");
  check(ours({ unpriced: 10n }), costOnly, "reconciled: explained unpriced");
});

test("a tier of service explains another price for the same usage", () => {
  const half = { figures: { cost: 2_500_000n }, tiers: ["flex"] };
  check(ours(), half, "reconciled: explained service_tier");
  check(ours(), { ...half, tiers: [] }, "differs: unexplained model_names");
});

test("what is no model is compared with none", () => {
  const { lines } = reconcile([ours()], invoice({ model: "gpt-4o", isModel: false }), 0n);
  expect(lines.map(({ verdict, reasons }) => [verdict, reasons[0]?.code])).toEqual([
    ["unexplained", "absent_there"],
    ["unexplained", "no_model"],
  ]);
});

test("a tolerance lets cost pass up to its sum, and nothing whose cost is not stated", () => {
  const figures = { cost: 5_500_000n };
  const names = "unexplained beside_the_gate model_names";
  check(ours(), { figures }, `reconciled: ${names}`, 500_000n);
  check(ours(), { figures }, `differs: ${names}`, 499_999n);
  const usage = { states: ["requests"], figures: { requests: 11n } } as const;
  check(ours(), usage, "differs: unexplained beside_the_gate model_names", 1_000_000n);
});

test("two errors do not make a right: what is unexplained adds up without its sign", () => {
  const both = invoice({ figures: { cost: 6_000_000n } });
  const [line] = both.lines;
  const second = { ...line!, day: "2030-01-02", figures: { ...CALLS, cost: 4_000_000n } };
  const days = { ...both, to: "2030-01-03", lines: [line!, second] };
  const { totals, state } = reconcile([ours(), ours({ day: "2030-01-02" })], days, 0n);
  expect(totals.difference.cost).toBe(0n);
  expect(totals.unexplained.cost).toBe(2_000_000n);
  expect(state).toBe("differs");
});

test("a period is reconciled when each of its days is, by the newest word on it", () => {
  const row = (from: string, to: string, state: "reconciled" | "differs") => ({
    upstream: "openai",
    from,
    to,
    state,
    daysNotExplained: null,
  });
  const period = { from: "2030-01-01", to: "2030-01-04" };
  const state = (...rows: ReturnType<typeof row>[]) => statesOf(period, rows)[0]?.state;
  const first = row("2030-01-01", "2030-01-03", "reconciled");
  expect(state(first)).toBe("not_reconciled");
  expect(state(row("2030-01-03", "2030-02-01", "reconciled"), first)).toBe("reconciled");
  expect(state(row("2030-01-03", "2030-01-04", "differs"), first)).toBe("differs");
  expect(
    state(
      row("2029-12-01", "2030-02-01", "reconciled"),
      row("2030-01-03", "2030-01-04", "differs"),
    ),
  ).toBe("reconciled");
  expect(statesOf(period, [])).toEqual([]);
  const mostly = {
    ...row("2030-01-01", "2030-01-04", "differs"),
    daysNotExplained: ["2030-01-02"],
  };
  expect(statesOf(period, [mostly])).toMatchObject([
    { state: "differs", days: 3, reconciled_days: 2, differing_days: 1 },
  ]);
});

test("days agree as a whole where each upstream does that was used, and differ where any upstream does", () => {
  const [agrees, open, differs] = [
    { upstream: "a", state: "reconciled" },
    { upstream: "b", state: "not_reconciled" },
    { upstream: "c", state: "differs" },
  ] as const;
  const cases = [
    { states: [], used: [], is: "not_reconciled" },
    { states: [], used: ["a"], is: "not_reconciled" },
    { states: [agrees], used: ["a"], is: "reconciled" },
    { states: [agrees], used: [], is: "reconciled" },
    { states: [agrees], used: ["a", "b"], is: "not_reconciled" },
    { states: [agrees, open], used: ["a"], is: "reconciled" },
    { states: [agrees, open], used: [], is: "not_reconciled" },
    { states: [agrees, open], used: ["a", "b"], is: "not_reconciled" },
    { states: [agrees, open, differs], used: ["a"], is: "differs" },
  ] as const;
  for (const { states, used, is } of cases) {
    expect([states, used, stateOfAll(states, used)]).toEqual([states, used, is]);
  }
});
