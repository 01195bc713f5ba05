/** Posting and settling against their model: any batches, in any order, repeated, presumed, corrected. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Database } from "../../src/store/database.ts";
import { post, postDry, type Ask, type Posted } from "../../src/store/posting.ts";
import { giveBack, markUnknown, settle, type Settlement } from "../../src/store/settlement.ts";
import { setClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  createModel,
  giveBackModel,
  postModel,
  settleModel,
  type Model,
  type ModelLimit,
} from "./expected.ts";
import { seedOf } from "./seed.ts";
import { ledgerViolations } from "./violations.ts";

const START_MS = Date.UTC(2030, 0, 31, 23, 58);
const NAMES = { keys: ["key_a", "key_b"], models: ["m1", "m2"], customers: ["ann", 'b"o,b\\'] };
const RUNS = ["r0", "r1", "r2", "r3"] as const;

const limitSpec = fc.record({
  scope: fc.constantFrom("tenant", "key", "run", "model", "each_run", "each_customer"),
  which: fc.nat(3),
  unit: fc.constantFrom("usd", "usd", "tokens", "requests", "in_flight"),
  window: fc.constantFrom("none", "none", "minute", "day"),
  amount: fc.bigInt(0n, 30n),
  mode: fc.constantFrom("enforce", "enforce", "enforce", "shadow"),
  clamps: fc.boolean(),
});

const askSpec = fc.record({
  key: fc.nat(1),
  model: fc.nat(1),
  customer: fc.option(fc.nat(1)),
  run: fc.option(fc.nat(3)),
  step: fc.option(fc.constantFrom("s1", "s2")),
  cost: fc.option(fc.bigInt(0n, 8n), { freq: 8 }),
  tokens: fc.nat(8),
  judged: fc.constantFrom(null, null, null, null, null, null, "cost_unbounded", "price_unknown"),
  final: fc.boolean(),
});

const endSpec = fc.record({
  /** Which of all attempts so far, settled ones and refused ones included. */
  which: fc.nat(1_000),
  kind: fc.constantFrom("succeeded", "failed", "aborted", "released", "presumed", "unpriced"),
  basis: fc.constantFrom("computed", "estimated", "presumed"),
  cost: fc.bigInt(0n, 12n),
  tokens: fc.nat(12),
});

const move = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      move: fc.constant("post"),
      asks: fc.array(askSpec, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      move: fc.constant("settle"),
      ends: fc.array(endSpec, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      move: fc.constant("lose"),
      which: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ move: fc.constant("give back") }) },
  {
    weight: 1,
    arbitrary: fc.record({
      move: fc.constant("run"),
      run: fc.nat(3),
      state: fc.constantFrom("stopping", "closed"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      move: fc.constant("limit"),
      which: fc.nat(7),
      amount: fc.bigInt(0n, 40n),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      move: fc.constant("clock"),
      byMs: fc.constantFrom(1, 40_000, 90_000, 86_400_000),
    }),
  },
);

type Move = typeof move extends fc.Arbitrary<infer Each> ? Each : never;
type History = {
  readonly limits: readonly Spec[];
  readonly parents: readonly number[];
  readonly moves: readonly Move[];
};
type Spec = typeof limitSpec extends fc.Arbitrary<infer Each> ? Each : never;

const history: fc.Arbitrary<History> = fc.record({
  limits: fc.array(limitSpec, { minLength: 1, maxLength: 7 }),
  /** Run n is below run n-1 where the bit is set. */
  parents: fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1)),
  moves: fc.array(move, { minLength: 1, maxLength: 25 }),
});

/** What chance alone would seldom put in this order. */
const LOST_AND_CORRECTED: History = {
  limits: (["usd", "in_flight"] as const).map((unit) => ({
    scope: "tenant",
    which: 0,
    unit,
    window: "none",
    amount: 16n,
    mode: "enforce",
    clamps: false,
  })),
  parents: [0, 0, 0],
  moves: [
    {
      move: "post",
      asks: [1n, 2n].map((cost) => ({
        key: 0,
        model: 0,
        customer: null,
        run: null,
        step: null,
        cost,
        tokens: 1,
        judged: null,
        final: true,
      })),
    },
    { move: "lose", which: [0, 1] },
    { move: "give back" },
    {
      move: "settle",
      ends: [{ which: 0, kind: "presumed", basis: "presumed", cost: 5n, tokens: 1 }],
    },
    {
      move: "settle",
      ends: [{ which: 0, kind: "succeeded", basis: "computed", cost: 3n, tokens: 1 }],
    },
  ],
};

