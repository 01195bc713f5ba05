/** The check of a ledger, and the ledgers that it must not pass. */
import { expect, test } from "vitest";
import { picousdFromUsd } from "../../src/core/money.ts";
import { conservationOf } from "../../src/ledger/conservation.ts";
import { post } from "../../src/store/posting.ts";
import { settle } from "../../src/store/settlement.ts";
import { createRandom } from "../sim/random.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";
import { seedOf } from "../store/seed.ts";
import { describeEachDatabase } from "../support/databases.ts";
import {
  adjust,
  askOf,
  createHistory,
  newTenant,
  settlementOf,
  tell,
} from "../support/ledger-history.ts";

describeEachDatabase("the check of a ledger", (database) => {
  test("holds after any history, and says what is settled", async () => {
    const tenantId = await newTenant(database);
    const history = createHistory(database, tenantId, createRandom(seedOf("check")));
    for (let step = 0; step < 40; step += 1) await history();
    await rollUpAll(database.db.admin);
    const checked = await conservationOf(database.db, tenantId);
    expect(checked).toMatchObject({ holds: true, behind_usd: "0.00", sentences: [] });
    const [settled, adjusted] = [checked.settled_usd, checked.adjusted_usd].map((usd) =>
      picousdFromUsd(usd),
    );
    for (const { usd } of checked.lines) {
      expect(picousdFromUsd(usd)).toBe((settled ?? 0n) + (adjusted ?? 0n));
    }
  });

  test.each([
    ["cost_cells", ["cost cells", "cost days"]],
    ["run_cells", ["run cells"]],
    ["run_costs", ["runs", "run days"]],
    [
      "outcome_costs",
      [
        "outcomes and unattributed",
        "outcome days and unattributed",
        "outcome days by their start and unattributed",
      ],
    ],
    ["cost_days", ["cost days"]],
    ["run_days", ["run days"]],
    [
      "outcome_days",
      ["outcome days and unattributed", "outcome days by their start and unattributed"],
    ],
  ])("finds one pico-dollar too much in %s", async (table, names) => {
    const tenantId = await newTenant(database);
    const ask = askOf(tenantId);
    await post(database.db.gate, "rep", [ask]);
    await settle(database.db.gate, [settlementOf(ask)]);
    await tell(database, tenantId, { subject: "run_a" });
    await rollUpAll(database.db.admin);
    expect((await conservationOf(database.db, tenantId)).holds).toBe(true);
    const { admin } = database.db;
    await admin`
      update ${admin(table)} set cost_picousd = cost_picousd + 1 where tenant_id = ${tenantId} and cost_picousd <> 0`;
    const checked = await conservationOf(database.db, tenantId);
    expect(checked.holds).toBe(false);
    expect(checked.sentences.filter((sentence) => !sentence.startsWith("On "))).toEqual(
      names.map(
        (name) =>
          `The sum of ${name} is $0.000000000101, which differs from what was settled and adjusted by $0.000000000001.`,
      ),
    );
  });

  test.each([
    ["cost_cells", "bucket", /its cost cells are \$0\.00, its cost day is \$0\.00\.$/],
    ["cost_days", "utc_day", /its cost cells are \$0\.0000000001, its cost day is \$0\.00\.$/],
  ])(
    "finds what stands on another day in %s, though all days are right",
    async (table, at, said) => {
      const tenantId = await newTenant(database);
      const { admin, gate } = database.db;
      const ask = askOf(tenantId);
      await post(gate, "rep", [ask]);
      await settle(gate, [settlementOf(ask)]);
      await rollUpAll(admin);
      await admin`
      update ${admin(table)} set ${admin(at)} = ${admin(at)} - interval '40 days' where tenant_id = ${tenantId}`;
      const { holds, lines, sentences } = await conservationOf(database.db, tenantId);
      expect(lines.map((line) => line.difference_usd)).toEqual(lines.map(() => "0.00"));
      expect([holds, sentences.length]).toEqual([false, 2]);
      expect(sentences[0]).toMatch(
        /^On \d{4}-\d\d-\d\d \(UTC\) \$0\.00 was settled and adjusted; /,
      );
      expect(sentences[1]).toMatch(/^On \d{4}-\d\d-\d\d \(UTC\) \$0\.0000000001 was settled/);
      expect(sentences[1]).toMatch(said);
    },
  );

  test("counts what was adjusted, with whom it names and without", async () => {
    const tenantId = await newTenant(database);
    const ask = askOf(tenantId);
    await post(database.db.gate, "rep", [ask]);
    await settle(database.db.gate, [settlementOf(ask)]);
    await tell(database, tenantId, { subject: "run_a" });
    await adjust(database, tenantId, { attempt: ask.attemptId, run: ask.runId }, -30n);
    await adjust(database, tenantId, { attempt: null, run: "run_a" }, 7n);
    await adjust(database, tenantId, { attempt: null, run: null }, -90n);
    await rollUpAll(database.db.admin);
    expect(await conservationOf(database.db, tenantId)).toMatchObject({
      holds: true,
      settled_usd: "0.0000000001",
      adjusted_usd: "-0.000000000113",
      lines: [
        "outcomes and unattributed",
        "cost cells",
        "run cells",
        "runs",
        "cost days",
        "run days",
        "outcome days and unattributed",
        "outcome days by their start and unattributed",
      ].map((name) => {
        return { name, usd: "-0.000000000013", difference_usd: "0.00" };
      }),
    });
  });

  test("finds a meter that has committed other than its settlements, in money and in tokens", async () => {
    const tenantId = await newTenant(database);
    const { admin, gate } = database.db;
    const limitIds = [`a usd of ${tenantId}`, `b tokens of ${tenantId}`];
    for (const [at, unit] of ["usd", "tokens"].entries()) {
      await admin`
        insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount)
        values (${tenantId}, ${limitIds[at] ?? ""}, 'tenant', ${unit}, 'none', 1000000)`;
    }
    const refs = limitIds.map((limitId) => ({ limitId, subject: "", share: null }));
    const ask = askOf(tenantId, { refs });
    await post(gate, "rep", [ask]);
    await settle(gate, [settlementOf(ask)]);
    expect(await conservationOf(database.db, tenantId)).toMatchObject({ holds: true, meters: 2 });
    await admin`update meters set committed = committed + 1 where tenant_id = ${tenantId}`;
    const checked = await conservationOf(database.db, tenantId);
    expect(checked).toMatchObject({ holds: false, meters_differing: 2 });
    expect(checked.sentences).toEqual([
      expect.stringMatching(
        /usd of \S+ has committed \$0\.000000000101; its settlements are \$0\.0000000001\.$/,
      ),
      expect.stringMatching(
        /tokens of \S+ has committed 6 tokens; its settlements are 5 tokens\.$/,
      ),
    ]);
  });

  test("finds a meter that holds what no reservation does", async () => {
    const tenantId = await newTenant(database);
    const { admin, gate } = database.db;
    const limitId = `usd of ${tenantId}`;
    await admin`
      insert into limits (tenant_id, limit_id, scope_kind, unit, window_kind, amount)
      values (${tenantId}, ${limitId}, 'tenant', 'usd', 'none', 1000000)`;
    await post(gate, "rep", [askOf(tenantId, { refs: [{ limitId, subject: "", share: null }] })]);
    expect(await conservationOf(database.db, tenantId)).toMatchObject({ holds: true, meters: 1 });
    await admin`update meters set reserved = reserved + 1 where tenant_id = ${tenantId}`;
    const checked = await conservationOf(database.db, tenantId);
    expect(checked).toMatchObject({ holds: false, meters_differing: 1 });
    expect(checked.sentences).toEqual([
      expect.stringMatching(
        /has reserved \$0\.000000001001; its open reservations are \$0\.000000001\.$/,
      ),
    ]);
  });
});
