import { expect, test } from "vitest";
import { ledgerViolations } from "../store/violations.ts";
import { seedOf } from "../store/seed.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { createRandom } from "./random.ts";
import { createWorld, STEPS, worldViolations, type World } from "./world.ts";

/** Steps of all histories on one database; more of them by SIM_STEPS. */
const STEPS_DEFAULT = 400;
const STEPS_PER_HISTORY = 80;

async function step(world: World): Promise<string> {
  const total = STEPS.reduce((sum, [weight]) => sum + weight, 0);
  let at = world.random.below(total);
  for (const [weight, name, take] of STEPS) {
    at -= weight;
    if (at >= 0) continue;
    await take(world);
    return name;
  }
  throw new Error("the weights of the steps do not add up");
}

describeEachDatabase("a simulated history", (database) => {
  const steps = Number(process.env["SIM_STEPS"] ?? STEPS_DEFAULT);

  test(
    "breaks no invariant at any step",
    async () => {
      const seed = seedOf("the simulation");
      const met = new Map<string, number>();
      const histories = Math.ceil(steps / STEPS_PER_HISTORY);
      for (let history = 0; history < histories; history += 1) {
        const world = await createWorld(database.db, createRandom(seed + history));
        const taken: string[] = [];
        for (let i = 0; i < STEPS_PER_HISTORY; i += 1) {
          taken.push(await step(world));
          const violations = await worldViolations(world);
          expect(violations, `TEST_SEED=${seed}, history ${history}: ${taken.join(", ")}`).toEqual(
            [],
          );
        }
        for (const [what, times] of world.counts) met.set(what, (met.get(what) ?? 0) + times);
      }
      // A generator that does not reach these proves nothing about them.
      for (const what of MUST_MEET) expect([...met.keys()], `never met: ${what}`).toContain(what);
    },
    Math.max(120_000, steps * 500),
  );
});

/** Each is met ten times and more in 400 steps; what is rarer would make the test fail by chance. */
const MUST_MEET = ["admitted", "ended succeeded", "ended unknown", "cut", "settle twice", "raise"];

describeEachDatabase("the checker of the simulation", (database) => {
  const mutants: [planted: string, statement: string, rule: string][] = [
    [
      "money reserved by nobody",
      "update meters set reserved = reserved + 1",
      "a meter reserves what",
    ],
    ["a reservation that vanished", "delete from reservations", "a meter reserves what"],
    ["money spent by nobody", "update meters set committed = committed + 1", "a meter of money"],
    ["a settlement that vanished", "delete from settlements", "a meter of money"],
    [
      "a request that was counted twice",
      "update meters set committed = committed + 1 where limit_id in (select limit_id from limits where unit = 'requests')",
      "a meter of requests",
    ],
    [
      "what is in flight, committed",
      "update meters set committed = 1 where limit_id in (select limit_id from limits where unit = 'in_flight')",
      "what is in flight",
    ],
    [
      "an attempt that holds after its end",
      `insert into reservations select tenant_id, attempt_id, 'rep', 'open', '{}', '{}', '{}', 1, 1, now()
       from settlements where line = 0`,
      "an attempt holds or has ended",
    ],
    ["an allow without a trace", "delete from reservations", "an attempt that was allowed"],
    [
      "a reservation without a decision",
      "insert into reservations values ('$tenant', 'att_x', 'rep', 'open', '{}', '{}', '{}', 1, 1, now())",
      "only what was allowed holds",
    ],
    [
      "a settlement without a decision",
      "delete from decisions",
      "only what was allowed is settled",
    ],
    [
      "a correction of what was measured",
      `insert into settlements select tenant_id, attempt_id, 1, ending, basis, 0, 0, 0, 0, null, '{}', '{}',
         '{}', '{}', now() from settlements where basis in ('computed', 'estimated')`,
      "a correction follows",
    ],
    ["a limit that does not hold", "update limits set amount = 0", "no meter stands above"],
  ];

  test.each(mutants)("finds %s", async (_planted, statement, rule) => {
    const world = await worldWithHistory();
    const { tenantId } = world;
    const connection = await database.db.admin.reserve();
    try {
      await connection`begin`;
      // Past the triggers: the ledger itself would not let these in.
      await connection`set local session_replication_role = replica`;
      await connection.unsafe(scoped(statement, tenantId));
      const violations = await ledgerViolations(connection, tenantId, true);
      expect(
        violations.some((text) => text.startsWith(rule)),
        violations.join("\n"),
      ).toBe(true);
    } finally {
      await connection`rollback`;
      connection.release();
    }
    expect(await worldViolations(world)).toEqual([]);
  });

  test("finds a dispatch without an allow, a second dispatch, and a run that goes on", async () => {
    const world = await worldWithHistory();
    const exchange = { attemptId: "att_nobody_allowed", isOver: true, answer: () => undefined };
    world.journal.push(exchange, exchange);
    world.frozen.set("run_id run_nobody_stopped", -1);
    expect(await worldViolations(world)).toEqual([
      "att_nobody_allowed was dispatched without an allow",
      "att_nobody_allowed was dispatched without an allow",
      "att_nobody_allowed was dispatched twice",
      "run_id run_nobody_stopped was admitted after it had ended",
    ]);
    world.journal.splice(-2);
    world.frozen.clear();
  });

  let shared: World | undefined;
  /** One history with an open attempt, a settled one and a refused one, for all the mutants. */
  async function worldWithHistory(): Promise<World> {
    if (shared !== undefined) return shared;
    const world = await createWorld(database.db, createRandom(7));
    const take = async (name: string) => await STEPS.find(([, each]) => each === name)![2](world);
    while ((world.counts.get("ended succeeded") ?? 0) < 1 || world.flying.length < 1) {
      await take("ask");
      if (world.flying.length > 1) await take("answer");
    }
    expect(await worldViolations(world)).toEqual([]);
    return (shared = world);
  }
});

/** Only the tenant of the history: its neighbours in the same database are other tests'. */
function scoped(statement: string, tenantId: string): string {
  const named = statement.replaceAll("$tenant", tenantId);
  if (named.startsWith("insert into reservations values")) return named;
  const tenant = `tenant_id = '${tenantId}'`;
  return named.includes(" where ") || named.includes("where line")
    ? `${named} and ${tenant}`
    : `${named} where ${tenant}`;
}