describeEachDatabase("posting and settling", (database) => {
  test("give any history the outcomes, reasons and sums of the model", async () => {
    const seed = seedOf("posting and settling");
    await fc.assert(
      fc.asyncProperty(history, async (each) => play(database.db, each)),
      {
        seed,
        numRuns: database.kind === "PGlite" ? 40 : 60,
        endOnFailure: true,
        examples: [[LOST_AND_CORRECTED]],
      },
    );
    // Histories that never met an outcome would prove nothing of it.
    expect([...met].toSorted()).toEqual(OUTCOMES);
  });
});

let histories = 0;
const met = new Set<string>();
const OUTCOMES = ["again", "allow", "block", "corrected", "missing", "repeated", "settled"];

type Play = {
  readonly db: Database;
  readonly tenantId: string;
  readonly model: Model;
  readonly attempts: string[];
};

async function play(db: Database, { limits, parents, moves }: History): Promise<void> {
  histories += 1;
  const tenantId = `ten_${histories}`;
  const model = createModel(limits.map(limitFrom), START_MS);
  await setClock(db, new Date(START_MS));
  await seedTenant(db, tenantId, model, parents);
  const played: Play = { db, tenantId, model, attempts: [] };
  for (const each of moves) {
    await playMove(played, each);
    await compare(played);
  }
}

function limitFrom(spec: Spec, i: number): ModelLimit {
  const scopes = {
    tenant: "",
    key: NAMES.keys[spec.which % 2]!,
    run: RUNS[spec.which]!,
    model: NAMES.models[spec.which % 2]!,
    each_run: "",
    each_customer: "",
  };
  const clampable = spec.unit === "usd" || spec.unit === "tokens";
  return {
    limitId: `lim_${i}`,
    scope: spec.scope,
    scopeId: scopes[spec.scope],
    unit: spec.unit,
    window: spec.unit === "in_flight" ? "none" : spec.window,
    amount: spec.unit === "in_flight" ? spec.amount / 8n : spec.amount,
    mode: spec.mode,
    onExceed: clampable && spec.clamps ? "clamp" : "refuse",
  };
}

async function seedTenant(
  { admin }: Database,
  tenantId: string,
  model: Model,
  parents: readonly number[],
): Promise<void> {
  await admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  for (const limit of model.limits) {
    await admin`
      insert into limits (tenant_id, limit_id, scope_kind, scope_id, unit, window_kind, amount, mode, on_exceed)
      values (${tenantId}, ${limit.limitId}, ${limit.scope}, ${limit.scopeId}, ${limit.unit},
              ${limit.window}, ${limit.amount.toString()}::text::numeric, ${limit.mode}, ${limit.onExceed})`;
  }
  for (const [i, runId] of RUNS.entries()) {
    const above = i > 0 && parents[i - 1] === 1 ? RUNS[i - 1]! : null;
    if (above === null && i % 2 === 1) continue; // Made by its first call.
    const ancestors = above === null ? [] : [...(model.runs.get(above)?.ancestors ?? []), above];
    if (above !== null && !model.runs.has(above))
      await insertRun(admin, tenantId, model, above, []);
    await insertRun(admin, tenantId, model, runId, ancestors);
  }
}

async function insertRun(
  admin: Database["admin"],
  tenantId: string,
  model: Model,
  runId: string,
  ancestors: readonly string[],
): Promise<void> {
  model.runs.set(runId, { state: "open", ancestors });
  await admin`insert into runs (tenant_id, run_id, ancestors, created_by)
    values (${tenantId}, ${runId}, ${`{${ancestors.join()}}`}::text::text[], 'key_a')`;
}

