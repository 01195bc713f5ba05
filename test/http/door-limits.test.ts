import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeOnPostgres } from "../support/databases.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { chatAnswer } from "../support/openai-answers.ts";
import type { Exchange } from "../support/scripted-upstream.ts";
import { MODEL, type Tenant } from "../support/tollgate.ts";
import { errorOf, startDoor, type Door } from "./door.ts";

/** Whom a limit counts, when it fills up again, what waits for it, and the yes that is less than was asked. */

/** 1,000 output tokens are injected and cost 100,000 pico-dollars: what this budget never has. */
const TOO_LITTLE = "0.00000001";

describeOnPostgres("a refusal", (database) => {
  let door: Door;
  let upstream: Door["upstream"];
  let tollgate: Door["tollgate"];
  let chat: Door["chat"];
  let decisionOf: Door["decisionOf"];
  beforeAll(async () => {
    door = await startDoor(database);
    ({ upstream, tollgate, chat, decisionOf } = door);
  });
  afterAll(() => door.close());

  test("by one key's, customer's or model's budget does not touch another's", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "key", id: tenant.keyId, unit: "usd", limit: 0 });
    await tenant.limit({ scope: "each_customer", unit: "requests", limit: 1 });
    const other = await tenant.newKey();
    const acme = { headers: { "tollgate-customer": "acme" } };
    expect((await chat(tenant.key)).status).toBe(402);
    expect((await chat(other.key, acme)).status).toBe(200);
    expect((await chat(other.key, acme)).status).toBe(402);
    expect((await chat(other.key, { headers: { "tollgate-customer": "beta" } })).status).toBe(200);
    expect((await chat(other.key)).status).toBe(200);
  });

  test("by a rate is a 429 that says when, and the library's retry is due within a minute", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "requests", window: "minute", limit: 1 });
    await setClock(tollgate.db, new Date("2030-05-01T10:00:40Z"));
    expect((await chat(tenant.key)).status).toBe(200);
    const refused = await chat(tenant.key);
    expect(refused.status).toBe(429);
    expect(errorOf(refused)).toMatchObject({ type: "rate_limit_exceeded", code: "quota_exceeded" });
    expect(refused.headers).toMatchObject({
      "retry-after": "20",
      "retry-after-ms": "20000",
      "x-should-retry": "true",
    });
    await setClock(tollgate.db, new Date("2030-05-01T10:01:00Z"));
    expect((await chat(tenant.key)).status).toBe(200);
    await resetClock(tollgate.db);
  });

  test("by a day's quota ends at midnight where the limit lives", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({
      scope: "tenant",
      unit: "requests",
      window: "day",
      limit: 1,
      timeZone: "America/New_York",
    });
    const at = (iso: string) => setClock(tollgate.db, new Date(iso));
    // 2030-03-10 is 23 hours long there: the clocks go forward.
    await at("2030-03-10T05:00:00Z");
    expect((await chat(tenant.key)).status).toBe(200);
    await at("2030-03-11T03:59:59.999Z");
    const refused = await chat(tenant.key);
    expect(refused.status).toBe(402);
    expect(errorOf(refused).tollgate["resets_at"]).toBe("2030-03-11T04:00:00.000Z");
    await at("2030-03-11T04:00:00Z");
    expect((await chat(tenant.key)).status).toBe(200);
    await resetClock(tollgate.db);
  });

  test("leaves what was settled after midnight in the day that reserved it", async () => {
    const tenant = await tollgate.tenant();
    await tenant.limit({ scope: "tenant", unit: "usd", window: "day", limit: 1 });
    const gate = Promise.withResolvers<void>();
    await setClock(tollgate.db, new Date("2030-06-30T23:59:59Z"));
    const before = upstream.journal.length;
    upstream.next({
      kind: "json",
      headersGate: gate.promise,
      body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
    });
    const late = chat(tenant.key);
    await upstream.arrived(before + 1);
    await setClock(tollgate.db, new Date("2030-07-01T00:00:01Z"));
    gate.resolve();
    expect((await late).status).toBe(200);
    expect((await chat(tenant.key)).status).toBe(200);
    const meters = await tollgate.ledger(
      "select window_start, committed, reserved from meters where tenant_id = $1 order by window_start",
      [tenant.id],
    );
    expect(meters).toEqual([
      { window_start: new Date("2030-06-30T00:00:00Z"), committed: "230", reserved: "0" },
      { window_start: new Date("2030-07-01T00:00:00Z"), committed: "230", reserved: "0" },
    ]);
    await resetClock(tollgate.db);
  });

  describe("by what is in flight", () => {
    const holdOne = async (tenant: Tenant) => {
      const gate = Promise.withResolvers<void>();
      const before = upstream.journal.length;
      upstream.next({
        kind: "json",
        headersGate: gate.promise,
        body: chatAnswer(MODEL, "ok", { input: 3, output: 2 }),
      });
      const held = chat(tenant.key);
      await upstream.arrived(before + 1);
      return { release: gate.resolve, held };
    };
    /** Room for one reservation, and, once that is settled, for another. */
    const KINDS = [
      { unit: "usd", limit: "0.00000015", code: "budget_contended" },
      { unit: "in_flight", limit: 1, code: "concurrency_exceeded" },
      { unit: "tokens", limit: 1_500, code: "budget_contended" },
    ] as const;

    test.each(KINDS)("waits for it: $unit", async ({ unit, limit }) => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit, limit });
      const { release, held } = await holdOne(tenant);
      const waiting = Promise.all([chat(tenant.key), chat(tenant.key)]);
      release();
      expect((await held).status).toBe(200);
      expect((await waiting).map(({ status }) => status)).toEqual([200, 200]);
    });

    test.each(KINDS)("is a 429 worth repeating, not an exhaustion: $unit", async (kind) => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: kind.unit, limit: kind.limit });
      const { release, held } = await holdOne(tenant);
      const refused = await chat(tenant.key);
      expect([refused.status, errorOf(refused).code]).toEqual([429, kind.code]);
      expect(refused.headers).toMatchObject({ "x-should-retry": "true", "retry-after-ms": "500" });
      expect(await decisionOf(refused)).toMatchObject({ verdict: "block", reason: kind.code });
      release();
      expect((await held).status).toBe(200);
      // The library's own retry then finds room.
      expect((await chat(tenant.key)).status).toBe(200);
    });
  });

  describe("that a limit spares", () => {
    const bodyOf = ({ body }: Exchange) =>
      JSON.parse(Buffer.from(body).toString()) as Record<string, unknown>;

    test("by clamping lowers the maximum that the upstream gets, and says so", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: "0.00000003", onExceed: "clamp" });
      for (const field of [null, "max_tokens", "max_completion_tokens"]) {
        const body = field === null ? {} : { [field]: 900 };
        const clamped = await chat(tenant.key, { body });
        expect(clamped.status).toBe(200);
        const to = Number(clamped.headers["tollgate-output-clamped"]);
        expect(to).toBeGreaterThan(16);
        expect(to).toBeLessThan(300);
        const sent = bodyOf(upstream.journal.at(-1)!);
        expect(sent["max_completion_tokens"] ?? sent["max_tokens"]).toBe(to);
        expect(Object.values(sent)).not.toContain(900);
        const { reserved } = (
          await tollgate.ledger<{ reserved: string }>(
            `select reserved_picousd as reserved from settlements where tenant_id = $1
           order by settled_at desc, attempt_id desc limit 1`,
            [tenant.id],
          )
        )[0]!;
        expect(Number(reserved)).toBeLessThanOrEqual(30_000);
      }
      const small = await chat(tenant.key, { body: { max_tokens: 20 } });
      expect(small.headers["tollgate-output-clamped"]).toBe(undefined);
      expect(bodyOf(upstream.journal.at(-1)!)["max_tokens"]).toBe(20);
    });

    test("by clamping waits for what the call before still holds, and is told by a dry run", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: "0.00000003", onExceed: "clamp" });
      for (let turn = 0; turn < 6; turn += 1) {
        const clamped = await chat(tenant.key, { body: { max_tokens: 900 } });
        expect(clamped.status).toBe(200);
        expect(Number(clamped.headers["tollgate-output-clamped"])).toBeGreaterThan(16);
      }
      const dry = await chat(tenant.key, {
        headers: { "tollgate-dry-run": "true" },
        body: { max_tokens: 900 },
      });
      const told = JSON.parse(dry.text) as Record<string, unknown>;
      expect(told["verdict"]).toBe("allow");
      expect(told["output_clamped_to"]).toBeGreaterThan(16);
    });

    test("by clamping refuses where what is left makes no answer", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "tokens", limit: 40, onExceed: "clamp" });
      expect((await chat(tenant.key)).status).toBe(402);
    });

    test("as a shadow passes, and the decision tells what it would have refused", async () => {
      const tenant = await tollgate.tenant();
      await tenant.limit({ scope: "tenant", unit: "usd", limit: TOO_LITTLE, mode: "shadow" });
      const passed = await chat(tenant.key);
      expect(passed.status).toBe(200);
      expect(passed.headers["tollgate-budget-remaining"]).toBe(undefined);
      const decision = await decisionOf(passed);
      expect(decision).toMatchObject({
        verdict: "allow",
        meters: [{ mode: "shadow", limit: "10000", committed: "0" }],
      });
      const [meter] = await tollgate.ledger(
        "select committed, reserved from meters where tenant_id = $1",
        [tenant.id],
      );
      expect(meter).toEqual({ committed: "230", reserved: "0" });
    });

    test("is told by a dry run, which reserves and records nothing", async () => {
      const tenant = await tollgate.tenant();
      const before = upstream.journal.length;
      const dry = { headers: { "tollgate-dry-run": "true" } };
      const allowed = await chat(tenant.key, dry);
      expect(allowed).toMatchObject({ status: 200, headers: { "tollgate-dry-run": "true" } });
      expect(JSON.parse(allowed.text)).toMatchObject({
        object: "tollgate.dry_run",
        verdict: "allow",
        upstream: "up",
        model: MODEL,
      });
      await tenant.limit({ scope: "tenant", unit: "usd", limit: TOO_LITTLE });
      expect(JSON.parse((await chat(tenant.key, dry)).text)).toMatchObject({
        verdict: "block",
        reason: "budget_exceeded",
      });
      expect(upstream.journal.length).toBe(before);
      const rows = await tollgate.ledger(
        "select attempt_id from decisions where tenant_id = $1 union all select attempt_id from reservations where tenant_id = $1",
        [tenant.id],
      );
      expect(rows).toEqual([]);
    });

    test("is far from what the caller would pay at most", async () => {
      const tenant = await tollgate.tenant();
      const paid = await chat(tenant.key, { headers: { "tollgate-max-cost": "0.001" } });
      expect([paid.status, paid.headers["tollgate-cost"]]).toEqual([200, "0.00000000023"]);
    });
  });

  test("of an unknown price is a tolerant tenant's unpriced call", async () => {
    const tenant = await tollgate.tenant({ mode: "tolerant" });
    await tenant.limit({ scope: "tenant", unit: "usd", limit: "1" });
    const passed = await chat(tenant.key, { body: { model: "m-unpriced", max_tokens: 5 } });
    expect([passed.status, passed.headers["tollgate-cost"]]).toEqual([200, undefined]);
    const [settled] = await tollgate.ledger(
      "select basis, cost_picousd, tokens::int from settlements where tenant_id = $1",
      [tenant.id],
    );
    expect(settled).toEqual({ basis: "unpriced", cost_picousd: null, tokens: 5 });
  });
});
