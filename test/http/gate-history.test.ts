import { afterAll, beforeAll, expect, test } from "vitest";
import { TAINT_RISK } from "../../src/core/limits-policy.ts";
import { post } from "../../src/store/posting.ts";
import { settle } from "../../src/store/settlement.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { policies, policy } from "../support/judging.ts";
import { askOf, settlementOf } from "../support/ledger-history.ts";
import { createTestManagement, type Management } from "../support/management.ts";
import { stepDoorOn } from "./step-door.ts";

const TAINTED = policies(
  policy(
    "no-effects",
    "run.tainted && tool.effect_class == 'effectful'",
    'effect: block, risk: 5, reason: "It has read {run.tainted_by}."',
  ),
);

const POLICIES = `
policies:
  - id: thrice
    when: run.attempts >= 3
    effect: block
    reason: "Twice is enough."
`;

describeEachDatabase("a policy that reads what went before", (database) => {
  let api: Management;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
  });
  afterAll(() => api.close());

  const enforce = async (tenantId: string, source: string) => {
    const installation = { installation: true } as const;
    const { version } = await api.administration.applyPolicies(installation, { tenantId, source });
    await api.administration.activatePolicies(installation, { tenantId, version });
  };

  test("lets nothing pass while the database does not tell it, and the caller may come again", async () => {
    const door = await stepDoorOn(api);
    await enforce(door.id, POLICIES);
    const rename = (from: string, to: string) =>
      database.db.admin.unsafe(`alter function ${from}() rename to ${to}`);
    const ask = { kind: "step", name: "look", estimate_usd: 0 };

    await rename("tollgate_retry_window", "tollgate_elsewhere");
    const refused = await door.ask(ask);
    await rename("tollgate_elsewhere", "tollgate_retry_window");
    expect([refused.status, refused.body.error]).toMatchObject([
      503,
      { code: "admission_unavailable", message: expect.stringContaining("what went before") },
    ]);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(api.gateway.trust().unavailable).toBe(1);
    expect(
      await database.db.admin`select 1 from decisions where tenant_id = ${door.id}`,
    ).toHaveLength(0);
    expect((await door.ask(ask)).body.verdict).toBe("allow");
  });

  test("knows what an untrusted tool answered in the run before, tells it, and judges it again alike", async () => {
    const door = await stepDoorOn(api);
    const { gate } = database.db;
    await enforce(door.id, TAINTED);
    await door.declare("look_up", { effect: "pure" });
    const look = { kind: "tool", name: "look_up", estimate_usd: 0 };
    const pay = { kind: "tool", name: "pay", arguments: { amount: 5 }, estimate_usd: 0 };
    const run = { "tollgate-run": "mail" };
    const before = await door.ask(look, run);

    const fetched = askOf(door.id, {
      door: "tool",
      operation: "execute_tool",
      resource: "web/fetch",
      runId: "mail",
    });
    await post(gate, "rep", [fetched]);
    await settle(gate, [settlementOf(fetched, { record: '{"untrusted":true}' })]);
    const after = await door.ask(look, run);
    const refused = await door.ask(pay, run);
    const elsewhere = await door.ask(pay, { "tollgate-run": "other" });

    expect([before, after, elsewhere].map(({ body }) => body.verdict)).toEqual(
      Array(3).fill("allow"),
    );
    expect(refused.status).toBe(403);
    expect(refused.body.error.message).toContain("It has read web/fetch.");
    const decided = await Promise.all(
      [before, after, refused, elsewhere].map(async ({ headers }) => {
        const id = headers.get("tollgate-decision");
        const path = `/api/decisions/${id}`;
        const replayed = await door.call(door.key, "POST", `${path}/replay`, {});
        expect(replayed.body).toMatchObject({ equal: true, why: null });
        return (await door.call(door.key, "GET", path)).body;
      }),
    );
    const scores = decided.map(({ record }) => record.risk.score);
    expect(scores).toEqual([0, TAINT_RISK, TAINT_RISK + 5, 0]);
    const told = "The run has read what `web/fetch` answered, which is not trusted.";
    expect(decided.map(({ explanation }) => explanation.includes(told))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});
