/** Outcomes that many tell and correct at once: whatever comes of it, each identity has one chain. */
import { expect, test } from "vitest";
import type { Caller } from "../../src/core/caller.ts";
import { OUTCOMES_OF_A_SUBJECT_MAX } from "../../src/core/limits-finance.ts";
import { identityText, OUTCOME_STATUSES, type ToldOutcome } from "../../src/core/outcome.ts";
import { createOutcomes, type RecordedOutcome } from "../../src/gate/outcomes.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { connect } from "../../src/store/database.ts";
import { createRandom, type Random } from "../sim/random.ts";
import { rollUpViolations } from "../store/roll-up-violations.ts";
import { seedOf } from "../store/seed.ts";
import {
  describeEachDatabase,
  describeOnPostgres,
  type TestDatabase,
} from "../support/databases.ts";
import { newId } from "./gate-on.ts";

const RUNS = ["run_a", "run_b"];
const KEYS = ["", "1"];

async function newTenant({ db }: TestDatabase): Promise<Caller> {
  const tenantId = `ten_${newId()}`;
  await db.admin`insert into tenants (tenant_id, name) values (${tenantId}, ${tenantId})`;
  await db.admin`insert into outcome_types (tenant_id, name) values (${tenantId}, 'done')`;
  for (const run of RUNS) {
    await db.admin`insert into runs (tenant_id, run_id, created_by) values (${tenantId}, ${run}, 'key_a')`;
  }
  return { tenantId, keyId: "key_a", scopes: ["invoke"], mode: "strict" };
}

const told = (given: Partial<ToldOutcome> = {}): ToldOutcome => ({
  subject: { kind: "run", name: "run_a" },
  type: "done",
  key: "",
  status: "success",
  valuePicousd: null,
  weight: 1,
  evidence: "",
  occurredAt: null,
  supersedes: null,
  ...given,
});

/** Of any identity, naming nothing, something, or what was once recorded of it. */
function anyTold(random: Random, ids: ReadonlyMap<string, readonly string[]>): ToldOutcome {
  const one = told({
    subject: { kind: "run", name: random.pick(RUNS) },
    key: random.pick(KEYS),
    status: random.pick(OUTCOME_STATUSES),
    weight: random.below(3),
  });
  const known = ids.get(identityText(one)) ?? [];
  // Mostly the last, as who has looked does.
  const supersedes = random.pick([
    null,
    known.at(-1),
    known.at(-1),
    random.pick([...known, "out_0"]),
  ]);
  return { ...one, supersedes: supersedes ?? null };
}

async function chainsOf({ db }: TestDatabase, tenantId: string): Promise<readonly string[]> {
  const rows = await db.admin<
    { id: string; root: string; supersedes: string | null; identity: string }[]
  >`
    select outcome_id as id, root_id as root, supersedes, subject || ' ' || key as identity
    from outcomes where tenant_id = ${tenantId}`;
  const byId = new Map(rows.map((row) => [row.id, row]));
  const broken = rows.filter(({ supersedes, root, identity }) => {
    if (supersedes === null) return false;
    const before = byId.get(supersedes);
    return before?.root !== root || before.identity !== identity;
  });
  const corrected = new Set(rows.map(({ supersedes }) => supersedes));
  const holding = rows.filter(({ id }) => !corrected.has(id)).map(({ identity }) => identity);
  return [
    ...broken.map(({ id }) => `${id} leaves its chain`),
    ...(new Set(holding).size === holding.length ? [] : ["two hold of one identity"]),
  ];
}