async function playMove(played: Play, each: Move): Promise<void> {
  const { db, tenantId, model, attempts } = played;
  switch (each.move) {
    case "post": {
      const asks = (each as { asks: readonly AskSpec[] }).asks.map((spec) => askFrom(played, spec));
      // Tried first: it is answered as it then is, and what it leaves behind would be found below.
      const tried = toldOf(await postDry(db.gate, "rep_test", asks[0]!));
      const told = (await post(db.gate, "rep_test", asks)).map(toldOf);
      expect(told).toEqual(postModel(model, asks));
      // A run that a later ask of the batch makes has limits, which a judged one alone does not meet.
      if (asks[0]!.judgedReason === null) expect(tried).toEqual(told[0]);
      for (const { outcome } of told) met.add(outcome);
      return;
    }
    case "settle": {
      const ends = (each as { ends: readonly EndSpec[] }).ends;
      const batch = ends.map((spec) => settlementFrom(played, spec));
      const answers = await settle(db.gate, batch);
      const expected = settleModel(model, batch);
      for (const { outcome } of answers) met.add(outcome);
      expect(answers.map(({ outcome, overagePicousd: overage }) => ({ outcome, overage }))).toEqual(
        expected,
      );
      return;
    }
    case "lose": {
      const { which } = each as { which: readonly number[] };
      const lost = new Set(which.map((i) => attempts[i % attempts.length] ?? "none"));
      const open = [...lost].flatMap((id) => model.reservations.get(id) ?? []);
      const opened = open.filter(({ state }) => state === "open");
      const refs = [...lost].map((attemptId) => ({ tenantId, attemptId }));
      expect(await markUnknown(db.gate, refs)).toBe(opened.length);
      for (const reservation of opened) reservation.state = "unknown";
      return;
    }
    case "give back":
      // Of every tenant: those of earlier histories as well.
      await giveBack(db.gate, 10_000);
      giveBackModel(model);
      return;
    case "run": {
      const { run, state } = each as unknown as { run: number; state: "stopping" | "closed" };
      const row = model.runs.get(RUNS[run]!);
      if (row === undefined) return;
      row.state = state;
      await db.admin`update runs set state = ${state} where tenant_id = ${tenantId} and run_id = ${RUNS[run]!}`;
      return;
    }
    case "limit": {
      const { which, amount } = each as { which: number; amount: bigint };
      const limit = model.limits[which % model.limits.length]!;
      limit.amount = amount;
      await db.admin`update limits set amount = ${amount.toString()}::text::numeric
        where tenant_id = ${tenantId} and limit_id = ${limit.limitId}`;
      return;
    }
    default:
      model.nowMs += (each as { byMs: number }).byMs;
      await setClock(db, new Date(model.nowMs));
  }
}

function toldOf({ outcome, reason, attempt, meters }: Posted) {
  const path = meters.map((m) => `${m.limitId} ${m.committed} ${m.reserved} ${m.asked}`);
  return { outcome, reason, attempt, path };
}

type AskSpec = typeof askSpec extends fc.Arbitrary<infer Each> ? Each : never;
type EndSpec = typeof endSpec extends fc.Arbitrary<infer Each> ? Each : never;

function askFrom({ tenantId, model, attempts }: Play, spec: AskSpec): Ask {
  const attemptId = `att_${attempts.length}`;
  attempts.push(attemptId);
  const keyId = NAMES.keys[spec.key]!;
  const modelName = NAMES.models[spec.model]!;
  const customer = spec.customer === null ? null : NAMES.customers[spec.customer]!;
  const runId = spec.run === null ? `run_${attemptId}` : RUNS[spec.run]!;
  const subjects = {
    tenant: "",
    key: keyId,
    run: null,
    model: modelName,
    each_run: runId,
    each_customer: customer,
  };
  const refs = model.limits.flatMap(({ limitId, scope, scopeId }) => {
    const subject = subjects[scope];
    if (subject === null) return [];
    const isOther = (scope === "key" || scope === "model") && scopeId !== subject;
    return isOther ? [] : [{ limitId, subject, share: null }];
  });
  return {
    attemptId,
    tenantId,
    keyId,
    runId,
    runNamed: spec.run !== null,
    stepId: spec.step,
    stepDigest: spec.step === null ? null : `${runId} ${spec.step}`,
    contentDigest: null,
    retryResource: `model:${modelName}`,
    door: "model",
    operation: "chat",
    resource: `${modelName} "quoted", {braced} \\ NULL`,
    upstream: "up",
    model: modelName,
    judgedReason: spec.judged,
    costPicousd: spec.cost,
    tokens: spec.tokens,
    priceVersion: "v1",
    final: spec.final,
    deadlineMs: 60_000,
    record: '{"a":"b, {c} \\\\"}',
    refs,
    extra: null,
  };
}

