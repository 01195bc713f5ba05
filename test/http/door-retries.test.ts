import { afterAll, beforeAll, expect, test } from "vitest";
import { describeEachDatabase } from "../support/databases.ts";
import { shiftClock, resetClock } from "../support/clock.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { errorOf, startDoor, type Door } from "./door.ts";
import { call, type Called } from "./http-call.ts";

/** Retries of clients that name no run and no step, and the budgets that they draw on. */

const FAILS = {
  kind: "json",
  status: 500,
  body: { error: { message: "no", type: "server_error" } },
} as const;

const content = (text: string) => ({ body: { messages: [{ role: "user", content: text }] } });
const attemptOf = ({ headers }: Called) => Number(headers["tollgate-attempt"]);

describeEachDatabase("a retry", (database) => {
  let door: Door;
  let chat: Door["chat"];
  let tenant: Tenant;
  beforeAll(async () => {
    door = await startDoor(database);
    ({ chat } = door);
    tenant = await door.tollgate.tenant({ mode: "tolerant" });
    door.upstream.onModel("m-fails", FAILS);
  });
  afterAll(() => door.close());

  /** Asks for a model that fails, and waits until its ending is written. */
  const fail = async (text: string, key = tenant.key) => {
    const called = await chat(key, { body: { ...content(text).body, model: "m-fails" } });
    await door.tollgate.settled();
    return called;
  };

  /** Resolves when the gate knows that so many clients of this model have left. */
  const leftOnes = async (count: number) => {
    for (;;) {
      const [row] = await door.tollgate.rows<{ count: number }>(
        `select count(*)::int as count from decisions d
         left join reservations r on r.tenant_id = d.tenant_id and r.attempt_id = d.attempt_id
         where d.tenant_id = $1 and d.resource = 'm-late' and (r.attempt_id is null or r.left_at is not null)`,
        [tenant.id],
      );
      if (row?.count === count) return;
      await new Promise((done) => setTimeout(done, 10));
    }
  };

  test("of a client that says nothing is seen, and its storm ends after five attempts", async () => {
    const before = door.upstream.journal.length;
    const numbers: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const called = await fail("storm");
      expect(called.status).toBe(500);
      numbers.push(attemptOf(called));
    }
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    const refused = await fail("storm");
    expect(refused.status).toBe(402);
    expect(refused.headers["x-should-retry"]).toBe("false");
    expect(errorOf(refused)).toMatchObject({ code: "retry_budget_exceeded" });
    expect(errorOf(refused).message).toContain("attempt 6 of the same request");
    expect(door.upstream.journal.length - before).toBe(5);
  });

  test("is seen though the client asks again in the moment in which it was answered", async () => {
    const before = door.upstream.journal.length;
    const statuses: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      const called = await chat(tenant.key, {
        body: { ...content("tight").body, model: "m-fails" },
      });
      statuses.push(called.status);
    }
    expect(statuses).toEqual([500, 500, 500, 500, 500, 402, 402]);
    expect(door.upstream.journal.length - before).toBe(5);
  });

  test("of a named step is seen without a named run, and each run has its own", async () => {
    const step = { "tollgate-step": "summarise" };
    const ask = async (headers: Readonly<Record<string, string>>) => {
      const called = await chat(tenant.key, { body: { model: "m-fails" }, headers });
      return [called.status, attemptOf(called)];
    };
    expect(await ask(step)).toEqual([500, 1]);
    expect(await ask(step)).toEqual([500, 2]);
    expect(await ask({ ...step, "tollgate-run": "another" })).toEqual([500, 1]);
  });

  test("passes again when two minutes have gone by since the last failure", async () => {
    for (let i = 0; i < 5; i += 1) await fail("later");
    expect((await fail("later")).status).toBe(402);
    await shiftClock(door.tollgate.db, 121_000);
    const again = await fail("later");
    await resetClock(door.tollgate.db);
    expect([again.status, attemptOf(again)]).toEqual([500, 1]);
  });

  test("is none when the content differs, another key asks, or the last one succeeded", async () => {
    await fail("mine");
    expect(attemptOf(await fail("mine, but other"))).toBe(1);
    const other = await tenant.newKey();
    expect(attemptOf(await fail("mine", other.key))).toBe(1);
    expect(attemptOf(await chat(tenant.key, content("good")))).toBe(1);
    await door.tollgate.settled();
    expect(attemptOf(await chat(tenant.key, content("good")))).toBe(1);
  });

  test("is none while the first one runs for its client: that is a parallel duplicate", async () => {
    const release = Promise.withResolvers<void>();
    door.upstream.onModel("m-slow", {
      kind: "json",
      headersGate: release.promise,
      body: chatAnswer("m-slow", "ok", { input: 1, output: 1 }),
    });
    const before = door.upstream.journal.length;
    const slow = { body: { ...content("twice").body, model: "m-slow" } };
    const both = [chat(tenant.key, slow), chat(tenant.key, slow)];
    await door.upstream.arrived(before + 2);
    release.resolve();
    expect((await Promise.all(both)).map(attemptOf)).toEqual([1, 1]);
  });

  test("is what comes after a client gave up, though the model answered when it had left", async () => {
    const numbers: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const answered = Promise.withResolvers<void>();
      door.upstream.onModel("m-late", {
        kind: "json",
        headersGate: answered.promise,
        body: chatAnswer("m-late", "ok", { input: 1, output: 1 }),
      });
      const before = door.upstream.journal.length;
      const leaving = new AbortController();
      const asked = fetch(`${door.tollgate.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "m-late", messages: [{ role: "user", content: "late" }] }),
        signal: leaving.signal,
      });
      await door.upstream.arrived(before + 1);
      leaving.abort();
      await expect(asked).rejects.toThrow("aborted");
      await leftOnes(i + 1);
      answered.resolve();
      const [last] = await door.tollgate.ledger<{ attempt: number; ending: string }>(
        `select d.attempt, s.ending from decisions d
         join settlements s on s.tenant_id = d.tenant_id and s.attempt_id = d.attempt_id
         where d.tenant_id = $1 and d.resource = 'm-late' order by d.decided_at desc limit 1`,
        [tenant.id],
      );
      expect(last?.ending).toBe("succeeded");
      numbers.push(Number(last?.attempt));
    }
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    const refused = await chat(tenant.key, { body: { ...content("late").body, model: "m-late" } });
    expect([refused.status, errorOf(refused).code]).toEqual([402, "retry_budget_exceeded"]);
  });

  test("is what the client's own library says it is", async () => {
    const retried = (count: number) => ({
      ...content(`sdk ${count}`),
      headers: { "x-stainless-retry-count": String(count) },
    });
    expect(attemptOf(await chat(tenant.key, retried(2)))).toBe(3);
    const refused = await chat(tenant.key, retried(5));
    expect(errorOf(refused)).toMatchObject({ code: "retry_budget_exceeded" });
  });

  test("draws on a budget of its model, which leaves other models theirs", async () => {
    const own = await door.tollgate.tenant({ mode: "tolerant" });
    await own.limit({ scope: "each_run", unit: "attempts", resource: "*", limit: 3 });
    const ask = async (model: string) => {
      const headers = { "tollgate-run": "r", "tollgate-step": `s ${model}` };
      const called = await chat(own.key, { headers, body: { model } });
      await door.tollgate.settled();
      return called;
    };
    for (let i = 0; i < 4; i += 1) expect((await ask("m-fails")).status).toBe(500);
    const refused = await ask("m-fails");
    expect(refused.status).toBe(402);
    expect(errorOf(refused)).toMatchObject({ code: "retry_budget_exceeded" });
    expect(errorOf(refused).tollgate).toMatchObject({
      unit: "attempts",
      limit: "3",
      committed: "3",
    });
    for (let i = 0; i < 4; i += 1) expect((await ask(MODEL)).status).toBe(200);
    expect((await ask(MODEL)).status).toBe(402);
  });

  test("under a new name in the same run is a loop, and draws like one", async () => {
    const own = await door.tollgate.tenant();
    await own.run("looping");
    await own.limit({ scope: "run", id: "looping", unit: "attempts", limit: 2 });
    const ask = (step: string) =>
      chat(own.key, { headers: { "tollgate-run": "looping", "tollgate-step": step } });
    const statuses: number[] = [];
    for (const step of ["a", "b", "c", "d"]) statuses.push((await ask(step)).status);
    expect(statuses).toEqual([200, 200, 200, 402]);
  });

  test("under a new idempotency key each time is a loop, and draws like one", async () => {
    const own = await door.tollgate.tenant({ mode: "tolerant" });
    await own.limit({ scope: "each_run", unit: "attempts", limit: 2 });
    const before = door.upstream.journal.length;
    const ask = (run: string, key: string, text = "keyed") =>
      chat(own.key, {
        headers: { "tollgate-run": run, "idempotency-key": key },
        body: { ...content(text).body, model: "m-fails" },
      });
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) statuses.push((await ask("keys", `key-${i}`)).status);
    expect(statuses).toEqual([500, 500, 500, 402, 402, 402, 402, 402]);
    expect(door.upstream.journal.length - before).toBe(3);
    // Other content, or another run, is no loop.
    expect((await ask("keys", "other-content", "other")).status).toBe(500);
    expect((await ask("more-keys", "other-run")).status).toBe(500);
  });

  const HEAD = '{"model":"m-fails","messages":[{"role":"user","content":"';
  const raw = (key: string, body: string, headers: Readonly<Record<string, string>> = {}) =>
    call(`${door.tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
      body,
    });

  test("is seen whatever space stands around its values", async () => {
    const own = await door.tollgate.tenant({ mode: "tolerant" });
    await own.limit({ scope: "each_run", unit: "attempts", limit: 2 });
    const before = door.upstream.journal.length;
    const spaced = (i: number) => `${HEAD}padded"}]${" ".repeat(i)}}${"\n".repeat(i)}`;
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      statuses.push((await raw(own.key, spaced(i), { "tollgate-run": "padded" })).status);
    }
    expect(statuses).toEqual([500, 500, 500, 402, 402, 402, 402, 402]);
    for (let i = 0; i < 6; i += 1) await raw(own.key, spaced(i));
    expect(door.upstream.journal.length - before).toBe(3 + 5);
    // Space in a text is text.
    expect(attemptOf(await raw(own.key, `${HEAD}pad ded"}]}`))).toBe(1);
  });

  test("is seen by whatever name of its model it is asked for", async () => {
    const own = await door.tollgate.tenant({ mode: "tolerant" });
    const numbers: number[] = [];
    for (const model of ["m-fails", "up/m-fails", "failing-alias", "m-fails", "up/m-fails"]) {
      numbers.push(attemptOf(await chat(own.key, { body: { ...content("names").body, model } })));
    }
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    const refused = await chat(own.key, { body: { ...content("names").body, model: "m-fails" } });
    expect(errorOf(refused)).toMatchObject({ code: "retry_budget_exceeded" });
  });

  test("that is refused draws nothing, and neither do first attempts", async () => {
    const own = await door.tollgate.tenant();
    const limit = await own.limit({ scope: "tenant", unit: "attempts", limit: 1 });
    for (let i = 0; i < 3; i += 1) await chat(own.key, content(`first ${i}`));
    const ask = () => chat(own.key, { headers: { "tollgate-run": "r", "tollgate-step": "s" } });
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200]);
    for (let i = 0; i < 3; i += 1) expect((await ask()).status).toBe(402);
    const [meter] = await door.tollgate.ledger(
      "select committed, reserved from meters where tenant_id = $1 and limit_id = $2",
      [own.id, limit],
    );
    expect(meter).toEqual({ committed: "1", reserved: "0" });
  });

  test("takes no more than a fifth of a day's quota for one named run", async () => {
    const own = await door.tollgate.tenant();
    await own.limit({ scope: "tenant", unit: "requests", window: "day", limit: 10 });
    const ask = (run: string, i: number) =>
      chat(own.key, { ...content(`${run} ${i}`), headers: { "tollgate-run": run } });
    expect([(await ask("one", 1)).status, (await ask("one", 2)).status]).toEqual([200, 200]);
    const refused = await ask("one", 3);
    expect(refused.status).toBe(402);
    expect(errorOf(refused)).toMatchObject({ code: "run_share_exceeded" });
    expect(errorOf(refused).message).toContain("that one run may take");
    expect((await ask("two", 1)).status).toBe(200);
  });
});
