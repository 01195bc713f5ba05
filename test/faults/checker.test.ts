import { describe, expect, test } from "vitest";
import { check, PROMISES, violations, type PromiseName } from "./checker.ts";
import type {
  Accepted,
  Decision,
  Fault,
  FaultKind,
  Figures,
  History,
  Observation,
  Settled,
} from "./history.ts";

const AT = new Date("2030-05-05T12:00:00Z");
const DAY = new Date("2030-05-05T00:00:00Z");

/** Everything of one call, and what its parts may be changed to. */
type Parts = {
  readonly observation?: Partial<Observation>;
  readonly accepted?: Partial<Accepted>;
  readonly decision?: Partial<Decision>;
  readonly settled?: Partial<Settled>;
};

const ESTIMATE = 1_000n;
const BILL = 300n;

const figures = (fields: Partial<Figures> = {}): Figures => ({
  limitId: "lim_day",
  subject: "",
  unit: "usd",
  enforced: true,
  isShare: false,
  limit: 10_000n,
  committed: 0n,
  reserved: 0n,
  asked: ESTIMATE,
  ...fields,
});

function observation(tag: string, fields: Partial<Observation> = {}): Observation {
  return {
    tag,
    tenant: "ten_a",
    keyId: "key_a",
    mode: "usual",
    stream: false,
    slot: 0,
    incarnation: 1,
    sentMs: 1_000,
    endedMs: 1_100,
    end: "whole",
    status: 200,
    decisionId: `dec_${tag}`,
    code: null,
    echo: tag,
    words: 2,
    isProbe: false,
    again: null,
    ...fields,
  };
}

function accepted(tag: string, fields: Partial<Accepted> = {}): Accepted {
  return {
    tag,
    mode: "usual",
    stream: false,
    connection: 1,
    credential: "Bearer up",
    acceptedMs: 1_010,
    endedMs: 1_090,
    decision: "allow",
    billed: BILL,
    toldUsage: true,
    ...fields,
  };
}

function decision(tag: string, fields: Partial<Decision> = {}): Decision {
  return {
    tenant: "ten_a",
    attemptId: `att_${tag}`,
    tag,
    verdict: "allow",
    reason: null,
    judgedAlone: false,
    decidedAt: AT,
    estimate: ESTIMATE,
    priceVersion: "price 1",
    meters: [figures()],
    ...fields,
  };
}

function settled(tag: string, fields: Partial<Settled> = {}): Settled {
  return {
    attemptId: `att_${tag}`,
    line: 0,
    ending: "succeeded",
    basis: "computed",
    cost: BILL,
    overage: 0n,
    tokens: 12n,
    priceVersion: "price 1",
    meterIds: [1n],
    units: ["usd"],
    ...fields,
  };
}

function fault(kind: FaultKind, fields: Partial<Fault> = {}): Fault {
  const nobody = { slot: null, incarnation: null, tenant: null, keyId: null };
  return { kind, detail: "", ...nobody, fromMs: 1_000, toMs: 1_200, ...fields };
}

/** One call served, one refused for a full budget, one of a tenant without any: a history in which all holds. */
function history(parts: Parts = {}): History {
  const one = settled("s1-a-1", parts.settled);
  const full = figures({ committed: 9_500n });
  const none = figures({ limitId: "lim_none", limit: 0n });
  const refused = { verdict: "block", reason: "budget_exceeded" };
  const no = { status: 402, code: "budget_exceeded", echo: null, words: 0 };
  return {
    seed: 1,
    observations: [
      observation("s1-a-1", parts.observation),
      observation("s1-a-2", no),
      observation("s1-b-3", { ...no, tenant: "ten_broke" }),
    ],
    journal: [accepted("s1-a-1", parts.accepted)],
    ledger: {
      decisions: [
        decision("s1-a-1", parts.decision),
        decision("s1-a-2", { ...refused, meters: [full] }),
        decision("s1-b-3", { ...refused, tenant: "ten_broke", meters: [none] }),
      ],
      settlements: [one],
      reservations: [],
      meters: [
        {
          meterId: 1n,
          tenant: "ten_a",
          limitId: "lim_day",
          subject: "",
          windowStart: DAY,
          committed: one.cost,
          reserved: 0n,
        },
      ],
      limits: [
        {
          limitId: "lim_day",
          tenant: "ten_a",
          unit: "usd",
          window: "day",
          amount: 10_000n,
          enforced: true,
        },
        {
          limitId: "lim_none",
          tenant: "ten_broke",
          unit: "usd",
          window: "none",
          amount: 0n,
          enforced: true,
        },
      ],
    },
    faults: [],
    exits: [],
    boots: [],
    amounts: new Map(),
    honestTenants: [],
  };
}

