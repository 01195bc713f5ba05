import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Webhook } from "standardwebhooks";
import { DEAD_KEPT_MS, DELIVERED_KEPT_MS, DELIVERY_LEASE_MS } from "../../src/core/limits.ts";
import { createWebhookPort, type NodeWebhookPort } from "../../src/entry/webhook-undici.ts";
import { createWebhookAdministration } from "../../src/gate/administer-webhooks.ts";
import { createDeliverer, retryAfterMs, type Deliverer } from "../../src/gate/deliver.ts";
import { createSeal } from "../../src/gate/sealing.ts";
import { claimDeliveries } from "../../src/store/outbox.ts";
import { askApproval, insertKey, insertTenant, newId } from "../support/approvals.ts";
import { resetClock, shiftClock } from "../support/clock.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { NOTHING_CONFIGURED } from "../support/prices.ts";
import { TEST_SEAL } from "../support/seal.ts";

const INSTALLATION = { installation: true } as const;

describeEachDatabase("the outbox", (database) => {
  let receiver: Receiver;
  let port: NodeWebhookPort;
  let deliverer: Deliverer;
  let tenantId = "";
  let keyId = "";
  const told: object[] = [];
  beforeEach(async () => {
    await resetClock(database.db);
    await database.db.admin`delete from deliveries`;
    told.length = 0;
    receiver = await startReceiver();
    port = createWebhookPort({ allowsPrivate: true, msMax: 500 });
    deliverer = createDeliverer(portsWith());
    ({ tenantId, keyId } = await insertTenant(database.db.admin));
    await insertKey(database.db.admin, tenantId, { scopes: ["approve"] });
  });
  afterEach(async () => {
    await deliverer.drained();
    await port.close();
    await receiver.close();
  });

  const portsWith = (seal = TEST_SEAL) => ({
    db: database.db,
    webhook: port,
    seal,
    now: () => new Date(),
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (fields: object) => void told.push(fields),
      error: (fields: object) => void told.push(fields),
    },
  });
  const acts = () =>
    createWebhookAdministration({
      db: database.db,
      newId,
      now: () => new Date(),
      seal: TEST_SEAL,
      webhook: { allowsPrivate: true },
      refresh: async () => undefined,
      configuration: NOTHING_CONFIGURED,
    });
  const hook = (of = tenantId, url = `${receiver.url}/hook`) =>
    acts().create(INSTALLATION, { tenantId: of, url, kinds: ["approval.requested"] });
  const ask = (argumentsDigest = "a") =>
    askApproval(database.db.admin, { tenantId, keyId, seal: TEST_SEAL, argumentsDigest });
  /** One turn, to the end of what it took. */
  const turn = async (by = deliverer): Promise<number> => {
    const taken = await by.turn();
    await by.drained();
    return taken;
  };
  const rows = async () => [
    ...(await database.db.admin`
      select delivery_id, state, tries, last_result, ended_at,
             extract(epoch from due_at - tollgate_now()) * 1000 as due_ms
      from deliveries where tenant_id = ${tenantId} order by delivery_id`),
  ];

  test("delivers a message once, signed so that the official library verifies it", async () => {
    const { secret } = await hook();
    const { approvalId, digest } = await ask();
    expect(await turn()).toBe(1);
    expect(await turn()).toBe(0);
    expect(receiver.messages).toHaveLength(1);
    const [message] = receiver.messages;
    const verified = new Webhook(secret).verify(message!.body, message!.headers);
    expect(verified).toMatchObject({
      type: "approval.requested",
      data: { approval_id: approvalId, digest },
    });
    expect(message!.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": (await rows())[0]?.["delivery_id"],
    });
    expect(await rows()).toMatchObject([
      { state: "delivered", tries: 1, last_result: "answered 204", ended_at: expect.any(Date) },
    ]);
  });

  test("is signed with the webhook's own secret, over id, time and body", async () => {
    const [one, other] = [await hook(), await hook()];
    await ask();
    await turn();
    const [first, second] = receiver.messages;
    expect(first!.headers["webhook-id"]).not.toBe(second!.headers["webhook-id"]);
    const verifies = (secret: string, message = first!, change: object = {}) => {
      const headers = { ...message.headers, ...change };
      try {
        return new Webhook(secret).verify(message.body, headers) !== undefined;
      } catch {
        return false;
      }
    };
    const owners = [one.secret, other.secret].filter((secret) => verifies(secret));
    expect(owners).toHaveLength(1);
    const [owner = ""] = owners;
    expect(verifies(owner, second)).toBe(false);
    expect(verifies(owner, { ...first!, body: `${first!.body} ` })).toBe(false);
    expect(verifies(owner, first, { "webhook-id": "dlv_other" })).toBe(false);
    const seconds = Number(first!.headers["webhook-timestamp"]);
    expect(verifies(owner, first, { "webhook-timestamp": String(seconds + 1) })).toBe(false);
  });

  test("is verified by what the documentation says to write in Node", async () => {
    const { secret } = await hook();
    await ask();
    await turn();
    const page = readFileSync(new URL("../../docs/approvals.md", import.meta.url), "utf8");
    const code = /```js\n(import \{ createHmac[\s\S]*?)```/.exec(page)?.[1] ?? "";
    const url = `data:text/javascript,${encodeURIComponent(code)}`;
    const { verify } = (await import(/* @vite-ignore */ url)) as {
      verify: (secret: string, headers: object, body: string) => boolean;
    };
    const { headers, body } = receiver.messages[0]!;
    expect(verify(secret, headers, body)).toBe(true);
    expect(verify(secret, headers, `${body} `)).toBe(false);
    expect(verify(secret, { ...headers, "webhook-timestamp": "1" }, body)).toBe(false);
  });

  test("tries again what is answered 500, times out or is gone, and delivers the same bytes", async () => {
    const { secret } = await hook();
    await ask();
    receiver.plays(
      { kind: "answer", status: 500 },
      { kind: "hang" },
      { kind: "reset" },
      { kind: "answer", status: 302, headers: { location: "/elsewhere" } },
      { kind: "answer", status: 200 },
    );
    const results = [
      ["answered 500", 5_000],
      ["no answer within 0.5 s", 60_000],
      ["no answer (UND_ERR_SOCKET)", 300_000],
      ["answered 302", 1_800_000],
    ] as const;
    let shiftedMs = 0;
    for (const [result, waitMs] of results) {
      expect(await turn()).toBe(1);
      const [row] = await rows();
      expect(row).toMatchObject({ state: "pending", last_result: result });
      const dueMs = Number(row?.["due_ms"]);
      expect(dueMs).toBeGreaterThan(waitMs * 0.75);
      expect(dueMs).toBeLessThan(waitMs * 1.25);
      expect(await turn()).toBe(0);
      shiftedMs += waitMs * 1.25;
      await shiftClock(database.db, shiftedMs);
    }
    expect(await turn()).toBe(1);
    expect(await rows()).toMatchObject([{ state: "delivered", tries: 5 }]);
    expect(new Set(receiver.messages.map(({ body }) => body)).size).toBe(1);
    expect(new Set(receiver.messages.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    for (const { body, headers } of receiver.messages) {
      expect(() => new Webhook(secret).verify(body, headers)).not.toThrow();
    }
  });

  test("finds a receiver that was away and is back", async () => {
    await hook();
    await ask();
    const { port: number } = receiver;
    await receiver.close();
    await turn();
    expect(await rows()).toMatchObject([
      { state: "pending", last_result: "no answer (ECONNREFUSED)" },
    ]);
    receiver = await startReceiver(number);
    await shiftClock(database.db, 7_000);
    await turn();
    expect(await rows()).toMatchObject([{ state: "delivered", tries: 2 }]);
  });

  test("gives up after eight tries over most of a day, and says so without the URL", async () => {
    const { webhookId } = await hook(tenantId, `${receiver.url}/secret-in-the-path`);
    await ask();
    receiver.plays({ kind: "answer", status: 503 });
    let shiftedMs = 0;
    for (let tries = 1; tries <= 8; tries += 1) {
      expect(await turn(), `try ${tries}`).toBe(1);
      if (tries === 8) break;
      shiftedMs += Math.round(Number((await rows())[0]?.["due_ms"])) + 1_000;
      await shiftClock(database.db, shiftedMs);
    }
    expect(shiftedMs).toBeGreaterThan(0.6 * 86_400_000);
    expect(shiftedMs).toBeLessThan(1.1 * 86_400_000);
    expect(await rows()).toMatchObject([{ state: "dead", tries: 8, last_result: "answered 503" }]);
    await shiftClock(database.db, 10 * 86_400_000);
    expect(await turn()).toBe(0);
    expect(told).toMatchObject([{ tenantId, webhookId, tries: 8, result: "answered 503" }]);
    expect(JSON.stringify(told)).not.toContain("secret-in-the-path");
  });

  test("a dead message is sent anew when somebody asks for it, with all its tries", async () => {
    await hook();
    await ask();
    receiver.plays({ kind: "answer", status: 410 }, { kind: "answer", status: 200 });
    await turn();
    // 410: the receiver wants no more, so nothing more is tried.
    expect(await rows()).toMatchObject([{ state: "dead", tries: 1, last_result: "answered 410" }]);
    const deliveryId = String((await rows())[0]?.["delivery_id"]);
    await acts().redeliver(INSTALLATION, { tenantId, deliveryId });
    expect(await turn()).toBe(1);
    expect(await rows()).toMatchObject([{ state: "delivered", tries: 1 }]);
    await expect(acts().redeliver(INSTALLATION, { tenantId, deliveryId })).rejects.toThrow(
      "Only a dead message is sent anew, and this one is delivered.",
    );
  });

  test("sends nothing to a webhook that was removed", async () => {
    const { webhookId } = await hook();
    await ask();
    await acts().remove(INSTALLATION, { tenantId, webhookId });
    expect(await turn()).toBe(0);
    expect(await rows()).toMatchObject([{ state: "dead", last_result: "its webhook was removed" }]);
    const deliveryId = String((await rows())[0]?.["delivery_id"]);
    await expect(acts().redeliver(INSTALLATION, { tenantId, deliveryId })).rejects.toThrow(
      "Its webhook was removed",
    );
    await ask("b");
    expect(await rows()).toHaveLength(1);
    expect(receiver.messages).toEqual([]);
  });

  test("sends nothing to a webhook whose removal did not see the message yet", async () => {
    const { webhookId } = await hook();
    await ask();
    // As it is left by a removal that commits while the message is being written.
    await database.db.admin`
      update webhooks set removed_at = tollgate_now() where webhook_id = ${webhookId}`;
    expect(await turn()).toBe(1);
    expect(receiver.messages).toEqual([]);
    expect(await rows()).toMatchObject([{ state: "dead", last_result: "its webhook was removed" }]);
  });

  test("sends nothing that it cannot sign", async () => {
    await hook();
    await ask();
    const stranger = createDeliverer(portsWith(createSeal(new Uint8Array(32).fill(9))));
    await turn(stranger);
    expect(receiver.messages).toEqual([]);
    expect(await rows()).toMatchObject([
      { state: "dead", last_result: expect.stringContaining("its secret cannot be opened") },
    ]);
  });

  test("what a replica took and never ended is sent by another when its time has passed", async () => {
    await hook();
    await ask();
    // It is gone before it can send, or tell.
    const terms = { rows: 8, rowsOfTenant: 8, leaseMs: DELIVERY_LEASE_MS, busyTenants: [] };
    expect(await claimDeliveries(database.db.admin, terms)).toHaveLength(1);
    expect(await turn()).toBe(0);
    await shiftClock(database.db, DELIVERY_LEASE_MS + 1_000);
    expect(await turn()).toBe(1);
    expect(receiver.messages).toHaveLength(1);
    expect(await rows()).toMatchObject([{ state: "delivered", tries: 2 }]);
  });

  test("several replicas send each message once", async () => {
    await hook();
    for (let at = 0; at < 12; at += 1) await ask(`arguments ${at}`);
    const replicas = Array.from({ length: 4 }, () => createDeliverer(portsWith()));
    for (let round = 0; round < 12; round += 1) {
      const taken = await Promise.all(replicas.map((replica) => turn(replica)));
      if (taken.every((count) => count === 0)) break;
    }
    const ids = receiver.messages.map(({ headers }) => headers["webhook-id"]);
    expect([ids.length, new Set(ids).size]).toEqual([12, 12]);
    expect((await rows()).every(({ state, tries }) => state === "delivered" && tries === 1)).toBe(
      true,
    );
  });

  test("a tenant whose receivers hang holds up nobody else's messages", async () => {
    await hook();
    receiver.plays({ kind: "hang" });
    for (let at = 0; at < 40; at += 1) await ask(`arguments ${at}`);
    const other = await insertTenant(database.db.admin);
    await insertKey(database.db.admin, other.tenantId, { scopes: ["approve"] });
    const sound = await startReceiver();
    try {
      await hook(other.tenantId, sound.url);
      await askApproval(database.db.admin, { ...other, seal: TEST_SEAL });
      // Four of the first, which hang, and the only one of the other.
      expect(await deliverer.turn()).toBe(5);
      await sound.received(1);
      // As long as those hang, no more of that tenant are taken.
      expect(await deliverer.turn()).toBe(0);
      await deliverer.drained();
      expect(receiver.messages).toHaveLength(4);
    } finally {
      await sound.close();
    }
  });

  test("forgets in one turn as much as can be sent until the next", async () => {
    await database.db.admin`
      insert into deliveries (tenant_id, delivery_id, webhook_id, kind, body, state, ended_at)
      select ${tenantId}, 'dlv_' || i, 'whk', 'ping', '{}', 'delivered', tollgate_now()
      from generate_series(1, 1200) as i`;
    await shiftClock(database.db, DELIVERED_KEPT_MS + 60_000);
    await deliverer.forget();
    expect(await rows()).toEqual([]);
  });

  test("forgets what ended long ago, and nothing that may still be sent", async () => {
    await hook();
    for (const at of ["a", "b", "c"]) await ask(at);
    const states = ["delivered", "dead", "pending"];
    for (const [at, row] of (await rows()).entries()) {
      await database.db.admin`
        update deliveries set state = ${states[at] ?? ""}, ended_at = tollgate_now()
        where delivery_id = ${String(row["delivery_id"])}`;
    }
    const left = async () => {
      await deliverer.forget();
      return (await rows()).map(({ state }) => String(state));
    };
    await shiftClock(database.db, DELIVERED_KEPT_MS - 1_000);
    expect(await left()).toEqual(["delivered", "dead", "pending"]);
    await shiftClock(database.db, DELIVERED_KEPT_MS + 60_000);
    expect(await left()).toEqual(["dead", "pending"]);
    await shiftClock(database.db, DEAD_KEPT_MS + 60_000);
    expect(await left()).toEqual(["pending"]);
  });
});

describe("the wait before the next try", () => {
  test("grows with each, a fifth more or less", () => {
    const middles = Array.from({ length: 7 }, (_, at) => retryAfterMs(at + 1, 0.5));
    expect(middles).toEqual([5_000, 60_000, 300_000, 1_800_000, 7_200_000, 21_600_000, 43_200_000]);
    expect([retryAfterMs(1, 0), retryAfterMs(1, 1)]).toEqual([4_000, 6_000]);
  });
});
