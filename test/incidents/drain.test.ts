import { afterAll, beforeAll, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { startTollgateProcess, type Tenant, type TollgateProcess } from "../support/tollgate.ts";
import { drainThroughGate, drainWithoutGate } from "./drain.ts";
import { PRICES_YAML, SEARCH_MODEL, startProvider, type Provider } from "./provider.ts";

/** Small, so that the storm without a gate is over soon; above the five attempts that the gate lets pass. */
const QUOTA_CALLS = 9;

/** Six cents. */
const CALL_PICOUSD = 60_000_000_000n;

describeOnPostgres("the ninety-second drain", (database) => {
  let provider: Provider;
  let tollgate: TollgateProcess;
  beforeAll(async () => {
    provider = await startProvider(4 * QUOTA_CALLS);
    const { address } = database;
    if (address.kind !== "url") throw new Error("a URL is needed");
    tollgate = await startTollgateProcess({
      databaseUrl: address.url,
      upstream: provider.url,
      yaml: PRICES_YAML,
    });
  });
  afterAll(async () => {
    await tollgate?.close();
    await provider?.close();
  });

  /** What nobody waited for was charged all the same: the ledger says what the provider's bill says. */
  const expectBillIsCharged = async (tenant: Tenant, chargedBefore: number): Promise<void> => {
    const { db } = database;
    await provider.upstream.quiet();
    const open = async () => (await db.admin`select from reservations`).length;
    while ((await open()) > 0) await new Promise((done) => setTimeout(done, 50));
    const [settled] = await db.admin`
      select count(*)::int as calls, sum(cost_picousd)::text as cost from settlements
      where tenant_id = ${tenant.id} and ending <> 'released'`;
    const calls = provider.charged() - chargedBefore;
    expect(settled).toEqual({ calls, cost: String(BigInt(calls) * CALL_PICOUSD) });
  };

  test("is one without a gate: one question takes the quota of everybody's day", async () => {
    const alone = await startProvider(QUOTA_CALLS);
    try {
      expect(await drainWithoutGate(alone)).toMatchObject({
        calls: QUOTA_CALLS,
        left: 0,
        otherModel: "429 insufficient_quota",
        otherQuestion: "429 insufficient_quota",
      });
    } finally {
      await alone.close();
    }
  });

  test("ends after five attempts of a client that sends no header of ours, and harms nobody else", async () => {
    const tenant = await tollgate.tenant();
    const before = provider.charged();
    const stopped = await drainThroughGate(provider, { url: tollgate.url, key: tenant.key });
    expect(stopped).toMatchObject({
      exitCode: 0,
      told: { status: 402, code: "retry_budget_exceeded" },
      otherModel: "ok",
      otherQuestion: "ok",
    });
    // Fewer where the client gave one up before it was sent.
    expect(stopped.calls - before).toBeLessThanOrEqual(5);
    expect(stopped.calls - before).toBeGreaterThanOrEqual(2);
    // The library was told not to try again: the engine heard of it at once, in the second of its starts.
    expect(stopped.told).toMatchObject({ start: 2, message: expect.stringContaining("attempt 6") });
    const { db } = database;
    const decided = await db.admin`
      select attempt, verdict, reason, step_id, record->'context'->>'run' as run from decisions
      where tenant_id = ${tenant.id} and resource = ${SEARCH_MODEL}
      order by decided_at, attempt`;
    const refused = decided.filter(({ verdict }) => verdict === "block");
    expect(refused).toMatchObject([{ attempt: 6, reason: "retry_budget_exceeded" }]);
    // Nobody named a run or a step.
    expect(decided.every(({ step_id: step, run }) => step === null && run === null)).toBe(true);
    await expectBillIsCharged(tenant, before);
  });

  test("ends alike where LangChain does the retrying, and at the tenant's own guard", async () => {
    const tenant = await tollgate.tenant();
    const patched = await fetch(`${tollgate.url}/api/tenants/${tenant.id}`, {
      method: "PATCH",
      headers: {
        authorization: `Bearer ${tollgate.adminKey}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ derived_attempts_max: 2 }),
    });
    expect(patched.status).toBe(200);
    const before = provider.charged();
    const at = { url: tollgate.url, key: tenant.key };
    const stopped = await drainThroughGate(provider, at, "workflow-langchain.ts");
    expect(stopped).toMatchObject({
      exitCode: 0,
      told: { status: 402, code: "retry_budget_exceeded" },
      otherModel: "ok",
      otherQuestion: "ok",
    });
    expect(stopped.calls - before).toBeLessThanOrEqual(2);
    await expectBillIsCharged(tenant, before);
  });
});