type Ledger = History["ledger"];

const withLedger = (past: History, change: (ledger: Ledger) => Partial<Ledger>): History => ({
  ...past,
  ledger: { ...past.ledger, ...change(past.ledger) },
});

/** The same history with another call of the first kind, and what is different about it. */
function and(tag: string, parts: Parts): History {
  const past = history();
  return {
    ...past,
    observations: [...past.observations, observation(tag, parts.observation)],
    journal: [...past.journal, accepted(tag, parts.accepted)],
  };
}

const presumed = { ending: "unknown", basis: "presumed", cost: ESTIMATE } as const;
const unavailable = { status: 503, decisionId: null, echo: null, code: "admission_unavailable" };
const lock = fault("lock-meter", { tenant: "ten_x" });
const revoked = fault("revoke-key", { keyId: "key_a", fromMs: -2_000, toMs: -1_500 });

/** Every way in which each promise can be broken, planted in a history in which nothing else is amiss. */
const PLANTED: readonly (readonly [PromiseName, string, () => History])[] = [
  ["M1", "billed above the budget", () => history({ accepted: { billed: 10_001n } })],
  [
    "M1",
    "a meter above its limit",
    () =>
      withLedger(history(), ({ meters }) => ({
        meters: meters.map((meter) => ({ ...meter, reserved: 9_900n })),
      })),
  ],
  ["M2", "charged less than billed", () => history({ settled: { cost: 299n } })],
  ["M2", "charged more than billed", () => history({ settled: { cost: 301n } })],
  [
    "M2",
    "presumed below the bill",
    () => history({ accepted: { toldUsage: false }, settled: { ...presumed, cost: 299n } }),
  ],
  [
    "M2",
    "a meter that drifted from its settlements",
    () =>
      withLedger(history(), ({ meters }) => ({
        meters: meters.map((meter) => ({ ...meter, committed: 301n })),
      })),
  ],
  [
    "M3",
    "an ending in disorder",
    () => ({
      ...history(),
      exits: [{ slot: 0, incarnation: 1, isTold: true, code: 1, says: "" }],
    }),
  ],
  ["M3", "another decision than was told", () => history({ decision: { attemptId: "att_else" } })],
  [
    "M3",
    "a reservation without an ending",
    () => withLedger(history(), () => ({ settlements: [] })),
  ],
  ["M3", "evidence that was lost", () => history({ settled: presumed })],
  [
    "M4",
    "a reservation that stays",
    () =>
      withLedger(history(), () => ({
        reservations: [{ attemptId: "att_x", state: "open", meterIds: [], amounts: [] }],
      })),
  ],
  [
    "M4",
    "room that is not given back",
    () => history({ observation: { isProbe: true, status: 429, echo: null } }),
  ],
  ["M5", "spent money given back", () => history({ settled: { ending: "released", cost: 0n } })],
  ["M5", "spent money that nobody holds", () => withLedger(history(), () => ({ settlements: [] }))],
  [
    "M6",
    "an attempt that ended twice",
    () =>
      withLedger(history(), ({ settlements }) => ({
        settlements: [...settlements, ...settlements],
      })),
  ],
  [
    "M6",
    "a correction of no presumption",
    () =>
      withLedger(history(), ({ settlements }) => ({
        settlements: [...settlements, settled("s1-a-1", { line: 1, cost: 0n })],
      })),
  ],
  [
    "M7",
    "a settlement in the next day's window",
    () => history({ decision: { decidedAt: new Date("2030-05-04T23:59:59Z") } }),
  ],
  [
    "M8",
    "a call on a budget of nothing",
    () => and("s1-b-3", { observation: { tenant: "ten_broke" } }),
  ],
  ["M9", "a bill above the reservation", () => history({ accepted: { billed: 1_001n } })],
  ["M9", "an overage", () => history({ settled: { overage: 1n } })],
  [
    "M10",
    "a stream that was left and charged by what was delivered",
    () =>
      history({
        observation: { end: "left", words: 2 },
        accepted: { billed: 400n, toldUsage: false },
        settled: { ending: "aborted", basis: "estimated" },
      }),
  ],
  [
    "M10",
    "a stream that was left, billed and given back",
    () => history({ observation: { end: "left" }, settled: { ending: "released", cost: 0n } }),
  ],
  [
    "M2",
    "a stream that was cut short of its bill, whoever left it",
    () => history({ settled: { ending: "aborted", basis: "estimated", cost: 299n } }),
  ],
  [
    "M10",
    "a whole answer that was left, and charged otherwise than told",
    () => history({ observation: { end: "left" }, settled: { cost: 200n } }),
  ],
  [
    "M11",
    "an honest tenant that waits in vain",
    () => ({ ...history(), honestTenants: ["ten_broke"] }),
  ],
  [
    "M11",
    "an honest call that is refused again when those before it have ended",
    () => {
      const past = history();
      const again = observation("s1-a-2", { status: 429, echo: null, again: "s1-b-3" });
      return {
        ...past,
        observations: [...past.observations.toSpliced(1, 1), again],
        honestTenants: ["ten_a", "ten_broke"],
      };
    },
  ],
  ["D1", "a call before its decision", () => history({ accepted: { decision: "none" } })],
  ["D1", "a decision that a crash took", () => withLedger(history(), () => ({ decisions: [] }))],
  ["D1", "a call that was refused", () => and("s1-a-2", {})],
  ["D2", "an answer without a decision", () => withLedger(history(), () => ({ decisions: [] }))],
  ["D2", "a refusal of what was allowed", () => history({ observation: { status: 402 } })],
  [
    "D2",
    "a decision that nobody asked for",
    () =>
      withLedger(history(), ({ decisions }) => ({ decisions: [...decisions, decision("s1-a-9")] })),
  ],
  [
    "D3",
    "an allow that its figures refuse",
    () => history({ decision: { meters: [figures({ reserved: 9_500n })] } }),
  ],
  [
    "D4",
    "two estimates for one call",
    () => history({ decision: { meters: [figures({ asked: 999n })] } }),
  ],
  [
    "D4",
    "a limit that never was",
    () => history({ decision: { meters: [figures({ limit: 11_000n })] } }),
  ],
  [
    "D4",
    "a price that changed on the way",
    () => history({ settled: { priceVersion: "price 2" } }),
  ],
  ["D5", "a 401 for a good key", () => history({ observation: { status: 401 } })],
  [
    "D5",
    "a process that did not survive the trouble",
    () => ({
      ...history(),
      exits: [{ slot: 0, incarnation: 1, isTold: false, code: 1, says: "" }],
    }),
  ],
  ["D5", "a 500 of the gate's own", () => history({ observation: { status: 500 } })],
  ["D5", "a 503 without any trouble", () => history({ observation: unavailable })],
  [
    "D5",
    "a 503 that is not over after five seconds",
    () => ({
      ...history({ observation: unavailable }),
      faults: [fault("crash-database", { fromMs: -6_000, toMs: -4_100 })],
    }),
  ],
  [
    "D6",
    "a start on unsafe settings",
    () => ({ ...history(), boots: [{ setting: "fsync = off", started: true, says: "" }] }),
  ],
  ["explained", "a 503 for what ran", () => history({ observation: unavailable })],
  [
    "explained",
    "a broken answer that the ledger does not know",
    () => withLedger(history({ observation: { end: "cut" } }), () => ({ settlements: [] })),
  ],
  [
    "A2",
    "a 503 beside another tenant's lock",
    () => ({ ...history({ observation: unavailable }), faults: [lock] }),
  ],
  [
    "A2",
    "a 503 beside another tenant's lock, long after the machine stood still",
    () => ({
      ...history({ observation: unavailable }),
      faults: [lock, fault("stall", { fromMs: -700, toMs: -100 })],
    }),
  ],
  [
    "A2",
    "a call that waits for the end of another tenant's lock",
    () => ({
      ...history({ observation: { endedMs: 7_100 }, accepted: { acceptedMs: 7_050 } }),
      faults: [fault("lock-meter", { tenant: "ten_x", toMs: 7_000 })],
    }),
  ],
  [
    "A3",
    "an answer broken off by a deploy",
    () => ({
      ...history({ observation: { end: "cut" } }),
      faults: [fault("replace", { slot: 0, incarnation: 1 })],
    }),
  ],
  ["S3", "a call by a key long revoked", () => ({ ...history(), faults: [revoked] })],
  ["X2", "another caller's answer", () => history({ observation: { echo: "s1-a-2" } })],
  [
    "X2",
    "a connection of two credentials",
    () => and("s1-a-4", { accepted: { credential: "Bearer other" } }),
  ],
];