async function playHistory(database: TestDatabase, racers: number): Promise<void> {
  const random = createRandom(seedOf("outcomes"));
  const caller = await newTenant(database);
  const { tenantId } = caller;
  const outcomes = createOutcomes({ db: database.db, newId });
  const ids = new Map<string, string[]>();
  const recorded: string[] = [];
  for (let step = 0; step < 25; step += 1) {
    const batches = Array.from({ length: 1 + random.below(racers) }, () =>
      Array.from({ length: 1 + random.below(4) }, () => anyTold(random, ids)),
    );
    const results = await Promise.all(
      batches.map((batch) => outcomes.recordAll(caller, tenantId, { told: batch, dry: false })),
    );
    for (const [at, each] of results.flat().entries()) {
      if (each.kind !== "recorded") continue;
      recorded.push(each.outcomeId);
      const identity = identityText(batches.flat()[at]!);
      ids.set(identity, [...(ids.get(identity) ?? []), each.outcomeId]);
    }
  }
  const rows = await database.db
    .admin`select outcome_id from outcomes where tenant_id = ${tenantId}`;
  expect(rows.map((row) => String(row["outcome_id"])).toSorted()).toEqual(recorded.toSorted());
  expect(recorded.length).toBeGreaterThan(4);
  expect(await chainsOf(database, tenantId)).toEqual([]);
  await rollUpAll(database.db.admin, 500);
  expect(await rollUpViolations(database.db.admin, tenantId)).toEqual([]);
}

describeEachDatabase("outcomes told in any order", (database) => {
  test("have one chain for each identity, and a row for each that was told it is recorded", () =>
    playHistory(database, 1));

  test("in one batch are judged by those before them", async () => {
    const caller = await newTenant(database);
    const outcomes = createOutcomes({ db: database.db, newId });
    const batch = [told(), told(), told({ status: "failure" }), told({ type: "undeclared" })];
    const kinds = (results: readonly RecordedOutcome[]) => results.map(({ kind }) => kind);
    const expected = ["recorded", "repeated", "refused", "refused"];
    const dry = await outcomes.recordAll(caller, caller.tenantId, { told: batch, dry: true });
    expect(kinds(dry)).toEqual(expected);
    const [none] = await database.db.admin`
      select 1 from outcomes where tenant_id = ${caller.tenantId}`;
    expect(none).toBeUndefined();
    const done = await outcomes.recordAll(caller, caller.tenantId, { told: batch, dry: false });
    expect(kinds(done)).toEqual(expected);
    const [first, second] = done;
    expect(first).toMatchObject({ outcomeId: second?.kind === "repeated" && second.outcomeId });
  });
});

describeEachDatabase("outcomes of one run", (database) => {
  test("are as many as may be, also within one batch, and those of another go on", async () => {
    const caller = await newTenant(database);
    const { tenantId } = caller;
    await database.db.admin`
      insert into outcomes (tenant_id, outcome_id, root_id, type, subject_kind, subject, key, status, occurred_at,
                            recorded_by)
      select ${tenantId}, ${tenantId} || n, ${tenantId} || n, 'done', 'run', 'run_a', 'k' || n, 'success',
             tollgate_now(), 'key_a'
      from generate_series(1, ${OUTCOMES_OF_A_SUBJECT_MAX - 2}) as n`;
    const outcomes = createOutcomes({ db: database.db, newId });
    const batch = ["1", "2", "3"].map((key) => told({ key }));
    const other = told({ subject: { kind: "run", name: "run_b" } });
    const tell = (all: readonly ToldOutcome[]) =>
      outcomes.recordAll(caller, tenantId, { told: all, dry: false });
    expect((await tell([...batch, other])).map(({ kind }) => kind)).toEqual([
      "recorded",
      "recorded",
      "refused",
      "recorded",
    ]);
    expect(await tell(batch)).toMatchObject([
      { kind: "repeated" },
      { kind: "repeated" },
      { kind: "refused", code: "conflict", param: "run" },
    ]);
  });
});

describeOnPostgres("outcomes told by many at once", (database) => {
  test("have one chain for each identity, and a row for each that was told it is recorded", () =>
    playHistory(database, 6));

  test("in batches of opposite order wait for each other in one direction, and none is lost", async () => {
    const caller = await newTenant(database);
    const db = connect(database.address, { gateConnections: 1, adminConnections: 8 });
    const outcomes = createOutcomes({ db, newId });
    const batch = Array.from({ length: 200 }, (_, at) => told({ key: String(at) }));
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        outcomes.recordAll(caller, caller.tenantId, {
          told: at % 2 === 0 ? batch : batch.toReversed(),
          dry: false,
        }),
      ),
    );
    const kinds = results.flat().map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "recorded")).toHaveLength(200);
    expect(kinds.filter((kind) => kind === "repeated")).toHaveLength(1_400);
    await db.close();
  });
});
