/** Alerts of budgets: once per meter, window and threshold, by the outbox, whatever the replicas do. */
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MESSAGE_KINDS } from "../../src/core/webhook.ts";
import { createWebhookPort, type NodeWebhookPort } from "../../src/entry/webhook-undici.ts";
import { createWebhookAdministration } from "../../src/gate/administer-webhooks.ts";
import { createDeliverer } from "../../src/gate/deliver.ts";
import { tellBudgetsTurn } from "../../src/ledger/budget-alerts.ts";
import { tellBudgets } from "../../src/store/budget-alerts.ts";
import { open, type Database } from "../../src/store/database.ts";
import { post, type Ask } from "../../src/store/posting.ts";
import { settle } from "../../src/store/settlement.ts";
import { insertTenant, newId } from "../support/approvals.ts";
import { resetClock, setClock } from "../support/clock.ts";
import { describeEachDatabase, describeOnPostgres } from "../support/databases.ts";
import type { Json } from "../support/management.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { TEST_SEAL } from "../support/seal.ts";
import { rollUpAll } from "../store/roll-up-violations.ts";

const USD = 10n ** 12n;

type Terms = {
  readonly scope?: string;
  readonly scopeId?: string;
  readonly unit?: string;
  readonly window?: string;
  readonly mode?: string;
  readonly amount?: bigint;
};

async function addLimit(db: Database, tenantId: string, terms: Terms = {}): Promise<string> {
  const {
    scope = "tenant",
    scopeId = "",
    unit = "usd",
    window = "month",
    mode = "enforce",
  } = terms;
  const limitId = `lim_${newId()}`;
  await db.admin`
    insert into limits (tenant_id, limit_id, scope_kind, scope_id, unit, window_kind, amount, mode, on_exceed)
    values (${tenantId}, ${limitId}, ${scope}, ${scopeId}, ${unit}, ${window},
            ${String(terms.amount ?? 100n * USD)}::text::numeric, ${mode}, 'refuse')`;
  return limitId;
}

type Spent = {
  readonly limitId: string;
  readonly subject?: string;
  readonly usd?: bigint;
  readonly tokens?: number;
  readonly share?: number | null;
  readonly isOpen?: boolean;
  readonly customer?: string;
  readonly tool?: string;
};

/** One call that the limit counts. */
async function spend(db: Database, tenantId: string, spent: Spent): Promise<void> {
  const { limitId, subject = "", usd = 0n, tokens = 1, share = null } = spent;
  const { customer, tool } = spent;
  const context = { customer, tool };
  const ask: Ask = {
    attemptId: `att_${newId()}`,
    tenantId,
    keyId: "key_a",
    runId: `run_${newId()}`,
    runNamed: false,
    stepId: null,
    stepDigest: null,
    contentDigest: null,
    retryResource: "model:m",
    door: "model",
    operation: "chat",
    resource: "m",
    upstream: "up",
    model: "m",
    judgedReason: null,
    costPicousd: usd * USD,
    tokens,
    priceVersion: "price",
    final: true,
    deadlineMs: 60_000,
    record: JSON.stringify({ context }),
    refs: [{ limitId, subject, share }],
    extra: null,
  };
  const [posted] = await post(db.gate, "rep", [ask]);
  expect(posted?.outcome).toBe("allow");
  if (spent.isOpen === true) return;
  await settle(db.gate, [
    {
      tenantId,
      attemptId: ask.attemptId,
      ending: "succeeded",
      basis: "computed",
      costPicousd: usd * USD,
      tokens,
      requests: 1,
      priceVersion: "price",
      usage: JSON.stringify({ input: tokens }),
      record: "{}",
    },
  ]);
}

