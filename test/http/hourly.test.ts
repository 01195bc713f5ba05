import { afterAll, beforeAll, expect, test } from "vitest";
import { costOfTime, type Hourly } from "../../src/core/hourly.ts";
import { picousdFromUsd, usdFromPicousd } from "../../src/core/money.ts";
import { ledgerViolations } from "../store/violations.ts";
import { describeEachDatabase } from "../support/databases.ts";
import type { Json } from "../support/management.ts";
import { chatAnswer, chatFrames } from "../support/openai-answers.ts";
import { priceOf } from "../support/prices.ts";
import {
  startScriptedUpstream,
  type Script,
  type ScriptedUpstream,
} from "../support/scripted-upstream.ts";
import { startTollgate, type Tenant, type Tollgate } from "../support/tollgate.ts";
import { errorOf } from "./door.ts";
import { call, type Called } from "./http-call.ts";

/** $2.49 an hour for a machine that serves four at once, and gives up after 20 seconds: $0.003458334 at most. */
const HOUR: Hourly = { picousdPerHour: picousdFromUsd("2.49"), concurrency: 4 };
const TIMEOUT_MS = 20_000;
const BOUND = costOfTime(HOUR, TIMEOUT_MS);
const MODEL = "llama-on-our-own";

describeEachDatabase("a machine that is paid by the hour", (database) => {
  let upstream: ScriptedUpstream;
  let tollgate: Tollgate;
  beforeAll(async () => {
    upstream = await startScriptedUpstream();
    tollgate = await startTollgate({
      database,
      upstream: upstream.url,
      timeoutMs: TIMEOUT_MS,
      prices: [
        priceOf({ model: "*", rates: {}, hourly: HOUR, outputTokensMax: 100 }),
        priceOf({ model: "by-usage", outputTokensMax: 100 }),
      ],
    });
  });
  afterAll(async () => {
    await tollgate.close();
    await upstream.close();
  });

  const ask = (tenant: Tenant, body: object = {}) =>
    call(`${tollgate.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Hi" }], ...body }),
    });
  const lookedUp = async (tenant: Tenant, path: string): Promise<Json> => {
    await tollgate.settled();
    const headers = { authorization: `Bearer ${tenant.key}` };
    const answer = await call(`${tollgate.url}/api${path}`, { method: "GET", headers, body: null });
    return JSON.parse(answer.text);
  };
  const attemptOf = (tenant: Tenant, { headers }: Called) =>
    lookedUp(tenant, `/decisions/${String(headers["tollgate-decision"])}`);
  const answering = async (tenant: Tenant, script: Script, body: object = {}) => {
    upstream.next(script);
    return await attemptOf(tenant, await ask(tenant, body));
  };
  /** Its time, to the pico-dollar, and no longer than was measured; the moment itself is nobody's promise. */
  const costsItsTime = async (tenant: Tenant, attempt: Json) => {
    const ms: number = attempt.usage.milliseconds;
    expect(Number.isSafeInteger(ms) && ms >= 0 && ms <= TIMEOUT_MS).toBe(true);
    const { duration_ms: measured } = attempt.ending;
    expect([0, 1]).toContain(ms - measured);
    expect([attempt.basis, attempt.cost_usd]).toEqual([
      "computed",
      usdFromPicousd(costOfTime(HOUR, ms)),
    ]);
    expect(await ledgerViolations(tollgate.db.admin, tenant.id, true)).toEqual([]);
  };
  const json = (status: number, body: object): Script => ({ kind: "json", status, body });
  const broken = json(500, { error: { message: "out of memory", type: "server_error" } });

  test("is reserved until its timeout, and costs the time that a call took", async () => {
    const tenant = await tollgate.tenant();
    const attempt = await answering(
      tenant,
      json(200, chatAnswer(MODEL, "ok", { input: 3, output: 2 })),
    );
    expect(attempt.estimate_usd).toBe(usdFromPicousd(BOUND));
    expect(attempt.record.estimate.timeout_ms).toBe(TIMEOUT_MS);
    expect(attempt.usage).toMatchObject({ input: 3, output: 2 });
    expect(attempt.tokens).toBe(5);
    await costsItsTime(tenant, attempt);
    const told = `for ${attempt.usage.milliseconds} ms and 5 tokens (its time, paid by the hour)`;
    expect(attempt.explanation.join(" ")).toContain(told);
    const { totals } = await lookedUp(tenant, "/usage");
    expect([totals.cost_usd, totals.usage.milliseconds]).toEqual([
      attempt.cost_usd,
      attempt.usage.milliseconds,
    ]);
  });

  test("costs the time of a stream, and of one that tells no usage", async () => {
    const tenant = await tollgate.tenant();
    const told = await answering(
      tenant,
      { kind: "sse", frames: chatFrames(MODEL, ["o", "k"], { input: 3, output: 2 }) },
      { stream: true },
    );
    await costsItsTime(tenant, told);
    const untold = await answering(
      tenant,
      { kind: "sse", frames: chatFrames(MODEL, ["ok"], null) },
      { stream: true },
    );
    expect(untold.status).toBe("succeeded");
    await costsItsTime(tenant, untold);
  });

  test("costs the time of an answer under any other name of its model, whatever that one costs", async () => {
    const tenant = await tollgate.tenant();
    await costsItsTime(
      tenant,
      await answering(tenant, json(200, chatAnswer("by-usage", "ok", { input: 3, output: 2 }))),
    );
    const usual = await answering(
      tenant,
      json(200, chatAnswer(MODEL, "ok", { input: 3, output: 2 })),
      { model: "by-usage" },
    );
    expect([usual.cost_usd, usual.usage]).toEqual(["0.00000000023", { input: 3, output: 2 }]);
  });

  test.each(["strict", "tolerant"] as const)(
    "has failed in the time that it took, and costs a %s tenant no more",
    async (mode) => {
      const tenant = await tollgate.tenant({ mode });
      const attempt = await answering(tenant, broken);
      expect([attempt.status, attempt.tokens]).toEqual(["failed", 0]);
      await costsItsTime(tenant, attempt);
    },
  );

  test("costs nothing where it says that nothing ran", async () => {
    const tenant = await tollgate.tenant();
    for (const status of [400, 429, 503]) {
      const attempt = await answering(tenant, json(status, { error: { message: "no" } }));
      expect([attempt.status, attempt.basis, attempt.cost_usd, attempt.usage]).toEqual([
        "failed",
        "none",
        "0.00",
        {},
      ]);
    }
  });

  test("keeps what it reserved while nobody knows how long it goes on", async () => {
    const tenant = await tollgate.tenant();
    const attempt = await answering(tenant, { kind: "reset" });
    expect([attempt.status, attempt.reserved_usd]).toEqual(["unknown", usdFromPicousd(BOUND)]);
  });

  test("is held within a budget by what all calls in flight could cost", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", limit: usdFromPicousd(BOUND) });
    upstream.next(json(200, chatAnswer(MODEL, "ok", { input: 3, output: 2 })));
    const first = await ask(tenant);
    expect(first.status).toBe(200);
    await tollgate.settled();
    const second = await ask(tenant);
    expect([second.status, errorOf(second).code]).toEqual([402, "budget_exceeded"]);
  });

  test("is listed as it was stated", async () => {
    const tenant = await tollgate.tenant();
    const { data } = await lookedUp(tenant, "/prices?upstream=up");
    expect(
      data.map((row: Json) => [row.model, row.usd_per_hour, row.concurrency, row.usd_per_million]),
    ).toEqual([
      ["*", "2.49", 4, {}],
      ["by-usage", null, null, { input: "0.00001", output: "0.0001" }],
    ]);
  });
});