function settlementFrom({ tenantId, attempts }: Play, spec: EndSpec): Settlement {
  const attemptId = attempts[spec.which % Math.max(1, attempts.length)] ?? "att_none";
  const common = { tenantId, attemptId, priceVersion: "v1", usage: "{}", record: "{}" };
  const { kind, cost: costPicousd, tokens } = spec;
  const basis = spec.basis as Settlement["basis"];
  switch (kind) {
    case "released":
      return { ...common, ending: kind, basis: "none", costPicousd: 0n, tokens: 0, requests: 0 };
    case "presumed":
      return { ...common, ending: "unknown", basis: "presumed", costPicousd, tokens, requests: 1 };
    case "unpriced": {
      const ending = tokens % 2 === 0 ? "unknown" : "succeeded";
      return { ...common, ending, basis: "unpriced", costPicousd: null, tokens, requests: 1 };
    }
    default:
      return {
        ...common,
        ending: kind,
        basis,
        costPicousd,
        tokens,
        requests: 1,
      };
  }
}

/** Every row that the gate keeps for this tenant, against the model. */
async function compare({ db, tenantId, model }: Play): Promise<void> {
  const { admin } = db;
  const meters = await admin`
    select limit_id, subject, (extract(epoch from window_start) * 1000)::text as start, committed, reserved
    from meters where tenant_id = ${tenantId}`;
  const found = new Map(
    meters.map((row) => [
      `${row["limit_id"]} ${row["subject"]} ${Number(row["start"])}`,
      `${row["committed"]} ${row["reserved"]}`,
    ]),
  );
  const expected = [...model.meters].map(
    ([name, { committed, reserved }]) => [name, `${committed} ${reserved}`] as const,
  );
  expect(found).toEqual(new Map(expected));
  const runs = await admin`select run_id from runs where tenant_id = ${tenantId}`;
  expect(new Set(runs.map((row) => row["run_id"]))).toEqual(new Set(model.runs.keys()));
  const reservations = await admin`
    select attempt_id, state from reservations where tenant_id = ${tenantId}`;
  expect(new Map(reservations.map((row) => [row["attempt_id"], row["state"]]))).toEqual(
    new Map([...model.reservations].map(([id, { state }]) => [id, state])),
  );
  const lines = await admin`
    select attempt_id, line, ending, basis, cost_picousd as cost, tokens, overage_picousd as overage
    from settlements where tenant_id = ${tenantId} order by attempt_id, line`;
  expect(
    lines.map(
      (row) =>
        `${row["attempt_id"]}.${row["line"]} ${row["ending"]} ${row["basis"]} ${row["cost"]} ${row["tokens"]} ${row["overage"]}`,
    ),
  ).toEqual(
    [...model.ended]
      .flatMap(([id, { lines }]) =>
        lines.map(
          (l, i) => `${id}.${i} ${l.ending} ${l.basis} ${l.costPicousd} ${l.tokens} ${l.overage}`,
        ),
      )
      .toSorted(),
  );
  const decisions = await admin`
    select attempt_id, verdict, reason from decisions where tenant_id = ${tenantId}`;
  expect(
    new Map(decisions.map((row) => [row["attempt_id"], `${row["verdict"]} ${row["reason"]}`])),
  ).toEqual(
    new Map([...model.decided].map(([id, { verdict, reason }]) => [id, `${verdict} ${reason}`])),
  );
  expect(await ledgerViolations(admin, tenantId)).toEqual([]);
}