describeEachDatabase("alerts of budgets", (database) => {
  let receiver: Receiver;
  let port: NodeWebhookPort;
  let tenantId = "";
  let secret = "";
  beforeEach(async () => {
    await database.db.admin`delete from deliveries`;
    await at("2030-01-10T12:00:00Z");
    receiver = await startReceiver();
    port = createWebhookPort({ allowsPrivate: true });
    ({ tenantId } = await insertTenant(database.db.admin));
    secret = await hook(MESSAGE_KINDS);
  });
  afterEach(async () => {
    await resetClock(database.db);
    await port.close();
    await receiver.close();
  });

  const at = (moment: string) => setClock(database.db, new Date(moment));
  const hook = async (kinds: typeof MESSAGE_KINDS | readonly ["approval.requested"]) => {
    const acts = createWebhookAdministration({
      db: database.db,
      newId,
      now: () => new Date(),
      seal: TEST_SEAL,
      webhook: { allowsPrivate: true },
      refresh: async () => undefined,
      configuration: NOTHING_CONFIGURED,
    });
    const terms = { tenantId, url: `${receiver.url}/hook`, kinds };
    return (await acts.create({ installation: true }, terms)).secret;
  };
  const limit = (terms?: Terms) => addLimit(database.db, tenantId, terms);
  const used = (spent: Spent) => spend(database.db, tenantId, spent);
  /** What a turn tells now: each message in one line. */
  const turn = async (): Promise<string[]> => {
    const { admin } = database.db;
    await rollUpAll(admin);
    await tellBudgetsTurn(database.db, newId);
    const rows = await admin`
      select body from deliveries where tenant_id = ${tenantId} order by delivery_id, kind`;
    await admin`delete from deliveries where tenant_id = ${tenantId}`;
    return rows.map(({ body }) => {
      const { type, data }: Json = JSON.parse(String(body));
      const told = data.threshold_percent ?? data.forecast;
      return `${type} ${told} of ${data.limit}`;
    });
  };

  test("are told once for each threshold, when it is first passed", async () => {
    const limitId = await limit({ window: "none" });
    await used({ limitId, usd: 49n });
    expect(await turn()).toEqual([]);
    await used({ limitId, usd: 1n });
    expect(await turn()).toEqual(["budget.threshold 50 of 100"]);
    await used({ limitId, usd: 10n });
    expect(await turn()).toEqual([]);
    await used({ limitId, usd: 40n });
    expect(await turn()).toEqual(["budget.threshold 80 of 100", "budget.threshold 100 of 100"]);
    expect(await turn()).toEqual([]);
  });

  test("are at the parts that their tenant names, and at no others", async () => {
    const { admin } = database.db;
    const limitId = await limit({ window: "none" });
    await admin`update tenants set alert_percents = '{25,90}' where tenant_id = ${tenantId}`;
    await used({ limitId, usd: 60n });
    expect(await turn()).toEqual(["budget.threshold 25 of 100"]);
    // One that is named later is told of with the next call, where it was passed before.
    await admin`update tenants set alert_percents = '{25,40,90}' where tenant_id = ${tenantId}`;
    await used({ limitId, usd: 1n });
    expect(await turn()).toEqual(["budget.threshold 40 of 100"]);
    await admin`update tenants set alert_percents = '{}' where tenant_id = ${tenantId}`;
    await used({ limitId, usd: 39n });
    expect(await turn()).toEqual([]);
  });

  test("leave signed by the outbox, with the amounts that were met", async () => {
    const limitId = await limit({ scope: "key", scopeId: "key_a", window: "month" });
    await used({ limitId, subject: "key_a", usd: 10n, isOpen: true });
    await used({ limitId, subject: "key_a", usd: 41n });
    await rollUpAll(database.db.admin);
    await database.db.admin`delete from budget_alerts where tenant_id = ${tenantId}`;
    await tellBudgetsTurn(database.db, newId);
    const deliverer = createDeliverer({
      db: database.db,
      webhook: port,
      seal: TEST_SEAL,
      now: () => new Date(),
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
    expect(await deliverer.turn()).toBe(2);
    await deliverer.drained();
    const messages = receiver.messages.map(({ body, headers }) => ({
      id: headers["webhook-id"],
      ...(new Webhook(secret).verify(body, headers) as { type: string; data: object }),
    }));
    expect(new Set(messages.map(({ id }) => id)).size).toBe(2);
    const about = {
      tenant: tenantId,
      limit_id: limitId,
      scope: "key",
      subject: "key_a",
      unit: "usd",
      window: "month",
      window_start: "2030-01-01T00:00:00.000Z",
      resets_at: "2030-02-01T00:00:00.000Z",
      limit: "100",
      committed: "41",
      reserved: "10",
    };
    expect(messages.find(({ type }) => type === "budget.threshold")).toMatchObject({
      timestamp: "2030-01-10T12:00:00.000Z",
      data: { ...about, threshold_percent: 50 },
    });
    // 41 dollars in the last hour, and 516 hours to go.
    expect(messages.find(({ type }) => type === "budget.forecast")).toMatchObject({
      data: { ...about, forecast: "21207" },
    });
  });

  test("begin anew in a new window, and where the limit was changed", async () => {
    const limitId = await limit({ window: "hour", amount: 10n * USD });
    await used({ limitId, usd: 6n });
    expect(await turn()).toEqual(["budget.threshold 50 of 10"]);
    await at("2030-01-10T13:00:00Z");
    await used({ limitId, usd: 1n });
    expect(await turn()).toEqual([]);
    await used({ limitId, usd: 5n });
    expect(await turn()).toEqual(["budget.threshold 50 of 10"]);
    const raised = String(12n * USD);
    await database.db.admin`
      update limits set amount = ${raised}::text::numeric where limit_id = ${limitId}`;
    await used({ limitId, usd: 0n });
    expect(await turn()).toEqual(["budget.threshold 50 of 12"]);
  });

  test("of a window that ended before anybody looked are told all the same, without a forecast", async () => {
    const limitId = await limit({ window: "day" });
    await used({ limitId, usd: 60n });
    await at("2030-01-11T00:00:03Z");
    expect(await turn()).toEqual(["budget.threshold 50 of 100"]);
  });

  test("forecast from the last hour, and not from what was used before", async () => {
    const limitId = await limit({ window: "day" });
    await at("2030-01-10T08:00:00Z");
    await used({ limitId, usd: 30n });
    await at("2030-01-10T12:00:00Z");
    await used({ limitId, usd: 1n });
    // 31 used, and 12 hours of one dollar to come.
    expect(await turn()).toEqual([]);
    await used({ limitId, usd: 5n });
    // 36 used, and 12 hours of six dollars to come.
    expect(await turn()).toEqual(["budget.forecast 108 of 100"]);
    await used({ limitId, usd: 1n });
    expect(await turn()).toEqual([]);
  });

  test("count tokens as numbers, and each customer apart", async () => {
    const limitId = await limit({
      scope: "each_customer",
      unit: "tokens",
      amount: 1_000n,
      window: "day",
    });
    await used({ limitId, subject: "acme", customer: "acme", tokens: 20 });
    await used({ limitId, subject: "umbrella", customer: "umbrella", tokens: 500 });
    await used({ limitId, subject: "globex", customer: "globex", tokens: 90 });
    // 12 hours to go: 20 and 240, 500 and 6,000, 90 and 1,080.
    expect((await turn()).toSorted()).toEqual([
      "budget.forecast 1170 of 1000",
      "budget.forecast 6500 of 1000",
      "budget.threshold 50 of 1000",
    ]);
  });

  test("of a tool are forecast from what that tool costs", async () => {
    const limitId = await limit({ scope: "tool", scopeId: "pay/wire", window: "day" });
    await used({ limitId: await limit(), usd: 5n, tool: "mail/send" });
    await used({ limitId, subject: "pay/wire", tool: "pay/wire", usd: 9n });
    // 9 used, and 12 hours of nine dollars to come; the month's own is at 5, and at 14 in an hour.
    expect((await turn()).toSorted()).toEqual([
      "budget.forecast 117 of 100",
      "budget.forecast 7229 of 100",
    ]);
    await used({ limitId, subject: "pay/wire", tool: "pay/wire", usd: 50n });
    expect(await turn()).toEqual(["budget.threshold 50 of 100"]);
  });

  test("are not of shadows, runs, shares, minutes or removed limits", async () => {
    const quiet: readonly (readonly [Terms, Omit<Spent, "limitId">])[] = [
      [{ mode: "shadow" }, {}],
      [{ scope: "each_run" }, { subject: "run_x" }],
      [{ window: "minute" }, {}],
      [{ unit: "requests", amount: 1n }, {}],
      [
        { unit: "tokens", amount: 100n, window: "day" },
        { subject: "run:x", share: 100, tokens: 90 },
      ],
    ];
    for (const [terms, spent] of quiet) {
      await used({ limitId: await limit(terms), usd: 90n, ...spent });
    }
    const removed = await limit();
    await used({ limitId: removed, usd: 90n });
    await database.db
      .admin`update limits set removed_at = tollgate_now() where limit_id = ${removed}`;
    expect(await turn()).toEqual([]);
  });

  test("go to the webhooks that want them, and are not told later to one that came too late", async () => {
    const limitId = await limit({ window: "none" });
    await database.db
      .admin`update webhooks set removed_at = tollgate_now() where tenant_id = ${tenantId}`;
    await hook(["approval.requested"]);
    await used({ limitId, usd: 60n });
    expect(await turn()).toEqual([]);
    await hook(MESSAGE_KINDS);
    await used({ limitId, usd: 1n });
    expect(await turn()).toEqual([]);
    await used({ limitId, usd: 20n });
    expect(await turn()).toEqual(["budget.threshold 80 of 100"]);
  });

  test("are told of a backlog in bounded steps, all of it", async () => {
    const { admin } = database.db;
    const limitIds = await Promise.all(Array.from({ length: 5 }, () => limit({ window: "none" })));
    for (const limitId of limitIds) await used({ limitId, usd: 50n });
    await rollUpAll(admin);
    let told = 0;
    let steps = 0;
    for (let isBehind = true; isBehind; steps += 1) {
      const done = await tellBudgets(admin, 1, `dlv_${newId()}`);
      told += done?.told ?? 0;
      isBehind = done?.isBehind ?? true;
    }
    expect(told).toBe(5);
    expect(steps).toBeGreaterThanOrEqual(5);
  });
});

describeOnPostgres("alerts of budgets by several replicas", (database) => {
  test("are told once, though all look at once", async () => {
    const { db } = database;
    await resetClock(db);
    const { tenantId } = await insertTenant(db.admin);
    await db.admin`
      insert into webhooks (tenant_id, webhook_id, url, kinds, sealed_secret, created_by)
      values (${tenantId}, 'whk_1', 'https://example.com', '{budget.threshold}', '', 'test')`;
    for (let n = 0; n < 20; n += 1) {
      const limitId = await addLimit(db, tenantId, { window: "none" });
      await spend(db, tenantId, { limitId, usd: 50n });
    }
    await rollUpAll(db.admin);
    const replicas = Array.from({ length: 4 }, () => open(db.address, 1));
    await Promise.all(
      replicas.flatMap((admin) =>
        Array.from({ length: 6 }, () => tellBudgets(admin, 2, `dlv_${newId()}`)),
      ),
    );
    for (let isBehind = true; isBehind;) {
      isBehind = (await tellBudgets(db.admin, 2, `dlv_${newId()}`))?.isBehind ?? true;
    }
    await Promise.all(replicas.map((admin) => admin.end()));
    const [row] = await db.admin`
      select count(*)::int as messages, count(distinct body::json -> 'data' ->> 'limit_id')::int as limits
      from deliveries where tenant_id = ${tenantId}`;
    expect(row).toEqual({ messages: 20, limits: 20 });
  });
});
