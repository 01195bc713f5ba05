import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createClient, TollgateError, type Gate } from "../../src/client/client.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

describeEachDatabase("the client's outcomes", (database) => {
  let tollgate: Tollgate;
  let tenant: Tenant;
  let gate: Gate;
  beforeAll(async () => {
    tollgate = await startTollgate({ database });
  });
  beforeEach(async () => {
    tenant = await tollgate.tenant();
    gate = createClient({ baseURL: tollgate.url, apiKey: tenant.key });
    await fetch(`${tollgate.url}/api/outcome-types?tenant=${tenant.id}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${tollgate.adminKey}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ name: "paid" }),
    });
  });
  afterAll(() => tollgate?.close());

  const told = () =>
    tollgate.rows(
      `select subject_kind as kind, subject, key, status, value_picousd::text as value, weight, evidence,
              occurred_at as at, supersedes
       from outcomes where tenant_id = $1 order by recorded_at`,
      [tenant.id],
    );

  test("are of the run around them, with all that is said of them", async () => {
    const occurredAt = new Date("2026-01-02T03:04:05.678Z");
    const first = await gate.run({ run: "payout 7" }, async () => {
      await gate.step({ name: "wire" }, () => "wired");
      return await gate.outcome({
        type: "paid",
        status: "partial",
        key: "order-1",
        valueUsd: "0.000000000001",
        weight: 0,
        evidence: "the bank's answer",
        occurredAt,
      });
    });
    expect(first).toMatchObject({ id: expect.stringMatching(/^out_/), repeated: false });
    expect(await told()).toEqual([
      {
        kind: "run",
        subject: "payout 7",
        key: "order-1",
        status: "partial",
        value: "1",
        weight: 0,
        evidence: "the bank's answer",
        at: occurredAt,
        supersedes: null,
      },
    ]);
  });

  test("are of a run or an operation that is named, and no news the second time", async () => {
    const call = { name: "wire", run: "r", operation: "refund:order:1" };
    await gate.step(call, () => "wired");
    const run = await gate.outcome({ run: "r", type: "paid", status: "success" });
    const again = await gate.run({ run: "r" }, (inner) =>
      inner.outcome({ type: "paid", status: "success" }),
    );
    expect(again).toMatchObject({ id: run.id, repeated: true });
    // An operation that is named goes before the run around it.
    await gate.run({ run: "r" }, () =>
      gate.outcome({ operation: "refund:order:1", type: "paid", status: "success" }),
    );
    expect(await told()).toMatchObject([
      { kind: "run", subject: "r" },
      { kind: "operation", subject: "refund:order:1" },
    ]);
  });

  test("that contradict what holds are told it, and correct it where they name it", async () => {
    await gate.step({ name: "wire", run: "r" }, () => "wired");
    const { id } = await gate.outcome({ run: "r", type: "paid", status: "success" });
    const reversed = { run: "r", type: "paid", status: "reversed" } as const;
    const error = await gate.outcome(reversed).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TollgateError);
    expect(error).toMatchObject({ status: 409, code: "conflict", retryable: false });
    expect(String(error)).toContain(id);
    await gate.outcome({ ...reversed, supersedes: id });
    expect(await told()).toMatchObject([{ status: "success" }, { supersedes: id }]);
  });

  test("survive an answer that gets lost: the same is asked for again", async () => {
    let lost = 0;
    const flaky = createClient({
      baseURL: tollgate.url,
      apiKey: tenant.key,
      fetch: async (input, init) => {
        const answer = await fetch(input, init);
        const url = input instanceof Request ? input.url : input.toString();
        if (!url.endsWith("/outcome") || lost > 0) return answer;
        lost += 1;
        throw new TypeError("the connection is gone");
      },
    });
    await flaky.step({ name: "wire", run: "r" }, () => "wired");
    const outcome = await flaky.outcome({ run: "r", type: "paid", status: "success" });
    expect([lost, outcome.repeated]).toEqual([1, true]);
    expect(await told()).toHaveLength(1);
  });

  test("without a run, or of both a run and an operation, ask nobody", async () => {
    const paid = { type: "paid", status: "success" } as const;
    for (const call of [
      paid,
      { ...paid, run: "r", operation: "refund:1" },
      { ...paid, operation: "refund" },
    ]) {
      await expect(gate.outcome(call)).rejects.toBeInstanceOf(TypeError);
    }
    expect(await told()).toEqual([]);
  });
});