describe("the checker", () => {
  test("finds nothing in a history in which every promise holds", () => {
    expect(violations(check(history()))).toEqual([]);
  });

  test.each(PLANTED)("%s: finds %s", (promise, _, plant) => {
    const report = check(plant());
    expect(report.findings[promise].violations).not.toEqual([]);
    expect(report.findings[promise].examined).toBeGreaterThan(0);
  });

  test("has a planted violation for every promise", () => {
    expect(new Set(PLANTED.map(([promise]) => promise))).toEqual(new Set(PROMISES));
  });
});

/** The same with its first call told that nothing can be decided now, and undecided. */
const unserved = (): History => ({
  ...withLedger(history({ observation: unavailable }), (ledger) => ({
    decisions: ledger.decisions.slice(1),
    settlements: [],
    meters: [],
  })),
  journal: [],
});

/** What looks like a broken promise and is none, because something else was done that explains it. */
const EXPLAINED: readonly (readonly [string, () => History])[] = [
  [
    "an attempt whose owner was killed is presumed, answered or not",
    () => ({
      ...history({ settled: presumed }),
      faults: [fault("kill", { slot: 0, incarnation: 1 })],
    }),
  ],
  [
    "a 503 while the database was away",
    () => ({
      ...unserved(),
      faults: [fault("crash-database")],
    }),
  ],
  [
    "a revoked key's 401, and a call of it within two seconds",
    () => ({ ...history(), faults: [fault("revoke-key", { keyId: "key_a" })] }),
  ],
  [
    "an upstream's own failure, presumed in full",
    () =>
      history({
        observation: { status: 500, mode: "fails", echo: null },
        accepted: { mode: "fails", toldUsage: false },
        settled: presumed,
      }),
  ],
  [
    "a stream that was left, of which nothing was told, presumed in full",
    () =>
      history({
        observation: { end: "left" },
        accepted: { toldUsage: false, billed: 400n },
        settled: presumed,
      }),
  ],
  [
    "a 503 beside another tenant's lock, on a machine that stood still",
    () => {
      const past = unserved();
      return { ...past, faults: [lock, fault("stall", { fromMs: 600, toMs: 1_050 })] };
    },
  ],
  [
    "an upstream that takes longer than another tenant's lock lasts",
    () => ({
      ...history({ observation: { endedMs: 9_000 }, accepted: { endedMs: 9_000 } }),
      faults: [fault("lock-meter", { tenant: "ten_x", toMs: 7_000 })],
    }),
  ],
  [
    "an honest call that was refused, and admitted when asked again",
    () => {
      const past = history({ observation: { again: "s1-a-2" } });
      return { ...past, honestTenants: ["ten_a"] };
    },
  ],
];

test("a charge that is not the bill is told with what each witness says of the call", () => {
  const past = history({ settled: { basis: "estimated", cost: 301n } });
  expect(check(past).findings.M2.violations[0]).toBe(
    "s1-a-1: 301 charged, 300 billed; its client, at replica 0: whole, 200, 1000 to 1100 ms; " +
      "upstream: usual, billed 300, told, 1010 to 1090 ms; " +
      "ledger: 1000 reserved, line 0 succeeded, estimated, 301 for 12 tokens",
  );
});

describe("what explains itself", () => {
  test.each(EXPLAINED)("%s", (_, plant) => {
    expect(violations(check(plant()))).toEqual([]);
  });

  test("while what was left uncharged is counted", () => {
    const left = history({
      observation: { end: "left" },
      accepted: { toldUsage: false, billed: 400n },
      settled: { ending: "aborted", basis: "estimated" },
    });
    expect(check(left).leftUncharged).toEqual({ left: 1, uncharged: 1, picousd: 100n });
  });
});
