import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  createClient,
  GateUnavailable,
  InProgress,
  NotExecuted,
  NotRecorded,
  OutcomeUnknown,
  Refused,
  TollgateError,
  type Gate,
} from "../../src/client/client.ts";
import { startHeartbeat } from "../../src/client/heartbeat.ts";
import { describeOnPostgres } from "../support/databases.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";

const urlOf = (input: string | URL | Request): string =>
  typeof input === "string" ? input : input instanceof URL ? input.href : input.url;

describeOnPostgres("the client", (database) => {
  let tollgate: Tollgate;
  let tenant: Tenant;
  let gate: Gate;
  beforeAll(async () => {
    tollgate = await startTollgate({ database });
  });
  beforeEach(async () => {
    tenant = await tollgate.tenant();
    gate = createClient({ baseURL: `${tollgate.url}/v1`, apiKey: tenant.key });
  });
  afterAll(() => tollgate?.close());

  const attempts = (): Promise<readonly Record<string, unknown>[]> =>
    tollgate.ledger(
      `select d.run_id, d.step_id, d.resource, d.operation, d.record->'context'->>'parent_step' as parent,
              d.verdict, d.reason, s.ending, s.cost_picousd::text as cost
       from decisions d
       left join settlements s on s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id and s.line = 0
       where d.tenant_id = $1 order by d.decided_at, d.attempt_id`,
      [tenant.id],
    );
  const rejected = async (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      (value: unknown) => {
        throw new Error(`resolved with ${JSON.stringify(value)}`);
      },
      (error: unknown) => error,
    );

  test("runs a step once, and gives its result to whoever runs the same step again", async () => {
    let runs = 0;
    const wire = () =>
      gate.step({ name: "wire", run: "r", step: "wire", arguments: { amount: 5 } }, (attempt) => {
        runs += 1;
        attempt.reportCost("0");
        return { id: `wire-${runs}`, number: attempt.number };
      });
    expect(await wire()).toEqual({ id: "wire-1", number: 1 });
    expect(await wire()).toEqual({ id: "wire-1", number: 1 });
    expect(runs).toBe(1);
    const nothing = () => gate.step({ name: "log", run: "r", step: "log" }, () => undefined);
    expect(await nothing()).toBeUndefined();
    expect(await nothing()).toBeUndefined();
    expect(await attempts()).toMatchObject([
      { resource: "wire", verdict: "allow", ending: "succeeded" },
      { resource: "wire", verdict: "block", reason: "effect_applied" },
      { resource: "log", verdict: "allow", ending: "succeeded" },
      { resource: "log", verdict: "block", reason: "effect_applied" },
    ]);
  });

  test("does not make up a result that is not kept", async () => {
    const big = () =>
      gate.step({ name: "big", run: "r", step: "big" }, () => "x".repeat(300 * 1024));
    expect(await big()).toHaveLength(300 * 1024);
    expect(await rejected(big())).toMatchObject({
      name: "Refused",
      reason: "effect_applied",
      disposition: "return_prior",
      prior: { status: "succeeded", resultState: "too_large" },
    });
  });

  test("runs nothing that is refused, and says why and what to do", async () => {
    await tenant.run("poor", { budgetUsd: "0.01" });
    let ran = false;
    const error = await rejected(
      gate.step({ kind: "tool", name: "t", run: "poor", estimateUsd: "0.02" }, () => {
        ran = true;
      }),
    );
    expect(ran).toBe(false);
    expect(error).toBeInstanceOf(Refused);
    expect(error).toMatchObject({
      reason: "run_budget_exceeded",
      disposition: "stop",
      status: 402,
      retryable: false,
      decisionId: expect.stringMatching(/^dec_/),
      retryContext: { attempt: 1, prior: null },
      message: expect.stringContaining("The run budget of $0.01"),
    });
  });

  test("throws on what the step throws; its outcome is unknown, and it does not run again", async () => {
    const boom = new Error("connection reset");
    const call = { name: "wire", run: "r", step: "wire" };
    const broken = () => {
      throw boom;
    };
    expect(await rejected(gate.step(call, broken))).toBe(boom);
    const again = await rejected(gate.step(call, () => "again"));
    expect(again).toBeInstanceOf(OutcomeUnknown);
    expect(again).toMatchObject({
      reason: "effect_uncertain",
      disposition: "reconcile",
      prior: { status: "unknown" },
    });
  });

  test("runs a step again that says that nothing happened", async () => {
    const call = { name: "wire", run: "r", step: "wire" };
    const unsent = () => {
      throw new NotExecuted("no route");
    };
    expect(await rejected(gate.step(call, unsent))).toBeInstanceOf(NotExecuted);
    const refused = { ...call, executed: () => "yes" as const };
    const failed = () => {
      throw new Error("the bank said no");
    };
    expect(await rejected(gate.step(refused, failed))).toMatchObject({
      message: "the bank said no",
    });
    expect(await gate.step(call, ({ number }) => number)).toBe(3);
    expect((await attempts()).map(({ ending }) => ending)).toEqual([
      "released",
      "failed",
      "succeeded",
    ]);
  });

  test("is told when the same step is at work, or waits for what it gives", async () => {
    const call = { name: "wire", run: "r", step: "wire" };
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<string>();
    const first = gate.step(call, () => {
      started.resolve();
      return finish.promise;
    });
    await started.promise;
    const second = await rejected(gate.step(call, () => "second"));
    expect(second).toBeInstanceOf(InProgress);
    expect(second).toMatchObject({ disposition: "wait", retryable: true });
    const third = gate.step({ ...call, waitSeconds: 30 }, () => "third");
    finish.resolve("first");
    expect(await Promise.all([first, third])).toEqual(["first", "first"]);
  });

  test("keeps the lease of a step while it runs", async () => {
    const deadlineOf = async (attemptId: string): Promise<number> => {
      const [row] = await tollgate.rows<{ at: Date }>(
        "select deadline_at as at from reservations where tenant_id = $1 and attempt_id = $2",
        [tenant.id, attemptId],
      );
      return row?.at.getTime() ?? 0;
    };
    await gate.step({ name: "slow", leaseSeconds: 5 }, async ({ id }) => {
      const granted = await deadlineOf(id);
      expect(granted).toBeGreaterThan(0);
      await vi.waitFor(async () => expect(await deadlineOf(id)).toBeGreaterThan(granted), {
        timeout: 20_000,
        interval: 50,
      });
    });
    expect(await attempts()).toMatchObject([{ ending: "succeeded" }]);
  });

  test("tells a running step that its attempt is over", async () => {
    const { key } = await tenant.newKey({ scopes: ["admin"] });
    const error = await rejected(
      gate.step({ name: "slow", leaseSeconds: 5 }, async ({ id, signal }) => {
        const answer = await fetch(`${tollgate.url}/api/attempts/${id}/fail`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify({ error: "given up", executed: "no" }),
        });
        expect(answer.status).toBe(200);
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason as Error));
        });
      }),
    );
    expect(error).toBeInstanceOf(TollgateError);
    expect(error).toMatchObject({ status: 409, message: expect.stringContaining("released") });
  });

  test("runs nothing when the gate cannot be asked", async () => {
    let ran = false;
    const step = (client: Gate) =>
      client.step({ name: "s" }, () => {
        ran = true;
      });
    const nowhere = createClient({ baseURL: "http://127.0.0.1:9", apiKey: tenant.key });
    const error = await rejected(step(nowhere));
    expect(error).toBeInstanceOf(GateUnavailable);
    expect(error).toMatchObject({ status: 0, code: "unreachable", retryable: true });
    const stranger = createClient({ baseURL: tollgate.url, apiKey: "tg_live_none" });
    expect(await rejected(step(stranger))).toMatchObject({ status: 401, retryable: false });
    expect(ran).toBe(false);
  });

  test("does not lose what a step gave when the gate cannot be told", async () => {
    let tries = 0;
    const deaf = createClient({
      baseURL: tollgate.url,
      apiKey: tenant.key,
      fetch: (input, init) => {
        if (!urlOf(input).endsWith("/complete")) return fetch(input, init);
        tries += 1;
        return Promise.reject(new TypeError("the line is cut"));
      },
    });
    const error = await rejected(deaf.step({ name: "s", run: "r", step: "s" }, () => "given"));
    expect(error).toBeInstanceOf(NotRecorded);
    expect(error).toMatchObject({ result: "given", attemptId: expect.stringMatching(/^att_/) });
    expect(tries).toBe(3);
  });

  test("tells the gate again when its answer got lost, and that counts once", async () => {
    let tries = 0;
    const lossy = createClient({
      baseURL: tollgate.url,
      apiKey: tenant.key,
      fetch: async (input, init) => {
        const answer = await fetch(input, init);
        if (!urlOf(input).endsWith("/complete") || (tries += 1) > 1) return answer;
        throw new TypeError("reset");
      },
    });
    expect(await lossy.step({ name: "s" }, () => "given")).toBe("given");
    expect([tries, (await attempts()).length]).toEqual([2, 1]);
  });

  test("a wrapped tool shows the gate its input, and passes the rest through", async () => {
    const seen: unknown[] = [];
    const search = gate.wrapTool(
      "search",
      async (input: { readonly q: string }, config: { readonly tags: readonly string[] }) => {
        seen.push(input, config);
        return [`${input.q}!`];
      },
      { estimateUsd: "0", step: ({ q }) => `search ${q}`, operation: "report:7" },
    );
    expect(await gate.run({ run: "r" }, () => search({ q: "a" }, { tags: ["x"] }))).toEqual(["a!"]);
    expect(seen).toEqual([{ q: "a" }, { tags: ["x"] }]);
    expect(await attempts()).toMatchObject([
      { run_id: "r", step_id: "search a", resource: "search", operation: "execute_tool" },
    ]);
    expect(
      await rejected(gate.run({ run: "r" }, () => search({ q: "b" }, { tags: [] }))),
    ).toMatchObject({
      reason: "operation_conflict",
    });
  });

  test("run, operation and step travel through what is awaited, and two runs do not mix", async () => {
    const work = (run: string) =>
      gate.run({ run, customer: run, labels: { of: run } }, async () => {
        await gate.step({ name: "outer", step: "outer" }, async () => {
          await new Promise((done) => setTimeout(done, 1));
          await gate.step({ name: "inner" }, () => undefined);
          return gate.headers();
        });
        return gate.headers();
      });
    const [a, b] = await Promise.all([work("a"), work("b")]);
    expect([a, b]).toMatchObject([
      { "tollgate-run": "a", "tollgate-customer": "a", "tollgate-labels": "of=a" },
      { "tollgate-run": "b", "tollgate-customer": "b", "tollgate-labels": "of=b" },
    ]);
    expect(gate.headers()).toEqual({});
    const made = (await attempts()).map(({ run_id, resource, parent }) => [
      run_id,
      resource,
      parent,
    ]);
    expect(made.filter(([run]) => run === "a")).toEqual([
      ["a", "outer", null],
      ["a", "inner", "outer"],
    ]);
    expect(made.filter(([run]) => run === "b")).toHaveLength(2);
  });

  test("the headers go to Tollgate and to nobody else, and never over the caller's own", async () => {
    const sent: (readonly [string, string | null])[] = [];
    const spy = createClient({
      baseURL: tollgate.url,
      apiKey: tenant.key,
      fetch: (input, init) => {
        sent.push([urlOf(input), new Headers(init?.headers).get("tollgate-run")]);
        return Promise.resolve(new Response("{}"));
      },
    });
    await spy.run({ run: "r" }, async () => {
      await spy.fetch(`${tollgate.url}/v1/models`);
      await spy.fetch(new Request(`${tollgate.url}/v1/models`));
      await spy.fetch(`${tollgate.url}/v1/models`, { headers: { "Tollgate-Run": "own" } });
      await spy.fetch("https://example.com/v1/models");
      await spy.fetch(`${tollgate.url}.example.com/`);
    });
    expect(sent.map(([, run]) => run)).toEqual(["r", "r", "own", null, null]);
    expect(() => spy.run({ run: "a\nb" }, () => spy.headers())).toThrow(TypeError);
  });
});

describe("a heartbeat", () => {
  test("beats three times in a lease, is bounded in time, and ends when it is stopped", async () => {
    vi.useFakeTimers();
    try {
      let beats = 0;
      const transport = {
        origin: "",
        post: () => {
          beats += 1;
          return Promise.resolve({});
        },
      };
      const terms = { attemptId: "att", leaseSeconds: 30, msMax: 100_000 };
      startHeartbeat(transport, terms);
      await vi.advanceTimersByTimeAsync(35_000);
      expect(beats).toBe(3);
      await vi.advanceTimersByTimeAsync(3_600_000);
      expect(beats).toBe(10);
      expect(vi.getTimerCount()).toBe(0);
      const stopped = startHeartbeat(transport, terms);
      stopped.stop();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});
