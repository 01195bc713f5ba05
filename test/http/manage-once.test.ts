import { beforeAll, expect, test } from "vitest";
import { connect } from "../../src/store/database.ts";
import { describeEachDatabase } from "../support/databases.ts";
import { ADMIN_KEY, createTestManagement, type Management } from "../support/management.ts";

/** Acts of administration under an idempotency key. */

type Tenant = Awaited<ReturnType<Management["newTenant"]>>;

describeEachDatabase("an act of administration under an idempotency key", (database) => {
  let api: Management;
  let tenant: Tenant;
  beforeAll(async () => {
    api = await createTestManagement(database.db);
    tenant = await api.newTenant();
  });

  const create = (name: string, idempotencyKey: string, key = tenant.key) =>
    api.send("/api/keys", {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        "idempotency-key": idempotencyKey,
      },
      body: JSON.stringify({ name, scopes: ["invoke"] }),
    });
  const names = async () => {
    const { body } = await api.call(tenant.key, "GET", "/api/keys");
    return (body.data as { readonly name: string }[]).map(({ name }) => name);
  };

  test("is done once, and its answer is given again, the key that it made included", async () => {
    const first = await create("once", "k-1");
    const again = await create("once", "k-1");
    expect(first.status).toBe(201);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("idempotent-replayed")).toBe("true");
    expect((await names()).filter((name) => name === "once")).toEqual(["once"]);
  });

  test("by twenty at a time is done once", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create("crowd", "k-crowd")));
    const statuses = new Set(answers.map(({ status }) => status));
    expect([...statuses].filter((status) => status !== 201 && status !== 409)).toEqual([]);
    expect((await names()).filter((name) => name === "crowd")).toEqual(["crowd"]);
  });

  test("with other content, or by another key, is refused", async () => {
    await create("mine", "k-2");
    const other = await create("other", "k-2");
    expect([other.status, other.body.error.code]).toEqual([422, "idempotency_key_reused"]);
    const admin = await api.call(tenant.key, "POST", "/api/keys", {
      name: "second admin",
      scopes: ["admin"],
    });
    expect((await create("mine", "k-2", admin.body.key)).status).toBe(422);
  });

  test("that was refused leaves the key free", async () => {
    const refused = await create("", "k-3");
    expect(refused.status).toBe(400);
    expect((await create("good", "k-3")).status).toBe(201);
  });

  test("with another number that no float holds has other content", async () => {
    const asked = { kind: "step", name: "s" };
    const { body } = await api.call(tenant.key, "POST", "/api/gate", asked);
    const complete = (result: string) =>
      api.send(`/api/attempts/${body.attempt_id as string}/complete`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "idempotency-key": "k-exact",
        },
        body: `{"result":${result}}`,
      });
    expect((await complete("0.1")).status).toBe(200);
    const same = await complete("1e-1");
    expect([same.status, same.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
    const other = await complete("0.2");
    expect([other.status, other.body.error.code]).toEqual([422, "idempotency_key_reused"]);
  });

  test.each([
    ["/api/policies/check", { source: "policies: []" }],
    ["/api/replay", { run: "r" }],
    ["/api/policies/backtest", { run: "r", source: "policies: []" }],
  ])("that only reads, as %s, is answered anew and keeps nothing", async (path, body) => {
    const counted = async () =>
      (await database.db.admin`select 1 from answers where tenant_id = ${tenant.id}`).length;
    const read = (more: object = {}) =>
      api.send(path, {
        method: "POST",
        headers: {
          authorization: `Bearer ${tenant.key}`,
          "content-type": "application/json",
          "idempotency-key": `k-reads-${path}`,
        },
        body: JSON.stringify({ ...body, ...more }),
      });
    const before = await counted();
    const answers = [await read(), await read()];
    expect(
      answers.map(({ status, headers }) => [status, headers.get("idempotent-replayed")]),
    ).toEqual(answers.map(({ status }) => [status, null]));
    expect(await counted()).toBe(before);
    // Nor is the key taken: other content under it is read, too.
    expect((await read({ tenant: tenant.id })).status).toBe(answers[0]?.status);
  });

  test("of the installation is done once, too", async () => {
    const make = () =>
      api.send("/api/tenants", {
        method: "POST",
        headers: {
          authorization: `Bearer ${ADMIN_KEY}`,
          "content-type": "application/json",
          "idempotency-key": "k-tenant",
        },
        body: JSON.stringify({ name: `made once ${tenant.id}` }),
      });
    const first = await make();
    expect([first.status, (await make()).body]).toEqual([201, first.body]);
  });

  test("has succeeded once it has committed, also where this process cannot read what it changed", async () => {
    const own = connect(database.address, { gateConnections: 1, adminConnections: 1 });
    try {
      const management = await createTestManagement(own);
      const { key, id } = await management.newTenant();
      await own.control.end({ timeout: 0 });
      const made = await management.call(key, "POST", "/api/keys", {
        name: "told",
        scopes: ["invoke"],
      });
      expect(made.status).toBe(201);
      const listed = await api.call(ADMIN_KEY, "GET", `/api/keys?tenant=${id}`);
      expect(JSON.stringify(listed.body)).toContain(made.body.id);
    } finally {
      await own.close();
    }
  });
});
