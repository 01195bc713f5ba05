import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { createTestManagement, type Management } from "../support/management.ts";
import { stepDoorOn } from "./step-door.ts";

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

  test("lets nothing pass while the database does not tell it, and the caller may come again", async () => {
    const door = await stepDoorOn(api);
    const installation = { installation: true } as const;
    const terms = { tenantId: door.id, source: POLICIES };
    const { version } = await api.administration.applyPolicies(installation, terms);
    await api.administration.activatePolicies(installation, { tenantId: door.id, version });
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
});
